//! The process: from a plan to running components, and orderly out again.
//!
//! ```text
//!   start:  lock the data directory ─► open channels ─► sink groups ─► sources ─► ready
//!   stop:   sources ─► sink groups settle what is staged, within the grace ─► channels ─► admin
//! ```
//!
//! Both programs, edge and collector, are this library with another catalogue.

mod admin;
pub mod cli;
mod data_dir;
pub mod dead_letters;
mod group;
mod health;
mod intake;
mod limits;
mod resources;
mod routing;
mod scrape;
mod source;
mod stop;
mod topology;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use config::{ConfigErrors, Plan};
use futures::stream::{self, Stream, StreamExt};
use pipeline::discovery::Discovery;
use pipeline::{Catalogue, ChannelError, Env, Guarantee, Metrics, Routing};
use thiserror::Error;
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use admin::{Admin, Pages};
use data_dir::DataDir;
use dead_letters::DeadLetters;
use group::{GroupParts, NamedSink};
use health::{Health, Standing};
use intake::AgentIntake;
use topology::{BuiltGroup, BuiltSource, Topology};

/// Why an agent ended otherwise than it was asked to.
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
        /// Why, and what helps.
        problem: String,
    },
    /// A channel cannot be opened.
    #[error("cannot open a channel")]
    Channel(#[from] ChannelError),
    /// The admin listener cannot be opened.
    #[error("cannot listen for `agent.admin`")]
    Admin(#[source] std::io::Error),
    /// Signals cannot be caught.
    #[error("cannot catch signals")]
    Signals(#[source] std::io::Error),
    /// A source cannot do its work until somebody acts.
    #[error("source `{source_name}` has stopped for good: {problem}")]
    Source {
        /// Its name.
        source_name: String,
        /// What it said.
        problem: String,
    },
    /// A second signal asked for the end at once.
    #[error("stopped at once by a second signal; what was not stored is read or sent again")]
    Interrupted,
}

/// The weakest promise on the way out of one sink, for `check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// Name of the sink.
    pub sink: String,
    /// Name of the channel that it takes from.
    pub channel: String,
    /// Kind of that channel.
    pub channel_kind: String,
    /// What that channel promises.
    pub channel_guarantee: Guarantee,
    /// What the sink promises.
    pub guarantee: Guarantee,
}

/// What a plan that is right promises.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Of each sink.
    pub promises: Vec<Promise>,
    /// What each source promises, by its name.
    pub sources: BTreeMap<String, Guarantee>,
    /// How each source's batches are sent into datasets, by its name: the same on all collectors of
    /// a group. Without those that hand on to other agents.
    pub routings: Vec<(String, Routing)>,
    /// What each discovered sink looks up, by its name.
    pub discoveries: Vec<(String, Discovery)>,
    /// What may be meant so, and does not suit the disk.
    pub warnings: Vec<String>,
}

/// Builds everything that `plan` names, without any I/O, and says what it promises. Of the disk only
/// its size and free space are asked.
///
/// # Errors
/// Every setting that is wrong.
pub fn check(plan: &Plan, catalogue: Catalogue, env: &Env) -> Result<Checked, ConfigErrors> {
    let topology = Topology::build(plan, catalogue, env, &Metrics::default())?;
    let kind = |name: &str| {
        let channel = plan.channels.iter().find(|channel| channel.component.name == name);
        channel.map(|channel| channel.component.kind.clone()).unwrap_or_default()
    };
    let (mut promises, mut discoveries) = (Vec::new(), Vec::new());
    for group in &topology.groups {
        for (name, named) in named_sinks(plan, group) {
            promises.push(Promise {
                sink: name.clone(),
                channel: group.channel.clone(),
                channel_kind: kind(&group.channel),
                channel_guarantee: topology.channel(&group.channel).guarantee(),
                guarantee: named.sink.guarantee(),
            });
            if let Some(seat) = named.sink.seat() {
                discoveries.push((name, seat.board().discovery().clone()));
            }
        }
    }
    let routings = topology.sources.iter().filter_map(|source| {
        let routing = source.routing.as_ref()?;
        Some((source.name.to_string(), routing.clone()))
    });
    let warnings = topology.channels.iter().flat_map(|built| built.channel.warnings()).collect();
    let sources = topology.sources.iter();
    let sources = sources.map(|built| (built.name.to_string(), built.source.guarantee())).collect();
    Ok(Checked { promises, sources, routings: routings.collect(), discoveries, warnings })
}

/// The sinks of a group by their names in the configuration: of a discovered one, its first seat.
fn named_sinks<'a>(
    plan: &Plan,
    group: &'a BuiltGroup,
) -> impl Iterator<Item = (String, &'a NamedSink)> {
    let planned = plan.groups.iter().find(|planned| *planned.name == *group.name);
    let names = planned.map_or(&[][..], |planned| &planned.sinks).iter();
    let is_first = |named: &&NamedSink| named.sink.seat().is_none_or(|seat| seat.index() == 0);
    let names: Vec<String> = names.map(|sink| sink.name.clone()).collect();
    names.into_iter().zip(group.sinks.iter().filter(is_first))
}

/// Runs `plan` until a signal stops it, or something does that needs a person.
///
/// # Errors
/// Nothing was started, or the agent had to stop by itself, or a second signal cut the stop short.
pub async fn run(plan: Plan, catalogue: Catalogue, env: Env) -> Result<(), RunError> {
    let signals = stop::Signals::listen().map_err(RunError::Signals)?;
    run_until(plan, catalogue, env, signals.into_stream()).await
}

/// [`run`], with the names of the signals from elsewhere: the first one asks the agent to stop, the
/// second one to stop at once. When the stream ends, no signal comes any more.
///
/// # Errors
/// As [`run`].
pub async fn run_until(
    plan: Plan,
    catalogue: Catalogue,
    env: Env,
    signals: impl Stream<Item = &'static str>,
) -> Result<(), RunError> {
    let mut signals = pin!(signals.chain(stream::pending()));
    let metrics = Metrics::default();
    let topology = Topology::build(&plan, catalogue, &env, &metrics)?;
    scrape::version(&metrics);
    let agent = Agent::start(&plan, topology, &env, metrics).await?;
    let grace = plan.agent.grace;
    let reason = tokio::select! {
        biased;
        Some(signal) = signals.next() => {
            info!(signal, grace_seconds = grace.as_secs_f64(), "stopping; a second signal stops at once");
            Ok(())
        }
        failure = agent.failure.cancelled_with() => Err(failure),
    };
    tokio::select! {
        biased;
        _ = signals.next() => return Err(RunError::Interrupted),
        () = agent.stop(grace) => {}
    }
    info!("stopped");
    reason
}

/// A running agent.
struct Agent {
    sources: Stage,
    groups: Stage,
    channels: Vec<topology::BuiltChannel>,
    dead_letters: Arc<DeadLetters>,
    health: Health,
    failure: stop::Failure,
    admin: Option<Admin>,
    _data_dir: DataDir,
}

/// Tasks that stop together.
struct Stage {
    name: &'static str,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Stage {
    fn new(name: &'static str) -> Self {
        Self { name, stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// Asks the tasks to stop and waits for them, at most for `grace`.
    async fn end(&self, grace: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(grace, self.tasks.wait()).await.is_err() {
            warn!(pending = self.tasks.len(), stage = self.name, "grace is over, going on without");
        }
    }
}

impl Agent {
    async fn start(
        plan: &Plan,
        topology: Topology,
        env: &Env,
        metrics: Metrics,
    ) -> Result<Self, RunError> {
        let data_dir = DataDir::own(&plan.agent.data_dir, env).await?;
        limits::recall(&topology.limits(), &plan.agent.data_dir, env);
        for built in &topology.channels {
            built.channel.warnings().iter().for_each(|warning| warn!("{warning}"));
            built.channel.open().await?;
            let groups = topology.groups.iter().filter(|group| group.channel == *built.name);
            let consumers: Vec<Arc<str>> = groups.map(|group| group.name.clone()).collect();
            built.channel.register(&consumers).await?;
        }
        if let Some(first) = topology.channels.first() {
            let channels = topology.channels.iter().map(|built| &built.channel);
            first.floors.begin_lives(channels);
        }
        let letters = topology.dead_letters.clone();
        let letters = DeadLetters::new(letters, &plan.agent.data_dir, env, &metrics);
        letters.open_existing().await?;
        let letters = Arc::new(letters);
        for built in &topology.channels {
            let letters = letters.clone();
            built.floors.know_letters(move |origin| letters.lowest(origin));
        }
        let agent = Self {
            dead_letters: letters,
            health: Health::new(env.clock.clone()),
            sources: Stage::new("sources"),
            groups: Stage::new("sink groups"),
            failure: stop::Failure::default(),
            admin: match &plan.agent.admin {
                Some(address) => Some(Admin::listen(address, env).await.map_err(RunError::Admin)?),
                None => None,
            },
            channels: Vec::new(),
            _data_dir: data_dir,
        };
        Ok(agent.start_stages(plan, topology, env, &metrics))
    }

    fn start_stages(
        mut self,
        plan: &Plan,
        mut topology: Topology,
        env: &Env,
        metrics: &Metrics,
    ) -> Self {
        let groups = std::mem::take(&mut topology.groups);
        let sources = std::mem::take(&mut topology.sources);
        for group in groups {
            let channel = topology.channel(&group.channel);
            let outlet = topology.outlet(&group.channel);
            let BuiltGroup { name, processor, sinks, channel: channel_name } = group;
            let (metrics, env) = (metrics.clone(), env.clone());
            let parts = GroupParts {
                name,
                channel,
                outlet,
                channel_name: channel_name.into(),
                dead_letters: self.dead_letters.clone(),
                processor,
                sinks,
                metrics,
                env,
                health: self.health.clone(),
            };
            let run = group::run(parts, self.groups.stop.clone(), plan.agent.grace);
            self.groups.tasks.spawn(run);
        }
        let limits = limits::keep(topology.limits(), &plan.agent.data_dir, env);
        self.sources.tasks.spawn(self.sources.stop.clone().run_until_cancelled_owned(limits));
        let standings = sources.iter().map(|source| self.health.add_source(&source.name));
        let standings: Vec<Standing> = standings.collect();
        info!(agent = plan.agent.name, data_dir = %plan.agent.data_dir.display(), "started");
        for (source, standing) in sources.into_iter().zip(standings) {
            self.start_source(source, standing, &topology, env, metrics);
        }
        if let Some(admin) = &mut self.admin {
            let channels = topology.channels.iter();
            let channels = channels.map(|built| (built.name.clone(), built.channel.clone()));
            admin.serve(Pages {
                channels: channels.collect(),
                dead_letters: self.dead_letters.clone(),
                health: self.health.clone(),
                metrics: metrics.clone(),
                env: env.clone(),
                stopping: self.sources.stop.clone(),
            });
        }
        self.channels = topology.channels;
        self
    }

    fn start_source(
        &self,
        built: BuiltSource,
        standing: Standing,
        topology: &Topology,
        env: &Env,
        metrics: &Metrics,
    ) {
        let channels = |names: &[String]| names.iter().map(|name| topology.channel(name)).collect();
        let boards = built.required.iter().map(|name| topology.boards(name)).collect();
        let intake = Arc::new(AgentIntake::new(
            (self.health.clone(), standing.clone()),
            built.interceptors,
            built.selector,
            (channels(&built.required), boards),
            built.routing,
            channels(&built.optional),
            metrics.clone(),
        ));
        let stop = self.sources.stop.clone();
        self.sources.tasks.spawn(intake.clone().agree_on_committed(stop.clone()));
        let runner = source::Runner {
            name: built.name,
            intake,
            env: env.clone(),
            failure: self.failure.clone(),
            standing,
            metrics: metrics.clone(),
        };
        self.sources.tasks.spawn(runner.run(built.source, stop));
    }

    /// Stops stage by stage; what is not settled when the grace is over stays in the channels.
    async fn stop(self, grace: Duration) {
        self.sources.end(grace).await;
        // A group keeps to the grace by itself; its sinks close within moments after it.
        self.groups.end(grace + Duration::from_secs(5)).await;
        for built in &self.channels {
            if let Err(cause) = built.channel.close().await {
                error!(channel = %built.name, error = %chain(&cause), "channel did not close cleanly");
            }
        }
        if let Err(cause) = self.dead_letters.close().await {
            error!(error = %chain(&cause), "the dead letters did not close cleanly");
        }
        drop(self.admin);
    }
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
