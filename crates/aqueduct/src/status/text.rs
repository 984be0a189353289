//! A snapshot as a few aligned tables.

use std::fmt::Write as _;
use std::time::Duration;

use agent::status::{
    ChannelStatus, Conservation, DeadLetterStatus, GroupStatus, MemberStatus, ReloadStatus,
    Snapshot, SourceStatus, State,
};
use pipeline::units::ByteSize;

/// What is not known.
const NONE: &str = "-";

/// The whole page.
pub(super) fn of(snapshot: &Snapshot) -> String {
    let ready = if snapshot.ready { "ready" } else { "NOT READY" };
    let (name, version) = (&snapshot.agent, &snapshot.version);
    let up = seconds(Some(snapshot.uptime_seconds));
    let mut page = format!("agent {name}, version {version}, up {up}: {ready}\n");
    // The remarks are in the tables, and below them.
    for line in &snapshot.reasons {
        let _ = writeln!(page, "  {}", printable(line));
    }
    page += &table(
        &["SOURCE", "TYPE", "STATE", "EVENTS/S", "BYTES/S", "EVENTS", "LAST"],
        snapshot.sources.iter().map(source),
    );
    page += &table(
        &["CHANNEL", "TYPE", "EVENTS", "BYTES", "FILL", "OLDEST", "IN/S", "FULL IN", "EMPTY IN"],
        snapshot.channels.iter().map(channel),
    );
    page += &table(
        &["GROUP", "CHANNEL", "TYPE", "STATE", "EVENTS/S", "DELIVERED", "IN FLIGHT", "LAST"],
        snapshot.groups.iter().map(group),
    );
    let members = snapshot.groups.iter().flat_map(|group| {
        let present = group.members.iter().filter(|member| member.state != State::Absent);
        present.map(|member| self::member(&group.name, member))
    });
    page += &table(
        &["SINK", "GROUP", "TYPE", "STATE", "DELIVERED", "IN HAND", "LAST", "PENALTY", "DETAILS"],
        members,
    );
    page += &states(snapshot);
    page += &dead_letters(&snapshot.dead_letters);
    page += &conservation(&snapshot.conservation);
    page += &reload(snapshot.last_reload.as_ref());
    page
}

/// How the last reload ended, if there was one.
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

fn source(source: &SourceStatus) -> Vec<String> {
    let accepted = &source.accepted;
    vec![
        source.name.clone(),
        source.kind.clone(),
        state(&source.state),
        rate(accepted.events_per_second),
        ByteSize(accepted.bytes_per_second as u64).to_string(),
        accepted.events_total.to_string(),
        ago(accepted.last_seconds_ago),
    ]
}

fn channel(channel: &ChannelStatus) -> Vec<String> {
    let stopped = if channel.intake_stopped { " STOPPED" } else { "" };
    vec![
        channel.name.clone(),
        channel.kind.clone(),
        channel.depth_events.to_string(),
        channel.depth_bytes.to_string(),
        format!("{:.1}%{stopped}", channel.fill_ratio * 100.0),
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
    let details = [member.peer.clone(), files, commit];
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
    };
    word.to_owned()
}

/// The causes of waiting and of failing.
fn states(snapshot: &Snapshot) -> String {
    let sources = snapshot.sources.iter().map(|source| ("source", &source.name, &source.state));
    let groups = snapshot.groups.iter().map(|group| ("group", &group.name, &group.state));
    let members = snapshot.groups.iter().flat_map(|group| &group.members);
    let members = members.map(|member| ("sink", &member.sink, &member.state));
    let mut lines = String::new();
    for (role, name, state) in sources.chain(groups).chain(members) {
        let text = match state {
            State::Waiting { waits_for, since_seconds_ago } => {
                let since = seconds(Some(*since_seconds_ago));
                format!("waiting for {waits_for}, since {since}")
            }
            State::Failing { since_seconds_ago, last_error, retry_in_seconds } => {
                let since = seconds(Some(*since_seconds_ago));
                let next = retry_in_seconds.map_or("tried again now".to_owned(), |pause| {
                    format!("next try in {}", seconds(Some(pause)))
                });
                format!("failing for {since}: {last_error}; {next}")
            }
            State::Starting | State::Running | State::Absent | State::Stopped => continue,
        };
        let _ = writeln!(lines, "{role} {name}: {}", printable(&text));
    }
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

fn dead_letters(letters: &DeadLetterStatus) -> String {
    if letters.batches == 0 && letters.events == 0 {
        return String::new();
    }
    let DeadLetterStatus { batches, events, added_events } = letters;
    let mut text = format!("\ndead letters: {events} events of {batches} batches");
    for (from, events) in added_events {
        let _ = write!(text, "; {events} since the start from {}", printable(from));
    }
    text + "\n"
}

fn conservation(sum: &Conservation) -> String {
    let came = [
        ("accepted", sum.accepted_events),
        ("held at start", sum.held_at_start_events),
        ("copied", sum.copied_events),
        ("put again", sum.put_again_events),
    ];
    let went = [
        ("delivered", sum.delivered_events),
        ("held", sum.held_events),
        ("dead letters", sum.dead_letter_events),
    ];
    let dropped = sum.dropped_events.iter().map(|(reason, events)| (&**reason, *events));
    let terms = |terms: Vec<(&str, u64)>| {
        let shown = terms.iter().enumerate().filter(|(at, (_, events))| *at == 0 || *events > 0);
        let shown = shown.map(|(_, (name, events))| format!("{events} {}", printable(name)));
        shown.collect::<Vec<_>>().join(" + ")
    };
    let (came, went) = (terms(came.to_vec()), terms(went.into_iter().chain(dropped).collect()));
    format!("\nevents since the start: {came} = {went}; difference {}\n", sum.difference_events)
}

/// Rows below their titles, each column as wide as its widest cell; nothing without rows.
fn table(titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let titles = titles.iter().map(|title| (*title).to_owned()).collect();
    let rows = rows.map(|row| row.iter().map(|cell| printable(cell)).collect());
    let rows: Vec<Vec<String>> = std::iter::once(titles).chain(rows).collect();
    if rows.len() == 1 {
        return String::new();
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..rows[0].len()).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::from("\n");
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Text of the agent's without what a terminal would obey.
fn printable(text: &str) -> String {
    if text.is_empty() { NONE.to_owned() } else { text.replace(char::is_control, "?") }
}

fn rate(per_second: f64) -> String {
    if per_second >= 10.0 { format!("{per_second:.0}") } else { format!("{per_second:.1}") }
}

fn ago(seconds_ago: Option<f64>) -> String {
    seconds_ago.map_or(NONE.to_owned(), |ago| format!("{} ago", seconds(Some(ago))))
}

/// To the second where it is long, and to the millisecond where it is short.
fn seconds(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return NONE.to_owned() };
    let Ok(duration) = Duration::try_from_secs_f64(seconds) else { return NONE.to_owned() };
    let step = if seconds < 10.0 { 1 } else { 1_000 };
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) / step * step;
    humantime::format_duration(Duration::from_millis(millis)).to_string()
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
            left_behind: vec![LeftBehind { channel: "old".to_owned(), events: 7 }],
        };
        let text = reload(Some(&status));
        let first = "\nlast reload, 12s ago, by SIGHUP: rolled back, all runs as before (0.2 s)\n";
        assert!(text.starts_with(first), "{text}");
        for line in [
            "  source `in`:?port in use\n",
            "  restarted  sinks.out: new\n",
            "  kept       channels.main\n",
            "  channel `old` is closed and holds 7 events on disk; ",
        ] {
            assert!(text.contains(line), "{line:?} {text}");
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_obey_no_terminal() {
        let rows = [vec!["a".to_owned(), String::new()], vec!["lon\x1bger".into(), "x".into()]];
        let text = table(&["ONE", "TWO"], rows.into_iter());
        assert_eq!(text, "\nONE      TWO\na        -\nlon?ger  x\n");
        assert_eq!(table(&["ONE"], std::iter::empty()), "");
    }

    #[test]
    fn times_are_short_to_read() {
        for (given, shown) in
            [(0.0, "0s"), (0.0421, "42ms"), (12.345, "12s"), (7_322.9, "2h 2m 2s")]
        {
            assert_eq!(seconds(Some(given)), shown);
        }
        assert_eq!((seconds(None), seconds(Some(f64::INFINITY))), (NONE.into(), NONE.into()));
    }

    #[test]
    fn the_sum_shows_what_is_there_and_the_difference_always() {
        let dropped = [("filtered_by_interceptor".to_owned(), 2)];
        let sum = Conservation {
            accepted_events: 10,
            delivered_events: 7,
            dropped_events: dropped.into_iter().collect(),
            difference_events: 1,
            ..Conservation::default()
        };
        let expected = "\nevents since the start: 10 accepted = 7 delivered + \
                        2 filtered_by_interceptor; difference 1\n";
        assert_eq!(conservation(&sum), expected);
    }
}
