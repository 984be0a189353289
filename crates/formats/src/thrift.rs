//! Apache Thrift as Flume speaks it: messages in frames, in two encodings, and the service
//! `ThriftSourceProtocol`. Pure: bytes in, bytes out.
//!
//! ```text
//!   frame    u32 length (big-endian), then a message
//!   message  name, kind, sequence number, then a struct: the arguments or the result
//!
//!   struct ThriftFlumeEvent { 1: map<string, string> headers, 2: binary body }
//!   Status append(1: ThriftFlumeEvent event)
//!   Status appendBatch(1: list<ThriftFlumeEvent> events)
//! ```
//!
//! Written here and not taken from the crate `thrift`: that one reads from blocking streams, needs
//! a thread for each connection, and takes memory for what a size announces before the bytes are
//! there.
//!
//! # Limits
//!
//! A size is checked against the bytes that are left before anything is done by it, every element
//! takes at least one byte, and what is skipped is nested at most `DEPTH_MAX` deep: a call costs
//! time and memory in proportion to its bytes.

mod calls;
mod extent;
pub mod read;
pub mod write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use calls::{Answer, Events, answer, exception, head, read_events, status};
pub use extent::Extent;

/// How messages are encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// `TCompactProtocol`, Flume's default.
    #[default]
    Compact,
    /// `TBinaryProtocol`.
    Binary,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call that waits for its answer.
    Call,
    /// The answer, with a result.
    Reply,
    /// The answer, with an error.
    Exception,
    /// A call without an answer.
    Oneway,
}

/// The beginning of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Name of the method.
    pub name: String,
    /// What the message is.
    pub kind: Kind,
    /// Number that the answer repeats.
    pub sequence: i32,
}

/// The methods of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// One event.
    Append,
    /// Any number of events.
    AppendBatch,
}

impl Method {
    /// The method of this name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Append, Self::AppendBatch].into_iter().find(|method| method.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::AppendBatch => "appendBatch",
        }
    }
}

/// What a source answers about the events of a call. For Flume's clients all but `Ok` are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// They are stored.
    Ok,
    /// They are not stored.
    Failed,
    /// They cannot be stored.
    Error,
    /// They are stored or not.
    Unknown,
}

impl Status {
    const ALL: [Self; 4] = [Self::Ok, Self::Failed, Self::Error, Self::Unknown];

    /// The status of this number.
    pub fn of(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.number() == number)
    }

    /// Its number.
    pub fn number(self) -> i32 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Error => 2,
            Self::Unknown => 3,
        }
    }
}

/// What is wrong with a call, by the numbers of Thrift's `TApplicationException`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no such method.
    UnknownMethod = 1,
    /// The message is no call.
    InvalidMessageType = 2,
    /// The arguments cannot be read.
    ProtocolError = 7,
}

/// Why bytes are not a message, or a message does not say what it has to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Malformed {
    /// It ends within a value, or a size is over what is left.
    #[error("the message ends within a value")]
    Short,
    /// Bytes follow the message.
    #[error("{bytes} bytes follow the message")]
    Long {
        /// How many.
        bytes: usize,
    },
    /// It is in another encoding, or in none.
    #[error("the message begins with the byte {first:#04x}, as none of {expected} does{hint}")]
    Encoding {
        /// Its first byte.
        first: u8,
        /// The encoding that was expected.
        expected: &'static str,
        /// What helps, where that is known.
        hint: &'static str,
    },
    /// A number, a size or a kind that does not exist.
    #[error("{value} is no valid {what}")]
    Invalid {
        /// What it should be.
        what: &'static str,
        /// What it is.
        value: i64,
    },
    /// What is skipped is nested too deep.
    #[error("values are nested more than {max} deep")]
    Deep {
        /// The limit.
        max: u32,
    },
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A required field is missing, there twice, or of another type.
    #[error("the field `{field}` is missing, there twice, or of another type")]
    Field {
        /// Its name.
        field: &'static str,
    },
    /// Headers that a batch cannot have.
    #[error("{0}")]
    Headers(String),
    /// The answer to another call.
    #[error("the answer belongs to another call")]
    OtherCall,
}

#[cfg(test)]
mod tests;
