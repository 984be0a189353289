//! `sql_changes`: reads row changes from PostgreSQL, MySQL or MariaDB in commit order, and makes
//! each an event.
//!
//! ```text
//!   log ── transactions ──► changes ──► events ──┐
//!     ▲                                          ├──► one write of the channel
//!     │                        the end position ─┘          │
//!     └── PostgreSQL: the database may forget ◄── is stored ┘
//! ```
//!
//! The channel stores the position with the events in one atomic write. Only then does a database
//! with a slot learn of it. After a crash, the database therefore sends too much rather than too
//! little, and the source drops stored changes by their position.
//!
//! | module | contents |
//! |---|---|
//! | `config` | the settings |
//! | `change` | the parts of a change |
//! | `assemble` | turns changes into events, each once |
//! | `position` | the position stored with the events |
//! | `postgres` | the reader of a slot |
//! | `binlog` | the reader of a MySQL or MariaDB binary log |

mod assemble;
mod binlog;
mod change;
mod config;
mod position;
mod postgres;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kit::one_channel;
use kit::until_stored::UntilStored;
use metrics::{Counter, FloatGauge, MetricSpec, Metrics};
use pipeline::{
    BuildContext, BuildError, Component, Env, Guarantee, Intake, ResendMode, Source, SourceContext,
    SourceError,
};

use crate::connection::Via;
use crate::error::{failed, refused};
use assemble::{Gather, Gathered};
pub use config::Config;
use config::Options;
use position::{Next, State};

impl Component for Config {
    const KIND: &'static str = "sql_changes";
    const ANOMALIES: &[&str] = &["changes_lost", "schema_changed", "snapshot_repeated"];
    const EXAMPLE: &str = "tables = [\"t\"]\n\
        create = true\n\
        database = { url = \"postgres://127.0.0.1/a\", user = \"u\" }";
    const METRICS: &'static [MetricSpec] = &[
        MetricSpec::counter("events", "Changes and snapshot rows that are stored."),
        MetricSpec::counter("event_bytes", "Bytes of the bodies and headers of stored changes."),
        MetricSpec::gauge(
            "commit_timestamp_seconds",
            "Commit time of the last stored transaction, in seconds since 1970.",
        ),
        MetricSpec::gauge(
            "slot_lag_bytes",
            "Bytes of the database log that the database has not decoded or the source has not \
             stored yet.",
        ),
    ];
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let scope = cx.scope::<Self>();
        Ok(Box::new(Changes {
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            events: scope.counter("events")?,
            event_bytes: scope.counter("event_bytes")?,
            committed: scope.gauge("commit_timestamp_seconds")?,
            lag: scope.gauge("slot_lag_bytes")?,
            options: Arc::new(self.options(cx)?),
            tables: Arc::default(),
            opened: None,
            until_stored: None,
        }))
    }
}

struct Changes {
    name: Arc<str>,
    env: Env,
    metrics: Metrics,
    events: Counter,
    event_bytes: Counter,
    committed: FloatGauge,
    lag: FloatGauge,
    options: Arc<Options>,
    /// The tables of PostgreSQL, as last seen.
    tables: Arc<Mutex<postgres::Names>>,
    /// Set between opening and running.
    opened: Option<(State, Next)>,
    /// Set while it runs.
    until_stored: Option<UntilStored>,
}

impl Changes {
    /// Returns the position in the channel, if any.
    fn state(&self, cx: &SourceContext) -> Result<Option<State>, SourceError> {
        let known = one_channel::known(Config::KIND, &self.name, cx)?;
        let state = State::read(&known).map_err(refused)?;
        match state {
            Some(state) if state.of != self.options.digest() => Err(refused(
                "the position in the channel belongs to another database, `slot` or `publication`; \
                 restore these settings, or rename the source to start again"
                    .to_owned(),
            )),
            state => Ok(state),
        }
    }

    /// Stores a batch with its end position.
    async fn store(&mut self, gather: &mut Gather, state: &mut State) -> Result<(), SourceError> {
        state.number += 1;
        let gathered = gather.finish(&self.name, state).map_err(refused)?;
        self.put(gathered, state.number).await
    }

    async fn put(&mut self, gathered: Gathered, number: u64) -> Result<(), SourceError> {
        let Gathered { batch, events, bytes } = gathered;
        let Some(until_stored) = &mut self.until_stored else { return Ok(()) };
        match until_stored.put(batch, None, |known| position::lacks(known, number)).await {
            Ok(()) => {
                self.events.inc_by(events as u64);
                self.event_bytes.inc_by(bytes as u64);
                Ok(())
            }
            Err(error) => Err(one_channel::cause(error).await),
        }
    }

    /// Reads changes until an error.
    async fn read(
        &mut self,
        (state, next): (State, Next),
        intake: &dyn Intake,
    ) -> Result<(), SourceError> {
        if matches!(next, Next::Make { is_lost: true, .. }) {
            self.metrics.count_anomaly(&self.name, "changes_lost", 1);
        }
        match self.options.target.via {
            Via::Mysql => self.read_binlog(state, next, intake).await,
            _ => self.read_postgres(state, next, intake).await,
        }
    }

    /// Counts and reports a change of a table's columns.
    fn count_schema(&self, changes: Option<String>) {
        if let Some(changes) = changes {
            self.metrics.count_anomaly(&self.name, "schema_changed", 1);
            tracing::warn!(source = %self.name,
                "the columns of a table changed, and later events have the new columns; no event \
                 is lost; adapt readers of the events if necessary: {changes}");
        }
    }
}

#[async_trait]
impl Source for Changes {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::ByPosition
    }

    fn batch_bytes(&self) -> u64 {
        self.options.batch_bytes as u64
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        let state = self.state(cx)?;
        let next = match self.options.target.via {
            Via::Mysql => binlog::open(&self.options, state.clone()).await,
            _ => postgres::open(&self.options, state.clone()).await,
        };
        let next = next.map_err(failed)?;
        let of = self.options.digest();
        let state = state.unwrap_or_else(|| State { of, ..State::default() });
        self.opened = Some((state, next));
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let opened = self.opened.take().expect("a source is opened before it runs");
        let (entropy, positions) = (self.env.entropy.clone(), cx.positions.clone());
        self.until_stored = Some(UntilStored::new(self.name.clone(), entropy, positions));
        let ended = {
            let reading = Box::pin(self.read(opened, &*cx.intake));
            cx.stop.run_until_cancelled(reading).await
        };
        if let Some(until_stored) = self.until_stored.take() {
            until_stored.finish(one_channel::FINISH_WITHIN).await;
        }
        ended.unwrap_or(Ok(()))
    }
}
