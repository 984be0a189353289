//! What is wrong, from a snapshot: the first thing that an operator wants to know.
//!
//! Pure. The agent judges; the live page, `aqueduct top` and `aqueduct status` show what it says.

use serde::{Deserialize, Serialize};

use super::words::{percent, seconds};
use super::{ChannelStatus, PlainTextStatus, Snapshot, SourceStatus, State, security};

/// Filled part of a channel from which on it is nearly full.
const NEARLY_FULL: f64 = 0.8;

/// A channel that is full within this time is in trouble, in seconds.
const SOON_FULL: f64 = 1_800.0;

/// Age of the oldest event of a backlog, in seconds. Without a backlog the space of what was
/// delivered is not free yet, and it will be.
const BACKLOG: f64 = 60.0;

/// Why an agent is not ready into which nothing enters at an operator's word.
pub(crate) const EVERY_SOURCE_HELD: &str = "an operator has stopped every source";

/// Seconds without an event after which a difference is one. While events move it goes to and fro:
/// each part is counted at another moment.
const QUIET: f64 = 40.0;

/// Seconds for which the agent warns of dead letters that the next agents have reported.
const RECENT: f64 = 3_600.0;

/// How bad it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// All is well.
    #[default]
    Good,
    /// Something to know.
    Note,
    /// Something to look after.
    Warn,
    /// Something is wrong.
    Bad,
}

/// What kind of trouble it is: each has its heading in `docs/runbook.md`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Only the agent knows: a reason of `/readyz`.
    #[default]
    NotReady,
    /// A source, a sink or a group fails.
    Fails,
    /// It waits for something else.
    Waits,
    /// It is not open yet.
    NotOpen,
    /// A sink delivers, and something beyond does not work.
    Beyond,
    /// An operator has stopped a part.
    Held,
    /// A channel takes nothing in.
    IntakeStopped,
    /// A channel is nearly full.
    NearlyFull,
    /// A channel is full soon.
    Fills,
    /// Events came in and are nowhere.
    Missing,
    /// Events left more often than they came.
    LeftTwice,
    /// There are dead letters.
    DeadLetters,
    /// The file of the configuration is wrong, or says something else than what runs.
    Configuration,
    /// Plain text leaves the host.
    PlainText,
    /// Peers are refused by TLS or by a token.
    Refused,
    /// A certificate expires.
    Certificate,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::NotReady,
        Self::Fails,
        Self::Waits,
        Self::NotOpen,
        Self::Beyond,
        Self::Held,
        Self::IntakeStopped,
        Self::NearlyFull,
        Self::Fills,
        Self::Missing,
        Self::LeftTwice,
        Self::DeadLetters,
        Self::Configuration,
        Self::PlainText,
        Self::Refused,
        Self::Certificate,
    ];

    /// Its heading in `docs/runbook.md`.
    pub const fn heading(self) -> &'static str {
        match self {
            Self::NotReady => "The agent is not ready",
            Self::Fails => "A source, a sink or a group fails",
            Self::Waits => "A source or a group waits",
            Self::NotOpen => "A source, a sink or a group is not open yet",
            Self::Beyond => "Something beyond a sink does not work",
            Self::Held => "An operator has stopped a part",
            Self::IntakeStopped => "A channel takes nothing in",
            Self::NearlyFull => "A channel is nearly full",
            Self::Fills => "A channel fills",
            Self::Missing => "Events are not accounted for",
            Self::LeftTwice => "Events left more often than they came",
            Self::DeadLetters => "There are dead letters",
            Self::Configuration => "The configuration is wrong or differs",
            Self::PlainText => "Plain text leaves this host",
            Self::Refused => "Peers are refused",
            Self::Certificate => "A certificate expires",
        }
    }
}

/// Something that is wrong, or may become so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// How bad it is.
    pub level: Level,
    /// What kind of trouble it is.
    #[serde(default)]
    pub cause: Cause,
    /// What it is about: `source NAME`, `channel NAME`, `group NAME`, `sink NAME`, `conservation`,
    /// `agent`, `dead letters` or `configuration`.
    pub component: String,
    /// It in a sentence, which stays the same while the trouble does.
    pub brief: String,
    /// The same with times and sizes.
    pub text: String,
}

/// Everything in one line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// That of the worst trouble; a note is none.
    pub level: Level,
    /// All is well, or the worst trouble and how many there are.
    pub text: String,
}

impl Trouble {
    /// Without `more`, which stands in brackets in the text.
    pub(crate) fn new(
        (level, cause): (Level, Cause),
        component: &str,
        brief: String,
        more: &str,
    ) -> Self {
        let text = if more.is_empty() { brief.clone() } else { format!("{brief} ({more})") };
        Self { level, cause, component: component.to_owned(), brief, text }
    }
}

impl Verdict {
    /// Of troubles, the worst first.
    pub(crate) fn of(troubles: &[Trouble]) -> Self {
        let real = || troubles.iter().filter(|it| it.level > Level::Note);
        let Some(worst) = real().next() else {
            return Self { level: Level::Good, text: "All is well".to_owned() };
        };
        let lead = match worst.level {
            Level::Bad => "Something is wrong",
            Level::Good | Level::Note | Level::Warn => "Look after this",
        };
        let more = match real().count() - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        Self { level: worst.level, text: format!("{lead}: {}{more}", worst.brief) }
    }
}

impl Snapshot {
    /// With what is wrong, and what is known to be wrong with the file of the configuration.
    pub(crate) fn judged(mut self, configuration: Option<Trouble>) -> Self {
        let mut found = troubles(&self);
        found.extend(configuration);
        // Stable: those of one level stay in the order of the flow.
        found.sort_by_key(|it| std::cmp::Reverse(it.level));
        self.verdict = Verdict::of(&found);
        self.troubles = found;
        self
    }

    /// How bad it is with a component, as [`Trouble::component`] names it.
    pub fn level_of(&self, component: &str) -> Level {
        let about = self.troubles.iter().filter(|it| it.component == component);
        about.map(|it| it.level).max().unwrap_or_default()
    }
}

/// What is wrong, in the order of the flow.
fn troubles(snapshot: &Snapshot) -> Vec<Trouble> {
    let mut found: Vec<Trouble> = Vec::new();
    for SourceStatus { name, state, .. } in &snapshot.sources {
        found.extend(of_state("source", name, state));
    }
    found.extend(snapshot.channels.iter().filter_map(of_channel));
    for group in &snapshot.groups {
        let members = &group.members;
        found.extend(members.iter().filter_map(|it| of_state("sink", &it.sink, &it.state)));
        found.extend(members.iter().filter_map(|it| {
            let (component, trouble) = (format!("sink {}", it.sink), it.trouble.as_ref()?);
            let brief = format!("{component}: {trouble}");
            Some(Trouble::new((Level::Warn, Cause::Beyond), &component, brief, ""))
        }));
        // It waits for its sinks, and they are named above.
        let is_failing = |state: &State| matches!(state, State::Failing { .. });
        let is_waiting = matches!(group.state, State::Waiting { .. });
        if !(is_waiting && members.iter().any(|it| is_failing(&it.state))) {
            found.extend(of_state("group", &group.name, &group.state));
        }
    }
    found.extend(of_conservation(snapshot));
    // What the agent says itself and the above does not.
    if !snapshot.ready && found.iter().all(|it| it.level < Level::Bad) {
        // Each held source is named above, and it was meant.
        let said = snapshot.reasons.iter().filter(|text| **text != EVERY_SOURCE_HELD);
        found.extend(said.map(|text| Trouble {
            brief: without_times(text),
            ..Trouble::new((Level::Bad, Cause::NotReady), "agent", text.clone(), "")
        }));
    }
    found.extend(security::troubles(&snapshot.certificates, &snapshot.refused));
    found.extend(snapshot.plain_text.iter().map(|it| {
        let PlainTextStatus { component, address, .. } = it;
        let brief = format!("{component}: plain text leaves this host over {address}");
        Trouble::new((Level::Note, Cause::PlainText), component, brief, "`insecure = true`")
    }));
    let letters = snapshot.dead_letters.events;
    if letters > 0 {
        let brief = "there are dead letters".to_owned();
        let kind = (Level::Warn, Cause::DeadLetters);
        found.push(Trouble::new(kind, "dead letters", brief, &format!("{letters} events")));
    }
    found.extend(of_downstream_letters(snapshot));
    found
}

fn of_state(role: &str, name: &str, state: &State) -> Option<Trouble> {
    let component = format!("{role} {name}");
    let (kind, brief, more) = match state {
        State::Failing { since_seconds_ago, last_error, retry_in_seconds, .. } => {
            let next = retry_in_seconds.map_or("it is tried again now".to_owned(), |pause| {
                format!("next try in {}", seconds(Some(pause)))
            });
            let more = format!("for {}; {next}", seconds(Some(*since_seconds_ago)));
            ((Level::Bad, Cause::Fails), format!("{component} fails: {last_error}"), more)
        }
        State::Waiting { waits_for, since_seconds_ago } => {
            let more = format!("for {}", seconds(Some(*since_seconds_ago)));
            ((Level::Warn, Cause::Waits), format!("{component} waits for {waits_for}"), more)
        }
        State::Starting => {
            let brief = format!("{component} is not open yet");
            ((Level::Warn, Cause::NotOpen), brief, String::new())
        }
        State::Held { since_seconds_ago, by } => {
            let more = format!("for {}, by {by}", seconds(Some(*since_seconds_ago)));
            ((Level::Warn, Cause::Held), format!("{component} is stopped by an operator"), more)
        }
        State::Running | State::Absent | State::Stopped => return None,
    };
    Some(Trouble::new(kind, &component, brief, &more))
}

fn of_channel(channel: &ChannelStatus) -> Option<Trouble> {
    let name = format!("channel {}", channel.name);
    let full = percent(channel.fill_ratio);
    let soon = channel.until_full_seconds.filter(|left| *left < SOON_FULL);
    let has_backlog = channel.oldest_event_seconds.is_some_and(|oldest| oldest > BACKLOG);
    let (kind, what, more) = if channel.intake_stopped {
        ((Level::Bad, Cause::IntakeStopped), "takes nothing in", format!("{full} full"))
    } else if channel.fill_ratio >= NEARLY_FULL {
        let more = format!("{full}, {} events", channel.depth_events);
        ((Level::Warn, Cause::NearlyFull), "is nearly full", more)
    } else if soon.is_some() && has_backlog {
        let more = format!("full in {} at the present rates", seconds(soon));
        ((Level::Warn, Cause::Fills), "fills", more)
    } else {
        return None;
    };
    Some(Trouble::new(kind, &name, format!("{name} {what}"), &more))
}

/// Events that are not accounted for although nothing moves.
fn of_conservation(snapshot: &Snapshot) -> Option<Trouble> {
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
        true => (Cause::Missing, "are not accounted for"),
        false => (Cause::LeftTwice, "left more often than they came"),
    };
    let brief = format!("{} events {what}", difference.unsigned_abs());
    Some(Trouble::new((Level::Bad, cause), "conservation", brief, ""))
}

/// Events of this agent that became dead letters at the next agents. These do not report a replay,
/// so the warning ends some time after the last letter.
fn of_downstream_letters(snapshot: &Snapshot) -> Option<Trouble> {
    let events = snapshot.conservation.downstream_dead_letter_events;
    let last = snapshot.dead_letters.downstream_last_seconds_ago;
    let level = match last.is_some_and(|ago| ago < RECENT) {
        true => Level::Warn,
        false => Level::Note,
    };
    let brief = "events of this agent became dead letters at the next agents".to_owned();
    let more = format!("{events} events since the start, the last {} ago", seconds(last));
    let trouble = Trouble::new((level, Cause::DeadLetters), "dead letters", brief, &more);
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

#[cfg(test)]
mod tests;
