//! What can go wrong on the way to the next agent, and what each failure says about the batch.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Class, Classify};
use thiserror::Error;

/// What is asked where nobody has said welcome.
const HINT: &str = " before it said welcome (is this the `listen` address of a collector?)";

/// The status that a stream ended with, as people read it: its own text is for programmers.
#[derive(Debug)]
pub struct Said(Box<tonic::Status>);

impl From<tonic::Status> for Said {
    fn from(status: tonic::Status) -> Self {
        Self(Box::new(status))
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.message(), self.0.code()) {
            ("", code) => write!(f, "{code}"),
            (message, tonic::Code::Unknown) => f.write_str(message),
            (message, code) => write!(f, "{message} ({code})"),
        }
    }
}

impl std::error::Error for Said {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Why a batch did not get to the next agent, or a connection did not last.
#[derive(Debug, Error)]
pub enum GrpcError {
    /// No connection was made.
    #[error("cannot connect to {address}")]
    Connect {
        /// The next agent.
        address: String,
        /// What the transport said.
        #[source]
        source: tonic::transport::Error,
    },
    /// A connection, or the next agent's welcome on it, took too long.
    #[error("{address} did not say welcome within {timeout:?}")]
    NoWelcome {
        /// The next agent.
        address: String,
        /// How long it had.
        timeout: Duration,
    },
    /// The stream ended.
    #[error("{address} ended the stream")]
    Ended {
        /// The next agent.
        address: String,
    },
    /// The stream broke.
    #[error("the stream to {address} broke{}", if *.welcomed { "" } else { HINT })]
    Broken {
        /// The next agent.
        address: String,
        /// Whether it had said welcome.
        welcomed: bool,
        /// What the transport or the next agent said.
        #[source]
        source: Said,
    },
    /// The next agent does not speak the protocol.
    #[error("{address} does not keep to the protocol")]
    Protocol {
        /// The next agent.
        address: String,
        /// What is wrong.
        #[source]
        source: wire::Malformed,
    },
    /// There is no connection now.
    #[error("no connection to {address}")]
    Down {
        /// The next agent.
        address: String,
        /// Why the last one ended, or was not made.
        #[source]
        source: Option<Arc<GrpcError>>,
    },
    /// It was put and not answered. The next agent may hold it or not.
    #[error("no answer from {address}")]
    NoAnswer {
        /// The next agent.
        address: String,
        /// Why the connection ended; `None` while it stands.
        #[source]
        source: Option<Arc<GrpcError>>,
    },
    /// The next agent has no room now.
    #[error("{address} has no room and asks to come again in {retry_after:?}")]
    Full {
        /// The next agent.
        address: String,
        /// When to come again.
        retry_after: Duration,
    },
    /// The next agent is stopping.
    #[error("{address} is stopping")]
    Draining {
        /// The next agent.
        address: String,
    },
    /// The next agent could not read what arrived.
    #[error("a batch arrived at {address} in a way that it could not read")]
    Unreadable {
        /// The next agent.
        address: String,
    },
    /// The next agent sends events into other datasets than the others of its group do.
    #[error(
        "{address} gets no batch, because it does not route as {other} does: {own}, but there \
         {theirs}; make `aqueduct check` say the same for both: their selectors, what their \
         interceptors write, names and directories of their sinks"
    )]
    OtherRouting {
        /// The next agent.
        address: String,
        /// Another one of the group, which says what the most say.
        other: String,
        /// How the next agent routes.
        own: String,
        /// How the other one does.
        theirs: String,
    },
    /// The batch has passed no channel that gives identities, so that a retry could repeat it.
    #[error("a batch for {address} has no identity")]
    NoIdentity {
        /// The next agent.
        address: String,
    },
}

impl Classify for GrpcError {
    fn retry_after(&self) -> Option<Duration> {
        if let Self::Full { retry_after, .. } = self { Some(*retry_after) } else { None }
    }

    fn class(&self) -> Class {
        match self {
            Self::Connect { .. }
            | Self::NoWelcome { .. }
            | Self::Ended { .. }
            | Self::Broken { .. }
            | Self::Protocol { .. }
            | Self::Down { .. }
            | Self::Full { .. }
            | Self::Draining { .. }
            | Self::Unreadable { .. } => Class::Transient,
            Self::NoAnswer { .. } => Class::Indeterminate,
            Self::OtherRouting { .. } | Self::NoIdentity { .. } => Class::Fatal,
        }
    }
}
