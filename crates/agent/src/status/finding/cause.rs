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

impl Cause {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::NotReady,
        Self::Fails,
        Self::Downstream,
        Self::Waits,
        Self::NotOpen,
        Self::Beyond,
        Self::NoFiles,
        Self::Unreadable,
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

    /// Its heading in `docs/runbook.md`, and the remedy in one line.
    const fn help(self) -> (&'static str, &'static str) {
        match self {
            Self::NotReady => ("The agent is not ready", "fix the cause that the reason names"),
            Self::Fails => (
                "A source, a sink or a group fails",
                "fix the cause that the error names; the agent retries, no restart is needed",
            ),
            Self::Downstream => (
                "A downstream agent cannot store events",
                "fix the cause on that agent; events wait in the channel until it stores again",
            ),
            Self::Waits => ("A source or a group waits", "fix the part that it waits for"),
            Self::NotOpen => (
                "A source, a sink or a group is not open yet",
                "wait for the first attempt; if this lasts, check the log",
            ),
            Self::Beyond => (
                "A step after delivery fails",
                "fix the problem that the text names; the sink retries the step",
            ),
            Self::NoFiles => (
                "A source follows no files",
                "correct `paths`, or give the agent the right to read the directory",
            ),
            Self::Unreadable => (
                "A source cannot read files",
                "give the agent's user the right to read them; the source retries",
            ),
            Self::Held => (
                "An operator has stopped a part",
                "start it with `aqueduct start` once the reason for the stop is gone",
            ),
            Self::IntakeStopped => (
                "A channel accepts no events",
                "fix the group that empties it; if its disk is full, free space there",
            ),
            Self::NearlyFull => (
                "A channel is nearly full",
                "check whether its group is slow or fails; add collectors or raise `capacity`",
            ),
            Self::Fills => (
                "A channel fills",
                "check whether its group is slow or fails; add collectors or raise `capacity`",
            ),
            Self::Missing => (
                "Events are not accounted for",
                "keep the data directory and the log, and run `aqueduct verify`",
            ),
            Self::LeftTwice => (
                "Events left more often than they came",
                "run `aqueduct verify` to find events that are stored twice",
            ),
            Self::DeadLetters => (
                "There are dead letters",
                "fix the cause that `aqueduct dlq list` shows, then replay or drop them",
            ),
            Self::Configuration => (
                "The configuration is wrong or differs",
                "run `aqueduct check` on the file, then reload",
            ),
            Self::PlainText => {
                ("Plain text leaves this host", "set the table `tls` and remove `insecure`")
            }
            Self::Refused => {
                ("Peers are refused", "give the peers a valid certificate or token, or block them")
            }
            Self::Certificate => (
                "A certificate expires",
                "replace the certificate file; the agent reads it without a restart",
            ),
        }
    }

    /// Its heading in `docs/runbook.md`.
    pub const fn heading(self) -> &'static str {
        self.help().0
    }

    /// Returns the remedy, in one line.
    pub const fn remedy(self) -> &'static str {
        self.help().1
    }

    /// Returns the reference to `docs/runbook.md`.
    pub fn runbook(self) -> String {
        let kept = self.heading().chars().filter(|c| c.is_alphanumeric() || " -".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        format!("{RUNBOOK}#{}", anchor.to_lowercase())
    }
}
