//! What a broker's refusal means, and what helps. Codes are those of AMQP 0.9.1.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Classify, ErrorClass};
use thiserror::Error;

/// Why a connection cannot be made, or has ended.
#[derive(Debug, Error)]
pub(crate) enum RabbitError {
    /// There is no connection.
    #[error("cannot connect to {address}")]
    Connect {
        address: Arc<str>,
        #[source]
        source: io::Error,
    },
    /// The broker did not answer in time.
    #[error("{address} has not answered within {limit:?}")]
    NoAnswer { address: Arc<str>, limit: Duration },
    /// The broker does not want this client.
    #[error("{address} refuses the login: {problem}; look at `broker.user` and `broker.password`")]
    Login { address: Arc<str>, problem: String },
    /// The broker works and does not do what it is asked for.
    #[error("{address} {problem}")]
    NotGranted { address: Arc<str>, problem: String },
    /// The connection or the channel has ended.
    #[error("the connection to {address} has ended: {problem}")]
    Ended { address: Arc<str>, problem: String },
    /// The broker does not take a message now.
    #[error("{address} does not take a message now: {problem}")]
    NotTaken { address: Arc<str>, problem: String },
    /// A message of which no event can be made stays in its queue.
    #[error(
        "a message of `{queue}` can be no event: {problem}; the queue is not read on. Take the \
         message out of it, or set `unusable = \"reject\"`, which has the broker move such \
         messages to the dead letter exchange of the queue"
    )]
    Unusable { queue: String, problem: String },
}

impl Classify for RabbitError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. } | Self::NoAnswer { .. } => ErrorClass::Transient,
            Self::Login { .. } | Self::NotGranted { .. } | Self::Unusable { .. } => {
                ErrorClass::Blocked
            }
            // What was sent may have been taken.
            Self::Ended { .. } | Self::NotTaken { .. } => ErrorClass::Indeterminate,
        }
    }
}

/// The error of a connection or channel that the broker has closed with this code and text, while
/// it was asked for `what`.
pub(crate) fn closed(address: &Arc<str>, what: &str, code: u16, text: &str) -> RabbitError {
    let address = address.clone();
    let remedy = match code {
        // An acknowledgement that took longer than the broker waits: messages come again.
        406 if text.contains("timed out") => None,
        406 if text.contains("larger than") => {
            Some("lower `message_max` of the sink to what the broker takes")
        }
        403 => Some("look at the permissions of `broker.user` in the virtual host"),
        404 => Some("declare it at the broker, or look at its name"),
        405 => Some("another connection has it for itself: end that, or take another name"),
        406 => Some("it is there with other properties: make the settings the same, or delete it"),
        530 => Some("look at `broker.virtual_host`, and at the rights of the user there"),
        540 => Some("the broker does not have that"),
        _ => None,
    };
    match remedy {
        Some(remedy) => RabbitError::NotGranted {
            address,
            problem: format!("refuses {what}: {text}; {remedy}"),
        },
        None => RabbitError::Ended { address, problem: format!("{what}: {code} {text}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_helps_and_what_passes_is_tried_again() {
        let address: Arc<str> = "b:5672".into();
        for (code, text, class, remedy) in [
            (403, "ACCESS_REFUSED - access to queue", ErrorClass::Blocked, "permissions"),
            (404, "NOT_FOUND - no queue 'q'", ErrorClass::Blocked, "declare it"),
            (405, "RESOURCE_LOCKED - exclusive", ErrorClass::Blocked, "another connection"),
            (406, "PRECONDITION_FAILED - inequivalent arg", ErrorClass::Blocked, "the same"),
            (
                406,
                "PRECONDITION_FAILED - message size 9 is larger than configured max size 8",
                ErrorClass::Blocked,
                "`message_max`",
            ),
            (
                406,
                "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out",
                ErrorClass::Indeterminate,
                "timed out",
            ),
            (530, "NOT_ALLOWED - vhost v not found", ErrorClass::Blocked, "virtual_host"),
            (320, "CONNECTION_FORCED - shutdown", ErrorClass::Indeterminate, "shutdown"),
            (541, "INTERNAL_ERROR", ErrorClass::Indeterminate, "INTERNAL"),
        ] {
            let error = closed(&address, "queue `q`", code, text);
            assert_eq!(error.class(), class, "{error}");
            let said = error.to_string();
            assert!(said.contains(remedy) && said.contains("b:5672"), "{said}");
        }
    }
}
