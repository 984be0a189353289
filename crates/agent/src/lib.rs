//! The process: runs the components of a plan, and stops them in order.
//!
//! ```text
//!   start:  lock the data directory ─► open channels ─► sink groups ─► sources ─► ready
//!                                          └─ later, if their disk has no room
//!   stop:   sources ─► sink groups settle staged batches, within the grace ─► channels ─► admin
//! ```
//!
//! Edge and collector are both this library, with different catalogues.

pub mod account;
mod admin;
pub mod audit;
mod boards;
mod check;
mod checked;
mod choices;
pub mod cli;
mod data_dir;
pub mod dead_letters;
mod findings;
mod group;
mod health;
mod held;
mod intake;
mod limits;
mod liveness;
mod opening;
mod page;
mod parts;
mod plain_text;
mod probe;
mod recent_failures;
mod reload;
mod resends;
mod resources;
mod routing;
mod running;
mod scrape;
mod service;
mod source;
pub mod status;
mod stop;
mod tap;
mod topology;
mod traces;
mod under_way;

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use config::{ConfigErrors, Plan};
use futures::stream::{self, Stream, StreamExt};
use metrics::Metrics;
use pipeline::env::unix_millis;
use pipeline::{Catalogue, ChannelError, Env};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use admin::{Configuration, Listeners, Live, Pages};
pub use check::{Checked, Promise, check, resends};
pub use data_dir::DataDir;
use dead_letters::DeadLetters;
use health::Health;
pub use page::page;
pub use probe::{Probed, probe};
pub use reload::Reread;
use reload::{Reloader, Reloads};
use running::{Running, StartContext};
use service::Service;
pub use support::causes::chain;
use topology::Topology;
use traces::Exporting;

/// The version of the program, as pages, metrics and traces show it.
pub(crate) const VERSION: &str = if crypto::IS_FIPS {
    concat!(env!("CARGO_PKG_VERSION"), " FIPS")
} else {
    env!("CARGO_PKG_VERSION")
};

/// Why an agent ended without being asked to.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration is wrong; nothing was started.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {problem}")]
    DataDir {
        /// The directory.
        path: String,
        /// The cause and the remedy.
        problem: String,
    },
    /// A channel cannot be opened.
    #[error("cannot open a channel, so the agent exits")]
    Channel(#[from] ChannelError),
    /// An admin listener cannot be opened.
    #[error("cannot listen on the address of `agent.{setting}`")]
    Admin {
        /// The setting with its address.
        setting: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Signals cannot be caught.
    #[error("cannot register signal handlers")]
    Signals(#[source] std::io::Error),
    /// A source cannot do its work until an operator acts.
    #[error("source `{source_name}` cannot continue and stops the agent: {problem}")]
    Source {
        /// Its name.
        source_name: String,
        /// Its error.
        problem: String,
    },
    /// A second signal requested an immediate end.
    #[error("stopped by a second signal; events that were not stored are reread or resent")]
    Interrupted,
}

/// The signal that asks for a reload.
const RELOAD: &str = "SIGHUP";

/// Interval of checks of a watched agent.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

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
    let signals = stop::Signals::listen().map_err(RunError::Signals)?;
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
    let signals = stop::Signals::listen().map_err(RunError::Signals)?;
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
    let topology = Topology::build(&plan, catalogue, &env, &metrics)?;
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
            failure = agent.failure.cancelled_with() => break Err(failure),
            () = watched(&agent.pages, &mut watch) => break Ok(()),
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
async fn watched(pages: &Pages, watch: &mut Option<Watch<'_>>) {
    let Some(watch) = watch else { return std::future::pending().await };
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        if watch(&pages.snapshot().await).is_break() {
            return;
        }
    }
}

/// A running agent.
struct Agent {
    pages: Arc<Pages>,
    running: Arc<Running>,
    /// Cancelled when it begins to stop.
    stopping: CancellationToken,
    /// Opens the channels that the disk had no room for.
    late: JoinHandle<()>,
    /// Saves the limits of downstream agents to disk.
    limits: JoinHandle<Option<()>>,
    dead_letters: Arc<DeadLetters>,
    failure: stop::Failure,
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
    letters.open_existing().await?;
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
        let (health, failure) = (Health::new(env.clock.clone()), stop::Failure::default());
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
        plain_text::show(&running, &plain_text);
        let audit = audit::Audit::new(&plan.agent.data_dir, env);
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
        let pages = Arc::new(Pages {
            agent: plan.agent.name.clone(),
            started,
            started_ms,
            running: running.clone(),
            reloads: reloads.clone(),
            audit,
            dead_letters: letters.clone(),
            health,
            metrics,
            env: env.clone(),
            stopping: stopping.clone(),
            configuration,
            live: Live::default(),
        });
        admin.serve(&pages);
        Ok(Self {
            pages: pages.clone(),
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
            announcer: tokio::spawn(findings::announce(service, pages)),
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
            error!(error = %chain(&cause), "cannot close the dead letters cleanly; none are lost");
        }
        self.exporting.end().await;
        drop(self.admin);
        self.announcer.abort();
    }
}
