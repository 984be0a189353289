//! The flow of events through the agent: from each source into each channel, from each channel to
//! each group, with rates.
//!
//! Pure. The live page draws it, `aqueduct top` prints it.

use serde::{Deserialize, Serialize};

use super::{ChannelStatus, GroupStatus, SourceStatus, State};

/// All ways.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// From a source into a channel.
    pub into_channels: Vec<Way>,
    /// From a channel to a group.
    pub out_of_channels: Vec<Way>,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Way {
    /// The source or the channel.
    pub from: String,
    /// The channel or the group.
    pub to: String,
    /// Events a second, over the last ten seconds.
    pub events_per_second: f64,
    /// The state of the flow.
    pub state: WayState,
}

/// The state of the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayState {
    /// They do.
    Open,
    /// Events pass; a batch skips the channel if it has no room.
    Optional,
    /// Back-pressure, or a group that delivers nothing.
    Stopped,
}

impl Flow {
    /// Of these components.
    pub(super) fn new(
        sources: &[SourceStatus],
        channels: &[ChannelStatus],
        groups: &[GroupStatus],
    ) -> Self {
        let channel = |name: &String| channels.iter().find(|it| it.name == *name);
        let into_channels = sources.iter().flat_map(|source| {
            let required = source.channels.iter().map(|name| (name, true));
            let all = required.chain(source.optional_channels.iter().map(|name| (name, false)));
            all.filter_map(|(name, is_required)| {
                Some(into_channel(source, channel(name)?, is_required))
            })
        });
        let out_of_channels = groups.iter().filter(|group| channel(&group.channel).is_some());
        Self {
            into_channels: into_channels.collect(),
            out_of_channels: out_of_channels.map(to_group).collect(),
        }
    }
}

fn into_channel(source: &SourceStatus, channel: &ChannelStatus, is_required: bool) -> Way {
    // The distribution of a source's events over channels is not counted: use the channel's total.
    let is_only = source.channels.len() + source.optional_channels.len() == 1;
    let passed = if is_only { &source.accepted } else { &channel.stored };
    let waits = is_required && matches!(source.state, State::Waiting { .. });
    let state = match (channel.intake_stopped || waits, is_required) {
        (true, _) => WayState::Stopped,
        (false, true) => WayState::Open,
        (false, false) => WayState::Optional,
    };
    Way {
        from: source.name.clone(),
        to: channel.name.clone(),
        events_per_second: passed.events_per_second,
        state,
    }
}

fn to_group(group: &GroupStatus) -> Way {
    let is_stopped =
        matches!(group.state, State::Failing { .. } | State::Waiting { .. } | State::Held { .. });
    Way {
        from: group.channel.clone(),
        to: group.name.clone(),
        events_per_second: group.delivered.events_per_second,
        state: if is_stopped { WayState::Stopped } else { WayState::Open },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample::healthy;

    fn flow(change: impl Fn(&mut SourceStatus, &mut ChannelStatus, &mut GroupStatus)) -> Flow {
        let mut it = healthy();
        change(&mut it.sources[0], &mut it.channels[0], &mut it.groups[0]);
        Flow::new(&it.sources, &it.channels, &it.groups)
    }

    #[test]
    fn a_way_has_the_rate_that_is_counted_for_it() {
        let only = flow(|source, _, group| {
            source.accepted.events_per_second = 5.0;
            group.delivered.events_per_second = 4.0;
        });
        let way = |from: &str, to: &str, events_per_second| Way {
            from: from.to_owned(),
            to: to.to_owned(),
            events_per_second,
            state: WayState::Open,
        };
        assert_eq!(
            (&only.into_channels, &only.out_of_channels),
            (&vec![way("s", "c", 5.0)], &vec![way("c", "g", 4.0)],)
        );
        // One of two channels: the channel's total. A missing channel has no connection.
        let one_of_two = flow(|source, _, _| {
            source.accepted.events_per_second = 5.0;
            source.channels.push("gone".to_owned());
        });
        assert_eq!(one_of_two.into_channels, [way("s", "c", 1.0)]);
    }

    #[test]
    fn a_way_is_stopped_by_its_ends() {
        let waits = || State::Waiting { waits_for: "x".to_owned(), since_seconds_ago: 1.0 };
        let states = |flow: Flow| (flow.into_channels[0].state, flow.out_of_channels[0].state);
        let (open, stopped) = (WayState::Open, WayState::Stopped);
        assert_eq!(states(flow(|_, channel, _| channel.intake_stopped = true)), (stopped, open));
        assert_eq!(states(flow(|source, _, _| source.state = waits())), (stopped, open));
        assert_eq!(states(flow(|_, _, group| group.state = waits())), (open, stopped));
        let optional = |source: &mut SourceStatus| {
            source.optional_channels = std::mem::take(&mut source.channels);
            source.state = waits();
        };
        // It waits for another one.
        assert_eq!(states(flow(|source, _, _| optional(source))), (WayState::Optional, open));
    }
}
