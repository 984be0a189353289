//! Tenants: what shares the source. A sender is one by the first name in its certificate; without
//! one, by the host of its address. All connections of a tenant count together.
//!
//! ```text
//!   put ─► rate of its tenant ─► turn ─► memory ─► turn ─► channel
//!          (waits unread)        └─ fair among tenants ─┘
//! ```
//!
//! A tenant is known while it is connected, and until its rates have recovered: to connect again
//! gives nothing back.

mod bucket;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipeline::BuildError;
use pipeline::units::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::peer::Peer;
use crate::sources::listening;
use bucket::Bucket;

/// What each sender may take, known by the first name in its certificate, or without one by the
/// host of its address.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tenants {
    /// Whether senders get equal shares of what there is room for, in memory and in the channels.
    /// `false`: whatever comes first.
    pub fair: bool,
    /// Connections of one sender at a time.
    pub connections_max: Option<u32>,
    /// Events that one sender may give in each second. What comes faster waits unread.
    pub events_per_second: Option<u64>,
    /// Bytes of batches, before compression, that one sender may give in each second.
    pub bytes_per_second: Option<ByteSize>,
    /// What counts for single senders in place of that, by their names.
    pub names: BTreeMap<String, Quota>,
}

/// What one sender may take.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// How many shares it gets; 1 unless set.
    pub weight: Option<u32>,
    /// Connections of it at a time.
    pub connections_max: Option<u32>,
    /// Events in each second.
    pub events_per_second: Option<u64>,
    /// Bytes of batches, before compression, in each second.
    pub bytes_per_second: Option<ByteSize>,
}

impl Default for Tenants {
    fn default() -> Self {
        Self {
            fair: true,
            connections_max: None,
            events_per_second: None,
            bytes_per_second: None,
            names: BTreeMap::new(),
        }
    }
}

impl Tenants {
    /// Whether the settings can work.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        let common = Quota { weight: None, ..self.quota("") };
        let named = self.names.iter().map(|(name, quota)| (format!("tenants.names.{name}"), quota));
        for (table, quota) in [("tenants".to_owned(), &common)].into_iter().chain(named) {
            let counts = [
                ("weight", quota.weight.map(u64::from)),
                ("connections_max", quota.connections_max.map(u64::from)),
                ("events_per_second", quota.events_per_second),
                ("bytes_per_second", quota.bytes_per_second.map(|bytes| bytes.0)),
            ];
            if let Some((setting, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
                return Err(BuildError::invalid(format!("{table}.{setting}"), "must not be 0"));
            }
            if quota.weight.is_some_and(|weight| weight > WEIGHT_MAX) {
                let problem = format!("at most {WEIGHT_MAX}");
                return Err(BuildError::invalid(format!("{table}.weight"), problem));
            }
        }
        Ok(())
    }

    fn quota(&self, name: &str) -> Quota {
        let own = self.names.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        let own = own.map(|(_, quota)| quota.clone()).unwrap_or_default();
        Quota {
            weight: own.weight,
            connections_max: own.connections_max.or(self.connections_max),
            events_per_second: own.events_per_second.or(self.events_per_second),
            bytes_per_second: own.bytes_per_second.or(self.bytes_per_second),
        }
    }
}

/// The largest weight: a round is not to be one tenant's.
const WEIGHT_MAX: u32 = 100;

/// A tenant has more connections than it may.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{name}` has {connections} connections, over its {max}: `tenants.connections_max` of this \
     source"
)]
pub(super) struct TooMany {
    name: Arc<str>,
    connections: u32,
    max: u32,
}

/// The tenants of one run.
#[derive(Debug)]
pub(super) struct Registry {
    settings: Tenants,
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
    events: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Tenant {
    fn has_recovered(&mut self, now: Instant) -> bool {
        let mut buckets = [&mut self.events, &mut self.bytes].into_iter().flatten();
        self.connections == 0 && buckets.all(|bucket| bucket.is_full(now))
    }
}

impl Registry {
    /// By these settings.
    pub(super) fn new(settings: Tenants) -> Arc<Self> {
        Arc::new(Self { settings, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of `peer` is open until the answer is dropped.
    pub(super) fn enter(self: &Arc<Self>, peer: &Peer, now: Instant) -> Member {
        let name = match peer.names.first() {
            Some(name) => name.clone(),
            None => listening::host(&peer.address).into(),
        };
        let mut known = self.known();
        if !known.all.contains_key(&name) {
            // Here alone they become more.
            known.all.retain(|_, tenant| !tenant.has_recovered(now));
            let quota = self.settings.quota(&name);
            let events = quota.events_per_second.map(|rate| Bucket::new(rate, now));
            let bytes = quota.bytes_per_second.map(|rate| Bucket::new(rate.0, now));
            let number = known.next;
            known.next += 1;
            let tenant = Tenant { number, quota, connections: 0, events, bytes };
            known.all.insert(name.clone(), tenant);
        }
        let tenant = known.all.get_mut(&name).expect("it is there by now");
        tenant.connections += 1;
        let is_first = tenant.connections == 1;
        // One line for all is the order in which they come.
        let number = if self.settings.fair { tenant.number } else { 0 };
        let weight = tenant.quota.weight.unwrap_or(1);
        let has_rates = tenant.events.is_some() || tenant.bytes.is_some();
        known.connected += u64::from(is_first);
        drop(known);
        Member { registry: self.clone(), name, turn: (number, weight), has_rates }
    }
}

/// A connection of a tenant.
#[derive(Debug)]
pub(super) struct Member {
    registry: Arc<Registry>,
    name: Arc<str>,
    /// By what it is known where turns are given.
    pub(super) turn: (u64, u32),
    /// Most have none: then nothing is asked for each batch.
    has_rates: bool,
}

impl Member {
    fn with<R>(&self, of: impl FnOnce(&mut Tenant) -> R) -> R {
        let mut known = self.registry.known();
        of(known.all.get_mut(&self.name).expect("a tenant stays while it has a connection"))
    }

    /// Whether it may be there.
    ///
    /// # Errors
    /// Its tenant has more connections than it may.
    pub(super) fn check(&self) -> Result<(), TooMany> {
        let (connections, max) = self.with(|it| (it.connections, it.quota.connections_max));
        match max {
            Some(max) if connections > max => {
                Err(TooMany { name: self.name.clone(), connections, max })
            }
            _ => Ok(()),
        }
    }

    /// The share of one connection of this tenant in what all have together.
    pub(super) fn share(&self, all: u64) -> u64 {
        let known = self.registry.known();
        let own = known.all.get(&self.name).map_or(1, |tenant| tenant.connections);
        all / known.connected.max(1) / u64::from(own.max(1))
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
    pub(super) fn has_to_wait(&self, now: Instant) -> bool {
        self.take(0, now).is_err()
    }

    /// Waits until a batch of so many bytes may pass. Cancel safe.
    pub(super) async fn pass(&self, bytes: u64) {
        while let Err(wait) = self.take(bytes, Instant::now()) {
            sleep(wait).await;
        }
    }

    /// A batch that has passed holds so many events.
    pub(super) fn count(&self, events: u64, now: Instant) {
        if self.has_rates {
            self.with(|tenant| tenant.events.iter_mut().for_each(|it| it.charge(events, now)));
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut known = self.registry.known();
        let left = known.all.get_mut(&self.name).map(|tenant| {
            tenant.connections -= 1;
            tenant.connections
        });
        known.connected -= u64::from(left == Some(0));
    }
}

#[cfg(test)]
mod tests {
    use tls::ClientNames;

    use super::*;

    fn peer(address: &str) -> Peer {
        Peer { address: address.into(), names: ClientNames::default() }
    }

    fn settings(settings: serde_json::Value) -> Tenants {
        serde_json::from_value(settings).unwrap()
    }

    #[test]
    fn connections_of_one_host_are_one_tenant_and_share_what_it_gets() {
        let registry = Registry::new(settings(serde_json::json!({
            "connections_max": 2, "names": { "10.0.0.9": { "connections_max": 3, "weight": 5 } },
        })));
        let now = Instant::now();
        let enter = |address: &str| registry.enter(&peer(address), now);
        let other = enter("10.0.0.2:1");
        let mut own: Vec<Member> = (1..3).map(|n| enter(&format!("10.0.0.1:{n}"))).collect();
        assert_eq!((other.share(120), own[0].share(120)), (60, 30));
        assert!(own[0].turn == own[1].turn && own[0].turn != other.turn);
        assert_eq!(own[1].check(), Ok(()));
        own.push(enter("10.0.0.1:9"));
        let said = own[2].check().unwrap_err().to_string();
        assert!(said.contains("`10.0.0.1` has 3 connections, over its 2"), "{said}");
        drop(own);
        assert_eq!(other.share(120), 120);
        let named: Vec<Member> = (1..4).map(|n| enter(&format!("10.0.0.9:{n}"))).collect();
        assert!(named.iter().all(|it| it.check().is_ok() && it.turn.1 == 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_counts_for_all_connections_of_a_tenant_and_over_its_returns() {
        let registry = Registry::new(settings(serde_json::json!({ "bytes_per_second": "1000B" })));
        let began = Instant::now();
        for n in 0..20 {
            let one = registry.enter(&peer(&format!("10.0.0.1:{n}")), Instant::now());
            one.pass(1_000).await;
        }
        let took = began.elapsed().as_secs_f64();
        assert!((17.9..19.1).contains(&took), "{took}");
        let other = registry.enter(&peer("10.0.0.2:1"), Instant::now());
        other.pass(1_000).await;
        assert!(!other.has_to_wait(Instant::now()), "it has a rate of its own");
        other.count(1_000_000, Instant::now());
        assert!(!other.has_to_wait(Instant::now()), "none of events");
    }

    #[tokio::test(start_paused = true)]
    async fn tenants_that_are_gone_are_forgotten_once_their_rates_have_recovered() {
        let registry = Registry::new(settings(serde_json::json!({ "events_per_second": 10 })));
        let gone = registry.enter(&peer("10.0.0.1:1"), Instant::now());
        gone.count(100, Instant::now());
        drop(gone);
        let enter = |n: u32| registry.enter(&peer(&format!("10.0.1.{n}:1")), Instant::now());
        for n in 0..100 {
            drop(enter(n));
        }
        assert_eq!(registry.known().all.len(), 2);
        sleep(Duration::from_secs(11)).await;
        drop(enter(0));
        assert_eq!(registry.known().all.len(), 1);
    }

    #[test]
    fn what_can_never_work_is_named() {
        for (wrong, named) in [
            (serde_json::json!({ "connections_max": 0 }), "tenants.connections_max"),
            (serde_json::json!({ "names": { "a": { "weight": 101 } } }), "tenants.names.a.weight"),
        ] {
            assert_eq!(settings(wrong).check().unwrap_err().setting, named);
        }
    }
}
