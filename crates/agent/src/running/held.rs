//! Parts that an operator has stopped: they keep a handle, so that they are shown, and their totals
//! still count.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{AbsentParts, Parts, Prepared, Running, SourceHandle, StartContext, Tasks};
use crate::built::{BuiltGroup, BuiltSource};
use crate::held::Part;
use crate::intake::AgentIntake;
use crate::topology::Topology;

/// The reason for senders and pages why a channel with a held group does not deliver.
const HELD: &str = "an operator has stopped the sink group; start it with `aqueduct start ADDRESS \
                    --group NAME` (ADDRESS is `agent.admin` of its agent)";

impl Tasks {
    /// Starts no task; ends when the previous tasks have ended.
    pub(super) fn hold(&self, before: Option<TaskTracker>) {
        if let Some(before) = before {
            self.spawn(async move { before.wait().await });
        }
        self.ask();
    }
}

impl SourceHandle {
    /// Once it has ended, its channels no longer wait for its reports, except those of `successor`.
    fn leave_progress(&self, successor: Option<Arc<AgentIntake>>) {
        let (ended, intake) = (self.tasks.ended(), self.intake.clone());
        tokio::spawn(async move {
            ended.wait().await;
            intake.leave_progress(successor.as_deref());
        });
    }
}

impl Parts {
    /// Returns `true` if an operator has stopped this source.
    pub fn holds_source(&self, name: &Arc<str>) -> bool {
        self.held.contains_key(&Part::Source(name.clone()))
    }

    /// Returns `true` if an operator has stopped this group.
    pub fn holds_group(&self, name: &Arc<str>) -> bool {
        self.held.contains_key(&Part::Group(name.clone()))
    }

    /// Records on the channels' boards which of their groups are held: a sender with a choice uses
    /// other agents.
    pub fn announce_held(&self) {
        for (name, group) in self.groups.iter().filter(|(name, _)| self.holds_group(name)) {
            if let Some(channel) = self.channels.get(&group.channel) {
                channel.boards.outlet.set_failing(name, HELD.into(), Instant::now());
            }
        }
    }
}

impl Running {
    /// Replaces a source by the handle of one that does not run.
    pub fn place_source(&self, built: BuiltSource, topology: &Topology, around: &StartContext) {
        let component_health = around.health.add_source(&built.name);
        around.health.forget_source(&built.name, &around.metrics);
        let old = self.parts().sources.get(&built.name).map(|old| old.tasks.ended());
        let (name, handle) = Prepared::new(built, topology, component_health, around).held(old);
        self.put_source(name, handle);
    }

    /// Replaces the handle of a source, whose totals still count.
    pub(super) fn put_source(&self, name: Arc<str>, handle: SourceHandle) {
        let handle = Arc::new(handle);
        self.change(|parts| {
            if let Some(old) = parts.sources.insert(name, handle.clone()) {
                old.intake.flow().add_to(&mut parts.past);
                old.leave_progress(Some(handle.intake.clone()));
            }
        });
    }

    /// Updates the handles of held parts that have another configuration or belong to a reopened
    /// channel.
    pub fn place_held(
        &self,
        topology: &Topology,
        (sources, groups): (Vec<BuiltSource>, Vec<BuiltGroup>),
        around: &StartContext,
    ) {
        let parts = self.parts();
        for built in sources.into_iter().filter(|built| parts.holds_source(&built.name)) {
            let known = parts.sources.get(&built.name);
            if known.is_none_or(|known| known.digest != built.digest) {
                self.place_source(built, topology, around);
            }
        }
        for built in groups.into_iter().filter(|built| parts.holds_group(&built.name)) {
            let known = parts.groups.get(&built.name).filter(|known| {
                let channel = parts.channels.get(&known.channel);
                let is_of_it = channel.is_some_and(|channel| known.since >= channel.since);
                is_of_it && known.digest == built.digest
            });
            if known.is_none() {
                self.place_group(built, around);
            }
        }
        self.parts().announce_held();
    }

    /// Updates the handles of held parts from this topology, which does not run; removes parts that
    /// it does not have.
    pub fn refresh_held(&self, mut configured: Topology, around: &StartContext) {
        self.forget_stopped(&configured);
        let sources = std::mem::take(&mut configured.sources);
        let groups = std::mem::take(&mut configured.groups);
        self.place_held(&configured, (sources, groups), around);
    }

    /// Removes the handles of stopped parts without a successor; keeps the handles of held
    /// parts in `topology`.
    pub fn forget_stopped(&self, topology: &Topology) -> AbsentParts {
        let has_source = |name: &Arc<str>| topology.sources.iter().any(|it| it.name == *name);
        let has_group = |name: &Arc<str>| topology.groups.iter().any(|it| it.name == *name);
        self.change(|parts| {
            let stopped = parts.sources.iter().filter(|(_, handle)| handle.is_stopped());
            let sources: Vec<_> = stopped.map(|(name, _)| name.clone()).collect();
            for name in &sources {
                if !(parts.holds_source(name) && has_source(name))
                    && let Some(handle) = parts.sources.remove(name)
                {
                    handle.intake.flow().add_to(&mut parts.past);
                    // A configured source, which the agent stops, may have unread lines.
                    if !has_source(name) {
                        handle.leave_progress(None);
                    }
                }
            }
            let stopped = parts.groups.iter().filter(|(_, handle)| handle.is_stopped());
            let groups = stopped.map(|(name, handle)| (name.clone(), handle.members.clone()));
            let groups: Vec<_> = groups.collect();
            for (name, _) in &groups {
                if !(parts.holds_group(name) && has_group(name)) {
                    parts.groups.remove(name);
                }
            }
            AbsentParts { sources, groups }
        })
    }
}
