//! The steps from the running parts to a new configuration: a pure function of the digests and the
//! names, in the order of execution.
//!
//! ```text
//!   open channels ─► stop sources ─┬─► stop groups ─► reopen, register ─► start groups, sources
//!                                  └─► drain ─► stop groups ─► close, reopen, register
//!                                                                   └─► start groups, sources
//! ```
//!
//! Draining comes last, so that nothing else waits for it.
//!
//! # Rules
//!
//! 1. A source stops before its successor is opened, which uses its ports and its positions.
//! 2. A changed group is stopped, which returns its sinks' batches, and started as the same
//!    consumer: its backlog stays.
//! 3. If a consumer leaves a channel and none joins, the channel drains first, with its sources
//!    stopped. A consumer that joins gets the uncommitted batches.
//! 4. A channel is closed only after its sources and groups have stopped. A channel that loses its
//!    contents when it is closed drains first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent::running::Wiring;

/// Names of components.
pub(super) type Names = BTreeSet<Arc<str>>;

/// Components by their names.
type ByName<T> = BTreeMap<Arc<str>, T>;

/// The parts of an agent, as far as they matter for a reload.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    pub(super) sources: ByName<SourceShape>,
    pub(super) channels: ByName<ChannelShape>,
    pub(super) groups: ByName<GroupShape>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct SourceShape {
    pub(super) digest: u64,
    pub(super) wiring: Wiring,
    /// The optional ones too.
    pub(super) channels: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ChannelShape {
    pub(super) digest: u64,
    pub(super) kind: String,
    /// True if it still has its contents when it is reopened.
    pub(super) keeps: bool,
    pub(super) consumers: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct GroupShape {
    pub(super) digest: u64,
    pub(super) channel: Arc<str>,
}

/// One step, for a set of components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Opens a new channel and registers its groups.
    Open(Arc<str>),
    StopSources(Names),
    StopGroups(Names),
    /// Wait until these consumers have committed everything in their channels.
    Drain(Vec<(Arc<str>, Names)>),
    /// Close a channel that is no longer configured.
    Close(Arc<str>),
    /// Closes a channel and opens it with its new settings.
    Reopen(Arc<str>),
    /// Set the consumers of a channel to its groups. Leaving ones must have committed everything,
    /// unless others join.
    Register(Arc<str>),
    StartGroups(Names),
    StartSources(Names),
}

/// The result for each part, and the steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) steps: Vec<Step>,
    /// New parts, `role.name`, with the reason; also for the next two.
    pub(super) started: BTreeMap<String, String>,
    pub(super) stopped: BTreeMap<String, String>,
    pub(super) restarted: BTreeMap<String, String>,
    pub(super) kept: BTreeSet<String>,
    /// The sources and groups among them.
    pub(super) kept_sources: Names,
    pub(super) kept_groups: Names,
    /// Channels that are neither new nor reopened.
    pub(super) kept_channels: Names,
    /// Reports of sources that resend events.
    pub(super) resends: Vec<String>,
}

const SETTINGS: &str = "its settings have changed";
const NEW: &str = "it is new";
const REMOVED: &str = "it was removed";

/// The results for the channels.
struct Channels<'a> {
    old: &'a Shape,
    new: &'a Shape,
    /// Channels to be reopened with other settings.
    reopened: Names,
    /// Channels that drain first, and the consumers to wait for.
    drains: BTreeMap<Arc<str>, Names>,
    /// Channels that stay and get other consumers.
    registered: Names,
}

impl<'a> Channels<'a> {
    fn new(old: &'a Shape, new: &'a Shape) -> Self {
        let (mut reopened, mut registered) = (Names::new(), Names::new());
        let mut drains = BTreeMap::new();
        for (name, was) in &old.channels {
            let before: Names = was.consumers.iter().cloned().collect();
            let Some(is) = new.channels.get(name) else {
                drains.insert(name.clone(), before);
                continue;
            };
            let after: Names = is.consumers.iter().cloned().collect();
            let leave: Names = before.difference(&after).cloned().collect();
            let joins = after.difference(&before).next().is_some();
            if was.digest != is.digest {
                reopened.insert(name.clone());
                if !was.keeps || was.kind != is.kind {
                    drains.insert(name.clone(), before);
                    continue;
                }
            } else if before != after {
                registered.insert(name.clone());
            }
            if !leave.is_empty() && !joins {
                drains.insert(name.clone(), leave);
            }
        }
        Self { old, new, reopened, drains, registered }
    }

    /// Returns why an unchanged source is restarted, if it is.
    fn disturbs_source(&self, old: &SourceShape, new: &SourceShape) -> Option<String> {
        if old.wiring != new.wiring {
            return Some("the sinks of its channels have changed".to_owned());
        }
        let channels = || new.channels.iter();
        if let Some(name) = channels().find(|name| self.reopened.contains(*name)) {
            return Some(format!("channel `{name}` is reopened"));
        }
        let name = channels().find(|name| self.drains.contains_key(*name))?;
        let leave: Vec<&str> = self.drains[name].iter().map(|group| &**group).collect();
        Some(format!("channel `{name}` drains because group `{}` leaves it", leave.join("`, `")))
    }

    fn takes_from_draining(&self, shape: &Shape, group: &str) -> bool {
        shape.groups.get(group).is_some_and(|group| self.drains.contains_key(&group.channel))
    }

    /// Returns `true` if this group stops after the drain, because it takes part in it. A group
    /// that moves from another channel stops before that channel forgets it.
    fn stops_late(&self, group: &str) -> bool {
        self.takes_from_draining(self.old, group)
    }

    /// Returns `true` if this group starts after the drain.
    fn starts_late(&self, group: &str) -> bool {
        self.stops_late(group) || self.takes_from_draining(self.new, group)
    }

    fn feeds_draining(&self, source: &str) -> bool {
        let new = self.new.sources.get(source);
        new.is_some_and(|new| new.channels.iter().any(|name| self.drains.contains_key(name)))
    }
}

/// The parts that stop and start, with the reasons.
#[derive(Default)]
struct Moves {
    stop: Names,
    start: Names,
    keep: Names,
}

impl Changes {
    /// Compares the components of one role.
    fn compare<T>(
        &mut self,
        role: &str,
        (old, new): (&ByName<T>, &ByName<T>),
        restart: impl Fn(&Arc<str>, &T, &T) -> Option<String>,
    ) -> Moves {
        let mut moves = Moves::default();
        for (name, was) in old {
            let part = format!("{role}.{name}");
            match new.get(name).map(|is| restart(name, was, is)) {
                None => {
                    self.stopped.insert(part, REMOVED.to_owned());
                    moves.stop.insert(name.clone());
                }
                Some(Some(why)) => {
                    self.restarted.insert(part, why);
                    moves.stop.insert(name.clone());
                    moves.start.insert(name.clone());
                }
                Some(None) => {
                    self.kept.insert(part);
                    moves.keep.insert(name.clone());
                }
            }
        }
        for name in new.keys().filter(|name| !old.contains_key(*name)) {
            self.started.insert(format!("{role}.{name}"), NEW.to_owned());
            moves.start.insert(name.clone());
        }
        moves
    }

    /// Returns the changes from the running parts to a configuration.
    pub(super) fn between(old: &Shape, new: &Shape) -> Self {
        let channels = Channels::new(old, new);
        let mut changes = Self::default();
        let sources = changes.compare("sources", (&old.sources, &new.sources), |_, was, is| {
            let changed = (was.digest != is.digest).then(|| SETTINGS.to_owned());
            changed.or_else(|| channels.disturbs_source(was, is))
        });
        let groups = changes.compare("groups", (&old.groups, &new.groups), |_, was, is| {
            let reopened = channels.reopened.contains(&is.channel);
            let why = format!("channel `{}` is reopened", is.channel);
            let changed = (was.digest != is.digest).then(|| SETTINGS.to_owned());
            changed.or_else(|| reopened.then_some(why))
        });
        let moved = changes.compare("channels", (&old.channels, &new.channels), |name, _, _| {
            channels.reopened.contains(name).then(|| SETTINGS.to_owned())
        });
        (changes.kept_sources, changes.kept_groups) = (sources.keep.clone(), groups.keep.clone());
        changes.kept_channels = moved.keep;
        changes.steps = steps(&channels, &sources, &groups);
        changes
    }
}

/// Adds a step that has something to do.
fn step(steps: &mut Vec<Step>, of: fn(Names) -> Step, names: Names) {
    if !names.is_empty() {
        steps.push(of(names));
    }
}

fn steps(channels: &Channels<'_>, sources: &Moves, groups: &Moves) -> Vec<Step> {
    let Channels { old, new, reopened, drains, registered } = channels;
    let part = |names: &Names, is: &dyn Fn(&str) -> bool| -> Names {
        names.iter().filter(|name| is(name)).cloned().collect()
    };
    let is_new = |name: &&Arc<str>| !old.channels.contains_key(*name);
    let mut steps: Vec<Step> =
        new.channels.keys().filter(is_new).cloned().map(Step::Open).collect();
    step(&mut steps, Step::StopSources, sources.stop.clone());
    for late in [false, true] {
        let of_sources = |names: &Names| part(names, &|name| channels.feeds_draining(name) == late);
        if late && !drains.is_empty() {
            let each = drains.iter().map(|(channel, names)| (channel.clone(), names.clone()));
            steps.push(Step::Drain(each.collect()));
        }
        let stop = part(&groups.stop, &|name| channels.stops_late(name) == late);
        step(&mut steps, Step::StopGroups, stop);
        let is_now = |name: &&Arc<str>| drains.contains_key(*name) == late;
        if late {
            let gone = drains.keys().filter(|name| !new.channels.contains_key(*name));
            steps.extend(gone.cloned().map(Step::Close));
        }
        steps.extend(reopened.iter().filter(is_now).cloned().map(Step::Reopen));
        steps.extend(registered.iter().filter(is_now).cloned().map(Step::Register));
        let start = part(&groups.start, &|name| channels.starts_late(name) == late);
        step(&mut steps, Step::StartGroups, start);
        step(&mut steps, Step::StartSources, of_sources(&sources.start));
    }
    steps
}

#[cfg(test)]
mod tests;
