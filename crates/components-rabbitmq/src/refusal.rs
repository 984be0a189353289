//! Errors of a broker: their meaning, and advice. The codes are AMQP 0.9.1's.

use std::sync::Arc;

use kit::broker::BrokerError;
use pipeline::{Classify, ErrorClass};
use thiserror::Error;

/// Reason why a connection cannot be opened, or has ended.
pub(crate) type RabbitError = BrokerError<OnlyRabbit>;

/// The errors that other brokers do not have.
#[derive(Debug, Error)]
pub(crate) enum OnlyRabbit {
    /// The broker has closed the channel because of one message.
    #[error("{address} rejects a message: {problem}{}", remedy_of_message(*code, problem))]
    Message { address: Arc<str>, code: u16, problem: String },
    /// A message cannot become an event, and stays in its queue.
    #[error(
        "a message of `{queue}` cannot become an event: {problem}; the source stops reading. \
         Remove the message, or set `unusable = \"reject\"` so that the broker moves such \
         messages to the dead letter exchange of the queue"
    )]
    Unusable { queue: String, problem: String },
}

impl Classify for OnlyRabbit {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Message { .. } | Self::Unusable { .. } => ErrorClass::Blocked,
        }
    }
}

/// Returns advice for a message that the broker rejects.
fn remedy_of_message(code: u16, text: &str) -> &'static str {
    match code {
        403 => "; grant `broker.user` the topic permission, or change `routing_key`",
        _ if text.contains("larger than") => {
            "; lower `message_max` of the sink to the limit of the broker"
        }
        _ => "",
    }
}

/// Returns the error of a channel that the broker closed with this code and text because of a
/// message. `None`: the cause is not the message itself, but for example the exchange.
pub(crate) fn of_message(address: &Arc<str>, code: u16, text: &str) -> Option<RabbitError> {
    let is_of_message = match code {
        // Other permissions are about the whole exchange.
        403 => text.contains("access to topic"),
        406 | 501 | 502 | 505 => true,
        _ => false,
    };
    let (address, problem) = (address.clone(), text.to_owned());
    is_of_message.then_some(RabbitError::Other(OnlyRabbit::Message { address, code, problem }))
}

/// Returns the error of a connection or channel that the broker closed with this code and text, in
/// reply to the request `what`.
pub(crate) fn closed(address: &Arc<str>, what: &str, code: u16, text: &str) -> RabbitError {
    let address = address.clone();
    let remedy = match code {
        // The broker's acknowledgement timeout has expired: it redelivers the messages.
        406 if text.contains("timed out") => None,
        403 => Some("check the permissions of `broker.user` in the virtual host"),
        404 => Some("declare it at the broker, or correct its name"),
        405 => Some(
            "another connection has exclusive access: close that connection, or use another name",
        ),
        406 => Some(
            "it exists with other properties: set the same properties here, or delete it at the \
             broker",
        ),
        530 => Some("check `broker.virtual_host` and the permissions of the user in it"),
        540 => Some("the broker does not support this"),
        _ => None,
    };
    match remedy {
        Some(remedy) => RabbitError::NotGranted {
            address,
            problem: format!("rejects {what}: {text}; {remedy}"),
        },
        None => RabbitError::Ended { address, problem: format!("{what}: {code} {text}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_a_remedy_and_temporary_ones_are_retried() {
        let address: Arc<str> = "b:5672".into();
        for (code, text, class, remedy) in [
            (403, "ACCESS_REFUSED - access to queue", ErrorClass::Blocked, "permissions"),
            (404, "NOT_FOUND - no queue 'q'", ErrorClass::Blocked, "declare it"),
            (405, "RESOURCE_LOCKED - exclusive", ErrorClass::Blocked, "another connection"),
            (406, "PRECONDITION_FAILED - inequivalent arg", ErrorClass::Blocked, "the same"),
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

    #[test]
    fn tells_a_rejected_message_from_a_missing_exchange() {
        let address: Arc<str> = "b:5672".into();
        for (code, text, remedy) in [
            (
                406,
                "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header}",
                "invalid",
            ),
            (
                406,
                "PRECONDITION_FAILED - message size 9 is larger than configured",
                "`message_max`",
            ),
            (403, "ACCESS_REFUSED - write access to topic 'a' in exchange 'x'", "topic permission"),
        ] {
            let error = of_message(&address, code, text).unwrap().to_string();
            assert!(error.contains(remedy) && error.contains(text), "{error}");
        }
        for (code, text) in [
            (404, "NOT_FOUND - no exchange 'x' in vhost '/'"),
            (403, "ACCESS_REFUSED - write access to exchange 'x' in vhost '/' refused"),
            (320, "CONNECTION_FORCED - shutdown"),
        ] {
            assert!(of_message(&address, code, text).is_none(), "{text}");
        }
    }
}
