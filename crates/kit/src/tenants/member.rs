//! A connection of a tenant: its requests for resources, and the charges to its tenant.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pipeline::{Frame, Identity};
use support::meter::Volume;
use support::mutant;
use tokio::time::{Instant, sleep};

use super::over::Limit;
use super::{InWork, Limited, Over, Place, Registry, Tenant};

/// A connection of a tenant.
#[derive(Debug)]
pub struct Member {
    pub(super) registry: Arc<Registry>,
    pub(super) name: Arc<str>,
    /// Tenant number and weight, for turns.
    pub(super) turn: (u64, u32),
    /// True if rates apply. Without them, a batch needs no check.
    pub(super) has_rates: bool,
    pub(super) message_max: Option<u64>,
    /// Limit of its tenant's bytes in the channels.
    pub(super) backlog_max: Option<u64>,
    /// True if it counts against the connection limit of its tenant.
    pub(super) is_placed: AtomicBool,
    /// True while one of its batches waits for room in the tenant's backlog.
    pub(super) waits_for_place: AtomicBool,
}

impl Member {
    fn with<R>(&self, of: impl FnOnce(&mut Tenant) -> R) -> R {
        self.registry.with(&self.name, of)
    }

    /// Counts that a limit was reached.
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

    /// Counts the connection against the limit of its tenant, once.
    ///
    /// # Errors
    /// Fails if the tenant has reached its limit.
    pub fn check(&self) -> Result<(), Over> {
        if self.is_placed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let full = self.with(|tenant| {
            let max = tenant.quota.connections_max.unwrap_or(u32::MAX);
            if tenant.placed >= max {
                return Some((tenant.connections, max));
            }
            // Two concurrent requests of one connection count once.
            tenant.placed += u32::from(!self.is_placed.swap(true, Ordering::Relaxed));
            None
        });
        let Some((connections, max)) = full else { return Ok(()) };
        self.limited(Limit::Connections);
        Err(Over::Connections { name: self.name.clone(), connections, max })
    }

    /// Checks that a request may be read now.
    ///
    /// # Errors
    /// Fails if the tenant has too many connections, or must retry later.
    pub fn ask(&self, now: Instant) -> Result<(), Over> {
        self.check()?;
        self.take(0, now).map_err(|wait| {
            self.limited(Limit::Rate);
            Over::Rate { name: self.name.clone(), wait }
        })
    }

    /// Records `bytes` bytes read from the connection.
    ///
    /// # Errors
    /// As [`Member::check`].
    pub fn came(&self, bytes: usize) -> Result<(), Over> {
        self.check()?;
        self.charge(bytes as u64, Instant::now());
        Ok(())
    }

    /// Cuts what is longer than its largest message; why, if it was.
    pub fn cut(&self, frame: &mut Frame) -> Option<Over> {
        let own = self.message_max(u64::MAX);
        if frame.message.len() as u64 <= own {
            return None;
        }
        frame.message.truncate(own as usize);
        frame.is_cut = true;
        self.too_large()
    }

    /// Returns its message limit, in a source with the limit `largest`.
    pub fn message_max(&self, largest: u64) -> u64 {
        self.message_max.map_or(largest, |own| own.min(largest))
    }

    /// Counts a message over the tenant's own limit, and returns the error for it.
    pub fn too_large(&self) -> Option<Over> {
        let max = self.message_max?;
        self.limited(Limit::Message);
        Some(Over::Message { name: self.name.clone(), max })
    }

    /// The share of one connection of this tenant in all that may be in work.
    pub fn share(&self) -> u64 {
        let known = self.registry.known();
        let own = known.all.get(&self.name).map_or(1, |tenant| tenant.connections);
        self.registry.in_flight_max / known.connected.max(1) / u64::from(own.max(1))
    }

    /// Counts bytes of its tenant in work; released when the result is dropped.
    pub(super) fn in_work(&self, bytes: u64) -> InWork {
        self.with(|tenant| tenant.in_work_bytes += bytes);
        InWork::new(&self.registry, &self.name, bytes)
    }

    /// Takes tokens of the rates for a batch of `bytes` bytes.
    ///
    /// # Errors
    /// Returns the time to wait before the next attempt.
    pub(super) fn take(&self, bytes: u64, now: Instant) -> Result<(), Duration> {
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

    /// Returns true if its rates or its backlog make it wait now.
    pub fn has_to_wait(&self, now: Instant) -> bool {
        self.waits_for_place.load(Ordering::Relaxed) || self.take(0, now).is_err()
    }

    /// Waits for room in the tenant's backlog for a batch of `bytes` bytes, and takes a place;
    /// `None` if it needs none. One batch waits at a time. Cancel safe.
    pub async fn place(&self, key: Identity, bytes: u64) -> Option<Place> {
        let max = self.backlog_max?;
        let waiting = Waiting(&self.waits_for_place);
        let waits = || {
            waiting.0.store(true, Ordering::Relaxed);
            self.limited(Limit::Backlog);
        };
        self.registry.backlog.place((&self.name, max), (key, bytes), waits).await
    }

    /// Waits until the rates allow a batch of `bytes` bytes. Cancel safe.
    pub async fn pass(&self, bytes: u64) {
        let mut has_waited = false;
        while let Err(wait) = self.take(bytes, Instant::now()) {
            if !std::mem::replace(&mut has_waited, true) {
                self.limited(Limit::Rate);
            }
            sleep(wait).await;
        }
    }

    /// Charges its tenant.
    fn charged(&self, of: impl FnOnce(&mut Tenant)) {
        let another = mutant!("tenant_charged_for_another");
        let first = another.then(|| self.registry.known().all.keys().next().cloned()).flatten();
        self.registry.with(first.as_ref().unwrap_or(&self.name), of);
    }

    /// Charges the bytes of a message that was requested.
    pub fn charge(&self, bytes: u64, now: Instant) {
        if self.has_rates {
            self.charged(|tenant| tenant.bytes.iter_mut().for_each(|it| it.charge(bytes, now)));
        }
    }

    /// Records the events and bytes of a batch that has passed.
    pub fn count(&self, events: u64, bytes: u64, now: Instant) {
        self.charged(|tenant| {
            tenant.events.iter_mut().for_each(|it| it.charge(events, now));
            tenant.given.add(now, Volume { events, bytes });
            tenant.series.events.inc_by(events);
            tenant.series.bytes.inc_by(bytes);
        });
    }
}

/// Marks the connection as waiting; resets the mark when dropped.
struct Waiting<'a>(&'a AtomicBool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
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
