//! The state of a running agent, as one document: [`Snapshot`].
//!
//! ```text
//!   SourceHandle ─┐
//!   ChannelHandle ┼─ Running::snapshot ─► Snapshot ─► GET /status (JSON) ─► `aqueduct status`
//!   GroupHandle ──┘      judged            (serde)      `aqueduct top`, the live page
//! ```
//!
//! Field names are stable, in snake case, and end with their unit. Points in time are seconds
//! before [`Snapshot::taken_at_unix_seconds`] (`…_seconds_ago`) or after it (`…_in_seconds`), so
//! that no two clocks have to agree. Rates cover the last ten seconds. Unknown values are `null`.
//!
//! A snapshot is not atomic: sources, channels and groups are read one after the other while events
//! move.

mod changes;
mod conservation;
mod finding;
mod flow;
mod gather;
mod held;
mod outlook;
mod reload;
#[cfg(test)]
mod sample;
mod security;
mod shown;
mod waits;
pub mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::recent_failures::NoticeStatus;
pub use changes::ChangeBoard;
pub use conservation::Conservation;
pub use conservation::{BatchFlow, PassedEvents, SourceFlow};
pub use finding::EVERY_SOURCE_HELD;
pub use finding::{AgentStatus, Cause, Finding, Level, Verdict};
pub use flow::{Flow, Way, WayState};
pub use gather::{Sources, gather};
pub use held::{DrainState, DrainStatus, HeldStatus, PartsStatus};
pub use peers::tenants::{LimitedStatus, TenantStatus};
pub use reload::{LeftBehind, PartChange, ReloadResult, ReloadStatus};
pub use security::{AGENT, CertificateStatus, Expiry, PlainTextStatus, RefusedStatus};
pub use shown::{SeenEvent, ShownEvent, TapMessage};
pub use support::meter::Throughput;
pub use waits::{IncompleteStatus, UnableStatus};

/// The state of an agent.
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
    /// True if the agent is ready, as in `/readyz`.
    pub ready: bool,
    /// Why it does not.
    pub reasons: Vec<String>,
    /// Problems of an agent that is ready.
    pub remarks: Vec<String>,
    /// The worst level of all findings.
    #[serde(default)]
    pub verdict: Verdict,
    /// The findings, worst first.
    #[serde(default)]
    pub troubles: Vec<Finding>,
    /// Sources.
    pub sources: Vec<SourceStatus>,
    /// Channels.
    pub channels: Vec<ChannelStatus>,
    /// Groups.
    pub groups: Vec<GroupStatus>,
    /// The ways between them.
    #[serde(default)]
    pub flow: Flow,
    /// Events that can never be delivered.
    pub dead_letters: DeadLetterStatus,
    /// The balance of events since the agent started.
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
    /// The result of the last reload; `null` before the first one.
    pub last_reload: Option<ReloadStatus>,
    /// The latest failures of sources and sinks, the newest first; at most 50.
    #[serde(default)]
    pub bulletin: Vec<NoticeStatus>,
}

/// The state of a source or a sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum State {
    /// It has not been open yet.
    Starting,
    /// It works.
    Running,
    /// It works, and has to wait for something.
    Waiting {
        /// The condition that it waits for.
        waits_for: String,
        /// Since when.
        since_seconds_ago: f64,
    },
    /// It does not work, and is retried.
    Failing {
        /// The first failure after it had worked.
        since_seconds_ago: f64,
        /// The last failure.
        last_error: String,
        /// Time until the next attempt; `null` during an attempt.
        retry_in_seconds: Option<f64>,
        /// The cause does not disappear automatically: an operator has to act.
        #[serde(default)]
        needs_operator: bool,
    },
    /// A place for a discovered sink without an address.
    Absent,
    /// It has ended: it was stopped, or has nothing more to do.
    Stopped,
    /// An operator has stopped it; it stays stopped until it is started by name.
    Held {
        /// When it was stopped.
        since_seconds_ago: f64,
        /// The operator.
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
    /// Its guarantee: `exactly_once`, `at_least_once` or `best_effort`.
    pub guarantee: String,
    /// Digest of its configuration, with interceptors, selector and channels.
    pub config_digest: String,
    /// Time since it was started. A reload restarts changed parts, which resets their counts.
    pub started_seconds_ago: f64,
    /// Its state.
    pub state: State,
    /// Channels that must store each batch.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Channels that store a batch if they have room.
    #[serde(default)]
    pub optional_channels: Vec<String>,
    /// Agents that send to it now, if it accepts batches from agents: at most 100 of them, the
    /// longest connected first.
    #[serde(default)]
    pub senders: Vec<SenderStatus>,
    /// All of them.
    #[serde(default)]
    pub senders_total: u64,
    /// The incarnation that it announces to them, in hexadecimal: random for each start.
    #[serde(default)]
    pub incarnation: Option<String>,
    /// Tenants that share it: at most 100 of them, the most active first.
    #[serde(default)]
    pub tenants: Vec<TenantStatus>,
    /// All of them.
    #[serde(default)]
    pub tenants_total: u64,
    /// Events that its channels have accepted.
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
    /// The problem: a pattern without matches, or unreadable files.
    pub problem: Option<String>,
}

/// An agent that sends to a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SenderStatus {
    /// The name that it reports.
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
    /// The proof of its name: `certificate` or `token`.
    pub by: String,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its guarantee: `exactly_once`, `at_least_once` or `best_effort`.
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
    /// True if it accepts no events now, because it or its disk is full.
    pub intake_stopped: bool,
    /// Since when puts have been waiting for room; `null` while none waits.
    pub waiting_since_seconds_ago: Option<f64>,
    /// Events that were put into it.
    pub stored: Throughput,
    /// Events of puts that failed, each try counted.
    pub failed_events: u64,
    /// Time until it is full at the present rates; `null` if it is full, does not fill, or needs
    /// more than a day.
    pub until_full_seconds: Option<f64>,
    /// Time until it is empty at the present rates; `null` if it does not drain, or needs more than
    /// a day.
    pub until_empty_seconds: Option<f64>,
    /// Events that it has dropped, by reason.
    pub dropped_events: BTreeMap<String, u64>,
    /// Events that were resent after it had stored them: it has recognised and not stored them.
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
    /// Its state.
    pub state: State,
    /// Events that have left the channel because a sink has delivered them.
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
    /// Its name in the configuration; a discovered sink has a number after it.
    pub sink: String,
    /// Its type.
    pub kind: String,
    /// Its guarantee: `exactly_once`, `at_least_once` or `best_effort`.
    pub guarantee: String,
    /// Its state.
    pub state: State,
    /// Time until the processor uses it again after a failure; `null` if it is not skipped.
    pub penalty_seconds: Option<f64>,
    /// Batches that it has and that are not stored anywhere else.
    pub in_hand_batches: u64,
    /// Bytes that it has taken over and not stored anywhere.
    pub unacknowledged_bytes: u64,
    /// Events that it has delivered.
    pub delivered_events: u64,
    /// Batches with delivered events.
    pub delivered_batches: u64,
    /// Events that it has rejected permanently, including repeated rejections.
    pub refused_events: u64,
    /// When something last left the channel because it had delivered it.
    pub last_delivery_seconds_ago: Option<f64>,
    /// Files that it is writing, if it writes files.
    pub open_files: Option<u64>,
    /// The data that its last commit in the store made visible.
    pub last_commit: Option<String>,
    /// Address that it sends to.
    pub peer: Option<String>,
    /// The last incarnation that the source at that address has announced, if it is an agent.
    #[serde(default)]
    pub peer_incarnation: Option<String>,
    /// A problem that does not prevent delivery.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Its oldest incomplete directory.
    #[serde(default)]
    pub incomplete: Option<IncompleteStatus>,
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

/// The latency of a stage since the agent started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyStatus {
    /// Half of the batches took less.
    pub p50_seconds: f64,
    /// 99 of 100 batches took less.
    pub p99_seconds: f64,
    /// Upper end of each bucket in seconds, except the last one.
    pub bucket_seconds: Vec<f64>,
    /// Batches in each bucket, one more than there are ends.
    pub bucket_batches: Vec<u64>,
}

/// The dead letters of an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeadLetterStatus {
    /// Batches with events among the dead letters now.
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
