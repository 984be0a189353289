//! Errors of channels.

use thiserror::Error;

use crate::error::{Classify, ErrorClass};

/// An error of a channel.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The channel is closed or closing.
    #[error(
        "channel `{channel}` is closed, and accepts and delivers no events until a restart; if the \
         agent is not stopping, an earlier log line of the channel gives the reason"
    )]
    Closed {
        /// Name of the channel.
        channel: String,
    },
    /// There was no room within the time limit; nothing of the put was stored.
    #[error("channel `{channel}` is full; retry later, when its sinks have delivered events")]
    Full {
        /// Name of the channel.
        channel: String,
    },
    /// The put is larger than the channel's whole capacity.
    #[error(
        "a batch of {size_bytes} bytes cannot be stored: it exceeds the capacity of channel \
         `{channel}`, {capacity_bytes} bytes; raise `capacity`"
    )]
    TooLarge {
        /// Name of the channel.
        channel: String,
        /// Bytes of the put.
        size_bytes: u64,
        /// The channel's capacity in bytes.
        capacity_bytes: u64,
    },
    /// The disk refused; nothing of the put was stored.
    #[error("channel `{channel}` cannot read or write its files; check the disk")]
    Disk {
        /// Name of the channel.
        channel: String,
        /// The error of the disk.
        #[source]
        source: std::io::Error,
    },
    /// The channel's storage on other hosts failed; nothing of the put was stored.
    #[error("channel `{channel}` cannot use {place}")]
    Remote {
        /// Name of the channel.
        channel: String,
        /// The storage, such as a topic.
        place: String,
        /// Its error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk has no room to create the channel. Opening it again may succeed later.
    #[error("no disk space to create channel `{channel}` in {directory}: {help}")]
    NoRoom {
        /// Name of the channel.
        channel: String,
        /// Its directory.
        directory: String,
        /// The lacking resource, for log lines: bytes, inodes or quota.
        reason: &'static str,
        /// The remedy.
        help: &'static str,
        /// The error of the disk.
        #[source]
        source: std::io::Error,
    },
    /// A position of the put must come after another one that its key does not have; nothing of the
    /// put was stored.
    #[error(
        "channel `{channel}` has not stored an earlier batch of this source yet; the source stores \
         that one first; no action needed"
    )]
    OutOfTurn {
        /// Name of the channel.
        channel: String,
    },
    /// The channel cannot replay dead letters.
    #[error(
        "this channel type cannot replay dead letters: print them with `aqueduct dlq show DATA_DIR \
         --format json`, and send them to a source again"
    )]
    NoPutBack,
    /// Dead letters are for a consumer that the channel does not have.
    #[error(
        "channel `{channel}` has no sink group `{consumer}`, only {known}; add a group with this \
         name to the configuration, or drop the dead letters"
    )]
    UnknownConsumer {
        /// Name of the channel.
        channel: String,
        /// Name of the group.
        consumer: String,
        /// Names of the groups that it has.
        known: String,
    },
    /// The directory is not one that this program may use.
    #[error("channel `{channel}` cannot open {path}: {problem}")]
    Unusable {
        /// Name of the channel.
        channel: String,
        /// The directory or file.
        path: String,
        /// The problem and the remedy.
        problem: String,
    },
}

impl Classify for ChannelError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Closed { .. }
            | Self::Full { .. }
            | Self::Disk { .. }
            | Self::Remote { .. }
            | Self::NoRoom { .. }
            | Self::OutOfTurn { .. } => ErrorClass::Transient,
            Self::TooLarge { .. } => ErrorClass::Poison,
            Self::NoPutBack | Self::UnknownConsumer { .. } | Self::Unusable { .. } => {
                ErrorClass::Fatal
            }
        }
    }
}
