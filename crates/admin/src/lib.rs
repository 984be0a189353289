//! The admin listener: the live page, `/metrics` (Prometheus text), `/status` (JSON), `/livez`,
//! `/readyz`; and, only by POST, changes of the agent: `/reload`, `/stop`, `/start`, `/drain`,
//! `/dlq/replay`, `/dlq/drop`. A second listener, with only Flume's page of counters, serves
//! monitors made for Flume.
//!
//! ```text
//!   accept ─► TLS ─► Connections ─► routes: Host? method? token? ─► Pages ─► an answer
//!                                                                     │   └─► Feed, once a second
//!                                      the crate `control` ◄──────────┘
//! ```
//!
//! # Invariants
//!
//! 1. A client never makes another one wait: heads, connections, readers and pages that read the
//!    disk are limited.
//! 2. A change needs POST, a header that no page of another site can set, and the token if one is
//!    configured. It is in the audit log, refused or not.
//! 3. No answer contains a secret of the configuration.
//!
//! | module | contents |
//! |---|---|
//! | `connections` | the number of connections, and which one is closed for a new one |
//! | `guard` | checks of the host and of the token |
//! | `routes` | method and path to a page |
//! | `pages` | the pages that only read |
//! | `change`, `letters_change` | the pages that change the agent or its dead letters |
//! | `letters`, `flume` | dead letters as JSON; Flume's counters |
//! | `feed`, `tap` | streams of snapshots and of events |
//! | `assets` | the files of the live page |
//! | `answer`, `query` | forms of answers, parameters of requests |
//! | `client` | reads a page of another agent |

mod answer;
mod assets;
mod change;
mod client;
mod connections;
mod feed;
mod flume;
mod guard;
mod letters;
mod letters_change;
mod pages;
mod query;
mod routes;
mod tap;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use agent::status::AGENT;
use config::AgentSettings;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pipeline::env::{Listener, Stream};
use pipeline::{Env, Settings};
use support::failure_log::FailureLog;
use thiserror::Error;
use tls::{ClientNames, ServerTls, Visitor};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};
use web::Guard;

pub use client::{ask, page};
use connections::{Connections, Watched};
use guard::Client;
pub use pages::{Live, Pages};
use routes::ListenerKind;

/// Time limit for the head of a request, including the idle time before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of the head of a request, which is buffered completely.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An admin listener cannot be opened.
#[derive(Debug, Error)]
#[error("cannot listen on the address of `agent.{setting}`; use a free address of this host")]
pub struct ListenError {
    /// The setting with its address.
    pub setting: &'static str,
    /// Why.
    pub source: io::Error,
}

/// The admin listeners of an agent; they and their connections end when this is dropped.
#[derive(Default)]
pub struct Listeners(Vec<Admin>);

impl Listeners {
    /// Takes the addresses; nothing is answered before [`Listeners::serve`].
    ///
    /// # Errors
    /// An address cannot be taken, or a certificate cannot be used.
    pub async fn listen(agent: &AgentSettings, env: &Env) -> Result<Self, ListenError> {
        let mut all = Vec::new();
        for (setting, address, kind) in [
            ("admin", &agent.admin, ListenerKind::Admin),
            ("flume_metrics", &agent.flume_metrics, ListenerKind::Flume),
        ] {
            if let Some(address) = address {
                let admin = Admin::listen(setting, address, (agent, kind), env).await;
                all.push(admin.map_err(|source| ListenError { setting, source })?);
            }
        }
        Ok(Self(all))
    }

    /// Begins to answer.
    pub fn serve(&mut self, pages: &Arc<Pages>) {
        self.0.iter_mut().for_each(|admin| admin.serve(pages));
    }
}

/// One admin listener.
struct Admin {
    front: Front,
    listener: Option<Box<dyn Listener>>,
    task: Option<JoinHandle<()>>,
    /// Ends the connections.
    ended: DropGuard,
}

/// The checks of a new connection.
#[derive(Clone)]
struct Front {
    kind: ListenerKind,
    guard: Arc<Guard>,
    tls: Option<tls::Server>,
}

impl Admin {
    async fn listen(
        setting: &str,
        address: &str,
        (agent, kind): (&AgentSettings, ListenerKind),
        env: &Env,
    ) -> io::Result<Self> {
        let (mut tls, mut token) = (None, None);
        if kind == ListenerKind::Admin {
            tls = agent.admin_tls.as_ref().map(|settings| server(settings, env)).transpose()?;
            let read = agent.admin_token.as_ref().map(Settings::read).transpose();
            token = read.map_err(io::Error::other)?;
        }
        if let Some(server) = &tls {
            server.load().await.map_err(io::Error::other)?;
        }
        let listener = env.net.listen(address).await?;
        let local = listener.local_address();
        let guard = Guard::new(address, &local, token);
        let lacks = match (&tls, guard.has_token()) {
            _ if guard.is_loopback() => None,
            (None, false) => Some(
                "has no TLS and no token: anyone on its network can read its pages; use a loopback \
                 address, or set `agent.admin_tls` and `agent.admin_token` (not for Flume's page)",
            ),
            (None, true) => {
                Some("has no TLS: others on its network can read the token; set `agent.admin_tls`")
            }
            (Some(_), false) => Some(
                "has no token: anyone on its network can read its pages; set `agent.admin_token`",
            ),
            (Some(_), true) => None,
        };
        if let Some(lacks) = lacks {
            warn!(setting, address = local, "the listener of `agent.{setting}` {lacks}");
        }
        Ok(Self::new(Front { kind, guard: Arc::new(guard), tls }, listener))
    }

    fn new(front: Front, listener: Box<dyn Listener>) -> Self {
        let ended = CancellationToken::new().drop_guard();
        Self { front, listener: Some(listener), task: None, ended }
    }

    fn serve(&mut self, pages: &Arc<Pages>) {
        if self.front.kind == ListenerKind::Admin {
            pages.monitor.metrics.begin_admin();
        }
        if let Some(listener) = self.listener.take() {
            let ended = self.ended.token().clone();
            let serving = accept(self.front.clone(), listener, pages.clone(), ended);
            self.task = Some(tokio::spawn(serving));
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

/// TLS of the listener.
fn server(settings: &Settings, env: &Env) -> io::Result<tls::Server> {
    let settings: ServerTls = settings.read().map_err(io::Error::other)?;
    tls::Server::with_own_client(settings, env, &["http/1.1"]).map_err(io::Error::other)
}

async fn accept(
    front: Front,
    listener: Box<dyn Listener>,
    pages: Arc<Pages>,
    ended: CancellationToken,
) {
    let connections = Arc::new(Connections::default());
    let mut trouble = FailureLog::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                trouble = FailureLog::default();
                let (front, pages, connection) =
                    (front.clone(), pages.clone(), connections.admit());
                let ended = ended.clone();
                tokio::spawn(async move {
                    let (stream, names) = front.wrap(stream, &peer, &pages);
                    let stream = connection.watch(stream);
                    tokio::select! {
                        biased;
                        () = ended.cancelled() => {}
                        () = connection.must_close() => debug!("closed an idle admin connection"),
                        () = serve_connection(&front, stream, pages, (&peer, &names)) => {}
                    }
                });
            }
            Err(error) => {
                let now = Instant::now();
                trouble.count(now);
                if trouble.should_log(now, &error.to_string()).is_some() {
                    warn!(%error, "cannot accept connections on the admin listener; events are not \
                                   affected; retrying; fix the cause in `error`");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Front {
    fn wrap(
        &self,
        stream: Box<dyn Stream>,
        peer: &str,
        pages: &Pages,
    ) -> (Box<dyn Stream>, ClientNames) {
        let Some(tls) = &self.tls else { return (stream, ClientNames::default()) };
        let visitor = Visitor {
            board: pages.monitor.refusals.clone(),
            component: AGENT.into(),
            peer: peer.into(),
        };
        let metrics = pages.monitor.metrics.clone();
        tls.wrap(stream, visitor, move || guard::count(&metrics, "tls_failed"))
    }
}

async fn serve_connection(
    front: &Front,
    stream: Watched<Box<dyn Stream>>,
    pages: Arc<Pages>,
    (peer, names): (&str, &ClientNames),
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (front, pages) = (front.clone(), pages.clone());
        // No page reads a body.
        let (head, _) = request.into_parts();
        async move {
            let client = Client { address: peer, certificate: names.first() };
            let answer = routes::answer(&pages, front.kind, (&front.guard, client), &head).await;
            Ok::<_, Infallible>(answer)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "an admin connection ended early");
    }
}

#[cfg(test)]
mod tests;
