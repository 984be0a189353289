//! Separates root causes from consequences, along the flow: a source waits for a channel, the
//! channel is full because a group delivers nothing, and the group waits for its sinks.

use super::detect::delivers;
use super::{Cause, Finding, Level};
use crate::status::{GroupStatus, Snapshot, State};

/// Marks the consequences of other findings, and raises root causes to the level of their
/// consequences.
pub(super) fn explain(found: &mut [Finding], snapshot: &Snapshot) {
    let has = |component: &String| {
        found.iter().any(|it| it.component == *component && it.level > Level::Note)
    };
    // The cause of a blocked group: one of its sinks, or the group itself.
    let of_group = |group: &GroupStatus| {
        let mut members = group.members.iter().filter(|it| it.state != State::Absent).peekable();
        let is_blocked = matches!(
            group.state,
            State::Waiting { .. } | State::Failing { .. } | State::Held { .. }
        ) || members.peek().is_some() && members.all(|it| !delivers(it));
        let sinks = group.members.iter().filter(|it| !delivers(it));
        let all = sinks.map(|it| format!("sink {}", it.sink));
        let mut all = all.chain([format!("group {}", group.name)]);
        if is_blocked { all.find(has) } else { None }
    };
    let of_channel = |name: &str| {
        let mut consumers = snapshot.groups.iter().filter(|it| it.channel == name);
        consumers.find_map(of_group)
    };
    let mut roots: Vec<(String, String)> = Vec::new();
    for channel in &snapshot.channels {
        roots.extend(of_channel(&channel.name).map(|it| (format!("channel {}", channel.name), it)));
    }
    for source in snapshot.sources.iter().filter(|it| matches!(it.state, State::Waiting { .. })) {
        let own = |name: &String| Some(format!("channel {name}")).filter(has);
        let root = source.channels.iter().find_map(|name| of_channel(name).or_else(|| own(name)));
        roots.extend(root.map(|it| (format!("source {}", source.name), it)));
    }
    for (component, root) in roots {
        let mut worst = Level::Good;
        for it in found.iter_mut().filter(|it| it.component == component) {
            // A source without files is not a consequence of the channel that it waits for.
            if it.level > Level::Note && !matches!(it.cause, Cause::NoFiles | Cause::Unreadable) {
                it.text += &format!("; caused by {root}");
                it.caused_by = Some(root.clone());
                worst = worst.max(it.level);
            }
        }
        if let Some(it) = found.iter_mut().find(|it| it.component == root) {
            it.level = it.level.max(worst);
        }
    }
}
