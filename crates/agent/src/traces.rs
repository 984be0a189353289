//! Traces: sends spans of sampled batches to a receiver of OTLP over HTTP.
//!
//! ```text
//!   intake, groups, sinks ──► bounded queue ──► collected for a second ──► POST /v1/traces
//!                                │ full: counted, dropped       │ down or busy: the same again
//!                                                               └ refused: counted, dropped
//! ```
//!
//! # Invariants
//!
//! 1. The flow of events never waits for the receiver, which may be down, or answer after an hour.
//! 2. Memory is bounded: the queue, and the spans of one request.
//! 3. Each span is counted once: as exported, or as dropped.
//!
//! Requests use OTLP's JSON: the edge does not have its Protobuf schema, and sampled batches are
//! few.

mod otlp;
mod post;

use config::{Plan, TraceSettings};
use hyper::HeaderMap;
use metrics::{Counter, Metrics};
use pipeline::traces::Span;
use pipeline::{BuildError, Env, SettingsError, Traces};
use support::backoff::jittered;
use support::causes::chain;
use support::failure_log::{FailureLog, seconds};
use support::mutant;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use web::Connector;
use web::settings::add_headers;

use otlp::Resource;
use post::{Post, PostError};

/// Maximum number of spans of one request: some 400 KiB.
const REQUEST_SPANS: usize = 512;

/// How long spans are collected, unless there are [`REQUEST_SPANS`] earlier.
const GATHER: Duration = Duration::from_secs(1);

/// The pause after a request that failed, doubled with each further one up to the limit.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Time limit for the last spans when the agent stops.
const LAST: Duration = Duration::from_secs(2);

/// The exporter of spans, not started yet.
pub struct Exporter {
    rate: f64,
    limit: Duration,
    url: String,
    resource: Resource,
    post: Post,
    exported: Counter,
    dropped: Counter,
    env: Env,
    failure_log: FailureLog,
}

impl Exporter {
    /// Creates the exporter of this plan; `None` if it does not enable traces.
    ///
    /// # Errors
    /// An invalid setting, below the table.
    pub fn from_plan(
        plan: &Plan,
        env: &Env,
        metrics: &Metrics,
    ) -> Result<Option<Self>, SettingsError> {
        let Some(table) = &plan.agent.traces else { return Ok(None) };
        let settings: TraceSettings = table.read()?;
        let built = Self::built(settings, plan, env, metrics);
        let invalid = |error: BuildError| table.invalid(&error.setting, &error.problem);
        built.map(Some).map_err(invalid)
    }

    fn built(
        settings: TraceSettings,
        plan: &Plan,
        env: &Env,
        metrics: &Metrics,
    ) -> Result<Self, BuildError> {
        settings.check()?;
        let (target, mut headers) = (settings.target()?, HeaderMap::new());
        add_headers(&mut headers, "", &settings.headers, &settings.secret_headers)?;
        let connector = Connector::new(settings.tls.clone(), env)?;
        Ok(Self {
            rate: settings.sample,
            limit: settings.timeout.0,
            resource: Resource { service: settings.service, instance: plan.agent.name.clone() },
            url: settings.url,
            post: Post::new(&connector, target, headers)?,
            exported: metrics.trace_spans.clone(),
            dropped: metrics.trace_spans_dropped.clone(),
            env: env.clone(),
            failure_log: FailureLog::default(),
        })
    }

    /// Exports spans until `stop`, and then those that wait.
    async fn run(mut self, mut spans: mpsc::Receiver<Span>, stop: CancellationToken) {
        let mut gathered = Vec::with_capacity(REQUEST_SPANS);
        while stop.run_until_cancelled(gather(&mut spans, &mut gathered)).await.is_some() {
            if stop.run_until_cancelled(self.deliver(&gathered)).await.is_none() {
                break;
            }
            gathered.clear();
        }
        // An interrupted request is sent once more: a receiver recognises spans by their ids.
        let deadline = Instant::now() + LAST;
        loop {
            if !gathered.is_empty() {
                let tried = timeout_at(deadline, self.try_send(&gathered)).await;
                if !matches!(tried, Ok(Ok(()))) {
                    let left = (gathered.len() + spans.len()) as u64;
                    self.dropped.inc_by(if mutant!("trace_last_not_counted") { 0 } else { left });
                    return;
                }
                gathered.clear();
            }
            while gathered.len() < REQUEST_SPANS
                && let Ok(span) = spans.try_recv()
            {
                gathered.push(span);
            }
            if gathered.is_empty() {
                return;
            }
        }
    }

    /// Sends these spans repeatedly until they are accepted or refused.
    async fn deliver(&mut self, spans: &[Span]) {
        loop {
            let Err(error) = self.try_send(spans).await else {
                if let Some((failures, lasted)) = self.failure_log.over(Instant::now()) {
                    let lasted_seconds = seconds(lasted);
                    info!(url = self.url, failures, lasted_seconds, "spans are exported again");
                }
                return;
            };
            let (now, text) = (Instant::now(), chain(&error));
            self.failure_log.count(now);
            if let Some((failures, lasts)) = self.failure_log.should_log(now, &text) {
                warn!(
                    url = self.url, error = %text, failures, lasts_seconds = seconds(lasts),
                    "cannot export spans to `url`; events are not affected; rejected spans and \
                     spans over the buffer limit are dropped; retrying the others; check \
                     `agent.traces.url` and the collector there",
                );
            }
            if !error.passes() {
                self.dropped.inc_by(spans.len() as u64);
                return;
            }
            let random = self.env.entropy.next_u64();
            let pause = jittered(PAUSE, PAUSE_MAX, self.failure_log.failures(), random);
            sleep(error.retry_after().map_or(pause, |busy| busy.min(PAUSE_MAX))).await;
        }
    }

    /// Sends these spans once, and counts the accepted ones.
    async fn try_send(&mut self, spans: &[Span]) -> Result<(), PostError> {
        let body = otlp::request(&self.resource, spans, &*self.env.entropy);
        let posted = timeout(self.limit, self.post.send(body)).await;
        let refused = posted.unwrap_or(Err(PostError::Late(self.limit)))?;
        let refused = refused.min(spans.len() as u64);
        self.dropped.inc_by(refused);
        self.exported.inc_by(spans.len() as u64 - refused);
        Ok(())
    }
}

/// Collects the next spans: at least one, and all that arrive within a second.
async fn gather(spans: &mut mpsc::Receiver<Span>, gathered: &mut Vec<Span>) {
    while gathered.is_empty() {
        if spans.recv_many(gathered, REQUEST_SPANS).await == 0 {
            return std::future::pending().await;
        }
    }
    let deadline = Instant::now() + GATHER;
    while gathered.len() < REQUEST_SPANS {
        let room = REQUEST_SPANS - gathered.len();
        if !matches!(timeout_at(deadline, spans.recv_many(gathered, room)).await, Ok(1..)) {
            return;
        }
    }
}

/// A running exporter, or none.
pub struct Exporting(Option<(JoinHandle<()>, CancellationToken)>);

impl Exporting {
    /// Starts recording spans, if there is an exporter.
    pub fn begin(exporter: Option<Exporter>, traces: &Traces) -> Self {
        Self(exporter.map(|exporter| {
            let clock = exporter.env.clock.clone();
            let spans = traces.begin(exporter.rate, exporter.dropped.clone(), clock);
            info!(url = exporter.url, sample = exporter.rate, "batches are traced");
            let stop = CancellationToken::new();
            (tokio::spawn(exporter.run(spans, stop.clone())), stop)
        }))
    }

    /// Exports waiting spans, within a moment, and ends.
    pub async fn end(self) {
        if let Some((task, stop)) = self.0 {
            stop.cancel();
            // The task ends on its own; a panic is reported by its hook.
            let _ = task.await;
        }
    }
}

#[cfg(all(test, feature = "mutants"))]
mod planted;
#[cfg(test)]
mod tests;
