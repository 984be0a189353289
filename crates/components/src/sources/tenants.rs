//! Tenants: what shares a source. A sender is one by the first name in its certificate; without
//! one, by the host of its address. All connections of a tenant count together.
//!
//! ```text
//!   message ─► rate of its tenant ─► turn ─► memory ─► turn ─► channel
//!              (waits unread, or     └─ fair among tenants ─┘
//!               comes again later)
//! ```
//!
//! A source that waits for its senders has them wait unread ([`Member::pass`]); one that answers
//! its clients refuses ([`Member::ask`]), and says when to come again.
//!
//! # Invariants
//!
//! 1. What is taken for a tenant is given back when it is dropped, whatever becomes of it:
//!    connections, memory, turns.
//! 2. What one tenant gives is charged to it and to no other one.
//! 3. A tenant is known while it is connected or has something in work, and until its rates have
//!    recovered: to connect again gives nothing back.

mod bucket;
mod in_work;
mod over;
mod peer;
#[cfg(all(test, feature = "mutants"))]
mod planted;
mod settings;
mod sharing;
mod turns;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Metrics;
use metrics::tenants::TenantSeries;
use peers::tenants::{LimitedStatus, ReadTenants, TenantStatus};
use pipeline::Frame;
use support::meter::{Meter, Volume};
use support::mutant;
use tokio::time::{Instant, sleep};

use bucket::Bucket;
use in_work::InWork;
use over::Limit;

pub use over::Over;
pub use peer::Peer;
pub use settings::{Quota, Tenants};
pub use sharing::{Client, Memory, Sharing};

/// The tenants of one run.
#[derive(Debug)]
struct Registry {
    source: Arc<str>,
    metrics: Metrics,
    settings: Tenants,
    /// What all tenants share of memory.
    in_flight_max: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    next: u64,
    all: BTreeMap<Arc<str>, Tenant>,
    /// Tenants with a connection.
    connected: u64,
}

#[derive(Debug)]
struct Tenant {
    number: u64,
    quota: Quota,
    connections: u32,
    /// Those of them that have a place within its limit.
    placed: u32,
    in_work_bytes: u64,
    events: Option<Bucket>,
    bytes: Option<Bucket>,
    given: Meter,
    limited: BTreeMap<Limit, Limited>,
    series: TenantSeries,
}

/// How often a limit was reached, first and last.
#[derive(Debug, Clone, Copy)]
struct Limited {
    times: u64,
    first: Instant,
    last: Instant,
}

impl Tenant {
    fn has_recovered(&mut self, now: Instant) -> bool {
        let mut buckets = [&mut self.events, &mut self.bytes].into_iter().flatten();
        let is_idle = self.connections == 0 && self.in_work_bytes == 0;
        is_idle && buckets.all(|bucket| bucket.is_full(now))
    }

    fn status(&self, name: &str, share_bytes: u64, now: Instant) -> TenantStatus {
        let (quota, given) = (&self.quota, self.given.read(now));
        let ago = |then| now.saturating_duration_since(then).as_secs_f64();
        let limited = self.limited.iter().map(|(limit, it)| {
            let (first_seconds_ago, last_seconds_ago) = (ago(it.first), ago(it.last));
            let status = LimitedStatus { times: it.times, first_seconds_ago, last_seconds_ago };
            (limit.name().to_owned(), status)
        });
        TenantStatus {
            name: name.to_owned(),
            weight: quota.weight.unwrap_or(1),
            connections: self.connections,
            connections_max: quota.connections_max,
            events_per_second: given.events_per_second,
            events_per_second_max: quota.events_per_second,
            bytes_per_second: given.bytes_per_second,
            bytes_per_second_max: quota.bytes_per_second.map(|bytes| bytes.0),
            in_work_bytes: self.in_work_bytes,
            share_bytes,
            message_max_bytes: quota.message_max.map(|bytes| bytes.0),
            limited: limited.collect(),
        }
    }
}

impl Registry {
    /// Of a source, by these settings.
    fn new(
        (source, metrics): (&Arc<str>, &Metrics),
        settings: Tenants,
        in_flight_max: u64,
    ) -> Arc<Self> {
        // Those that have limits of their own are shown whatever comes first.
        for name in settings.names.keys() {
            metrics.tenant(source, &name.to_ascii_lowercase());
        }
        let (source, metrics) = (source.clone(), metrics.clone());
        Arc::new(Self { source, metrics, settings, in_flight_max, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of `peer` is open until the answer is dropped.
    fn enter(self: &Arc<Self>, peer: &Peer, now: Instant) -> Member {
        let name = peer.tenant();
        let mut known = self.known();
        if !known.all.contains_key(&name) {
            // Here alone they become more.
            known.all.retain(|_, tenant| !tenant.has_recovered(now));
            let quota = self.settings.quota(&name);
            let tenant = Tenant {
                number: known.next,
                connections: 0,
                placed: 0,
                in_work_bytes: 0,
                events: quota.events_per_second.map(|rate| Bucket::new(rate, now)),
                bytes: quota.bytes_per_second.map(|rate| Bucket::new(rate.0, now)),
                given: Meter::new(now),
                limited: BTreeMap::new(),
                series: self.metrics.tenant(&self.source, &name),
                quota,
            };
            known.next += 1;
            known.all.insert(name.clone(), tenant);
        }
        let tenant = known.all.get_mut(&name).expect("it is there by now");
        tenant.connections += 1;
        tenant.series.connections.inc();
        let is_first = tenant.connections == 1;
        // One line for all is the order in which they come.
        let number = if self.settings.fair { tenant.number } else { 0 };
        let turn = (number, tenant.quota.weight.unwrap_or(1));
        let has_rates = tenant.events.is_some() || tenant.bytes.is_some();
        let message_max = tenant.quota.message_max.map(|bytes| bytes.0);
        known.connected += u64::from(is_first);
        drop(known);
        let is_placed = AtomicBool::new(false);
        Member { registry: self.clone(), name, turn, has_rates, message_max, is_placed }
    }

    /// Does something to a tenant that is known.
    fn with<R>(&self, name: &Arc<str>, of: impl FnOnce(&mut Tenant) -> R) -> R {
        let mut known = self.known();
        let tenant = known.all.get_mut(name);
        of(tenant.expect("a tenant stays while it has a connection or something in work"))
    }
}

impl ReadTenants for Registry {
    fn read(&self, most: usize, now: Instant) -> (usize, Vec<TenantStatus>) {
        let known = self.known();
        let share_bytes = self.in_flight_max / known.connected.max(1);
        let all = known.all.iter().map(|(name, tenant)| tenant.status(name, share_bytes, now));
        let mut all: Vec<TenantStatus> = all.collect();
        drop(known);
        let count = all.len();
        all.sort_by(|one, other| other.bytes_per_second.total_cmp(&one.bytes_per_second));
        all.truncate(most);
        (count, all)
    }
}

/// A connection of a tenant.
#[derive(Debug)]
pub struct Member {
    registry: Arc<Registry>,
    name: Arc<str>,
    /// By what it is known where turns are given.
    turn: (u64, u32),
    /// Most have none: then nothing is asked for each batch.
    has_rates: bool,
    message_max: Option<u64>,
    /// It has one of the places that its tenant has for connections.
    is_placed: AtomicBool,
}

impl Member {
    fn with<R>(&self, of: impl FnOnce(&mut Tenant) -> R) -> R {
        self.registry.with(&self.name, of)
    }

    /// Counts that it was held back.
    fn limited(&self, limit: Limit) {
        let Registry { source, metrics, .. } = &*self.registry;
        let now = Instant::now();
        metrics.count_anomaly(source, limit.anomaly(), 1);
        self.with(|tenant| {
            let first = Limited { times: 0, first: now, last: now };
            let limited = tenant.limited.entry(limit).or_insert(first);
            (limited.times, limited.last) = (limited.times + 1, now);
            metrics.count_limited(&tenant.series, limit.name());
        });
    }

    /// Takes one of the places that its tenant has for connections, if it has none yet.
    ///
    /// # Errors
    /// Other connections of its tenant have them all.
    pub fn check(&self) -> Result<(), Over> {
        if self.is_placed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let full = self.with(|tenant| {
            let max = tenant.quota.connections_max.unwrap_or(u32::MAX);
            if tenant.placed >= max {
                return Some((tenant.connections, max));
            }
            // Two requests of one connection take one place.
            tenant.placed += u32::from(!self.is_placed.swap(true, Ordering::Relaxed));
            None
        });
        let Some((connections, max)) = full else { return Ok(()) };
        self.limited(Limit::Connections);
        Err(Over::Connections { name: self.name.clone(), connections, max })
    }

    /// Whether a request of it may be read now.
    ///
    /// # Errors
    /// It has too many connections, or has to come again later.
    pub fn ask(&self, now: Instant) -> Result<(), Over> {
        self.check()?;
        self.take(0, now).map_err(|wait| {
            self.limited(Limit::Rate);
            Over::Rate { name: self.name.clone(), wait }
        })
    }

    /// So many bytes have come on it.
    ///
    /// # Errors
    /// As [`Member::check`].
    pub(super) fn came(&self, bytes: usize) -> Result<(), Over> {
        self.check()?;
        self.charge(bytes as u64, Instant::now());
        Ok(())
    }

    /// Cuts what is longer than its largest message; why, if it was.
    pub(super) fn cut(&self, frame: &mut Frame) -> Option<Over> {
        let own = self.message_max(u64::MAX);
        if frame.message.len() as u64 <= own {
            return None;
        }
        frame.message.truncate(own as usize);
        frame.is_cut = true;
        self.too_large()
    }

    /// Its largest message, where the source takes so many bytes.
    pub fn message_max(&self, largest: u64) -> u64 {
        self.message_max.map_or(largest, |own| own.min(largest))
    }

    /// What it is answered to a message over that, where the limit is its own.
    pub fn too_large(&self) -> Option<Over> {
        let max = self.message_max?;
        self.limited(Limit::Message);
        Some(Over::Message { name: self.name.clone(), max })
    }

    /// The share of one connection of this tenant in all that may be in work.
    pub(super) fn share(&self) -> u64 {
        let known = self.registry.known();
        let own = known.all.get(&self.name).map_or(1, |tenant| tenant.connections);
        self.registry.in_flight_max / known.connected.max(1) / u64::from(own.max(1))
    }

    /// So many bytes of its tenant are in work until the answer is dropped.
    fn in_work(&self, bytes: u64) -> InWork {
        self.with(|tenant| tenant.in_work_bytes += bytes);
        InWork::new(&self.registry, &self.name, bytes)
    }

    /// Takes what a batch of so many bytes needs of the rates.
    ///
    /// # Errors
    /// It has to wait so long, and then to ask again.
    fn take(&self, bytes: u64, now: Instant) -> Result<(), Duration> {
        if !self.has_rates {
            return Ok(());
        }
        self.with(|tenant| {
            let buckets = [&mut tenant.events, &mut tenant.bytes].into_iter().flatten();
            if let Some(wait) = buckets.filter_map(|bucket| bucket.wait(now)).max() {
                return Err(wait);
            }
            if let Some(bucket) = &mut tenant.bytes {
                bucket.charge(bytes, now);
            }
            Ok(())
        })
    }

    /// Whether its rates make it wait now.
    pub fn has_to_wait(&self, now: Instant) -> bool {
        self.take(0, now).is_err()
    }

    /// Waits until a batch of so many bytes may pass. Cancel safe.
    pub async fn pass(&self, bytes: u64) {
        let mut has_waited = false;
        while let Err(wait) = self.take(bytes, Instant::now()) {
            if !std::mem::replace(&mut has_waited, true) {
                self.limited(Limit::Rate);
            }
            sleep(wait).await;
        }
    }

    /// Charges its tenant for something that it has given.
    fn charged(&self, of: impl FnOnce(&mut Tenant)) {
        let another = mutant!("tenant_charged_for_another");
        let first = another.then(|| self.registry.known().all.keys().next().cloned()).flatten();
        self.registry.with(first.as_ref().unwrap_or(&self.name), of);
    }

    /// A message that was asked for has so many bytes.
    pub fn charge(&self, bytes: u64, now: Instant) {
        if self.has_rates {
            self.charged(|tenant| tenant.bytes.iter_mut().for_each(|it| it.charge(bytes, now)));
        }
    }

    /// A batch that has passed holds so many events and bytes.
    pub fn count(&self, events: u64, bytes: u64, now: Instant) {
        self.charged(|tenant| {
            tenant.events.iter_mut().for_each(|it| it.charge(events, now));
            tenant.given.add(now, Volume { events, bytes });
            tenant.series.events.inc_by(events);
            tenant.series.bytes.inc_by(bytes);
        });
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut known = self.registry.known();
        let left = known.all.get_mut(&self.name).map(|tenant| {
            tenant.connections -= 1;
            tenant.placed -= u32::from(*self.is_placed.get_mut());
            tenant.series.connections.dec();
            tenant.connections
        });
        known.connected -= u64::from(left == Some(0));
    }
}

#[cfg(test)]
mod tests;
