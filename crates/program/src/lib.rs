//! The process of an agent: command line, signals, log, and the order of start and stop.
//!
//! ```text
//!   arguments ─► cli ─► plan, checked ─► run
//!   start:  lock the data directory ─► open channels ─► sink groups ─► sources ─► ready
//!                                          └─ later, if their disk has no room
//!   stop:   sources ─► sink groups settle staged batches, within the grace ─► channels ─► admin
//! ```
//!
//! Edge and collector are both this library, with different catalogues.
//!
//! # Invariants
//!
//! 1. The configuration is checked as a whole before anything starts.
//! 2. The first signal stops in order; the second one stops immediately.
//! 3. The admin listeners are bound before the parts start, and end after them.
//!
//! | module | contents |
//! |---|---|
//! | `cli` | arguments of the edge and the collector, the log, `health` |
//! | `signals` | signals that stop an agent or reload it |

pub mod cli;
mod signals;

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use admin::{ListenError, Listeners, Live, Pages};
use agent::dead_letters::{self, DeadLetters};
use agent::failure::Failure;
use agent::health::Health;
use agent::running::{Running, StartContext};
use agent::topology::Topology;
use agent::traces::Exporting;
use agent::{AgentError, DataDir, limits, opening, resends, scrape, status};
use config::Plan;
use control::audit::Audit;
use control::configuration::{Configuration, Reread};
use control::fleet::{self, FleetError};
use control::held;
use control::monitor::{Monitor, Seen};
use control::reload::{Reloader, Reloads};
use control::service::{self, Service};
use futures::stream::{self, Stream, StreamExt};
use metrics::Metrics;
use peers::RefusalBoard;
use pipeline::env::unix_millis;
use pipeline::{Catalogue, Env};
use support::causes::chain;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Why an agent ended without being asked to.
#[derive(Debug, Error)]
pub enum RunError {
    /// The agent cannot start, or had to stop.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// An admin listener cannot be opened.
    #[error(transparent)]
    Admin(#[from] ListenError),
    /// The fleet server cannot be used.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// Signals cannot be caught.
    #[error("cannot register signal handlers, so the program exits; check `ulimit -n`")]
    Signals(#[source] std::io::Error),
    /// A second signal requested an immediate end.
    #[error(
        "stopped by a second signal; events that were not stored are reread or resent; no action \
         needed"
    )]
    Interrupted,
}

/// The signal that asks for a reload.
const RELOAD: &str = "SIGHUP";

/// Interval of checks of a watched agent.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Runs `plan` until a signal or a permanent failure stops it. `reread` reads the configuration
/// again: for a reload, and for the live page, which shows changes.
///
/// # Errors
/// Nothing was started, or the agent had to stop after a failure, or a second signal interrupted
/// the stop.
pub async fn run(
    plan: Plan,
    catalogue: Catalogue,
    env: Env,
    reread: Option<Reread>,
) -> Result<(), RunError> {
    let signals = signals::Signals::listen().map_err(RunError::Signals)?;
    let service = Service::from_env(&env);
    serve(plan, catalogue, env, reread, (signals.into_stream(), service, None)).await
}

/// Observes a running agent; with a break the agent stops, as after a signal.
pub type Watch<'a> = Box<dyn FnMut(&status::Snapshot) -> ControlFlow<()> + Send + 'a>;

/// [`run`] for work that ends: `watch` sees the agent several times a second, and can stop it.
///
/// # Errors
/// As [`run`].
pub async fn run_watched(
    plan: Plan,
    catalogue: Catalogue,
    env: Env,
    watch: Watch<'_>,
) -> Result<(), RunError> {
    let signals = signals::Signals::listen().map_err(RunError::Signals)?;
    let around = (signals.into_stream(), Service::default(), Some(watch));
    serve(plan, catalogue, env, None, around).await
}

/// [`run`] with the names of signals from a stream: `SIGHUP` reloads the configuration, the first
/// other signal stops the agent, and the second one stops it immediately.
///
/// # Errors
/// As [`run`].
pub async fn run_until(
    plan: Plan,
    catalogue: Catalogue,
    env: Env,
    reread: Option<Reread>,
    signals: impl Stream<Item = &'static str>,
) -> Result<(), RunError> {
    serve(plan, catalogue, env, reread, (signals, Service::default(), None)).await
}

/// [`run_until`], with an observer of the service state and a watch.
async fn serve(
    mut plan: Plan,
    catalogue: Catalogue,
    env: Env,
    reread: Option<Reread>,
    (signals, service, mut watch): (impl Stream<Item = &'static str>, Service, Option<Watch<'_>>),
) -> Result<(), RunError> {
    let mut signals = pin!(signals.chain(stream::pending()));
    let metrics = Metrics::default();
    plan.agent.data_dir = pipeline::env::resolved(&*env.disk, &plan.agent.data_dir);
    let topology = Topology::build(&plan, catalogue, &env, &metrics).map_err(AgentError::from)?;
    scrape::version(&metrics);
    let grace = plan.agent.grace;
    service.starting().await;
    let configuration = Arc::new(Configuration::new(plan, catalogue, reread));
    let started = {
        let mut starting =
            pin!(Agent::start(configuration, topology, &env, (metrics, service.clone())));
        loop {
            tokio::select! {
                biased;
                // The recovery of a large channel takes time.
                Some(signal) = signals.next() => {
                    if signal == RELOAD {
                        info!(signal, "signal ignored: the agent is starting with the \
                                       configuration that it has just read");
                        continue;
                    }
                    info!(signal, "stopped by a signal during the start");
                    service.stopping().await;
                    return Ok(());
                }
                started = &mut starting => break started,
            }
        }
    };
    let agent = started?;
    let reason = loop {
        tokio::select! {
            biased;
            Some(signal) = signals.next() => {
                if signal == RELOAD {
                    agent.reloads.ask(RELOAD);
                    continue;
                }
                info!(
                    signal, grace_seconds = grace.as_secs_f64(),
                    "stopping; a second signal stops immediately",
                );
                break Ok(());
            }
            failure = agent.failure.cancelled_with() => break Err(failure.into()),
            () = watched(&agent.monitor, &mut watch) => break Ok(()),
            () = agent.reloads.exit.cancelled() => {
                info!("drain is complete; the agent stops, as requested with `exit`");
                break Ok(());
            }
        }
    };
    service.stopping().await;
    let again = async { while signals.next().await == Some(RELOAD) {} };
    tokio::select! {
        biased;
        () = again => return Err(RunError::Interrupted),
        () = agent.stop(grace) => {}
    }
    info!("stopped");
    reason
}

/// Watches the agent until it has to stop; forever without a watch.
async fn watched(monitor: &Monitor, watch: &mut Option<Watch<'_>>) {
    let Some(watch) = watch else { return std::future::pending().await };
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        if watch(&monitor.snapshot().await).is_break() {
            return;
        }
    }
}

/// A running agent.
struct Agent {
    monitor: Arc<Monitor>,
    running: Arc<Running>,
    /// Cancelled when it begins to stop.
    stopping: CancellationToken,
    /// Opens the channels that the disk had no room for.
    late: JoinHandle<()>,
    /// Saves the limits of downstream agents to disk.
    limits: JoinHandle<Option<()>>,
    dead_letters: Arc<DeadLetters>,
    failure: Failure,
    reloads: Reloads,
    reloader: Option<JoinHandle<()>>,
    admin: Listeners,
    /// Exports traces, until it is stopped.
    exporting: Exporting,
    /// Tells the log and the service manager how the agent does, until the end of the stop.
    announcer: JoinHandle<()>,
    _data_dir: DataDir,
}

/// The dead letters of an agent.
async fn open_letters(
    config: dead_letters::Config,
    plan: &Plan,
    env: &Env,
    metrics: &Metrics,
) -> Result<Arc<DeadLetters>, RunError> {
    let letters = DeadLetters::new(config, &plan.agent.data_dir, env, metrics);
    letters.open_existing().await.map_err(AgentError::from)?;
    Ok(Arc::new(letters))
}

impl Agent {
    #[expect(clippy::too_many_lines, reason = "the parts of an agent, in the order of their start")]
    async fn start(
        configuration: Arc<Configuration>,
        mut topology: Topology,
        env: &Env,
        (metrics, service): (Metrics, Service),
    ) -> Result<Self, RunError> {
        let plan = configuration.plan();
        let (started, started_ms) = (Instant::now(), unix_millis(env.clock.now()));
        let data_dir = DataDir::lock(&plan.agent.data_dir, env).await?;
        limits::restore(&topology.limits(), &plan.agent.data_dir, env);
        let late = opening::open_channels(&topology.channels).await?;
        resends::log(&topology, &plan, &Default::default(), env).await;
        let letters = open_letters(topology.dead_letters.clone(), &plan, env, &metrics).await?;
        // Channels ask for the dead letters of an origin.
        for built in &topology.channels {
            let letters = letters.clone();
            built.boards.floors.set_lowest_letter(move |origin| letters.lowest(origin));
        }
        let mut admin = Listeners::listen(&plan.agent, env).await?;
        info!(agent = plan.agent.name, data_dir = %plan.agent.data_dir.display(), "started");
        let (health, failure) = (Health::new(env.clock.clone()), Failure::default());
        let stopping = CancellationToken::new();
        let limits = limits::LimitBoards::new(topology.limits());
        let keeper = limits::save_changes(limits.clone(), &plan.agent.data_dir, env, &stopping);
        let around = StartContext {
            grace: plan.agent.grace,
            env: env.clone(),
            metrics: metrics.clone(),
            health: health.clone(),
            dead_letters: letters.clone(),
            failure: failure.clone(),
        };
        let exporting = Exporting::begin(topology.exporter.take(), &topology.traces);
        let plain_text = topology.plain_text.clone();
        let running = Running::start(topology, &around, held::load(&plan, env));
        running.show_plain_text(&plain_text);
        let audit = Audit::new(&plan.agent.data_dir, env);
        let (reloads, reloader) = Reloads::start(Some(Reloader {
            reread: configuration.reread.clone(),
            configuration: configuration.clone(),
            around,
            running: running.clone(),
            stopping: stopping.clone(),
            limits,
            service: service.clone(),
            audit: audit.clone(),
        }));
        let late = tokio::spawn(late.open(stopping.clone(), failure.clone()));
        let monitor = Arc::new(Monitor {
            agent: plan.agent.name.clone(),
            started,
            running: running.clone(),
            changes: reloads.changes.clone(),
            dead_letters: letters.clone(),
            health,
            metrics,
            env: env.clone(),
            stopping: stopping.clone(),
            configuration,
            refusals: RefusalBoard::default(),
            seen: Seen::default(),
        });
        let pages = Arc::new(Pages {
            monitor: monitor.clone(),
            started_ms,
            reloads: reloads.clone(),
            audit,
            live: Live::default(),
        });
        admin.serve(&pages);
        // The task ends with `stopping`.
        fleet::start(&monitor, &reloads, started_ms, stopping.clone()).await?;
        Ok(Self {
            monitor: monitor.clone(),
            running,
            stopping,
            late,
            limits: keeper,
            dead_letters: letters,
            failure,
            reloads,
            reloader,
            admin,
            exporting,
            announcer: tokio::spawn(service::announce(service, monitor)),
            _data_dir: data_dir,
        })
    }

    /// Stops stage by stage; batches that are unsettled after the grace stay in the channels.
    async fn stop(self, grace: Duration) {
        self.stopping.cancel();
        // Both end after at most one step. A channel that the first one opens is closed with the
        // others.
        let _ = self.late.await;
        if let Some(reloader) = self.reloader {
            let _ = reloader.await;
        }
        self.running.stop(grace).await;
        let _ = self.limits.await;
        if let Err(cause) = self.dead_letters.close().await {
            error!(error = %chain(&cause), "cannot close the dead letters cleanly; none are lost, \
                                            no action needed");
        }
        self.exporting.end().await;
        drop(self.admin);
        self.announcer.abort();
    }
}
