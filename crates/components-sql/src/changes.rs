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

use kit::follow::{CatchUp, Follow, Followed, Known, Puts, Start};
use metrics::{Counter, FloatGauge, MetricSpec, Metrics};
use pipeline::{
    BuildContext, BuildError, Component, Env, Guarantee, Source, SourceContext, SourceError,
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
        let changes = Changes {
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            events: scope.counter("events")?,
            event_bytes: scope.counter("event_bytes")?,
            committed: scope.gauge("commit_timestamp_seconds")?,
            lag: scope.gauge("slot_lag_bytes")?,
            options: Arc::new(self.options(cx)?),
            tables: Arc::default(),
        };
        Ok(Box::new(Followed::new(cx, changes)))
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
}

impl Changes {
    /// Returns the position in the channel, if any.
    fn state(&self, known: &Known) -> Result<Option<State>, SourceError> {
        let state = State::read(known).map_err(refused)?;
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
    async fn store(
        &self,
        gather: &mut Gather,
        state: &mut State,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        state.number += 1;
        let gathered = gather.finish(&self.name, state).map_err(refused)?;
        self.put(gathered, puts).await;
        Ok(())
    }

    async fn put(&self, gathered: Gathered, puts: &mut Puts) {
        let Gathered { batch, events, bytes } = gathered;
        puts.put(batch).await;
        puts.stored().await;
        self.events.inc_by(events as u64);
        self.event_bytes.inc_by(bytes as u64);
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

impl Follow for Changes {
    const KIND: &'static str = Config::KIND;
    /// The position and the next step, until the source runs.
    type Link = Option<(State, Next)>;

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn batch_bytes(&self) -> u64 {
        self.options.batch_bytes as u64
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::OneChannel
    }

    async fn open(&mut self, start: &Start, _: &SourceContext) -> Result<Self::Link, SourceError> {
        let state = self.state(&start.known)?;
        let next = match self.options.target.via {
            Via::Mysql => binlog::open(&self.options, state.clone()).await,
            _ => postgres::open(&self.options, state.clone()).await,
        };
        let next = next.map_err(failed)?;
        let of = self.options.digest();
        let state = state.unwrap_or_else(|| State { of, ..State::default() });
        Ok(Some((state, next)))
    }

    async fn read(&mut self, opened: &mut Self::Link, puts: &mut Puts) -> Result<(), SourceError> {
        let (state, next) = opened.take().expect("a source is opened before it runs");
        if matches!(next, Next::Make { is_lost: true, .. }) {
            self.metrics.count_anomaly(&self.name, "changes_lost", 1);
        }
        let is_mysql = matches!(self.options.target.via, Via::Mysql);
        let state = match next {
            Next::Changes(from) => from,
            Next::Make { is_void, .. } if is_mysql => {
                self.snapshot_of_log(state, is_void, puts).await?
            }
            Next::Make { is_void, .. } => self.snapshot(state, is_void, puts).await?,
        };
        match is_mysql {
            true => self.follow_log(state, puts).await,
            false => self.follow(state, puts).await,
        }
    }
}
