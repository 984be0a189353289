//! `sql`: writes each event as a row of a table, exactly once.
//!
//! ```text
//!   a batch ─► one transaction: its rows, and its identity in the ledger of the database
//!              a rejected row goes to the dead letters, the rest is applied
//!              a batch that is in the ledger is not applied again
//! ```
//!
//! Each attempt first locks the row of the batch's origin and asks the ledger. So it does not
//! matter whether an unanswered COMMIT took effect, or which collector sent it.
//!
//! | module | contents |
//! |---|---|
//! | `config` | the settings |
//! | `row`, `value` | maps an event to column values |
//! | `table` | the description of the table or procedure |
//! | `statements` | the SQL texts, by dialect |
//! | `session`, `bound` | a connection: statements with values, rows by a plan |
//! | `ledger` | the tables of the ledger |
//! | `apply` | applies a batch in one transaction |
//! | `survey` | inspects a table before rows are written |
//! | `staging` | moves the rows of a staging table in one transaction |

mod apply;
mod bound;
mod config;
mod ledger;
mod problem;
mod row;
mod session;
mod staging;
mod statements;
mod survey;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[cfg(feature = "odbc")]
#[path = "sink/tests.rs"]
#[allow(clippy::duplicate_mod, reason = "the same tests by another client")]
mod tests_by_odbc;
mod value;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kit::record::closed;
use metrics::{Counter, MetricSpec};
use peers::FloorBoard;
use pipeline::deliver::{Deliver, Delivered, Options, Requests};
use pipeline::traces::Attribute;
use pipeline::{
    Batch, BuildContext, BuildError, Component, DedupeScope, Env, Guarantee, Identity, Sink, Traces,
};
use tokio::time::Instant;

use crate::database::Target;
use crate::error::SqlError;
use apply::{Applied, ApplyPlan};
pub use config::Config;
use config::Mode;
use ledger::Ledger;
use problem::SinkProblem;
use row::Reading;
use session::Session;
pub use staging::Staging;
use statements::Plan;
pub use survey::{Survey, survey};
use table::Table;

/// An event cannot be converted to a row.
const UNWRITABLE: &str = "unwritable_event";
/// The database rejected a row.
const REFUSED: &str = "refused";
/// The reasons of dead letters in the ledger.
const REASONS: [&str; 2] = [UNWRITABLE, REFUSED];

/// Maximum attempts in a row after a lost connection or a changed table.
const ATTEMPTS: usize = 3;

impl Component for Config {
    const KIND: &'static str = "sql";
    const LETTERS: &[&str] = &["unwritable_event", "refused", "epoch_closed"];
    const METRICS: &'static [MetricSpec] = &[
        MetricSpec::counter("applied_rows", "Rows that a sink has applied."),
        MetricSpec::counter(
            "repeated_batches",
            "Resent batches that were already applied, according to the ledger.",
        ),
        MetricSpec::counter(
            "unanswered_commits",
            "Transactions whose COMMIT was not acknowledged; the ledger showed the result.",
        ),
    ];
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        self.check()?;
        let reading = self.reading()?;
        let Self { database, table, mode, key, rows_max, ledger, in_flight_max, timeout, .. } =
            self;
        let target = database.target(cx)?;
        let options = Options { in_flight_max, in_order: true, timeout: timeout.0 };
        let ledger = Ledger::new(ledger, &cx.name, cx.env.clone());
        let scope = cx.scope::<Self>();
        let sql = Sql {
            target,
            table,
            mode,
            key,
            rows_max,
            reading,
            ledger,
            floors: cx.get(),
            traces: cx.get(),
            env: cx.env.clone(),
            way: Mutex::default(),
            sessions: Mutex::default(),
            forgot: Mutex::default(),
            applied: scope.counter("applied_rows")?,
            repeated: scope.counter("repeated_batches")?,
            unanswered: scope.counter("unanswered_commits")?,
        };
        Ok(Box::new(Requests::new(sql, options)))
    }
}

struct Sql {
    target: Target,
    table: String,
    mode: Mode,
    key: Vec<String>,
    rows_max: usize,
    reading: Reading,
    ledger: Ledger,
    floors: FloorBoard,
    traces: Traces,
    env: Env,
    /// `None` until the table is described, and after a failure.
    way: Mutex<Option<Arc<ApplyPlan>>>,
    /// Idle connections.
    sessions: Mutex<Vec<Session>>,
    /// When old ledger rows were last deleted.
    forgot: Mutex<Option<Instant>>,
    applied: Counter,
    repeated: Counter,
    unanswered: Counter,
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // No critical section leaves partial state.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sql {
    /// Returns a connection, and the way to apply batches.
    async fn ready(&self) -> Result<(Session, Arc<ApplyPlan>), SinkProblem> {
        let free = locked(&self.sessions).pop();
        let mut session = match free {
            Some(session) => session,
            None => self.open_session().await?,
        };
        let known = locked(&self.way).clone();
        if let Some(way) = known {
            return Ok((session, way));
        }
        let way = Arc::new(self.describe(&mut session).await?);
        *locked(&self.way) = Some(way.clone());
        Ok((session, way))
    }

    async fn open_session(&self) -> Result<Session, SqlError> {
        let mut session = Session::open(&self.target).await?;
        if self.mode == Mode::Call {
            session.guard_commits();
        }
        Ok(session)
    }

    async fn describe(&self, session: &mut Session) -> Result<ApplyPlan, SinkProblem> {
        let name = self.table.clone();
        let table = Table::of(session, &name, self.mode).await?;
        let (targets, key) = table.targets(&self.reading, self.mode, &self.key)?;
        let plan = Plan::new(session.way(), &table, self.mode, targets, key, self.rows_max);
        Ok(ApplyPlan { name, table, plan })
    }

    /// Drops connections and the table description after an unclear failure.
    fn forget(&self) {
        locked(&self.sessions).clear();
        *locked(&self.way) = None;
    }

    /// Deletes old ledger rows from time to time.
    async fn delete_old_rows(&self, session: &mut Session) -> Result<(), SinkProblem> {
        let is_due = locked(&self.forgot).is_none_or(|at| at.elapsed() >= Ledger::FORGET_EVERY);
        if is_due {
            self.ledger.open(session).await?;
            *locked(&self.forgot) = Some(Instant::now());
        }
        Ok(())
    }

    /// Attempts a batch. Keeps the connection if it is still usable.
    async fn attempt(&self, batch: &Batch, key: Option<Identity>) -> Result<Applied, SinkProblem> {
        let (mut session, way) = self.ready().await?;
        self.delete_old_rows(&mut session).await?;
        let how = (&self.ledger, &self.reading);
        let applied = way.apply(&mut session, how, batch, key, &self.floors).await?;
        locked(&self.sessions).push(session);
        Ok(applied)
    }

    /// Retries a batch until it succeeds or fails with a lasting problem.
    async fn apply(&self, batch: &Batch, key: Option<Identity>) -> Result<Applied, SinkProblem> {
        let mut attempts = 1;
        loop {
            let problem = match self.attempt(batch, key).await {
                Ok(applied) => return Ok(applied),
                Err(problem) => problem,
            };
            self.forget();
            let goes_by_itself = match &problem {
                SinkProblem::Unclear(_) => {
                    self.unanswered.inc();
                    // Without an identity, the ledger cannot be asked.
                    key.is_some()
                }
                // Nothing was applied: COMMIT was not sent.
                SinkProblem::Sql(SqlError::Broken { .. }) | SinkProblem::Changed => true,
                _ => false,
            };
            if !goes_by_itself || attempts == ATTEMPTS {
                return Err(problem);
            }
            tracing::debug!(%problem, "retrying a batch");
            attempts += 1;
        }
    }
}

#[async_trait]
impl Deliver for Sql {
    type Error = SinkProblem;

    async fn open(&self) -> Result<(), SinkProblem> {
        self.forget();
        *locked(&self.forgot) = None;
        let (mut session, _) = self.ready().await?;
        self.delete_old_rows(&mut session).await?;
        locked(&self.sessions).push(session);
        Ok(())
    }

    async fn probe(&self) -> Result<Option<String>, SinkProblem> {
        let mut session = Session::open(&self.target).await?;
        self.describe(&mut session).await?;
        let what = if self.mode == Mode::Call { "procedure" } else { "table" };
        Ok(Some(format!("{}: {what} {} exists", self.target.address, self.table)))
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, SinkProblem> {
        if batch.is_empty() {
            return Ok(Delivered::All);
        }
        let mut key = batch.envelope.identity.map(|key| self.floors.offered(key));
        if let Some(key) = key {
            self.floors.put(key);
        }
        loop {
            let began = Instant::now();
            match self.apply(batch, key).await? {
                Applied::Now { delivered, rows } => {
                    self.applied.inc_by(rows as u64);
                    if let Some(key) = key {
                        let table = || Attribute::Text(self.table.clone());
                        self.traces.committed(key, began, || [("aqueduct.table", table())]);
                    }
                    return Ok(delivered);
                }
                Applied::Before(delivered) => {
                    self.repeated.inc();
                    return Ok(delivered);
                }
                Applied::Closed => {
                    let Some(before) = key else { return Ok(Delivered::All) };
                    let name = self.floors.rename_closed(&self.env, before).await;
                    if name == before {
                        return Ok(closed(batch, before));
                    }
                    self.floors.put(name);
                    key = Some(name);
                }
            }
        }
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn dedupe_scope(&self) -> DedupeScope {
        let Self { target, table, ledger, .. } = self;
        let (address, name) = (&target.address, &target.name);
        DedupeScope::Dataset(format!("{} in {address}/{name} {table}", ledger.sink()))
    }
}
