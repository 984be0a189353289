//! The listener: agents by OpAMP, operators by JSON and a page.
//!
//! | request | client | answer |
//! |---|---|---|
//! | `POST /v1/opamp` | agent | a message of OpAMP |
//! | `GET /v1/opamp` | agent | a WebSocket with messages of OpAMP |
//! | `GET /` | operator | the page |
//! | `GET /fleet` | operator | [`FleetView`] |
//! | `GET /roll-out` | operator | the same without agents |
//! | `GET /topology` | operator | [`Topology`](crate::Topology) |
//! | `GET /agent?agent=NAME` | operator | the page of an agent |
//! | `GET /history`, `/history?agent=NAME` | operator | [`HistoryView`](crate::HistoryView) |
//! | `POST /roll-out`, `/pause`, `/resume`, `/abort` | operator | the state of the roll-out |
//! | `POST /pin`, `/unpin` | operator | the same |
//!
//! Heads, bodies, connections and their time are limited, so that no client makes others wait.
//! Connected agents have places of their own.

mod agents;
mod history;
mod operators;

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use pipeline::env::unix_millis;
use pipeline::{Env, Secret};
use support::causes::chain;
use thiserror::Error;
use tls::{ClientNames, ServerTls, Tokens, Visitor};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use self::history::History;
use crate::access::Access;
use crate::answers::{Answer, plain, refuse, secured, typed};
use crate::directory::{Directory, DirectoryError};
use crate::git;
use crate::page;
use crate::state::{Event, Fleet};

/// Maximum number of connections.
const CONNECTIONS_MAX: usize = 1_024;

/// Maximum number of connected agents.
const SOCKETS_MAX: usize = 20_000;

/// Open files of the server in addition to connected agents.
const OTHER_FILES: u64 = CONNECTIONS_MAX as u64 + 500;

/// Time limit for a head, and for a body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// Pause between two steps without a report, and after a failed accept.
const TICK: Duration = Duration::from_secs(1);

/// Maximum number of commits that wait for `git`.
const COMMITS_MAX: usize = 64;

/// Steps between two copies of the table of agents, which is large and needed only after a restart.
const TABLE_TICKS: u32 = 60;

/// Settings of the listener.
#[derive(Debug, Default)]
pub struct Settings {
    /// `host:port`.
    pub listen: String,
    /// TLS; plain text without.
    pub tls: Option<ServerTls>,
    /// Tokens of agents.
    pub tokens: Option<Tokens>,
    /// The token of operators.
    pub admin: Option<Secret>,
    /// True if plain text and agents without a proof are allowed on a network.
    pub insecure: bool,
    /// Maximum number of open files of this process, if it is limited. Agents that do not fit stay
    /// unconnected and poll.
    pub files_max: Option<u64>,
}

/// Why the server cannot start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The listener would be open to its network.
    #[error(
        "{address} is reachable from the network: set --certificate and --key, and --tokens-file \
         or --client-ca for agents; or allow plain text and unknown agents with --insecure"
    )]
    Open {
        /// The address.
        address: String,
    },
    /// TLS cannot be used.
    #[error("cannot use TLS: {0}")]
    Tls(String),
}

struct Server {
    fleet: Mutex<Fleet>,
    directory: Directory,
    /// Events after which the directory is committed.
    commits: mpsc::Sender<Event>,
    /// Why the last commit failed.
    commit_problem: Mutex<Option<String>>,
    history: Mutex<History>,
    access: Access,
    /// Places of connected agents.
    sockets: Arc<Semaphore>,
    /// The version of the fleet that connected agents see.
    version: AtomicU64,
    /// Wakes connected agents after the version has changed.
    changed: Notify,
    env: Env,
}

/// A WebSocket that begins when the answer was sent.
struct Socket {
    upgraded: OnUpgrade,
    identity: Option<String>,
    _place: OwnedSemaphorePermit,
}

/// The WebSocket that a connection becomes, if an agent has asked for it.
#[derive(Default)]
struct Upgrade(Mutex<Option<Socket>>);

impl Upgrade {
    fn lock(&self) -> MutexGuard<'_, Option<Socket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves agents and operators until the task is dropped.
///
/// # Errors
/// The server cannot start.
pub async fn serve(
    directory: Directory,
    settings: Settings,
    env: &Env,
) -> Result<Infallible, ServeError> {
    let address = settings.listen;
    let listen = |source| ServeError::Listen { address: address.clone(), source };
    let proves = settings.tokens.is_some()
        || settings.tls.as_ref().is_some_and(ServerTls::asks_for_certificates);
    let has_tls = settings.tls.is_some();
    let tls = settings.tls.map(|it| tls::Server::with_own_client(it, env, &["http/1.1"]));
    let tls = tls.transpose().map_err(|it| ServeError::Tls(it.to_string()))?;
    if let Some(tls) = &tls {
        tls.load().await.map_err(|it| ServeError::Tls(chain(&it)))?;
    }
    if let Some(tokens) = &settings.tokens {
        tokens.load().await.map_err(|it| ServeError::Tls(chain(&it)))?;
    }
    let listener = env.net.listen(&address).await.map_err(listen)?;
    let local = listener.local_address();
    let access =
        Access::new((&address, &local), settings.tokens, settings.admin, settings.insecure);
    let is_safe = access.is_loopback() || settings.insecure || (has_tls && proves);
    if !is_safe {
        return Err(ServeError::Open { address });
    }
    let fleet = Mutex::new(directory.load()?);
    let (version, changed) = Default::default();
    let room = settings.files_max.map_or(u64::MAX, |it| it.saturating_sub(OTHER_FILES));
    let sockets = SOCKETS_MAX.min(usize::try_from(room).unwrap_or(SOCKETS_MAX));
    let sockets = Arc::new(Semaphore::new(sockets));
    let env = env.clone();
    let (commits, events) = mpsc::channel(COMMITS_MAX);
    let commit_problem = Mutex::default();
    let history = Mutex::new(History::new(directory.history()));
    let server = Arc::new(Server {
        fleet,
        directory,
        commits,
        commit_problem,
        history,
        access,
        sockets,
        version,
        changed,
        env,
    });
    tokio::spawn(server.clone().tick());
    tokio::spawn(server.clone().commit(events));
    info!(address = local, "the fleet server accepts agents and operators");
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { continue };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (server, tls) = (server.clone(), tls.clone());
                tokio::spawn(server.serve_client(stream, peer, tls, place));
            }
            Err(error) => {
                warn!(%error, "cannot accept connections; retrying");
                sleep(TICK).await;
            }
        }
    }
}

impl Server {
    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        // A panic leaves at worst a report half counted; the next one replaces it.
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        unix_millis(self.env.clock.now())
    }

    /// Serves a connection, and then its WebSocket.
    async fn serve_client(
        self: Arc<Self>,
        stream: Box<dyn pipeline::env::Stream>,
        peer: String,
        tls: Option<tls::Server>,
        place: OwnedSemaphorePermit,
    ) {
        let (stream, names) = match &tls {
            None => (stream, ClientNames::default()),
            Some(tls) => {
                let visitor = Visitor { peer: peer.as_str().into(), ..Visitor::default() };
                tls.wrap(stream, visitor, || {})
            }
        };
        let upgrade = Upgrade::default();
        let served = self.connection(stream, (&peer, &names), &upgrade);
        if timeout(CONNECTION_TIMEOUT, served).await.is_err() {
            debug!(peer, "closed a connection that lasted too long");
            return;
        }
        drop(place);
        let socket = upgrade.lock().take();
        if let Some(socket) = socket {
            self.socket(&peer, socket).await;
        }
    }

    /// Writes what happened to the log and to the audit log, and wakes connected agents if the
    /// stored state has changed.
    fn log(&self, fleet: &mut Fleet) {
        let version = fleet.version();
        if self.version.swap(version, Ordering::AcqRel) != version {
            self.changed.notify_waiters();
        }
        let events = fleet.take_events();
        for event in &events {
            info!(action = event.action, by = event.by, detail = event.detail, "fleet");
            if git::is_committed(event) && self.commits.try_send(event.clone()).is_err() {
                warn!(action = event.action, "git is too slow; a later commit has the changes");
            }
        }
        if let Err(error) = self.directory.log(&events) {
            error!(%error, "cannot write to the audit log; its lines are only in this log");
        }
    }

    /// Applies the passing of time, and stores the table of agents, forever.
    async fn tick(self: Arc<Self>) {
        for tick in 0_u32.. {
            sleep(TICK).await;
            let this = self.clone();
            let is_copied = tick.is_multiple_of(TABLE_TICKS);
            let step = move || {
                let mut fleet = this.fleet();
                let advanced = fleet.advance(this.now_ms(), &mut &this.directory);
                if let Err(error) = advanced {
                    error!(error = chain(&error), "no configuration is offered until this works");
                }
                this.log(&mut fleet);
                let agents = is_copied.then(|| fleet.agents().clone());
                let samples = fleet.samples(this.now_ms());
                drop(fleet);
                if let Some(samples) = samples {
                    this.history().add(&samples);
                }
                if let Some(agents) = agents
                    && let Err(error) = this.directory.save_agents(&agents)
                {
                    error!(%error, "cannot store the table of agents; retrying");
                }
            };
            self.env.offload(step).await;
        }
    }

    /// Commits the directory after events, if it is a git repository.
    async fn commit(self: Arc<Self>, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            let this = self.clone();
            let committed = self.env.offload(move || this.directory.commit(&event)).await;
            if let Err(error) = &committed {
                warn!(
                    error,
                    "the next roll-out or pin commits again; roll-outs do not wait for it"
                );
            }
            let mut problem = self.commit_problem.lock().unwrap_or_else(PoisonError::into_inner);
            *problem = committed.err();
        }
    }

    async fn connection(
        self: &Arc<Self>,
        stream: Box<dyn pipeline::env::Stream>,
        (peer, names): (&str, &ClientNames),
        upgrade: &Upgrade,
    ) {
        let service = service_fn(|request: Request<Incoming>| async move {
            let answer = self.answer(request, (peer, names), upgrade).await;
            Ok::<_, Infallible>(secured(answer))
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(READ_TIMEOUT)
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            debug!(%error, peer, "a connection ended early");
        }
    }

    async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        (peer, names): (&str, &ClientNames),
        upgrade: &Upgrade,
    ) -> Answer {
        if !self.access.is_meant(request.headers()) {
            let text = "this listener is on loopback and accepts only this host as `Host`";
            return plain(StatusCode::MISDIRECTED_REQUEST, text);
        }
        if request.uri().path() == "/v1/opamp" {
            return match self.access.agent(request.headers(), names).await {
                Ok(identity) => self.opamp(request, identity, upgrade).await,
                Err(denied) => refuse(peer, denied).await,
            };
        }
        let (head, _no_body) = request.into_parts();
        match (&head.method, head.uri.path()) {
            // It contains nothing of the fleet.
            (&Method::GET, "/page.css") => {
                typed(StatusCode::OK, "text/css; charset=utf-8", page::STYLE)
            }
            _ => match self.access.operator(&head.headers) {
                Ok(by) => self.operator(&head, by).await,
                Err(denied) => refuse(peer, denied).await,
            },
        }
    }
}
