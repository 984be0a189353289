//! Why a channel did not do what it was asked.

use thiserror::Error;

use crate::error::{Classify, ErrorClass};

/// Why a channel did not do what it was asked.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The channel is closed or closing.
    #[error("channel `{channel}` is closed")]
    Closed {
        /// Name of the channel.
        channel: String,
    },
    /// There was no room in the time that was allowed; nothing of the put was stored.
    #[error("channel `{channel}` is full")]
    Full {
        /// Name of the channel.
        channel: String,
    },
    /// The put is larger than the channel's whole capacity.
    #[error(
        "a put of {size_bytes} bytes can never fit channel `{channel}` of {capacity_bytes} bytes"
    )]
    TooLarge {
        /// Name of the channel.
        channel: String,
        /// Bytes of the put.
        size_bytes: u64,
        /// Bytes that the channel may hold.
        capacity_bytes: u64,
    },
    /// The disk refused; nothing of the put was stored.
    #[error("channel `{channel}` cannot use its disk")]
    Disk {
        /// Name of the channel.
        channel: String,
        /// What the disk said.
        #[source]
        source: std::io::Error,
    },
    /// What holds the channel, on other hosts, did not do what it was asked; nothing of the put was
    /// stored.
    #[error("channel `{channel}` cannot use {place}")]
    Remote {
        /// Name of the channel.
        channel: String,
        /// What holds it, such as a topic.
        place: String,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk has no room to make the channel. Opening it again may succeed later.
    #[error("the disk has no room to make channel `{channel}` in {directory}: {help}")]
    NoRoom {
        /// Name of the channel.
        channel: String,
        /// Its directory.
        directory: String,
        /// What is lacking, for log lines: bytes, inodes or quota.
        reason: &'static str,
        /// What helps.
        help: &'static str,
        /// What the disk said.
        #[source]
        source: std::io::Error,
    },
    /// A position of the put is to come after one that its key does not stand at; nothing of the
    /// put was stored.
    #[error("what has to be stored before it is not in channel `{channel}`")]
    OutOfTurn {
        /// Name of the channel.
        channel: String,
    },
    /// The channel does not take dead letters back.
    #[error(
        "a channel of this type cannot take dead letters back: print them with `aqueduct dlq show \
         --format json` and send them to a source again"
    )]
    NoPutBack,
    /// Dead letters are for a consumer that the channel does not have.
    #[error(
        "channel `{channel}` keeps nothing for the sink group `{consumer}`; it has {known}. Add a \
         group of that name to the configuration, or drop the letters"
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
        /// What is wrong and what helps.
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
