//! Formats the parts of an agent as terminal lines.

use agent::status::words::{ago, bytes, count, percent, printable, rate, seconds};
use agent::status::{ChannelStatus, GroupStatus, Level, MemberStatus, Snapshot, Way, WayState};

use crate::status::text::{self, Table};

/// Width of the bar that shows the fill level of a channel.
const BAR: usize = 10;

/// The part shown below the verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Part {
    #[default]
    Flow,
    Sources,
    Channels,
    Sinks,
    Failures,
}

/// A line and the severity of its content; `None` for titles.
pub(super) type Line = (Option<Level>, String);

impl Part {
    /// All parts, from left to right.
    pub(super) const ALL: [Self; 5] =
        [Self::Flow, Self::Sources, Self::Channels, Self::Sinks, Self::Failures];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Flow => "Flow",
            Self::Sources => "Sources",
            Self::Channels => "Channels",
            Self::Sinks => "Sinks",
            Self::Failures => "Failures",
        }
    }

    /// Returns the part `by` places to the right, wrapping around.
    pub(super) fn turned(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|it| *it == self).unwrap_or(0);
        Self::ALL[(at + by) % Self::ALL.len()]
    }

    pub(super) fn lines(self, snapshot: &Snapshot) -> Vec<Line> {
        let lines = match self {
            Self::Flow => flow(snapshot),
            Self::Sources => {
                let mut lines = table(snapshot, &text::sources(snapshot));
                let tenants = table(snapshot, &text::tenants(snapshot));
                if !tenants.is_empty() {
                    lines.push((None, String::new()));
                    lines.extend(tenants);
                }
                lines
            }
            Self::Channels => table(snapshot, &text::channels(snapshot)),
            Self::Sinks => {
                let mut lines = table(snapshot, &text::groups(snapshot));
                lines.push((None, String::new()));
                lines.extend(table(snapshot, &text::sinks(snapshot)));
                lines
            }
            Self::Failures => failures(snapshot),
        };
        if lines.is_empty() { vec![(None, "None".to_owned())] } else { lines }
    }
}

fn table(snapshot: &Snapshot, table: &Table) -> Vec<Line> {
    let lines = table.lines().into_iter();
    lines.map(|(component, line)| (component.map(|it| snapshot.level_of(it)), line)).collect()
}

/// Shows each channel below its sources and above its sinks.
fn flow(snapshot: &Snapshot) -> Vec<Line> {
    let mut lines = Vec::new();
    for channel in &snapshot.channels {
        if !lines.is_empty() {
            lines.push((None, String::new()));
        }
        for way in snapshot.flow.into_channels.iter().filter(|it| it.to == channel.name) {
            let source = snapshot.sources.iter().find(|it| it.name == way.from);
            let kind = source.map_or("", |it| &*it.kind);
            let mut line = format!("{} ({kind}) {}", way.from, arrow(way));
            if let Some(senders) = source.map(|it| it.senders_total).filter(|it| *it > 0) {
                line = format!("{} ──▶ {line}", count(senders, "sender"));
            }
            if let Some(files) = source.and_then(|it| it.files.as_ref()) {
                let (files, unread) = (count(files.followed, "file"), bytes(files.unread_bytes));
                line = format!("{files}, {unread} unread ──▶ {line}");
            }
            let level = way_level(way).max(snapshot.level_of(&format!("source {}", way.from)));
            lines.push((Some(level), printable(&line)));
        }
        let level = snapshot.level_of(&format!("channel {}", channel.name));
        lines.push((Some(level), format!("  {}", printable(&channel_line(channel)))));
        for way in snapshot.flow.out_of_channels.iter().filter(|it| it.from == channel.name) {
            let group = snapshot.groups.iter().find(|it| it.name == way.to);
            lines.extend(group.into_iter().flat_map(|group| group_lines(snapshot, way, group)));
        }
    }
    lines
}

fn way_level(way: &Way) -> Level {
    match way.state {
        WayState::Stopped => Level::Bad,
        WayState::Open | WayState::Optional => Level::Good,
    }
}

fn arrow(way: &Way) -> String {
    let optional = if way.state == WayState::Optional { " (optional)" } else { "" };
    match way.state {
        WayState::Stopped => "──✕▶ back-pressure".to_owned(),
        WayState::Open | WayState::Optional => {
            format!("── {}/s ──▶{optional}", rate(way.events_per_second))
        }
    }
}

fn channel_line(channel: &ChannelStatus) -> String {
    let full = (channel.fill_ratio.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    let bar = "█".repeat(full) + &"░".repeat(BAR - full);
    let fill = percent(channel.fill_ratio);
    let (name, kind, events) = (&channel.name, &channel.kind, channel.depth_events);
    let mut line = format!("{name} ({kind}) {bar} {fill}, {}", count(events, "event"));
    let more = [
        ("oldest", channel.oldest_event_seconds),
        ("full in", channel.until_full_seconds),
        // An empty channel has nothing to drain.
        ("empty in", channel.until_empty_seconds.filter(|_| events > 0)),
    ];
    for (what, time) in more {
        if time.is_some() {
            line += &format!(", {what} {}", seconds(time));
        }
    }
    line
}

fn group_lines(snapshot: &Snapshot, way: &Way, group: &GroupStatus) -> Vec<Line> {
    let per_second = rate(way.events_per_second);
    let stopped = if way.state == WayState::Stopped { "✕" } else { "" };
    let name = printable(&format!("{} ({})", group.name, group.processor));
    let of_group = way_level(way).max(snapshot.level_of(&format!("group {}", group.name)));
    let mut lines = vec![(Some(of_group), format!("    ── {per_second}/s ──{stopped}▶ {name}"))];
    let members = text::present(group).map(|member| {
        let level = snapshot.level_of(&format!("sink {}", member.sink));
        let line = printable(&member_line(member));
        (Some(level), format!("         {} {line}", text::sign(level)))
    });
    lines.extend(members);
    lines
}

fn member_line(member: &MemberStatus) -> String {
    let last = ago(member.last_delivery_seconds_ago);
    let (name, kind) = (&member.sink, &member.kind);
    let in_hand = count(member.in_hand_batches, "batch");
    let mut line = format!("{name} ({kind}) last delivery {last}, {in_hand} in hand");
    let latency = |stage: &Option<agent::status::LatencyStatus>| {
        let it = stage.as_ref()?;
        let (p50, p99) = (seconds(Some(it.p50_seconds)), seconds(Some(it.p99_seconds)));
        Some(format!("p50 {p50}, p99 {p99} since the start"))
    };
    let more = [
        member.peer.as_ref().map(|peer| format!("to {peer}")),
        member.penalty_seconds.map(|left| format!("penalty for {}", seconds(Some(left)))),
        member.open_files.map(|files| format!("open files: {files}")),
        latency(&member.committed_after).map(|it| format!("delivered after {it}")),
    ];
    for more in more.into_iter().flatten() {
        line += "; ";
        line += &more;
    }
    line
}

fn failures(snapshot: &Snapshot) -> Vec<Line> {
    let rows = snapshot.bulletin.iter().map(|it| {
        let component = format!("{} {}", it.role, it.name);
        let last = ago(Some(it.last_seconds_ago));
        (component.clone(), vec![component, it.times.to_string(), last, it.text.clone()])
    });
    table(snapshot, &Table::new(&["COMPONENT", "TIMES", "LAST", "WHAT HAPPENED"], rows))
}
