//! Permissions required on brokers with access control, and the errors if they are missing.
//!
//! | on | rights |
//! |---|---|
//! | `topic` | `Read`, `Write`, `DescribeConfigs`, `Delete`; `Create` if it is made |
//! | `state_topic` | `Read`, `Write`, `DescribeConfigs`; `Create` if it is made |
//! | the transactional id | `Write` |
//!
//! Each of these implies `Describe`. Opening the channel needs all of them, so that a missing
//! permission is detected before the first event.

use ::channel::remote::LogError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::consumer::failed;

/// A permission for a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Right<'a> {
    /// Operation name of `kafka-acls.sh`.
    operation: &'static str,
    /// Option of `kafka-acls.sh` for the resource, and its name.
    on: (&'static str, &'a str),
}

impl<'a> Right<'a> {
    pub(super) fn on_topic(operation: &'static str, topic: &'a str) -> Self {
        Self { operation, on: ("--topic", topic) }
    }

    pub(super) fn on_id(operation: &'static str, id: &'a str) -> Self {
        Self { operation, on: ("--transactional-id", id) }
    }

    /// Returns why a step failed: a missing permission, or another error.
    pub(super) fn failed(self, what: &str, error: &KafkaError) -> LogError {
        match error.rdkafka_error_code().is_some_and(is_denied) {
            true => self.lacks(what),
            false => failed(what, error),
        }
    }

    /// Returns the error for a missing permission.
    pub(super) fn lacks(self, what: &str) -> LogError {
        let Self { operation, on: (option, name) } = self;
        LogError::Unusable(format!(
            "{what}: the brokers deny {operation} on `{name}` to this client; grant it with \
             `kafka-acls.sh --bootstrap-server HOST:PORT --add --allow-principal User:NAME \
             --operation {operation} {option} {name}`, or set another user in `properties`"
        ))
    }
}

/// Returns whether a broker denied permission. Ignores group permissions, which the client requests
/// without need, because partitions are assigned.
pub(super) fn is_denied(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::ClusterAuthorizationFailed
    )
}
