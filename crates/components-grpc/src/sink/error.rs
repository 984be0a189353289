//! What can go wrong on the way to the next agent, and what each failure says about the batch.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Classify, ErrorClass};

/// Why a batch did not get to the next agent, or a connection did not last.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// No connection was made.
    #[error("cannot connect to {address}: {}", innermost(cause))]
    Connect {
        /// The next agent.
        address: String,
        /// What the transport said.
        cause: tonic::transport::Error,
    },
    /// The token to show cannot be read.
    #[error("no token can be shown to {address}")]
    Token {
        /// The next agent.
        address: String,
        /// What is wrong with its file.
        #[source]
        source: tls::SecretFileError,
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
    #[error("the stream to {address} broke: {}", said(status))]
    Broken {
        /// The next agent.
        address: String,
        /// What the transport or the next agent said.
        status: Box<tonic::Status>,
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
    #[error("{address} has no room for more events; it asks to retry in {retry_after:?}")]
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

/// The first cause of an error, which the ones above it only introduce.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

/// What the end of a stream means, for people.
fn said(status: &tonic::Status) -> String {
    let Some(source) = status.source() else {
        let (code, message) = (status.code(), status.message());
        return match message {
            "" => code.to_string(),
            message => format!("{message} ({code})"),
        };
    };
    let cause = innermost(source);
    if tls::is_explained(&cause) {
        return cause;
    }
    // Also what listens there and speaks something else ends a connection in one of these ways.
    format!(
        "{cause}; if this does not pass: is it the port that a collector listens on? Does it speak \
         TLS (`tls`), and want a certificate (`tls.certificate`)?"
    )
}

impl Classify for GrpcError {
    fn retry_after(&self) -> Option<Duration> {
        if let Self::Full { retry_after, .. } = self { Some(*retry_after) } else { None }
    }

    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. }
            | Self::Token { .. }
            | Self::NoWelcome { .. }
            | Self::Ended { .. }
            | Self::Broken { .. }
            | Self::Protocol { .. }
            | Self::Down { .. }
            | Self::Full { .. }
            | Self::Draining { .. }
            | Self::Unreadable { .. } => ErrorClass::Transient,
            Self::NoAnswer { .. } => ErrorClass::Indeterminate,
            Self::OtherRouting { .. } | Self::NoIdentity { .. } => ErrorClass::Blocked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_transport_says_is_its_cause_in_words() {
        let broken = |status| {
            let status = Box::new(status);
            GrpcError::Broken { address: "a:1".into(), status }.to_string()
        };
        let pipe = std::io::Error::new(std::io::ErrorKind::BrokenPipe, "stream closed");
        let text = broken(tonic::Status::from_error(Box::new(pipe)));
        assert_eq!(
            text,
            "the stream to a:1 broke: stream closed; if this does not pass: is it the port that a \
             collector listens on? Does it speak TLS (`tls`), and want a certificate \
             (`tls.certificate`)?"
        );
        let text = broken(tonic::Status::resource_exhausted("too many connections"));
        assert!(text.starts_with("the stream to a:1 broke: too many connections ("), "{text}");
        assert!(!text.contains("collector listens on"), "a collector has answered: {text}");
    }
}
