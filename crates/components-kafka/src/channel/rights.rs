//! What brokers with access control have to allow, and what is said where they do not.
//!
//! | on | rights |
//! |---|---|
//! | `topic` | `Read`, `Write`, `DescribeConfigs`, `Delete`; `Create` if it is made |
//! | `state_topic` | `Read`, `Write`, `DescribeConfigs`; `Create` if it is made |
//! | the transactional id | `Write` |
//!
//! Each of these brings `Describe` with it. Opening needs each of them, so what lacks is known
//! before the first event.

use ::channel::remote::LogError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::consumer::failed;

/// A right that a step needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Right<'a> {
    /// As `kafka-acls.sh` calls it.
    operation: &'static str,
    /// The option of `kafka-acls.sh` for what it is on, and its name.
    on: (&'static str, &'a str),
}

impl<'a> Right<'a> {
    pub(super) fn on_topic(operation: &'static str, topic: &'a str) -> Self {
        Self { operation, on: ("--topic", topic) }
    }

    pub(super) fn on_id(operation: &'static str, id: &'a str) -> Self {
        Self { operation, on: ("--transactional-id", id) }
    }

    /// Why a step failed that needs this right: it lacks, or something else.
    pub(super) fn failed(self, what: &str, error: &KafkaError) -> LogError {
        match error.rdkafka_error_code().is_some_and(is_denied) {
            true => self.lacks(what),
            false => failed(what, error),
        }
    }

    /// The error of a step that brokers do not allow.
    pub(super) fn lacks(self, what: &str) -> LogError {
        let Self { operation, on: (option, name) } = self;
        LogError::Unusable(format!(
            "{what}, and the brokers do not let this client: it needs the right {operation} on \
             `{name}`; grant it with `kafka-acls.sh --add --allow-principal User:NAME --operation \
             {operation} {option} {name}`, or name another user in `properties`"
        ))
    }
}

/// Whether brokers say so of a client that may not do something. The client asks for a group on
/// its own, which is not needed where partitions are assigned: what it hears of that counts for
/// nothing.
pub(super) fn is_denied(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::ClusterAuthorizationFailed
    )
}
