//! Tenants: the parties that share a source. A sender's tenant is the first name in its
//! certificate, or else the host of its address. All connections of a tenant count together.
//!
//! ```text
//!   message ─► rate of its tenant ─► backlog of ─► turn ─► memory ─► turn ─► channel
//!              (waits unread, or     its tenant    └─ fair among tenants ─┘
//!               retries later)
//! ```
//!
//! A source with backpressure leaves the data of its senders unread ([`Member::pass`]); a source
//! with replies refuses requests ([`Member::ask`]) and says when to retry.
//!
//! # Invariants
//!
//! 1. Resources of a tenant (connections, memory, turns) are released when their owner is dropped,
//!    in every case.
//! 2. A tenant is charged for its own events only.
//! 3. A tenant is known while it is connected or has something in work, and until its rates have
//!    recovered: reconnecting restores no tokens.

mod backlog;
mod bucket;
mod in_work;
mod member;
mod over;
mod peer;
#[cfg(all(test, feature = "mutants"))]
mod planted;
mod settings;
mod sharing;
mod turns;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Metrics;
use metrics::tenants::TenantSeries;
use peers::tenants::{LimitedStatus, ReadTenants, TenantStatus};
use support::meter::Meter;
use tokio::time::Instant;

use backlog::Backlog;
use bucket::Bucket;
use in_work::InWork;
use over::Limit;

pub use backlog::Place;
pub use member::Member;
pub use over::Over;
pub use peer::Peer;
pub use settings::{BacklogLimits, Quota, Tenants};
pub use sharing::{Client, Memory, Sharing};

/// Tenants of one run.
#[derive(Debug)]
struct Registry {
    source: Arc<str>,
    metrics: Metrics,
    settings: Tenants,
    /// Memory that all tenants share.
    in_flight_max: u64,
    known: Mutex<Known>,
    backlogs: BacklogLimits,
    backlog: Arc<Backlog>,
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
    /// Number of `connections` that count against its limit.
    placed: u32,
    in_work_bytes: u64,
    events: Option<Bucket>,
    bytes: Option<Bucket>,
    given: Meter,
    limited: BTreeMap<Limit, Limited>,
    series: TenantSeries,
}

/// Number of times that a limit was reached, with the first and the last time.
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

    fn status(
        &self,
        name: &str,
        (share_bytes, backlog): (u64, Option<(u64, u64)>),
        now: Instant,
    ) -> TenantStatus {
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
            backlog_bytes: backlog.map(|(bytes, _)| bytes),
            backlog_max_bytes: backlog.map(|(_, max)| max),
            limited: limited.collect(),
        }
    }
}

impl Registry {
    /// Creates the registry of a source with these settings.
    fn new(
        (source, metrics): (&Arc<str>, &Metrics),
        (settings, backlogs): (Tenants, BacklogLimits),
        in_flight_max: u64,
    ) -> Arc<Self> {
        // Create the metrics of tenants with their own limits from the start.
        for name in settings.names.keys().chain(backlogs.names.keys()) {
            metrics.tenant(source, &name.to_ascii_lowercase());
        }
        let (source, metrics) = (source.clone(), metrics.clone());
        let (known, backlog) = (Mutex::default(), Arc::default());
        Arc::new(Self { source, metrics, settings, in_flight_max, known, backlogs, backlog })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change leaves it consistent.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a connection of `peer`, which counts as open until the result is dropped.
    fn enter(self: &Arc<Self>, peer: &Peer, now: Instant) -> Member {
        let name = peer.tenant();
        let mut known = self.known();
        if !known.all.contains_key(&name) {
            // Only here the number of tenants grows.
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
        // Without fairness, all tenants share one queue, in the order of arrival.
        let number = if self.settings.fair { tenant.number } else { 0 };
        let turn = (number, tenant.quota.weight.unwrap_or(1));
        let has_rates = tenant.events.is_some() || tenant.bytes.is_some();
        let message_max = tenant.quota.message_max.map(|bytes| bytes.0);
        known.connected += u64::from(is_first);
        drop(known);
        Member {
            registry: self.clone(),
            turn,
            has_rates,
            message_max,
            backlog_max: self.backlogs.of(&name),
            is_placed: AtomicBool::new(false),
            waits_for_place: AtomicBool::new(false),
            name,
        }
    }

    /// Changes a known tenant.
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
        let all = known.all.iter().map(|(name, tenant)| {
            let backlog = self.backlogs.of(name).map(|max| (self.backlog.of(name), max));
            tenant.status(name, (share_bytes, backlog), now)
        });
        let mut all: Vec<TenantStatus> = all.collect();
        drop(known);
        let count = all.len();
        all.sort_by(|one, other| other.bytes_per_second.total_cmp(&one.bytes_per_second));
        all.truncate(most);
        (count, all)
    }
}

#[cfg(test)]
mod tests;
