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

mod channel;
mod held;
mod prepared;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use futures::future::join_all;
use peers::{RefusalBoard, SenderBoard, TenantBoard};
use pipeline::{FileBoard, Guarantee, Routing};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::chain;
use crate::group::{GroupView, Passed, Question};
use crate::health::Standing;
use crate::held::Holds;
use crate::intake::AgentIntake;
use crate::opening::{NotOpen, Opened};
use crate::scrape;
use crate::status::{Conservation, PlainTextStatus};
use crate::tap::Point;
use crate::topology::{BuiltChannel, Topology};
pub(crate) use channel::ChannelHandle;
pub(crate) use prepared::{Prepared, Surroundings};

/// Questions that wait for a group; each is answered in a moment.
const QUESTIONS_MAX: usize = 16;

/// A group that does not answer for so long is busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// All handles, which a reload exchanges one by one.
#[derive(Default)]
pub(crate) struct Running {
    parts: RwLock<Arc<Parts>>,
}

/// The handles at one moment.
#[derive(Clone, Default)]
pub(crate) struct Parts {
    /// Where events enter.
    pub(crate) sources: BTreeMap<Arc<str>, Arc<SourceHandle>>,
    /// What holds them.
    pub(crate) channels: BTreeMap<Arc<str>, Arc<ChannelHandle>>,
    /// Where they leave.
    pub(crate) groups: BTreeMap<Arc<str>, Arc<GroupHandle>>,
    /// What sources and channels have done that are not here any more.
    pub(crate) past: Conservation,
    /// Channels that are not named any more: what they have dropped still counts.
    pub(crate) gone: BTreeSet<Arc<str>>,
    /// Those of them that hold batches on disk, and how many events.
    pub(crate) left_behind: BTreeMap<Arc<str>, u64>,
    /// What leaves this host in plain text.
    pub(crate) plain_text: Vec<PlainTextStatus>,
    /// Parts that an operator has stopped: their handles stay, and nothing runs behind them.
    pub(crate) held: Holds,
}

/// What does not run any more: it has no handle, or is held.
pub(crate) struct Gone {
    /// Names of sources.
    pub(crate) sources: Vec<Arc<str>>,
    /// Names of groups, with those of their members.
    pub(crate) groups: Vec<(Arc<str>, Vec<Arc<str>>)>,
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

    /// Their end, for what may begin only after it.
    fn ended(&self) -> TaskTracker {
        self.tasks.clone()
    }
}

/// A source that runs.
pub(crate) struct SourceHandle {
    /// Its type.
    pub(crate) kind: String,
    /// Of its configuration.
    pub(crate) digest: u64,
    /// Of what its batches are called and where they are sent: by the groups behind its channels.
    pub(crate) wiring: Wiring,
    /// Channels that it feeds, the optional ones too.
    pub(crate) channels: Vec<Arc<str>>,
    /// When it was started.
    pub(crate) since: Instant,
    /// What it promises.
    pub(crate) guarantee: Guarantee,
    /// Its way into its channels.
    pub(crate) intake: Arc<AgentIntake>,
    /// Whether it works.
    pub(crate) standing: Standing,
    /// The agents that send to it.
    pub(crate) senders: SenderBoard,
    /// The files that it follows.
    pub(crate) files: FileBoard,
    /// What shares it.
    pub(crate) tenants: TenantBoard,
    /// Peers that it refuses.
    pub(crate) refusals: RefusalBoard,
    tasks: Tasks,
}

/// How a source calls its batches and where it sends them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wiring {
    /// Channels that name their parts of a batch.
    pub(crate) naming: BTreeSet<String>,
    /// How its batches are sent into datasets.
    pub(crate) routing: Option<Routing>,
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
    /// Names of these members.
    pub(crate) members: Vec<Arc<str>>,
    /// When it was started.
    pub(crate) since: Instant,
    /// What has left the channel by it, over its restarts.
    pub(crate) passed: Arc<Passed>,
    /// Where events can be looked at as its members are handed them.
    pub(crate) tap: Point,
    /// Whether that channel is open: the group begins then.
    opened: Opened,
    questions: mpsc::Sender<Question>,
    /// The oldest question that it has not answered in time, and since when.
    waits: Mutex<Option<(Instant, oneshot::Receiver<GroupView>)>>,
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

impl SourceHandle {
    /// Whether it was asked to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.tasks.stop.is_cancelled()
    }

    /// Whether it does nothing any more.
    pub(crate) fn have_ended(&self) -> bool {
        self.tasks.have_ended()
    }
}

impl GroupHandle {
    /// Whether it was asked to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.tasks.stop.is_cancelled()
    }

    /// Asks the group what it is doing.
    pub(crate) async fn ask(&self) -> Answer {
        if let Some(why) = self.opened.why_not() {
            return Answer::NotBegun(why);
        }
        let (question, mut answer) = oneshot::channel();
        let asked = async {
            self.questions.send(question).await.ok()?;
            (&mut answer).await.ok()
        };
        match timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Some(view)) => Answer::View(Box::new(view)),
            Ok(None) => Answer::Ended,
            Err(_) => {
                self.silent_since();
                self.waits().get_or_insert((Instant::now(), answer));
                Answer::Busy
            }
        }
    }

    fn waits(&self) -> MutexGuard<'_, Option<(Instant, oneshot::Receiver<GroupView>)>> {
        // It is replaced as a whole.
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when a question waits for its answer that was not answered in time.
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        let mut waits = self.waits();
        let (since, answer) = waits.as_mut()?;
        if matches!(answer.try_recv(), Err(TryRecvError::Empty)) {
            return Some(*since);
        }
        *waits = None;
        None
    }
}

impl Running {
    /// Starts the groups, then the sources; each begins when its channels are open. What is held
    /// does not begin.
    pub(crate) fn start(mut topology: Topology, around: &Surroundings, held: Holds) -> Arc<Self> {
        let running = Self::default();
        scrape::held(&around.metrics, &Holds::new(), &held);
        running.change(|parts| parts.held = held);
        for built in &topology.channels {
            running.add_channel(built);
        }
        let parts = running.parts();
        for group in std::mem::take(&mut topology.groups) {
            match parts.holds_group(&group.name) {
                true => running.place_group(group, around),
                false => running.start_group(group, around),
            }
        }
        // All are known before the first one runs: none is the last one that the agent waits for.
        let (held, sources) = std::mem::take(&mut topology.sources)
            .into_iter()
            .partition::<Vec<_>, _>(|source| parts.holds_source(&source.name));
        held.into_iter().for_each(|source| running.place_source(source, &topology, around));
        let sources = sources.into_iter();
        let sources = sources.map(|source| (around.health.add_source(&source.name), source));
        for (standing, source) in sources.collect::<Vec<_>>() {
            running.run_source(Prepared::new(source, &topology, standing, around), false);
        }
        running.parts().say_held();
        Arc::new(running)
    }

    /// With these handles.
    #[cfg(test)]
    pub(crate) fn of(parts: Parts) -> Self {
        Self { parts: RwLock::new(Arc::new(parts)) }
    }

    /// The handles as they are now.
    pub(crate) fn parts(&self) -> Arc<Parts> {
        // Each change is whole.
        self.parts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the handles; readers see all of it or nothing.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Parts) -> T) -> T {
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut parts))
    }

    /// Adds the handle of a channel.
    pub(crate) fn add_channel(&self, built: &BuiltChannel) {
        let handle = ChannelHandle {
            kind: built.kind.clone(),
            digest: built.digest,
            channel: built.channel.clone(),
            boards: built.boards.clone(),
            consumers: built.consumers.clone(),
            since: Instant::now(),
        };
        self.change(|parts| {
            parts.gone.remove(&built.name);
            parts.left_behind.remove(&built.name);
            parts.channels.insert(built.name.clone(), Arc::new(handle));
        });
    }

    /// Runs a source: it begins when that of its name, if it was here, has ended.
    pub(crate) fn run_source(&self, source: Prepared, is_open: bool) {
        let old = self.parts().sources.get(source.name()).map(|old| old.tasks.ended());
        let (name, handle) = source.run(is_open, old);
        self.change(|parts| {
            if let Some(old) = parts.sources.insert(name, Arc::new(handle)) {
                old.intake.flow().add_to(&mut parts.past);
            }
        });
    }

    /// Whether no source of this name runs.
    pub(crate) fn has_stopped(&self, source: &str) -> bool {
        self.parts().sources.get(source).is_none_or(|handle| handle.tasks.have_ended())
    }

    /// Says on the boards which channels the agent has.
    pub(crate) fn know_channels(&self) {
        let parts = self.parts();
        if let Some(first) = parts.channels.values().next() {
            let channels = parts.channels.values().map(|handle| &handle.channel);
            first.boards.floors.know_channels(channels, !parts.left_behind.is_empty());
        }
    }

    /// Stops the sources within the grace, then the groups, then closes the channels; what is not
    /// settled when the grace is over stays in the channels.
    pub(crate) async fn stop(&self, grace: Duration) {
        let parts = self.parts();
        end_sources(parts.sources.iter(), grace).await;
        end_groups(parts.groups.iter(), grace).await;
        for (channel, handle) in &parts.channels {
            let Some(opened) = handle.opened() else { continue };
            if let Err(cause) = opened.close().await {
                error!(%channel, error = %chain(&cause), "channel did not close cleanly");
            }
        }
    }
}

/// Asks these sources to stop and waits for them, at most for `grace`.
pub(crate) async fn end_sources<'a>(
    sources: impl Iterator<Item = (&'a Arc<str>, &'a Arc<SourceHandle>)> + Clone,
    grace: Duration,
) {
    end("source", sources.map(|(name, handle)| (name, &handle.tasks)), grace).await;
}

/// Asks these groups to stop and waits for them. A group keeps to the grace by itself; its sinks
/// close within moments after it.
pub(crate) async fn end_groups<'a>(
    groups: impl Iterator<Item = (&'a Arc<str>, &'a Arc<GroupHandle>)> + Clone,
    grace: Duration,
) {
    let groups = groups.map(|(name, handle)| (name, &handle.tasks));
    end("sink group", groups, grace + Duration::from_secs(5)).await;
}

/// Asks all of these to stop and waits for them, at most for `grace`.
async fn end<'a>(
    role: &str,
    handles: impl Iterator<Item = (&'a Arc<str>, &'a Tasks)> + Clone,
    grace: Duration,
) {
    handles.clone().for_each(|(_, tasks)| tasks.ask());
    let deadline = Instant::now() + grace;
    let all = join_all(handles.clone().map(|(_, tasks)| tasks.tasks.wait()));
    if timeout_at(deadline, all).await.is_err() {
        for (name, _) in handles.filter(|(_, tasks)| !tasks.have_ended()) {
            warn!(role, %name, "grace is over, going on without");
        }
    }
}
