//! `sql`: reads rows of a table or a query, and makes each an event.
//!
//! The channel stores the position with the rows in one atomic write. Rows are read page by page,
//! in an order of the database; each page starts after the last row of the previous one.
//!
//! | module | contents |
//! |---|---|
//! | `config` | the settings |
//! | `body` | encodes rows as bodies |
//! | `wire` | values in PostgreSQL's binary format |
//! | `array` | arrays in that format |
//! | `datum` | encodes rows as Avro |
//! | `describe` | the columns, and how to select each |
//! | `query` | the statements |
//! | `rows` | reads rows one by one |
//! | `gather` | turns rows into events |
//! | `growing` | the modes `append` and `modified` |
//! | `kind` | types of columns in files |
//! | `window` | stored rows of the overlap window |
//! | `full` | the mode `full` |
//! | `types` | the table of conversions for docs/types.md |
//! | `position` | the position stored with the rows |
//! | `survey` | inspects a table before it is read |
//! | `again` | reads rows again, to compare them with stored ones |
//! | `ask` | answers questions of an operator |

mod again;
mod array;
mod ask;
mod body;
mod config;
mod datum;
mod describe;
mod full;
mod gather;
mod growing;
mod kind;
mod position;
mod query;
mod rows;
mod survey;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[cfg(feature = "odbc")]
#[path = "source/tests.rs"]
#[allow(clippy::duplicate_mod, reason = "the same tests by another client")]
mod tests_by_odbc;
mod types;
mod window;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use kit::follow::{CatchUp, Follow, Followed, Puts, Start};
use metrics::{Counter, FloatGauge, MetricSpec, Metrics};
use pipeline::env::unix_millis;
use pipeline::{
    BuildContext, BuildError, Component, Env, ErrorClass, Guarantee, Intake, Source, SourceContext,
    SourceError,
};

use crate::connection::Connection;
use crate::error::{failed, refused};
pub use again::Reread;
pub use ask::{ANSWER_ROWS_MAX, Answer, Question, ask};
use body::BodyEncoder;
pub use config::Config;
use config::{Mode, Options};
pub use datum::avro_schema;
pub(crate) use datum::put as put_datum;
use gather::Gathered;
use position::{STATE, State};
use query::Table;
pub(crate) use survey::marks;
pub use survey::{Kind, Survey, check_zeros, generated, primary_key, survey};
pub use types::{Conversion, conversions};
use window::Window;

impl Component for Config {
    const KIND: &'static str = "sql";
    const ANOMALIES: &[&str] = &["window_cut"];
    const EXAMPLE: &str = "table = \"t\"\n\
        mode = \"append\"\n\
        check_column = \"id\"\n\
        database = { url = \"mysql://127.0.0.1/a\", user = \"u\" }";
    const METRICS: &'static [MetricSpec] = &[
        MetricSpec::counter("rows", "Rows that are stored."),
        MetricSpec::counter("row_bytes", "Bytes of the bodies of stored rows."),
        MetricSpec::gauge(
            "complete_timestamp_seconds",
            "Time at which the source last finished reading all rows, in seconds since 1970.",
        ),
        MetricSpec::gauge("ranges_open", "Ranges of a full import that are in progress."),
        MetricSpec::gauge(
            "ahead_rows",
            "Rows that are not read yet because their time is after the database's clock.",
        ),
    ];
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let scope = cx.scope::<Self>();
        let sql = Sql {
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            rows: scope.counter("rows")?,
            row_bytes: scope.counter("row_bytes")?,
            complete: scope.gauge("complete_timestamp_seconds")?,
            ranges_open: scope.gauge("ranges_open")?,
            ahead: scope.gauge("ahead_rows")?,
            warned: None,
            options: Arc::new(self.options(cx)?),
        };
        Ok(Box::new(Followed::new(cx, sql)))
    }
}

struct Sql {
    name: Arc<str>,
    env: Env,
    metrics: Metrics,
    rows: Counter,
    row_bytes: Counter,
    complete: FloatGauge,
    ranges_open: FloatGauge,
    /// Rows with a time in the future.
    ahead: FloatGauge,
    /// When they were last reported.
    warned: Option<tokio::time::Instant>,
    options: Arc<Options>,
}

/// A connection, and where to continue.
struct Opened {
    connection: Connection,
    table: Table,
    encoder: BodyEncoder,
    state: State,
    window: Window,
    intake: Arc<dyn Intake>,
    /// The positions in the channel.
    known: Vec<(Bytes, Bytes)>,
}

impl Sql {
    /// Returns where to continue.
    fn state(&self, known: &[(Bytes, Bytes)]) -> Result<State, SourceError> {
        let of = self.options.digest();
        let state: Option<State> = position::read(known, STATE).map_err(refused)?;
        match state {
            Some(state) if state.of != of => {
                let message = "the position in the channel belongs to another `table`, `query`, \
                               `mode`, `check_column`, `key` or `split_by`; restore these \
                               settings, or rename the source to start again"
                    .to_owned();
                Err(SourceError { class: ErrorClass::Blocked, message, source: None })
            }
            Some(state) => Ok(state),
            None => Ok(State { of, ..State::default() }),
        }
    }

    /// Stores a batch that contains its positions.
    async fn put(&self, gathered: Gathered, puts: &mut Puts) {
        let Gathered { batch, rows, bytes, .. } = gathered;
        puts.put(batch).await;
        puts.stored().await;
        self.rows.inc_by(rows as u64);
        self.row_bytes.inc_by(bytes as u64);
    }

    /// Records that all rows are stored.
    fn at_end(&self) {
        self.complete.set(unix_millis(self.env.clock.now()) as f64 / 1000.0);
    }

    /// Records that the window had to start again.
    fn window_cut(&self) {
        self.metrics.count_anomaly(&self.name, "window_cut", 1);
    }
}

impl Follow for Sql {
    const KIND: &'static str = Config::KIND;
    type Link = Option<Opened>;

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn batch_bytes(&self) -> u64 {
        self.options.batch_bytes as u64
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::OneChannel
    }

    async fn open(&mut self, start: &Start, cx: &SourceContext) -> Result<Self::Link, SourceError> {
        let known = start.known.clone();
        let state = self.state(&known)?;
        let mut connection = Connection::open(&self.options.target).await.map_err(failed)?;
        let table = describe::table(&mut connection, &self.options).await.map_err(failed)?;
        if state.number == 0 {
            let checked = describe::check_key(&mut connection, &self.options, &table).await;
            checked.map_err(failed)?;
        }
        let encoder = BodyEncoder::new(self.options.form.clone(), table.columns.clone());
        let encoder = encoder.map_err(failed)?;
        let (window, intake) = (Window::load(&known), cx.intake.clone());
        Ok(Some(Opened { connection, table, encoder, state, window, intake, known }))
    }

    async fn read(&mut self, opened: &mut Self::Link, puts: &mut Puts) -> Result<(), SourceError> {
        let opened = opened.take().expect("a source is opened before it runs");
        match self.options.mode {
            Mode::Full => self.import(opened, puts).await,
            Mode::Append | Mode::Modified => self.grow(opened, puts).await,
        }
    }
}
