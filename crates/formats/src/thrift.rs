//! Flume's variant of Apache Thrift: framed messages in two encodings, and the service
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
//! This module does not use the crate `thrift`, which reads from blocking streams, needs a thread
//! per connection, and allocates memory by a declared size before the bytes have arrived.
//!
//! # Limits
//!
//! The reader checks each size against the remaining bytes before it uses the size, every element
//! has at least one byte, and skipped values are nested at most `DEPTH_MAX` deep: time and memory
//! are proportional to the bytes of a call.

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

/// Type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call with a reply.
    Call,
    /// A reply with a result.
    Reply,
    /// A reply with an error.
    Exception,
    /// A call without a reply.
    Oneway,
}

/// The beginning of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Name of the method.
    pub name: String,
    /// Type of the message.
    pub kind: Kind,
    /// Number that the reply repeats.
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
    /// Returns the method of this name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Append, Self::AppendBatch].into_iter().find(|method| method.name() == name)
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::AppendBatch => "appendBatch",
        }
    }
}

/// Status of a call's events. Flume's clients distinguish only `Ok` from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The events are stored.
    Ok,
    /// The events are not stored.
    Failed,
    /// The events cannot be stored.
    Error,
    /// The events may be stored or not.
    Unknown,
}

impl Status {
    const ALL: [Self; 4] = [Self::Ok, Self::Failed, Self::Error, Self::Unknown];

    /// Returns the status of this number.
    pub fn of(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.number() == number)
    }

    /// Returns its number.
    pub fn number(self) -> i32 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Error => 2,
            Self::Unknown => 3,
        }
    }
}

/// Error of a call, with the numbers of Thrift's `TApplicationException`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The method does not exist.
    UnknownMethod = 1,
    /// The message is not a call.
    InvalidMessageType = 2,
    /// The arguments are malformed.
    ProtocolError = 7,
}

/// Reason why a message is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Malformed {
    /// It ends within a value, or a size exceeds the rest.
    #[error("the Thrift message is damaged, or has another format: it ends within a value")]
    Short,
    /// Bytes follow the message.
    #[error(
        "{bytes} bytes follow the Thrift message, so it has another format; check the client and \
         `protocol`"
    )]
    Long {
        /// Number of bytes.
        bytes: usize,
    },
    /// It is in another encoding, or not a message.
    #[error(
        "the message starts with the byte {first:#04x}, so it is not {expected}{hint}; check the \
         client and `protocol`"
    )]
    Encoding {
        /// Its first byte.
        first: u8,
        /// The encoding that was expected.
        expected: &'static str,
        /// Advice, if there is any.
        hint: &'static str,
    },
    /// A number, a size or a kind that does not exist.
    #[error("the Thrift message is damaged, or has another format: {value} is not a valid {what}")]
    Invalid {
        /// Its meaning.
        what: &'static str,
        /// Its value.
        value: i64,
    },
    /// A skipped value is nested too deep.
    #[error(
        "the Thrift message has values nested more than {max} deep, which is not supported; \
         correct the client"
    )]
    Deep {
        /// The limit.
        max: u32,
    },
    /// A string is not UTF-8.
    #[error("the Thrift message is damaged, or has another format: a string is not UTF-8")]
    NotUtf8,
    /// A required field is missing, duplicated, or of another type.
    #[error(
        "the Thrift message is damaged, or has another format: its field `{field}` is missing, \
         repeated, or of another type"
    )]
    Field {
        /// Its name.
        field: &'static str,
    },
    /// Headers that a batch cannot have.
    #[error("{0}")]
    Headers(String),
    /// It is the reply to another call.
    #[error(
        "the Thrift response has the sequence number of another request; check the server, or a \
         proxy in between"
    )]
    OtherCall,
}

#[cfg(test)]
mod tests;
