//! What a running agent is doing, as one document: [`Snapshot`].
//!
//! ```text
//!   SourceHandle ─┐
//!   ChannelHandle ┼─ Running::snapshot ─► Snapshot ─► GET /status (JSON) ─► `aqueduct status`
//!   GroupHandle ──┘      judged            (serde)      `aqueduct top`, the live page
//! ```
//!
//! Field names are stable, in snake case, and end with their unit. Points in time are given as
//! seconds before [`Snapshot::taken_at_unix_seconds`] (`…_seconds_ago`) or after it
//! (`…_in_seconds`), so that no two clocks have to agree. Rates are those of the last ten seconds.
//! What is not known is `null`.
//!
//! A snapshot is not atomic: sources, channels and groups are read one after the other while events
//! move.

mod conservation;
mod flow;
mod gather;
mod held;
mod outlook;
mod reload;
#[cfg(test)]
mod sample;
mod security;
mod shown;
mod trouble;
pub mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::bulletin::NoticeStatus;
pub use conservation::Conservation;
pub(crate) use conservation::{Passage, SourceFlow};
pub use flow::{Flow, Way, WayState};
pub(crate) use gather::{Sources, gather};
pub use held::{DrainState, DrainStatus, HeldStatus, PartsStatus};
pub use peers::tenants::{LimitedStatus, TenantStatus};
pub use reload::{LeftBehind, PartChange, ReloadResult, ReloadStatus};
pub use security::{CertificateStatus, Expiry, PlainTextStatus, RefusedStatus};
pub use shown::{SeenEvent, ShownEvent, TapMessage};
pub use support::meter::Throughput;
pub(crate) use support::meter::{Meter, Volume};
pub(crate) use trouble::EVERY_SOURCE_HELD;
pub use trouble::{AgentStatus, Cause, Level, Trouble, Verdict};

/// What an agent is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Name of the agent.
    pub agent: String,
    /// Version of the program.
    pub version: String,
    /// When the snapshot was taken, in seconds since 1970.
    pub taken_at_unix_seconds: f64,
    /// Time since the agent has started.
    pub uptime_seconds: f64,
    /// Whether the agent does its work: what `/readyz` says.
    pub ready: bool,
    /// Why it does not.
    pub reasons: Vec<String>,
    /// What does not work, though the agent is ready.
    pub remarks: Vec<String>,
    /// All is well, or what is worst.
    #[serde(default)]
    pub verdict: Verdict,
    /// What is wrong, the worst first.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
    /// Where events enter.
    pub sources: Vec<SourceStatus>,
    /// What holds events.
    pub channels: Vec<ChannelStatus>,
    /// Where events leave.
    pub groups: Vec<GroupStatus>,
    /// The ways between them.
    #[serde(default)]
    pub flow: Flow,
    /// Events that can never be delivered.
    pub dead_letters: DeadLetterStatus,
    /// What became of the events since the agent has started.
    pub conservation: Conservation,
    /// Peers that listeners refuse now, by TLS or by a token.
    #[serde(default)]
    pub refused: Vec<RefusedStatus>,
    /// Certificates that this agent shows.
    #[serde(default)]
    pub certificates: Vec<CertificateStatus>,
    /// Addresses that plain text leaves this host by, as `insecure = true` allows.
    #[serde(default)]
    pub plain_text: Vec<PlainTextStatus>,
    /// Sources and groups that an operator has stopped.
    #[serde(default)]
    pub held: Vec<HeldStatus>,
    /// The last drain; `null` before the first one.
    #[serde(default)]
    pub drain: Option<DrainStatus>,
    /// What the last reload did; `null` before the first one.
    pub last_reload: Option<ReloadStatus>,
    /// The latest failures of sources and sinks, the newest first; at most 50.
    #[serde(default)]
    pub bulletin: Vec<NoticeStatus>,
}

/// What a source or a sink is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum State {
    /// It has not been open yet.
    Starting,
    /// It works.
    Running,
    /// It works, and cannot go on before something else happens.
    Waiting {
        /// What it waits for.
        waits_for: String,
        /// Since when.
        since_seconds_ago: f64,
    },
    /// It does not work, and is tried again.
    Failing {
        /// The first failure after it had worked.
        since_seconds_ago: f64,
        /// The last failure.
        last_error: String,
        /// When it is tried next; `null` while it is being tried.
        retry_in_seconds: Option<f64>,
        /// The cause does not pass by itself: an operator has to act.
        #[serde(default)]
        needs_operator: bool,
    },
    /// A place for a discovered sink without an address.
    Absent,
    /// It has ended: it was stopped, or has no more to do.
    Stopped,
    /// An operator has stopped it; it stays so until it is started by name.
    Held {
        /// When it was stopped.
        since_seconds_ago: f64,
        /// At whose word.
        by: String,
    },
}

/// A source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// What it promises: `exactly_once`, `at_least_once` or `best_effort`.
    pub guarantee: String,
    /// Digest of its configuration, with interceptors, selector and channels.
    pub config_digest: String,
    /// Time since it was started. A reload starts again what has changed; counts begin anew then.
    pub started_seconds_ago: f64,
    /// What it is doing.
    pub state: State,
    /// Channels that must store each batch.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Channels that store a batch if they have room.
    #[serde(default)]
    pub optional_channels: Vec<String>,
    /// Agents that send to it now, if it takes batches from agents: at most 100 of them, the
    /// longest connected first.
    #[serde(default)]
    pub senders: Vec<SenderStatus>,
    /// All of them.
    #[serde(default)]
    pub senders_total: u64,
    /// What shares it, if it has tenants: at most 100 of them, the ones that give most first.
    #[serde(default)]
    pub tenants: Vec<TenantStatus>,
    /// All of them.
    #[serde(default)]
    pub tenants_total: u64,
    /// What its channels have accepted.
    pub accepted: Throughput,
    /// Batches that its channels have accepted.
    pub accepted_batches: u64,
    /// Batches that some required channel has not stored, each try counted.
    pub failed_batches: u64,
    /// Their events.
    pub failed_events: u64,
    /// Events that entered and are in no channel, by reason.
    pub dropped_events: BTreeMap<String, u64>,
    /// The files that it follows, if it follows files.
    #[serde(default)]
    pub files: Option<FilesStatus>,
}

/// The files that a source follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesStatus {
    /// Files that it follows.
    pub followed: u64,
    /// Bytes in them that are not in the channels yet.
    pub unread_bytes: u64,
    /// Files and directories that it cannot read.
    pub unreadable: u64,
    /// What is wrong: a pattern that matches nothing, or files that it cannot read.
    pub problem: Option<String>,
}

/// An agent that sends to a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SenderStatus {
    /// What it calls itself.
    pub agent: String,
    /// Its address.
    pub peer: String,
    /// The name that it has proved, if it has shown anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proved: Option<ProvedName>,
    /// Since when it is connected.
    pub connected_seconds_ago: f64,
}

/// A name that something proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvedName {
    /// The name.
    pub name: String,
    /// What proves it: `certificate` or `token`.
    pub by: String,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// What it promises: `exactly_once`, `at_least_once` or `best_effort`.
    pub guarantee: String,
    /// Digest of its configuration.
    pub config_digest: String,
    /// Time since it was opened.
    pub started_seconds_ago: f64,
    /// Groups that take from it.
    pub consumers: Vec<String>,
    /// Events that some group has not delivered.
    pub depth_events: u64,
    /// Bytes that it occupies. Delivered events occupy space until their segment is deleted.
    pub depth_bytes: u64,
    /// Bytes at which its intake stops.
    pub capacity_bytes: u64,
    /// Occupied part of the capacity, from 0 to 1.
    pub fill_ratio: f64,
    /// Events that are with a sink or stored at the next hop, and not committed.
    pub in_flight_events: u64,
    /// Age of the oldest event that some group has not delivered.
    pub oldest_event_seconds: Option<f64>,
    /// Whether it accepts no events now, because it or its disk is full.
    pub intake_stopped: bool,
    /// Since when puts have been waiting for room; `null` while none waits.
    pub waiting_since_seconds_ago: Option<f64>,
    /// What was put into it.
    pub stored: Throughput,
    /// Events of puts that failed, each try counted.
    pub failed_events: u64,
    /// Time until it is full at the present rates; `null` if it is full, does not fill, or would
    /// take over a day to fill.
    pub until_full_seconds: Option<f64>,
    /// Time until it is empty at the present rates; `null` if it does not drain, or would take over
    /// a day to drain.
    pub until_empty_seconds: Option<f64>,
    /// Events that it has dropped, by reason.
    pub dropped_events: BTreeMap<String, u64>,
    /// Events that were sent again after it had stored them: it has recognized and not stored them.
    #[serde(default)]
    pub resent_events: u64,
}

/// A group of sinks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The channel that it takes from.
    pub channel: String,
    /// Type of its processor.
    pub processor: String,
    /// Digest of its configuration, with processor and sinks.
    pub config_digest: String,
    /// Time since it was started.
    pub started_seconds_ago: f64,
    /// What it is doing.
    pub state: State,
    /// What has left the channel because a sink has delivered it.
    pub delivered: Throughput,
    /// Events that have left the channel for the dead letters.
    pub dead_letter_events: u64,
    /// Batches that were sent and have not left the channel.
    pub in_flight_batches: u64,
    /// Their events.
    pub in_flight_events: u64,
    /// Its sinks; one that is discovered has a member for each address.
    pub members: Vec<MemberStatus>,
}

/// A sink of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its name in the configuration; a number is added to that of a discovered sink.
    pub sink: String,
    /// Its type.
    pub kind: String,
    /// What it promises: `exactly_once`, `at_least_once` or `best_effort`.
    pub guarantee: String,
    /// What it is doing.
    pub state: State,
    /// Time until the processor uses it again after a failure; `null` if it is not passed over.
    pub penalty_seconds: Option<f64>,
    /// Batches that it has and that are not stored anywhere else.
    pub in_hand_batches: u64,
    /// Bytes that it has taken over and not stored anywhere.
    pub unacknowledged_bytes: u64,
    /// Events that it has delivered.
    pub delivered_events: u64,
    /// Batches of which it has delivered events.
    pub delivered_batches: u64,
    /// Events that it has refused for good, those refused again included.
    pub refused_events: u64,
    /// When something last left the channel because it had delivered it.
    pub last_delivery_seconds_ago: Option<f64>,
    /// Files that it is writing, if it writes files.
    pub open_files: Option<u64>,
    /// What its last commit in the store made visible.
    pub last_commit: Option<String>,
    /// Address that it sends to.
    pub peer: Option<String>,
    /// What does not work although events are delivered.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Why the agent that it sends to cannot store events, as that agent reports.
    #[serde(default)]
    pub unable: Option<UnableStatus>,
    /// Time from handing a batch to it until the next hop has stored it.
    #[serde(default)]
    pub stored_after: Option<LatencyStatus>,
    /// Time from handing a batch to it until the batch has left the channel.
    #[serde(default)]
    pub committed_after: Option<LatencyStatus>,
}

/// A downstream agent that cannot store events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnableStatus {
    /// When that began.
    pub since_seconds_ago: f64,
    /// Why.
    pub cause: String,
    /// The agent that has the problem.
    pub agent: AgentStatus,
}

/// How long a stage takes, since the agent has started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyStatus {
    /// Half of the batches took less.
    pub p50_seconds: f64,
    /// 99 of 100 batches took less.
    pub p99_seconds: f64,
    /// Upper end of each bucket in seconds; the last one has none.
    pub bucket_seconds: Vec<f64>,
    /// Batches in each bucket, one more than there are ends.
    pub bucket_batches: Vec<u64>,
}

/// The dead letters of an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeadLetterStatus {
    /// Batches of which events are among the dead letters now.
    pub batches: u64,
    /// Events that are among them now.
    pub events: u64,
    /// Events that became dead letters since the agent has started, by channel and group, as
    /// `channel/group`.
    pub added_events: BTreeMap<String, u64>,
    /// Time since events that became dead letters at the next agents have left this one; `null` if
    /// none has since the start.
    #[serde(default)]
    pub downstream_last_seconds_ago: Option<f64>,
}
