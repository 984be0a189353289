//! The admin listener: `/metrics` (Prometheus text), `/status` (JSON), `/livez`, `/readyz`, and
//! `POST /reload`. A second one, with Flume's page of counters alone, is for monitors made for
//! Flume.

mod flume;
mod guests;
mod reload;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use config::AgentSettings;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{Format, GroupLabel, Metrics};
use pipeline::env::{Listener, Stream, unix_millis};
use pipeline::{Account, Env};
use support::failure_log::FailureLog;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::dead_letters::DeadLetters;
use crate::health::{Health, Word};
use crate::opening::NotOpen;
use crate::reload::Reloads;
use crate::running::Running;
use crate::status::Snapshot;
use crate::{RunError, scrape, status};
use guests::{Guests, Watched};

/// How long a client may take to send its request's head, and stay idle before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener shows.
#[derive(Debug, Clone, Copy)]
enum Site {
    /// All pages.
    Admin,
    /// Flume's page of counters, where Flume has it.
    Flume,
}

/// The admin listeners of an agent; they end when this is dropped.
#[derive(Default)]
pub(crate) struct Listeners(Vec<Admin>);

impl Listeners {
    /// Takes the addresses; nothing is answered before [`Listeners::serve`].
    ///
    /// # Errors
    /// An address cannot be taken.
    pub(crate) async fn listen(agent: &AgentSettings, env: &Env) -> Result<Self, RunError> {
        let mut all = Vec::new();
        for (setting, address, site) in [
            ("admin", &agent.admin, Site::Admin),
            ("flume_metrics", &agent.flume_metrics, Site::Flume),
        ] {
            if let Some(address) = address {
                let admin = Admin::listen(setting, address, site, env).await;
                all.push(admin.map_err(|source| RunError::Admin { setting, source })?);
            }
        }
        Ok(Self(all))
    }

    /// Begins to answer.
    pub(crate) fn serve(&mut self, pages: Pages) {
        let pages = Arc::new(pages);
        self.0.iter_mut().for_each(|admin| admin.serve(&pages));
    }
}

/// One of them.
struct Admin {
    site: Site,
    /// Only clients of this machine reach it.
    is_local: bool,
    listener: Option<Box<dyn Listener>>,
    task: Option<JoinHandle<()>>,
}

impl Admin {
    async fn listen(setting: &str, address: &str, site: Site, env: &Env) -> io::Result<Self> {
        let listener = env.net.listen(address).await?;
        let local = listener.local_address();
        let loopback = local.parse().is_ok_and(|a: std::net::SocketAddr| a.ip().is_loopback());
        if !loopback {
            warn!(setting, address = local, "this listener is plain text and unauthenticated");
        }
        Ok(Self { site, is_local: loopback, listener: Some(listener), task: None })
    }

    fn serve(&mut self, pages: &Arc<Pages>) {
        if let Some(listener) = self.listener.take() {
            let door = Door { site: self.site, is_local: self.is_local };
            self.task = Some(tokio::spawn(accept(door, listener, pages.clone())));
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Where a request comes in.
#[derive(Debug, Clone, Copy)]
struct Door {
    site: Site,
    is_local: bool,
}

async fn accept(door: Door, listener: Box<dyn Listener>, pages: Arc<Pages>) {
    let guests = Arc::new(Guests::default());
    let mut trouble = FailureLog::default();
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => {
                trouble = FailureLog::default();
                let (pages, guest) = (pages.clone(), guests.admit());
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        () = guest.must_leave() => debug!("a quiet admin connection gave way"),
                        () = serve_connection(door, guest.watch(stream), pages) => {}
                    }
                });
            }
            Err(error) => {
                let now = Instant::now();
                trouble.count(now);
                if trouble.should_log(now, &error.to_string()).is_some() {
                    warn!(%error, "the admin listener cannot accept; trying on");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(door: Door, stream: Watched<Box<dyn Stream>>, pages: Arc<Pages>) {
    let service = service_fn(|request: Request<Incoming>| {
        let accept = request.headers().get(header::ACCEPT).and_then(|it| it.to_str().ok());
        let format = Format::wanted(accept.unwrap_or_default());
        let pages = pages.clone();
        async move {
            let (method, path) = (request.method(), request.uri().path());
            let response = match (door.site, path) {
                (Site::Admin, "/reload") => pages.reload(&request, door.is_local).await,
                (site, path) => pages.answer(site, method, path, format).await,
            };
            Ok::<_, Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "an admin connection ended early");
    }
}

/// What the pages are made of. Ready means: every source is open, no channel has stopped its
/// intake, and the agent is not stopping. A sink that fails, and a group that delivers nothing, are
/// named and do not make the agent unready: events wait in the channel. Where every collector of a
/// site is like that, the events are safer in their channels than with the clients that would be
/// refused; senders that have a choice turn to other agents by what the agent says to them.
pub(crate) struct Pages {
    /// Name of the agent.
    pub(crate) agent: String,
    /// When it has started.
    pub(crate) started: Instant,
    /// The same in milliseconds since 1970: it stays as it is when the clock is set.
    pub(crate) started_ms: u64,
    pub(crate) running: Arc<Running>,
    pub(crate) reloads: Reloads,
    pub(crate) dead_letters: Arc<DeadLetters>,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) env: Env,
    /// Cancelled when the agent begins to stop.
    pub(crate) stopping: CancellationToken,
}

/// What is here.
const INDEX: &str = "\
/metrics  Prometheus metrics: text 0.0.4, or OpenMetrics for readers that ask for it
/readyz   200 while the agent does its work, 503 with the reason otherwise
/status   what every source, channel and sink is doing, as JSON; `aqueduct status` shows it
/reload   POST with the header `X-Aqueduct: reload`: reads the configuration again and says what
          became of each part
/livez    200 while the process answers
/account  what each durable channel accepted and still holds: one JSON object a line
/flume/metrics  the counters as Flume's HTTP monitoring shows them: JSON by its names
";

/// What is where Flume has it.
const FLUME_INDEX: &str = "/metrics  the counters as Flume's HTTP monitoring shows them\n";

impl Pages {
    async fn answer(
        &self,
        site: Site,
        method: &Method,
        path: &str,
        format: Format,
    ) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return page(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
        }
        let index = match site {
            Site::Admin => INDEX,
            Site::Flume => FLUME_INDEX,
        };
        match (site, path) {
            (_, "/") => page(StatusCode::OK, index.into()),
            (Site::Flume, "/metrics") | (Site::Admin, "/flume/metrics") => self.flume().await,
            (Site::Admin, "/metrics") => {
                typed(StatusCode::OK, format.content_type(), self.metrics(format))
            }
            (Site::Admin, "/account") => typed(StatusCode::OK, JSON_LINES, self.account()),
            (Site::Admin, "/status") => self.status().await,
            (Site::Admin, "/livez") => page(StatusCode::OK, "alive\n".into()),
            (Site::Admin, "/readyz") => self.readiness(),
            _ => page(StatusCode::NOT_FOUND, format!("no such page; there are:\n{index}")),
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let Word { reasons: mut lines, remarks } = self.word();
        let status = if lines.is_empty() {
            lines.push("ready".to_owned());
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        lines.extend(remarks);
        page(status, lines.join("\n") + "\n")
    }

    /// Whether the agent does its work.
    fn word(&self) -> Word {
        let Word { reasons, mut remarks } = self.health.word();
        remarks.extend(self.unable());
        let stopping = self.stopping.is_cancelled().then(|| "stopping".to_owned());
        let parts = self.running.parts();
        let channels = parts.channels.iter();
        let full = channels.filter_map(|(name, handle)| match handle.boards.opened.why_not() {
            Some(NotOpen { waits, cause }) => {
                let seconds = waits.as_secs();
                Some(format!("channel `{name}` has not been open for {seconds} s: {cause}"))
            }
            None if handle.channel.status().intake_stopped => {
                Some(format!("channel `{name}` takes nothing in"))
            }
            None => None,
        });
        Word { reasons: stopping.into_iter().chain(full).chain(reasons).collect(), remarks }
    }

    /// Brings up to date since when each group delivers nothing.
    fn show_unable(&self) {
        let (now, at) = (Instant::now(), self.env.clock.now());
        let parts = self.running.parts();
        for handle in parts.channels.values() {
            let unable = handle.boards.outlet.unable(now);
            for group in &handle.consumers {
                let outage = unable.iter().find(|(name, _)| name == group);
                let since = outage.map_or(0.0, |(_, outage)| {
                    let began = at.checked_sub(now.saturating_duration_since(outage.since));
                    began.map_or(0.0, |began| unix_millis(began) as f64 / 1_000.0)
                });
                let label = GroupLabel { group: group.to_string() };
                self.metrics.group_unable_since.get_or_create(&label).set(since);
            }
        }
    }

    /// The groups that deliver nothing, line by line.
    fn unable(&self) -> Vec<String> {
        let (now, parts) = (Instant::now(), self.running.parts());
        let unable = parts.channels.iter().flat_map(|(channel, handle)| {
            handle.boards.outlet.unable(now).into_iter().map(move |(group, outage)| {
                let seconds = now.saturating_duration_since(outage.since).as_secs();
                let cause = outage.cause.replace(char::is_control, " ");
                format!(
                    "unable for {seconds} s: group `{group}` delivers nothing of what channel \
                     `{channel}` holds: {cause}"
                )
            })
        });
        unable.collect()
    }

    async fn snapshot(&self) -> Snapshot {
        let snapshot = status::gather(status::Sources {
            agent: &self.agent,
            started: self.started,
            running: &self.running,
            word: self.word(),
            dead_letters: &self.dead_letters,
            metrics: &self.metrics,
            env: &self.env,
            reloads: &self.reloads,
        });
        snapshot.await
    }

    async fn status(&self) -> Response<Full<Bytes>> {
        let snapshot = self.snapshot().await;
        let text = serde_json::to_string(&snapshot).expect("names and numbers are JSON");
        fresh(typed(StatusCode::OK, JSON, text + "\n"))
    }

    /// The page of Flume's monitoring.
    async fn flume(&self) -> Response<Full<Bytes>> {
        let snapshot = self.snapshot().await;
        let text = flume::page(&snapshot, &self.metrics, self.started_ms);
        fresh(typed(StatusCode::OK, JSON_UTF_8, text))
    }

    /// What the durable channels answer for, one line of JSON for each.
    fn account(&self) -> String {
        let parts = self.running.parts();
        let open = parts.channels.values().filter_map(|handle| handle.opened());
        let accounts = open.filter_map(|channel| channel.account());
        let accounts: Vec<Account> = accounts.collect();
        // After the channels: what becomes a letter meanwhile is in both, and not in neither.
        let letters = self.dead_letters.identities();
        let lines = accounts
            .into_iter()
            .map(|account| Account { letters: letters.clone(), ..account }.to_json() + "\n");
        lines.collect()
    }

    /// The metrics, with what the channels hold brought up to date.
    fn metrics(&self, format: Format) -> String {
        let parts = self.running.parts();
        let channels = parts.channels.iter();
        let channels = channels.map(|(name, handle)| (&**name, handle.status()));
        let letters = self.dead_letters.opened();
        let letters = letters.map(|channel| ("dead-letters", channel.status()));
        scrape::channels(&self.metrics, channels.chain(letters));
        self.show_unable();
        scrape::process(&self.metrics, &self.env);
        scrape::log(&self.metrics);
        self.health.show(&self.metrics);
        self.metrics.dead_letter_batches.set(scrape::gauge(self.dead_letters.batches()));
        self.metrics.text_in(format)
    }
}

/// One JSON object.
const JSON: &str = "application/json";

/// The same, as Flume says it.
const JSON_UTF_8: &str = "application/json;charset=utf-8";

/// JSON objects, one a line.
const JSON_LINES: &str = "application/jsonl";

/// With the word that no proxy keeps it.
fn fresh(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

fn page(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", text)
}

fn typed(status: StatusCode, kind: &str, text: String) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
    response.body(Full::new(text.into())).expect("status and header are valid")
}

#[cfg(test)]
mod tests;
