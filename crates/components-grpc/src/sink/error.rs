//! Errors of the connection to the downstream agent, and their meaning for a batch.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Classify, ErrorClass};

/// Reason why a batch did not reach the downstream agent, or why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// The connection failed.
    #[error(
        "cannot connect to {address}: {}; check that a collector is running there and reachable \
         from this host",
        innermost(cause)
    )]
    Connect {
        /// Address of the downstream agent.
        address: String,
        /// Error of the transport.
        cause: tonic::transport::Error,
    },
    /// The token cannot be read.
    #[error(
        "cannot read the token file for {address}; check its permissions; batches wait; retrying"
    )]
    Token {
        /// Address of the downstream agent.
        address: String,
        /// Error of its file.
        #[source]
        source: tls::SecretFileError,
    },
    /// The connection or the downstream agent's Welcome took too long.
    #[error(
        "{address} did not complete the handshake within {timeout:?}; check the network, and that \
         an Aqueduct agent listens there"
    )]
    NoWelcome {
        /// Address of the downstream agent.
        address: String,
        /// The time limit.
        timeout: Duration,
    },
    /// The stream ended.
    #[error(
        "{address} closed the connection; reconnecting; no event is lost. If this repeats, see the \
         log of that agent"
    )]
    Ended {
        /// Address of the downstream agent.
        address: String,
    },
    /// The stream broke.
    #[error("lost the connection to {address}: {}; reconnecting; no event is lost", said(status))]
    Broken {
        /// Address of the downstream agent.
        address: String,
        /// Status from the transport or the downstream agent.
        status: Box<tonic::Status>,
    },
    /// The downstream agent violates the protocol.
    #[error("{address} violates the protocol; check the version of that agent")]
    Protocol {
        /// Address of the downstream agent.
        address: String,
        /// The violation.
        #[source]
        source: wire::Malformed,
    },
    /// There is no connection now.
    #[error("no connection to {address}; reconnecting; the log has the cause of the last attempt")]
    Down {
        /// Address of the downstream agent.
        address: String,
        /// Reason why the last connection ended or failed.
        #[source]
        source: Option<Arc<GrpcError>>,
    },
    /// The batch was sent and not answered. The downstream agent may have it or not.
    #[error(
        "no response from {address} to a batch, which may be stored there; resending it, which \
         stores nothing twice; if this repeats, check that agent and the network"
    )]
    NoAnswer {
        /// Address of the downstream agent.
        address: String,
        /// Reason why the connection ended; `None` while it is open.
        #[source]
        source: Option<Arc<GrpcError>>,
    },
    /// The downstream agent has no room now.
    #[error(
        "{address} is full and accepts no events now; retrying in {retry_after:?}; no event is \
         lost; if this lasts, check the sinks of that agent"
    )]
    Full {
        /// Address of the downstream agent.
        address: String,
        /// When to retry.
        retry_after: Duration,
    },
    /// The downstream agent is stopping.
    #[error("{address} is stopping and accepts no batches; retrying; no action needed")]
    Draining {
        /// Address of the downstream agent.
        address: String,
    },
    /// The downstream agent could not read the message.
    #[error(
        "a batch was damaged on the way to {address}; resending it; no event is lost; if this \
         repeats, check the memory and network hardware of both hosts"
    )]
    Unreadable {
        /// Address of the downstream agent.
        address: String,
    },
    /// The downstream agent routes events to other datasets than its group.
    #[error(
        "{address} gets no batches, because it routes events differently from {other}: {own} \
         instead of {theirs}; use the same selectors, interceptors, sink names and directories on \
         both (compare the output of `aqueduct check FILE` on both hosts)"
    )]
    OtherRouting {
        /// Address of the downstream agent.
        address: String,
        /// Another member of the group, which routes like the majority.
        other: String,
        /// Routing of the downstream agent.
        own: String,
        /// Routing of the other member.
        theirs: String,
    },
    /// The batch has no identity, because no channel assigned one: a retry could duplicate it.
    #[error(
        "a batch for {address} is not sent, because its channel gave it no identity and a retry \
         could duplicate it; remove `dedupe = false` from the channel"
    )]
    NoIdentity {
        /// Address of the downstream agent.
        address: String,
    },
}

/// Returns the root cause of an error, without the outer layers.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

/// Explains the end of a stream.
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
    // A server of another protocol also ends a connection in one of these ways.
    format!(
        "{cause}; if this continues, check that a collector listens on this port, and whether it \
         requires TLS (`tls`) and a certificate (`tls.certificate`)"
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
    fn explains_the_cause_of_a_transport_error() {
        let broken = |status| {
            let status = Box::new(status);
            GrpcError::Broken { address: "a:1".into(), status }.to_string()
        };
        let pipe = std::io::Error::new(std::io::ErrorKind::BrokenPipe, "stream closed");
        let text = broken(tonic::Status::from_error(Box::new(pipe)));
        assert_eq!(
            text,
            "lost the connection to a:1: stream closed; if this continues, check that a collector \
             listens on this port, and whether it requires TLS (`tls`) and a certificate \
             (`tls.certificate`); reconnecting; no event is lost"
        );
        let text = broken(tonic::Status::resource_exhausted("too many connections"));
        assert!(text.starts_with("lost the connection to a:1: too many connections ("), "{text}");
        assert!(!text.contains("collector listens on"), "a collector has answered: {text}");
    }
}
