//! The running agent as a set of handles: one for each source, channel and group, by name.
//!
//! ```text
//!   Running ─┬─ SourceHandle   own stop, digest, intake, health
//!            ├─ ChannelHandle  digest, the channel, its boards
//!            └─ GroupHandle    own stop, digest, answers what it is doing
//! ```
//!
//! The rest of the agent uses a component only through its handle: to stop it, to compare its
//! digest, and to query its state. Components of a stage stop together, within one grace.

mod channel;
mod group;
mod held;
mod plain_text;
mod prepared;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use futures::future::join_all;
use peers::{RefusalBoard, SenderBoard, TenantBoard};
use pipeline::{FileBoard, Guarantee, Routing};
use support::causes::chain;
use tokio::time::{Duration, Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::built::BuiltChannel;
pub use crate::group::GroupView;
use crate::health::ComponentHealth;
use crate::held::Holds;
use crate::intake::AgentIntake;
use crate::scrape;
use crate::status::{Conservation, PlainTextStatus};
use crate::tap::Point;
use crate::topology::Topology;
pub use channel::ChannelHandle;
pub use group::{Answer, GroupHandle};
pub use prepared::{Prepared, StartContext};

/// Questions that wait for a group; each is answered in a moment.
const QUESTIONS_MAX: usize = 16;

/// All handles, which a reload exchanges one by one.
#[derive(Default)]
pub struct Running {
    parts: RwLock<Arc<Parts>>,
}

/// The handles at one moment.
#[derive(Clone, Default)]
pub struct Parts {
    /// Sources by name.
    pub sources: BTreeMap<Arc<str>, Arc<SourceHandle>>,
    /// Channels by name.
    pub channels: BTreeMap<Arc<str>, Arc<ChannelHandle>>,
    /// Groups by name.
    pub groups: BTreeMap<Arc<str>, Arc<GroupHandle>>,
    /// Totals of removed sources and channels.
    pub past: Conservation,
    /// Removed channels: the events that they have dropped still count.
    pub gone: BTreeSet<Arc<str>>,
    /// Removed channels with batches on disk, and their number of events.
    pub left_behind: BTreeMap<Arc<str>, u64>,
    /// Plain text that leaves this host.
    pub plain_text: Vec<PlainTextStatus>,
    /// Parts that an operator has stopped: their handles stay, but no task runs.
    pub held: Holds,
}

/// Parts that no longer run: without a handle, or held.
pub struct AbsentParts {
    /// Names of sources.
    pub sources: Vec<Arc<str>>,
    /// Names of groups, and of their members.
    pub groups: Vec<(Arc<str>, Vec<Arc<str>>)>,
}

/// The tasks of one component, which stop together.
#[derive(Default)]
pub struct Tasks {
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

    /// Returns `true` if all of them have ended.
    fn have_ended(&self) -> bool {
        self.tasks.is_closed() && self.tasks.is_empty()
    }

    /// Returns the end of the tasks, for a successor to wait for.
    fn ended(&self) -> TaskTracker {
        self.tasks.clone()
    }
}

/// A source that runs.
pub struct SourceHandle {
    /// Its type.
    pub kind: String,
    /// Of its configuration.
    pub digest: u64,
    /// The names and the routing of its batches, which depend on the groups of its channels.
    pub wiring: Wiring,
    /// Channels that it feeds, the optional ones too.
    pub channels: Vec<Arc<str>>,
    /// When it was started.
    pub since: Instant,
    /// Its guarantee.
    pub guarantee: Guarantee,
    /// Its way into its channels.
    pub(crate) intake: Arc<AgentIntake>,
    /// Its health.
    pub component_health: ComponentHealth,
    /// The agents that send to it.
    pub senders: SenderBoard,
    /// The files that it follows.
    pub files: FileBoard,
    /// The tenants that share it.
    pub tenants: TenantBoard,
    /// Peers that it refuses.
    pub refusals: RefusalBoard,
    tasks: Tasks,
}

/// The names and the routing of a source's batches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wiring {
    /// Channels that name their parts of a batch.
    pub naming: BTreeSet<String>,
    /// How its batches are routed into datasets.
    pub routing: Option<Routing>,
}

impl SourceHandle {
    /// The tap of batches that it passes on.
    pub fn tap(&self) -> &Point {
        self.intake.tap()
    }

    /// Since when a batch is with its intake and none moves, although nothing is awaited.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.intake.stalled_since()
    }

    /// Returns `true` if it was asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.tasks.stop.is_cancelled()
    }

    /// Returns `true` if it has ended.
    pub fn have_ended(&self) -> bool {
        self.tasks.have_ended()
    }

    /// Returns `true` if it has nothing more to read, or was asked to stop.
    pub fn is_over(&self) -> bool {
        self.is_stopped() || self.component_health.has_ended()
    }
}

impl Running {
    /// Starts the groups, then the sources; each starts when its channels are open. Held parts do
    /// not start.
    pub fn start(mut topology: Topology, around: &StartContext, held: Holds) -> Arc<Self> {
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
        let sources: Vec<_> = sources.collect();
        let sources = sources.into_iter();
        let sources = sources.map(|(shown, it)| Prepared::new(it, &topology, shown, around));
        let sources: Vec<Prepared> = sources.collect();
        // No report may overlook a source that has not begun.
        sources.iter().for_each(Prepared::expect_progress);
        sources.into_iter().for_each(|source| running.run_source(source, false));
        running.parts().announce_held();
        Arc::new(running)
    }

    /// With these handles.
    pub fn new(parts: Parts) -> Self {
        Self { parts: RwLock::new(Arc::new(parts)) }
    }

    /// Returns the current handles.
    pub fn parts(&self) -> Arc<Parts> {
        // Each change is whole.
        self.parts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the handles; readers see all of the change or nothing.
    pub fn change<T>(&self, change: impl FnOnce(&mut Parts) -> T) -> T {
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut parts))
    }

    /// Adds the handle of a channel.
    pub fn add_channel(&self, built: &BuiltChannel) {
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

    /// Runs a source: it starts when its predecessor with the same name has ended.
    pub fn run_source(&self, source: Prepared, is_open: bool) {
        let old = self.parts().sources.get(source.name()).map(|old| old.tasks.ended());
        let (name, handle) = source.run(is_open, old);
        self.put_source(name, handle);
    }

    /// Returns `true` if no source with this name runs.
    pub fn has_stopped(&self, source: &str) -> bool {
        self.parts().sources.get(source).is_none_or(|handle| handle.tasks.have_ended())
    }

    /// Says on the boards which channels the agent has.
    pub fn announce_channels(&self) {
        let parts = self.parts();
        if let Some(first) = parts.channels.values().next() {
            let channels = parts.channels.values().map(|handle| &handle.channel);
            first.boards.floors.set_channels(channels, !parts.left_behind.is_empty());
        }
    }

    /// Stops the sources within the grace, then the groups, then closes the channels; batches that
    /// are unsettled after the grace stay in the channels.
    pub async fn stop(&self, grace: Duration) {
        let parts = self.parts();
        end_sources(parts.sources.iter(), grace).await;
        end_groups(parts.groups.iter(), grace).await;
        for (channel, handle) in &parts.channels {
            let Some(opened) = handle.opened() else { continue };
            if let Err(cause) = opened.close().await {
                error!(%channel, error = %chain(&cause),
                    "cannot close the channel cleanly; no event is lost; the next start may \
                     deliver batches again, which exactly-once sinks drop and others store twice");
            }
        }
    }
}

/// Asks these sources to stop and waits for them, at most for `grace`.
pub async fn end_sources<'a>(
    sources: impl Iterator<Item = (&'a Arc<str>, &'a Arc<SourceHandle>)> + Clone,
    grace: Duration,
) {
    end("source", sources.map(|(name, handle)| (name, &handle.tasks)), grace).await;
}

/// Asks these groups to stop and waits for them. A group observes the grace itself; its sinks close
/// within moments after it.
pub async fn end_groups<'a>(
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
            warn!(role, %name, "this part did not stop within the grace period; not waiting \
                                longer; events that it has not stored or delivered are read, \
                                resent or delivered later; no action needed");
        }
    }
}
