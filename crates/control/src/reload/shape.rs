//! The running and the configured parts, in the form that the difference compares.

use agent::held::Part;
use agent::running::{Parts, Wiring};
use agent::topology::{KeptParts, Topology};

use super::apply::keeps_contents;
use super::diff::{Changes, ChannelShape, GroupShape, Shape, SourceShape};

/// Returns the running parts.
pub(super) fn runs(parts: &Parts) -> Shape {
    let sources = parts.sources.iter().filter(|(_, handle)| !handle.is_stopped());
    let groups = parts.groups.iter().filter(|(_, handle)| !handle.is_stopped());
    Shape {
        sources: sources
            .map(|(name, handle)| {
                let (digest, wiring) = (handle.digest, handle.wiring.clone());
                let channels = handle.channels.clone();
                (name.clone(), SourceShape { digest, wiring, channels })
            })
            .collect(),
        channels: parts
            .channels
            .iter()
            .map(|(name, handle)| {
                let (kind, consumers) = (handle.kind.clone(), handle.consumers.clone());
                let (digest, keeps) = (handle.digest, keeps_contents(handle));
                (name.clone(), ChannelShape { digest, kind, keeps, consumers })
            })
            .collect(),
        groups: groups
            .map(|(name, handle)| {
                let (digest, channel) = (handle.digest, handle.channel.clone());
                (name.clone(), GroupShape { digest, channel })
            })
            .collect(),
    }
}

/// Returns the configured parts, without those that an operator has stopped.
pub(super) fn configured_shape(topology: &Topology, parts: &Parts) -> Shape {
    let is_kept =
        |name: &str| parts.channels.get(name).is_some_and(|handle| keeps_contents(handle));
    Shape {
        sources: topology
            .sources
            .iter()
            .filter(|built| !parts.holds_source(&built.name))
            .map(|built| {
                let wiring =
                    Wiring { naming: built.naming.clone(), routing: built.routing.clone() };
                let channels = built.required.iter().chain(&built.optional);
                let channels = channels.map(|name| name.as_str().into()).collect();
                let digest = built.digest;
                (built.name.clone(), SourceShape { digest, wiring, channels })
            })
            .collect(),
        channels: topology
            .channels
            .iter()
            .map(|built| {
                let (kind, consumers) = (built.kind.clone(), built.consumers.clone());
                let (digest, keeps) = (built.digest, is_kept(&built.name));
                (built.name.clone(), ChannelShape { digest, kind, keeps, consumers })
            })
            .collect(),
        groups: topology
            .groups
            .iter()
            .filter(|built| !parts.holds_group(&built.name))
            .map(|built| {
                let (digest, channel) = (built.digest, built.channel.as_str().into());
                (built.name.clone(), GroupShape { digest, channel })
            })
            .collect(),
    }
}

/// Returns the parts that a new topology keeps. Held parts do not run, so they are built like parts
/// that stay.
pub(super) fn kept_parts(parts: &Parts, changes: &Changes) -> KeptParts {
    let channels = parts.channels.iter().filter(|(name, _)| changes.kept_channels.contains(*name));
    let channels = channels
        .map(|(name, handle)| (name.clone(), (handle.channel.clone(), handle.boards.clone())));
    let first = parts.channels.values().next();
    let (mut sources, mut groups) = (changes.kept_sources.clone(), changes.kept_groups.clone());
    for part in parts.held.keys() {
        match part {
            Part::Source(name) => sources.insert(name.clone()),
            Part::Group(name) => groups.insert(name.clone()),
        };
    }
    KeptParts {
        floors: first.map(|handle| handle.boards.floors.for_another_channel()),
        channels: channels.collect(),
        sources,
        groups,
        traces: first.map(|handle| handle.boards.traces.clone()).unwrap_or_default(),
    }
}
