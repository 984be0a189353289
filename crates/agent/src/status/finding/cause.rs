//! Kinds of findings, with remedies and references to the runbook.

use serde::{Deserialize, Serialize};

/// The address of the run book, on the site that `homepage` in the workspace's `Cargo.toml` names.
const RUNBOOK: &str = concat!(env!("CARGO_PKG_HOMEPAGE"), "/runbook.html");

/// The severity.
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

/// The kind of a finding: each has its heading in `docs/runbook.md`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Only the agent knows: a reason of `/readyz`.
    #[default]
    NotReady,
    /// A source, a sink or a group fails.
    Fails,
    /// A downstream agent reports that it cannot store events.
    Downstream,
    /// A source or a group waits for something else.
    Waits,
    /// A source, a sink or a group is not open yet.
    NotOpen,
    /// A sink delivers, and something beyond does not work.
    Beyond,
    /// A directory waits for edges.
    Incomplete,
    /// A source follows no files.
    NoFiles,
    /// A source cannot read files.
    Unreadable,
    /// An operator has stopped a part.
    Held,
    /// A channel accepts no events.
    IntakeStopped,
    /// A channel is nearly full.
    NearlyFull,
    /// A channel is full soon.
    Fills,
    /// Events were received and are nowhere.
    Missing,
    /// Events left more often than they were received.
    LeftTwice,
    /// There are dead letters.
    DeadLetters,
    /// The configuration file is invalid, or differs from the running configuration.
    Configuration,
    /// Plain text leaves the host.
    PlainText,
    /// Peers are refused by TLS or by a token.
    Refused,
    /// A certificate expires.
    Certificate,
}

/// Each kind, its heading in `docs/runbook.md`, and the remedy in one line.
const HELP: [(Cause, &str, &str); 20] = [
    (Cause::NotReady, "The agent is not ready", "fix the cause that the reason names"),
    (
        Cause::Fails,
        "A source, a sink or a group fails",
        "fix the cause that the error names; the agent retries, no restart is needed",
    ),
    (
        Cause::Downstream,
        "A downstream agent cannot store events",
        "fix the cause on that agent; events wait in the channel until it stores again",
    ),
    (Cause::Waits, "A source or a group waits", "fix the part that it waits for"),
    (
        Cause::NotOpen,
        "A source, a sink or a group is not open yet",
        "wait for the first attempt; if this lasts, check the log",
    ),
    (
        Cause::Beyond,
        "A step after delivery fails",
        "fix the problem that the text names; the sink retries the step",
    ),
    (
        Cause::Incomplete,
        "A directory waits for edges",
        "start or connect the edges; `aqueduct roster list` shows each of them",
    ),
    (
        Cause::NoFiles,
        "A source follows no files",
        "correct `paths`, or give the agent the right to read the directory",
    ),
    (
        Cause::Unreadable,
        "A source cannot read files",
        "give the agent's user the right to read them; the source retries",
    ),
    (
        Cause::Held,
        "An operator has stopped a part",
        "start it with `aqueduct start ADDRESS --source NAME` (or `--group NAME`)",
    ),
    (
        Cause::IntakeStopped,
        "A channel accepts no events",
        "fix the group that empties it; if its disk is full, free space there",
    ),
    (
        Cause::NearlyFull,
        "A channel is nearly full",
        "check whether its group is slow or fails; add collectors or raise `capacity`",
    ),
    (
        Cause::Fills,
        "A channel fills",
        "check whether its group is slow or fails; add collectors or raise `capacity`",
    ),
    (
        Cause::Missing,
        "Events are not accounted for",
        "keep data directory and log, and run `aqueduct verify --store URL FILE`",
    ),
    (
        Cause::LeftTwice,
        "More events left than arrived",
        "run `aqueduct verify --store URL FILE` to find events that are stored twice",
    ),
    (
        Cause::DeadLetters,
        "There are dead letters",
        "fix the cause that `aqueduct dlq list ADDRESS` shows, then replay or drop them",
    ),
    (
        Cause::Configuration,
        "The configuration is wrong or differs",
        "run `aqueduct check FILE`, then `aqueduct reload ADDRESS`",
    ),
    (Cause::PlainText, "Plain text leaves this host", "set the table `tls` and remove `insecure`"),
    (
        Cause::Refused,
        "Peers are refused",
        "give the peers a valid certificate or token, or block them",
    ),
    (
        Cause::Certificate,
        "A certificate expires",
        "replace the certificate file; the agent reads it without a restart",
    ),
];

impl Cause {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        HELP.iter().map(|(cause, ..)| *cause)
    }

    fn help(self) -> (&'static str, &'static str) {
        let found = HELP.iter().find(|(cause, ..)| *cause == self);
        found.map(|(_, heading, remedy)| (*heading, *remedy)).unwrap_or_default()
    }

    /// Its heading in `docs/runbook.md`.
    pub fn heading(self) -> &'static str {
        self.help().0
    }

    /// Returns the remedy, in one line.
    pub fn remedy(self) -> &'static str {
        self.help().1
    }

    /// Returns the reference to `docs/runbook.md`.
    pub fn runbook(self) -> String {
        let kept = self.heading().chars().filter(|c| c.is_alphanumeric() || " -".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        format!("{RUNBOOK}#{}", anchor.to_lowercase())
    }
}
