//! The running agent as a set of handles: one for each source, channel and group, by name.
//!
//! ```text
//!   Running ─┬─ SourceHandle   own stop, digest, intake, standing
//!            ├─ ChannelHandle  digest, the channel, its boards
//!            └─ GroupHandle    own stop, digest, answers what it is doing
//! ```
//!
//! A handle is all that the rest of the agent knows of a component: it is stopped by it, compared
//! by its digest, and asked for its state. Components of a stage stop together, within one grace.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use config::Plan;
use futures::future::join_all;
use metrics::Metrics;
use peers::SenderBoard;
use pipeline::{Channel, ChannelStatus, Env, Guarantee};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::boards::Boards;
use crate::dead_letters::DeadLetters;
use crate::group::{self, GroupParts, GroupView, Question};
use crate::health::{Health, Standing};
use crate::intake::AgentIntake;
use crate::opening::{NotOpen, Opened};
use crate::topology::{BuiltGroup, BuiltSource, Topology};
use crate::{chain, source, stop};

/// Questions that wait for a group; each is answered in a moment.
const QUESTIONS_MAX: usize = 16;

/// A group that does not answer for so long is busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// All handles.
#[derive(Default)]
pub(crate) struct Running {
    /// Where events enter.
    pub(crate) sources: BTreeMap<Arc<str>, SourceHandle>,
    /// What holds them.
    pub(crate) channels: BTreeMap<Arc<str>, ChannelHandle>,
    /// Where they leave.
    pub(crate) groups: BTreeMap<Arc<str>, GroupHandle>,
}

/// The tasks of one component, which stop together.
#[derive(Default)]
pub(crate) struct Tasks {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Asks them to stop.
    fn ask(&self) {
        self.stop.cancel();
        self.tasks.close();
    }

    /// Whether all of them have ended.
    fn have_ended(&self) -> bool {
        self.tasks.is_closed() && self.tasks.is_empty()
    }
}

/// A source that runs.
pub(crate) struct SourceHandle {
    /// Its type.
    pub(crate) kind: String,
    /// Of its configuration.
    pub(crate) digest: u64,
    /// What it promises.
    pub(crate) guarantee: Guarantee,
    /// Its way into its channels.
    pub(crate) intake: Arc<AgentIntake>,
    /// Whether it works.
    pub(crate) standing: Standing,
    /// The agents that send to it.
    pub(crate) senders: SenderBoard,
    tasks: Tasks,
}

/// A channel. Of one that is not open only its handle can be asked.
pub(crate) struct ChannelHandle {
    /// Its type.
    pub(crate) kind: String,
    /// Of its configuration.
    pub(crate) digest: u64,
    /// The channel.
    pub(crate) channel: Arc<dyn Channel>,
    /// What is known along it.
    pub(crate) boards: Boards,
    /// Names of the groups that take from it.
    pub(crate) consumers: Vec<Arc<str>>,
}

impl ChannelHandle {
    /// What it holds now; nothing while it is not open.
    pub(crate) fn status(&self) -> ChannelStatus {
        match self.boards.opened.is_open() {
            true => self.channel.status(),
            false => ChannelStatus { intake_stopped: true, ..ChannelStatus::default() },
        }
    }

    /// The channel, once it is open.
    pub(crate) fn opened(&self) -> Option<&Arc<dyn Channel>> {
        self.boards.opened.is_open().then_some(&self.channel)
    }
}

/// A group that runs.
pub(crate) struct GroupHandle {
    /// Of its configuration.
    pub(crate) digest: u64,
    /// Type of its processor.
    pub(crate) processor: String,
    /// Name of the channel that it takes from.
    pub(crate) channel: Arc<str>,
    /// Type and promise of each member's sink, in the order of the group.
    pub(crate) sinks: Vec<(String, Guarantee)>,
    /// Whether that channel is open: the group begins then.
    opened: Opened,
    questions: mpsc::Sender<Question>,
    tasks: Tasks,
}

/// What a group answered.
pub(crate) enum Answer {
    /// What it is doing.
    View(Box<GroupView>),
    /// Nothing in time.
    Busy,
    /// It has not begun: its channel is not open.
    NotBegun(NotOpen),
    /// It has ended.
    Ended,
}

impl GroupHandle {
    /// Asks the group what it is doing.
    pub(crate) async fn ask(&self) -> Answer {
        if let Some(why) = self.opened.why_not() {
            return Answer::NotBegun(why);
        }
        let (question, answer) = oneshot::channel();
        if self.questions.send(question).await.is_err() {
            return Answer::Ended;
        }
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(view)) => Answer::View(Box::new(view)),
            Ok(Err(_)) => Answer::Ended,
            Err(_) => Answer::Busy,
        }
    }
}

/// What every component of an agent is started with.
pub(crate) struct Surroundings<'a> {
    /// What is to run.
    pub(crate) plan: &'a Plan,
    /// The world.
    pub(crate) env: &'a Env,
    /// What is counted with.
    pub(crate) metrics: &'a Metrics,
    /// Where it is shown what works.
    pub(crate) health: &'a Health,
    /// Where events go that can never be delivered.
    pub(crate) dead_letters: &'a Arc<DeadLetters>,
    /// Raised by a source that can do nothing until an operator acts.
    pub(crate) failure: &'a stop::Failure,
}

impl Running {
    /// Starts the groups, then the sources; each begins when its channels are open.
    pub(crate) fn start(mut topology: Topology, around: &Surroundings<'_>) -> Self {
        let channels = topology.channels.iter().map(|built| {
            let handle = ChannelHandle {
                kind: built.kind.clone(),
                digest: built.digest,
                channel: built.channel.clone(),
                boards: built.boards.clone(),
                consumers: built.consumers.clone(),
            };
            (built.name.clone(), handle)
        });
        let mut running = Self { channels: channels.collect(), ..Self::default() };
        for group in std::mem::take(&mut topology.groups) {
            running.start_group(group, around);
        }
        // All are known before the first one runs: none is the last one that the agent waits for.
        let sources = std::mem::take(&mut topology.sources).into_iter();
        let sources = sources.map(|source| (around.health.add_source(&source.name), source));
        for (standing, source) in sources.collect::<Vec<_>>() {
            running.start_source(source, standing, &topology, around);
        }
        running
    }

    fn start_group(&mut self, built: BuiltGroup, around: &Surroundings<'_>) {
        let channel = &self.channels[&*built.channel];
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let channel_name: Arc<str> = built.channel.into();
        let sinks = built.sinks.iter();
        let handle = GroupHandle {
            digest: built.digest,
            processor: built.kind,
            channel: channel_name.clone(),
            sinks: sinks.map(|named| (named.kind.clone(), named.sink.guarantee())).collect(),
            opened: channel.boards.opened.clone(),
            questions,
            tasks: Tasks::default(),
        };
        let parts = GroupParts {
            name: built.name.clone(),
            channel: channel.channel.clone(),
            outlet: channel.boards.outlet.clone(),
            channel_name,
            dead_letters: around.dead_letters.clone(),
            processor: built.processor,
            sinks: built.sinks,
            metrics: around.metrics.clone(),
            env: around.env.clone(),
            health: around.health.clone(),
            questions: asked,
        };
        let (stop, opened) = (handle.tasks.stop.clone(), handle.opened.clone());
        let grace = around.plan.agent.grace;
        handle.tasks.spawn(async move {
            if stop.run_until_cancelled(opened.wait()).await.is_some() {
                group::run(parts, stop, grace).await;
            }
        });
        self.groups.insert(built.name, handle);
    }

    fn start_source(
        &mut self,
        built: BuiltSource,
        standing: Standing,
        topology: &Topology,
        around: &Surroundings<'_>,
    ) {
        let intake = Arc::new(AgentIntake::new(
            built.name.clone(),
            (built.interceptors, built.selector),
            around.dead_letters.clone(),
            (
                topology.fed(&built.required, &built.naming),
                topology.fed(&built.optional, &built.naming),
            ),
            built.routing,
            around.metrics.clone(),
        ));
        let handle = SourceHandle {
            kind: built.kind,
            digest: built.digest,
            guarantee: built.source.guarantee(),
            intake: intake.clone(),
            standing: standing.clone(),
            senders: built.senders,
            tasks: Tasks::default(),
        };
        let stop = handle.tasks.stop.clone();
        handle.tasks.spawn(intake.clone().agree_on_committed(stop.clone()));
        let runner = source::Runner {
            name: built.name.clone(),
            intake,
            env: around.env.clone(),
            failure: around.failure.clone(),
            standing,
            health: around.health.clone(),
            metrics: around.metrics.clone(),
        };
        handle.tasks.spawn(runner.run(built.source, stop));
        self.sources.insert(built.name, handle);
    }

    /// Stops the sources within the grace, then the groups, then closes the channels; what is not
    /// settled when the grace is over stays in the channels.
    pub(crate) async fn stop(&self, grace: Duration) {
        let sources = self.sources.iter().map(|(name, handle)| (name, &handle.tasks));
        end("source", sources, grace).await;
        // A group keeps to the grace by itself; its sinks close within moments after it.
        let groups = self.groups.iter().map(|(name, handle)| (name, &handle.tasks));
        end("sink group", groups, grace + Duration::from_secs(5)).await;
        for (channel, handle) in &self.channels {
            let Some(opened) = handle.opened() else { continue };
            if let Err(cause) = opened.close().await {
                error!(%channel, error = %chain(&cause), "channel did not close cleanly");
            }
        }
    }
}

/// Asks all of these to stop and waits for them, at most for `grace`.
async fn end(
    role: &str,
    handles: impl Iterator<Item = (&Arc<str>, &Tasks)> + Clone,
    grace: Duration,
) {
    handles.clone().for_each(|(_, tasks)| tasks.ask());
    let deadline = tokio::time::Instant::now() + grace;
    let all = join_all(handles.clone().map(|(_, tasks)| tasks.tasks.wait()));
    if timeout_at(deadline, all).await.is_err() {
        for (name, _) in handles.filter(|(_, tasks)| !tasks.have_ended()) {
            warn!(role, %name, "grace is over, going on without");
        }
    }
}
