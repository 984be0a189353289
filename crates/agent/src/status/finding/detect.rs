//! Finds problems in a snapshot, component by component.

use super::{Cause, Finding, Level};
use crate::status::words::{count, percent, seconds};
use crate::status::{
    ChannelStatus, GroupStatus, IncompleteStatus, MemberStatus, PlainTextStatus, Snapshot,
    SourceStatus, State, UnableStatus, security,
};

/// Fill level from which a channel counts as nearly full.
const NEARLY_FULL: f64 = 0.8;

/// A channel that is full within this time is in trouble, in seconds.
const SOON_FULL: f64 = 1_800.0;

/// Age of the oldest event of a backlog, in seconds. Without a backlog, the space of delivered
/// events is not free yet, but will be.
const BACKLOG: f64 = 60.0;

/// A source that has been started so recently may find its files yet, in seconds.
const FILES_AFTER: f64 = 10.0;

/// Why an agent is not ready into which nothing enters at an operator's word.
pub const EVERY_SOURCE_HELD: &str = "an operator has stopped every source";

/// Seconds without an event after which a difference counts. While events move it fluctuates,
/// because each term is counted at another moment.
const QUIET: f64 = 40.0;

/// Seconds for which the agent warns of dead letters that the next agents have reported.
const RECENT: f64 = 3_600.0;

/// Seconds after which a directory that waits for edges needs attention, as for the alert.
const LATE_DIRECTORY: f64 = 7_200.0;

/// Returns the findings, in the order of the flow.
pub(super) fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for source in &snapshot.sources {
        found.extend(of_state("source", &source.name, &source.state));
        found.extend(of_files(source));
    }
    found.extend(snapshot.channels.iter().filter_map(of_channel));
    for group in &snapshot.groups {
        let members = &group.members;
        found.extend(members.iter().filter_map(|it| of_downstream(group, it)));
        found.extend(members.iter().filter_map(|it| of_state("sink", &it.sink, &it.state)));
        found.extend(members.iter().filter_map(|it| {
            let (component, trouble) = (format!("sink {}", it.sink), it.trouble.as_ref()?);
            let brief = format!("{component}: {trouble}");
            Some(Finding::new((Level::Warn, Cause::Beyond), &component, brief, ""))
        }));
        found.extend(members.iter().filter_map(of_incomplete));
        // It waits for its sinks, which have findings above.
        let is_waiting = matches!(group.state, State::Waiting { .. });
        if !(is_waiting && members.iter().any(|it| !delivers(it))) {
            found.extend(of_state("group", &group.name, &group.state));
        }
    }
    found.extend(of_conservation(snapshot));
    // Reasons of the agent that no component shows.
    if !snapshot.ready && found.iter().all(|it| it.level < Level::Bad) {
        // Each held source is named above, and it was meant.
        let said = snapshot.reasons.iter().filter(|text| **text != EVERY_SOURCE_HELD);
        found.extend(said.map(|text| Finding {
            brief: without_times(text),
            ..Finding::new((Level::Bad, Cause::NotReady), "agent", text.clone(), "")
        }));
    }
    found.extend(security::findings(&snapshot.certificates, &snapshot.refused));
    found.extend(snapshot.plain_text.iter().map(|it| {
        let PlainTextStatus { component, address, .. } = it;
        let brief = format!("{component}: plain text leaves this host over {address}");
        Finding::new((Level::Note, Cause::PlainText), component, brief, "`insecure = true`")
    }));
    let letters = snapshot.dead_letters.events;
    if letters > 0 {
        let brief = "there are dead letters".to_owned();
        let kind = (Level::Warn, Cause::DeadLetters);
        found.push(Finding::new(kind, "dead letters", brief, &count(letters, "event")));
    }
    found.extend(of_downstream_letters(snapshot));
    found
}

/// Returns `false` if a sink certainly delivers nothing.
pub(super) fn delivers(member: &MemberStatus) -> bool {
    member.unable.is_none() && !matches!(member.state, State::Failing { .. })
}

/// A downstream agent that cannot store events. It is worse if no other member of the group can.
fn of_downstream(group: &GroupStatus, member: &MemberStatus) -> Option<Finding> {
    let UnableStatus { since_seconds_ago, cause, agent } = member.unable.as_ref()?;
    let level = if group.members.iter().any(delivers) { Level::Warn } else { Level::Bad };
    let (component, address) = (format!("sink {}", member.sink), &agent.address);
    let way = match &member.peer {
        Some(peer) if peer != address => format!(", downstream of {peer},"),
        _ => String::new(),
    };
    let brief = format!("{component}: {address}{way} cannot store events: {cause}");
    let more = format!("for {}", seconds(Some(*since_seconds_ago)));
    let trouble = Finding::new((level, Cause::Downstream), &component, brief, &more);
    let (agent, since_seconds_ago) = (Some(agent.clone()), Some(*since_seconds_ago));
    Some(Finding { agent, since_seconds_ago, ..trouble })
}

/// A directory whose receipt waits for edges.
fn of_incomplete(member: &MemberStatus) -> Option<Finding> {
    let IncompleteStatus { directory, waits_for, since_seconds_ago } =
        member.incomplete.as_ref()?;
    let level = if *since_seconds_ago > LATE_DIRECTORY { Level::Warn } else { Level::Note };
    let component = format!("sink {}", member.sink);
    let brief = format!("{component}: directory {directory} waits for edges: {waits_for}");
    let more = format!("for {}", seconds(Some(*since_seconds_ago)));
    let found = Finding::new((level, Cause::Incomplete), &component, brief, &more);
    Some(Finding { since_seconds_ago: Some(*since_seconds_ago), ..found })
}

/// Returns the finding about a source of files without files, or with unreadable ones.
fn of_files(source: &SourceStatus) -> Option<Finding> {
    let files = source.files.as_ref().filter(|_| source.state == State::Running)?;
    let component = format!("source {}", source.name);
    let (kind, brief) = match &files.problem {
        Some(problem) if files.unreadable > 0 => {
            ((Level::Warn, Cause::Unreadable), format!("{component}: {problem}"))
        }
        Some(problem) if files.followed == 0 => {
            ((Level::Warn, Cause::NoFiles), format!("{component} follows 0 files: {problem}"))
        }
        Some(problem) => ((Level::Note, Cause::NoFiles), format!("{component}: {problem}")),
        None if files.followed == 0 => {
            ((Level::Note, Cause::NoFiles), format!("{component} follows 0 files"))
        }
        None => return None,
    };
    // Files may be created, and directories mounted, after the start.
    let is_settled = source.started_seconds_ago >= FILES_AFTER;
    is_settled.then(|| Finding::new(kind, &component, brief, ""))
}

fn of_state(role: &str, name: &str, state: &State) -> Option<Finding> {
    let component = format!("{role} {name}");
    let (kind, brief, since, more) = match state {
        State::Failing { since_seconds_ago, last_error, retry_in_seconds, .. } => {
            let next = retry_in_seconds.map_or("retrying now".to_owned(), |pause| {
                format!("next try in {}", seconds(Some(pause)))
            });
            let more = format!("for {}; {next}", seconds(Some(*since_seconds_ago)));
            let brief = format!("{component} fails: {last_error}");
            ((Level::Bad, Cause::Fails), brief, Some(since_seconds_ago), more)
        }
        State::Waiting { waits_for, since_seconds_ago } => {
            let more = format!("for {}", seconds(Some(*since_seconds_ago)));
            let brief = format!("{component} waits for {waits_for}");
            ((Level::Warn, Cause::Waits), brief, Some(since_seconds_ago), more)
        }
        State::Starting => {
            let brief = format!("{component} is not open yet");
            ((Level::Warn, Cause::NotOpen), brief, None, String::new())
        }
        State::Held { since_seconds_ago, by } => {
            let more = format!("for {}, by {by}", seconds(Some(*since_seconds_ago)));
            let brief = format!("{component} is stopped by an operator");
            ((Level::Warn, Cause::Held), brief, Some(since_seconds_ago), more)
        }
        State::Running | State::Absent | State::Stopped => return None,
    };
    let trouble = Finding::new(kind, &component, brief, &more);
    Some(Finding { since_seconds_ago: since.copied(), ..trouble })
}

fn of_channel(channel: &ChannelStatus) -> Option<Finding> {
    let name = format!("channel {}", channel.name);
    let full = percent(channel.fill_ratio);
    let soon = channel.until_full_seconds.filter(|left| *left < SOON_FULL);
    let has_backlog = channel.oldest_event_seconds.is_some_and(|oldest| oldest > BACKLOG);
    let (kind, what, more) = if channel.intake_stopped {
        ((Level::Bad, Cause::IntakeStopped), "accepts no events", format!("{full} full"))
    } else if channel.fill_ratio >= NEARLY_FULL {
        let more = format!("{full}, {}", count(channel.depth_events, "event"));
        ((Level::Warn, Cause::NearlyFull), "is nearly full", more)
    } else if soon.is_some() && has_backlog {
        let more = format!("full in {} at the current rates", seconds(soon));
        ((Level::Warn, Cause::Fills), "fills", more)
    } else {
        return None;
    };
    Some(Finding::new(kind, &name, format!("{name} {what}"), &more))
}

/// Events that are not accounted for although nothing moves.
fn of_conservation(snapshot: &Snapshot) -> Option<Finding> {
    let difference = snapshot.conservation.difference_events;
    let sources = snapshot.sources.iter().map(|it| &it.accepted);
    let channels = snapshot.channels.iter().map(|it| &it.stored);
    let groups = snapshot.groups.iter().map(|it| &it.delivered);
    let mut lasts = sources.chain(channels).chain(groups).filter_map(|it| it.last_seconds_ago);
    let is_quiet = snapshot.uptime_seconds > QUIET && lasts.all(|ago| ago > QUIET);
    if difference == 0 || !is_quiet {
        return None;
    }
    let (cause, what) = match difference > 0 {
        true => (Cause::Missing, "not accounted for"),
        false => (Cause::LeftTwice, "left more often than they arrived"),
    };
    let brief = format!("{} {what}", count(difference.unsigned_abs(), "event"));
    Some(Finding::new((Level::Bad, cause), "conservation", brief, ""))
}

/// Events of this agent that became dead letters at the next agents. These do not report a replay,
/// so the warning ends some time after the last letter.
fn of_downstream_letters(snapshot: &Snapshot) -> Option<Finding> {
    let events = snapshot.conservation.downstream_dead_letter_events;
    let last = snapshot.dead_letters.downstream_last_seconds_ago;
    let level = match last.is_some_and(|ago| ago < RECENT) {
        true => Level::Warn,
        false => Level::Note,
    };
    let brief = "events of this agent became dead letters at the next agents".to_owned();
    let total = count(events, "event");
    let more = format!("{total} since the start, the last {} ago", seconds(last));
    let trouble = Finding::new((level, Cause::DeadLetters), "dead letters", brief, &more);
    (events > 0).then_some(trouble)
}

/// A line of `/readyz` without the seconds in it, which change all the time.
fn without_times(line: &str) -> String {
    let unit = |word: &str| {
        let rest = word.strip_prefix('s')?;
        rest.chars().all(|c| c.is_ascii_punctuation()).then(|| rest.to_owned())
    };
    let is_number = |word: &&str| word.parse::<u64>().is_ok();
    let words: Vec<&str> = line.split(' ').collect();
    let shown = words.iter().enumerate().map(|(at, word)| {
        let before = at.checked_sub(1).map(|at| words[at]);
        let next = words.get(at + 1).copied();
        match unit(word) {
            Some(rest) if before.as_ref().is_some_and(is_number) => format!("time{rest}"),
            _ if is_number(word) && next.and_then(unit).is_some() => "some".to_owned(),
            _ => (*word).to_owned(),
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}
