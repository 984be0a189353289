//! Formats a snapshot as aligned tables.

use std::fmt::Write as _;

use agent::status::words::{ago, bytes, count, percent, printable, rate, reason, seconds};
use agent::status::{
    ChannelStatus, Conservation, DeadLetterStatus, GroupStatus, Level, MemberStatus, ReloadStatus,
    Snapshot, SourceStatus, State, TenantStatus,
};

/// Formats the whole page.
pub(super) fn format(snapshot: &Snapshot) -> String {
    let mut page = head(snapshot) + "\n";
    for line in &snapshot.reasons {
        let _ = writeln!(page, "  {}", printable(line));
    }
    let _ = writeln!(page, "{}", printable(&snapshot.verdict.text));
    for trouble in &snapshot.troubles {
        let _ = writeln!(page, "  {} {}", sign(trouble.level), printable(&trouble.text));
        for line in trouble.help() {
            let _ = writeln!(page, "      {}", printable(&line));
        }
    }
    for table in [sources, tenants, channels, groups, sinks] {
        page += &table(snapshot).to_string();
    }
    for line in dead_letters(&snapshot.dead_letters).iter().chain([&conservation(snapshot)]) {
        let _ = write!(page, "\n{line}\n");
    }
    page += &reload(snapshot.last_reload.as_ref());
    page
}

/// Describes the result of the last reload, if any.
fn reload(last: Option<&ReloadStatus>) -> String {
    let Some(last) = last else { return String::new() };
    let (by, since) = (&last.asked_by, ago(Some(last.finished_seconds_ago)));
    let text = last.to_string();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let mut page = format!("\nlast reload, {since}, by {by}: {}\n", printable(first));
    for line in lines {
        let _ = writeln!(page, "  {}", printable(line));
    }
    page
}

/// Names the agent and its readiness.
pub(crate) fn head(snapshot: &Snapshot) -> String {
    let ready = if snapshot.ready { "ready" } else { "NOT READY" };
    let (name, version) = (printable(&snapshot.agent), printable(&snapshot.version));
    let up = seconds(Some(snapshot.uptime_seconds));
    format!("agent {name}, version {version}, up {up}: {ready}")
}

/// Returns the sign for this severity.
pub(crate) fn sign(level: Level) -> char {
    match level {
        Level::Good => '✓',
        Level::Note => 'i',
        Level::Warn => '!',
        Level::Bad => '✕',
    }
}

pub(crate) fn sources(snapshot: &Snapshot) -> Table {
    let titles = ["SOURCE", "TYPE", "STATE", "EVENTS/S", "BYTES/S", "EVENTS", "LAST", "FILES"];
    let rows = snapshot.sources.iter();
    Table::new(&titles, rows.map(|it| (format!("source {}", it.name), source(it))))
}

/// Formats the tenants, which share the sources.
pub(crate) fn tenants(snapshot: &Snapshot) -> Table {
    let titles = [
        "TENANT",
        "SOURCE",
        "CONNECTIONS",
        "EVENTS/S",
        "BYTES/S",
        "IN WORK",
        "BACKLOG",
        "HELD BACK",
    ];
    let rows = snapshot.sources.iter().flat_map(|source| {
        let row = |it: &TenantStatus| (format!("source {}", source.name), tenant(&source.name, it));
        source.tenants.iter().map(row)
    });
    Table::new(&titles, rows)
}

pub(crate) fn channels(snapshot: &Snapshot) -> Table {
    let titles =
        ["CHANNEL", "TYPE", "EVENTS", "SPACE", "FILL", "OLDEST", "IN/S", "FULL IN", "EMPTY IN"];
    let rows = snapshot.channels.iter();
    Table::new(&titles, rows.map(|it| (format!("channel {}", it.name), channel(it))))
}

pub(crate) fn groups(snapshot: &Snapshot) -> Table {
    let titles =
        ["GROUP", "CHANNEL", "TYPE", "STATE", "EVENTS/S", "DELIVERED", "IN FLIGHT", "LAST"];
    let rows = snapshot.groups.iter();
    Table::new(&titles, rows.map(|it| (format!("group {}", it.name), group(it))))
}

/// Formats the sinks of all groups.
pub(crate) fn sinks(snapshot: &Snapshot) -> Table {
    let titles =
        ["SINK", "GROUP", "TYPE", "STATE", "DELIVERED", "IN HAND", "LAST", "PENALTY", "DETAILS"];
    let rows = snapshot.groups.iter().flat_map(|group| {
        let row = |it: &MemberStatus| (format!("sink {}", it.sink), member(&group.name, it));
        present(group).map(row)
    });
    Table::new(&titles, rows)
}

/// Returns the members of a group that are sinks.
pub(crate) fn present(group: &GroupStatus) -> impl Iterator<Item = &MemberStatus> {
    group.members.iter().filter(|member| member.state != State::Absent)
}

fn source(source: &SourceStatus) -> Vec<String> {
    let accepted = &source.accepted;
    vec![
        source.name.clone(),
        source.kind.clone(),
        state(&source.state),
        rate(accepted.events_per_second),
        bytes(accepted.bytes_per_second as u64),
        accepted.events_total.to_string(),
        ago(accepted.last_seconds_ago),
        source.files.as_ref().map_or_else(String::new, |files| {
            format!("{}, {} unread", files.followed, bytes(files.unread_bytes))
        }),
    ]
}

fn tenant(source: &str, tenant: &TenantStatus) -> Vec<String> {
    let of = |now: String, max: Option<String>| match max {
        Some(max) => format!("{now} of {max}"),
        None => now,
    };
    let limited = tenant.limited.iter().map(|(limit, it)| {
        let since = seconds(Some(it.first_seconds_ago));
        let last = ago(Some(it.last_seconds_ago));
        format!("{} by {limit}, since {since}, last {last}", it.times)
    });
    vec![
        tenant.name.clone(),
        source.to_owned(),
        of(tenant.connections.to_string(), tenant.connections_max.map(|max| max.to_string())),
        of(
            rate(tenant.events_per_second),
            tenant.events_per_second_max.map(|max| rate(max as f64)),
        ),
        of(bytes(tenant.bytes_per_second as u64), tenant.bytes_per_second_max.map(bytes)),
        of(bytes(tenant.in_work_bytes), Some(bytes(tenant.share_bytes))),
        match tenant.backlog_bytes {
            Some(backlog) => of(bytes(backlog), tenant.backlog_max_bytes.map(bytes)),
            None => "-".to_owned(),
        },
        limited.collect::<Vec<_>>().join("; "),
    ]
}

fn channel(channel: &ChannelStatus) -> Vec<String> {
    let stopped = if channel.intake_stopped { " STOPPED" } else { "" };
    vec![
        channel.name.clone(),
        channel.kind.clone(),
        channel.depth_events.to_string(),
        bytes(channel.depth_bytes),
        percent(channel.fill_ratio) + stopped,
        seconds(channel.oldest_event_seconds),
        rate(channel.stored.events_per_second),
        seconds(channel.until_full_seconds),
        seconds(channel.until_empty_seconds),
    ]
}

fn group(group: &GroupStatus) -> Vec<String> {
    vec![
        group.name.clone(),
        group.channel.clone(),
        group.processor.clone(),
        state(&group.state),
        rate(group.delivered.events_per_second),
        group.delivered.events_total.to_string(),
        group.in_flight_events.to_string(),
        ago(group.delivered.last_seconds_ago),
    ]
}

fn member(group: &str, member: &MemberStatus) -> Vec<String> {
    let files = member.open_files.map(|files| format!("open files: {files}"));
    let commit = member.last_commit.as_ref().map(|commit| format!("last commit: {commit}"));
    let details = [member.peer.clone(), files, commit, member.trouble.clone()];
    let details: Vec<String> = details.into_iter().flatten().collect();
    vec![
        member.sink.clone(),
        group.to_owned(),
        member.kind.clone(),
        state(&member.state),
        member.delivered_events.to_string(),
        member.in_hand_batches.to_string(),
        ago(member.last_delivery_seconds_ago),
        seconds(member.penalty_seconds),
        details.join("; "),
    ]
}

fn state(state: &State) -> String {
    let word = match state {
        State::Starting => "starting",
        State::Running => "running",
        State::Waiting { .. } => "waiting",
        State::Failing { .. } => "FAILING",
        State::Absent => "absent",
        State::Stopped => "stopped",
        State::Held { .. } => "HELD",
    };
    word.to_owned()
}

/// Returns the number of dead letters, if any.
pub(crate) fn dead_letters(letters: &DeadLetterStatus) -> Option<String> {
    if letters.batches == 0 && letters.events == 0 {
        return None;
    }
    let DeadLetterStatus { batches, events, added_events, .. } = letters;
    let (events, batches) = (count(*events, "event"), count(*batches, "batch"));
    let mut text = format!("dead letters: {events} of {batches}");
    for (from, events) in added_events {
        let _ = write!(text, "; {events} since the start from {}", printable(from));
    }
    Some(text)
}

/// Describes the fate of all events.
pub(crate) fn conservation(snapshot: &Snapshot) -> String {
    let sum: &Conservation = &snapshot.conservation;
    let came = [
        ("accepted", sum.accepted_events),
        ("held at start", sum.held_at_start_events),
        ("copied", sum.copied_events),
        ("put again", sum.put_again_events),
        ("replayed", sum.replayed_events),
    ];
    let went = [
        ("delivered", sum.delivered_events),
        ("held", sum.held_events),
        ("dead letters", sum.dead_letter_events),
        ("dead letters of the next agents", sum.downstream_dead_letter_events),
        ("resent", sum.resent_events),
    ];
    let dropped = sum.dropped_events.iter().map(|(name, events)| (reason(name), *events));
    let dropped: Vec<(String, u64)> = dropped.collect();
    let dropped = dropped.iter().map(|(name, events)| (&**name, *events));
    let terms = |terms: Vec<(&str, u64)>| {
        let shown = terms.iter().enumerate().filter(|(at, (_, events))| *at == 0 || *events > 0);
        let shown = shown.map(|(_, (name, events))| format!("{events} {}", printable(name)));
        shown.collect::<Vec<_>>().join(" + ")
    };
    let (came, went) = (terms(came.to_vec()), terms(went.into_iter().chain(dropped).collect()));
    format!("events since the start: {came} = {went}; difference {}", sum.difference_events)
}

/// Rows with titles; each column is as wide as its widest cell.
pub(crate) struct Table {
    /// The component of each row, and its cells.
    rows: Vec<(String, Vec<String>)>,
    titles: Vec<String>,
}

impl Table {
    /// Creates a table of rows, each with the name of its component as findings use it.
    pub(crate) fn new(titles: &[&str], rows: impl Iterator<Item = (String, Vec<String>)>) -> Self {
        let rows = rows
            .map(|(component, row)| (component, row.iter().map(|cell| printable(cell)).collect()));
        let titles = titles.iter().map(|title| (*title).to_owned());
        Self { rows: rows.collect(), titles: titles.collect() }
    }

    /// Returns the titles, and each row with its component; empty without rows.
    pub(crate) fn lines(&self) -> Vec<(Option<&str>, String)> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let rows = self.rows.iter().map(|(component, row)| (Some(&**component), row));
        let all: Vec<_> = std::iter::once((None, &self.titles)).chain(rows).collect();
        let width = |column: usize| {
            all.iter().map(|(_, row)| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.titles.len()).map(width).collect();
        let line = |row: &[String]| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        all.into_iter().map(|(component, row)| (component, line(row))).collect()
    }
}

/// Prints an empty line before the table; nothing without rows.
impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (_, line)) in self.lines().iter().enumerate() {
            let before = if at == 0 { "\n" } else { "" };
            writeln!(f, "{before}{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use agent::status::{LeftBehind, PartChange, ReloadResult};

    use super::*;

    #[test]
    fn the_last_reload_is_shown_with_its_error_and_what_it_has_touched() {
        assert_eq!(reload(None), "");
        let status = ReloadStatus {
            asked_by: "SIGHUP".to_owned(),
            finished_seconds_ago: 12.0,
            took_seconds: 0.25,
            result: ReloadResult::RolledBack,
            error: Some("source `in`:\x1bport in use".to_owned()),
            started: Vec::new(),
            stopped: Vec::new(),
            restarted: vec![PartChange { part: "sinks.out".to_owned(), why: "new".to_owned() }],
            kept: vec!["channels.main".to_owned()],
            resends: vec!["source `s` starts from the beginning".to_owned()],
            left_behind: vec![LeftBehind { channel: "old".to_owned(), events: 7 }],
        };
        let text = reload(Some(&status));
        let first =
            "\nlast reload, 12s ago, by SIGHUP: rolled back, all parts run as before (0.2 s)\n";
        assert!(text.starts_with(first), "{text}");
        for line in [
            "  source `in`:?port in use\n",
            "  restarted  sinks.out: new\n",
            "  kept       channels.main\n",
            "  warning: source `s` starts from the beginning\n",
            "  channel `old` was removed and still has 7 events on disk; ",
        ] {
            assert!(text.contains(line), "{line:?} {text}");
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_obey_no_terminal() {
        let rows = [["a", ""], ["lon\x1bger", "x"]];
        let rows = rows.map(|row| ("source s".to_owned(), row.map(str::to_owned).to_vec()));
        let table = Table::new(&["ONE", "TWO"], rows.into_iter());
        assert_eq!(table.to_string(), "\nONE      TWO\na        -\nlon?ger  x\n");
        assert_eq!(Table::new(&["ONE"], std::iter::empty()).to_string(), "");
    }

    #[test]
    fn the_sum_shows_what_is_there_and_the_difference_always() {
        let dropped = [("filtered_by_interceptor".to_owned(), 2)];
        let mut snapshot = crate::top::sample::well();
        snapshot.conservation = Conservation {
            accepted_events: 10,
            delivered_events: 4,
            downstream_dead_letter_events: 3,
            dropped_events: dropped.into_iter().collect(),
            difference_events: 1,
            ..Conservation::default()
        };
        let expected = "events since the start: 10 accepted = 4 delivered + 3 dead letters of \
                        the next agents + 2 filtered by interceptor; difference 1";
        assert_eq!(conservation(&snapshot), expected);
    }
}
