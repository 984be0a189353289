//! `hbase`: writes each event as a row of a table, and the same row if the event is repeated.
//!
//! ```text
//!   a batch ─► rows ─► puts, by region, to the region servers ─► counters are raised
//!      │         └ cannot be made ────────┐   └ rejected by HBase
//!      └ its identity: ids of its events, │        │
//!        nonces of its increments         └────────┴──► dead letters
//! ```
//!
//! # Invariants
//!
//! 1. An event's id, and so a key made of it, depends only on its batch's identity and its index.
//! 2. Rows are written before counters are incremented: rejected rows are not counted.
//! 3. Only one batch per origin is in flight, so that an older batch never overwrites a newer one.
//!
//! | module | contents |
//! |---|---|
//! | `config` | the settings |
//! | `template` | templates of keys and values |
//! | `row` | maps an event to a row, and to counters |

mod config;
mod row;
mod template;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use kit::places::Places;
use kit::refused::{Refused, all_but};
use metrics::{Counter, MetricSpec};
use pipeline::deliver::{Deliver, Delivered, Options, Requests};
use pipeline::{Batch, BuildContext, BuildError, Component, Env, Guarantee, Sink};

use crate::cluster::{Cluster, Connections};
use crate::failure::{Exception, HbaseError};
use crate::proto::Mutation;
use crate::writer::Writer;
pub use config::Config;
use row::{BatchName, Counts, Mapping};

/// An event cannot be converted to a row.
const UNWRITABLE: &str = "unwritable_event";
/// HBase rejects a row.
const REFUSED: &str = "refused";

impl Component for Config {
    const KIND: &'static str = "hbase";
    const LETTERS: &[&str] = &["unwritable_event", "refused"];
    const METRICS: &'static [MetricSpec] = &[
        MetricSpec::counter("rows", "Rows written."),
        MetricSpec::counter(
            "region_lookups",
            "Lookups of regions in hbase:meta, for new and moved regions.",
        ),
    ];
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        self.check()?;
        let options =
            Options { in_flight_max: self.in_flight_max, in_order: true, timeout: self.timeout.0 };
        let scope = cx.scope::<Self>();
        let hbase = Hbase {
            cluster: Cluster::new(self.target(cx)?, self.table()?),
            mapping: self.mapping()?,
            places: Places::new(self.in_flight_max),
            env: cx.env.clone(),
            rows: scope.counter("rows")?,
            lookups: scope.counter("region_lookups")?,
        };
        Ok(Box::new(Requests::new(hbase, options)))
    }
}

struct Hbase {
    cluster: Cluster,
    mapping: Mapping,
    places: Places<Connections>,
    env: Env,
    rows: Counter,
    lookups: Counter,
}

/// The rows of a batch.
struct Rows {
    puts: Vec<Mutation>,
    /// The event index of each row.
    places: Vec<usize>,
    /// Events that cannot be converted.
    unwritable: Refused,
}

impl Hbase {
    fn rows(&self, batch: &Batch, name: &BatchName) -> Rows {
        let (mut puts, mut places, mut unwritable) = (Vec::new(), Vec::new(), Refused::new());
        for event in batch.iter() {
            match self.mapping.put(event, &name.id(event.index())) {
                Ok(put) => {
                    places.push(event.index());
                    puts.push(put);
                }
                Err(problem) => unwritable.push((event.index(), problem)),
            }
        }
        Rows { puts, places, unwritable }
    }

    async fn write(
        &self,
        connections: &mut Connections,
        mutations: &[Mutation],
        nonce_group: Option<u64>,
    ) -> Result<Vec<(usize, Exception)>, HbaseError> {
        let (cluster, lookups) = (&self.cluster, &self.lookups);
        Writer { cluster, connections, mutations, nonce_group, lookups }.write().await
    }

    /// Increments the counters for the events that are not rejected.
    async fn count(
        &self,
        connections: &mut Connections,
        batch: &Batch,
        name: &BatchName,
        refused: &Refused,
    ) -> Result<(), HbaseError> {
        if self.mapping.counters.is_empty() {
            return Ok(());
        }
        let mut counts = Counts::new();
        let is_refused = |place: usize| refused.iter().any(|(other, _)| *other == place);
        for event in batch.iter().filter(|event| !is_refused(event.index())) {
            self.mapping.count(event, &mut counts);
        }
        let increments = self.mapping.increments(counts, name);
        let refused = self.write(connections, &increments, Some(name.nonce_group())).await?;
        match refused.into_iter().next() {
            None => Ok(()),
            // The settings cause this error, not an event.
            Some((_, exception)) => Err(HbaseError::Counter { exception }),
        }
    }
}

#[async_trait]
impl Deliver for Hbase {
    type Error = HbaseError;

    async fn open(&self) -> Result<(), HbaseError> {
        self.cluster.locate(&mut Connections::default(), b"").await.map(drop)
    }

    async fn probe(&self) -> Result<Option<String>, HbaseError> {
        self.open().await?;
        Ok(Some(format!("HBase: table {} exists", self.cluster.table)))
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, HbaseError> {
        let name = BatchName::new(batch, || self.env.entropy.bytes16());
        let mut refused = Refused::new();
        let mut taken = self.places.take();
        let mut connections = taken.place().open.take().unwrap_or_default();
        let mut reason = UNWRITABLE;
        if self.mapping.has_puts {
            let Rows { puts, places, unwritable } = self.rows(batch, &name);
            refused = unwritable;
            let by_hbase = self.write(&mut connections, &puts, None).await?;
            self.rows.inc_by((puts.len() - by_hbase.len()) as u64);
            if !by_hbase.is_empty() {
                reason = REFUSED;
            }
            let of_event = |(at, why): (usize, Exception)| (places[at], why.to_string());
            refused.extend(by_hbase.into_iter().map(of_event));
        }
        self.count(&mut connections, batch, &name, &refused).await?;
        taken.place().open = Some(connections);
        Ok(all_but(refused, reason))
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
}
