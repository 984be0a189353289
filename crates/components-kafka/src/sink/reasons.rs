//! Maps error codes of the client and the brokers to the fate of a message and of its batch. Pure.

use pipeline::ErrorClass;
use pipeline::deliver::UNKNOWN_DESTINATION;
use rdkafka::error::RDKafkaErrorCode as Code;

/// Reasons of dead letters. Their indexes are stored: do not reorder them.
pub(super) const REASONS: [&str; 4] =
    ["refused", "too_large", "unknown_partition", UNKNOWN_DESTINATION];

/// Indexes of events that were not acknowledged, each with the error code.
pub(super) type Failed = Vec<(usize, Code)>;

/// Classifies the failure of a message.
pub(super) fn class_of(code: Code) -> ErrorClass {
    match code {
        Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidMessage
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::InvalidTopic
        | Code::UnknownPartition => ErrorClass::Poison,
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::UnsupportedCompressionType
        | Code::PolicyViolation => ErrorClass::Blocked,
        // The message may be in the topic.
        _ => ErrorClass::Indeterminate,
    }
}

/// Returns the reason of the dead letter.
pub(super) fn reason_of(code: Code) -> &'static str {
    match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
            REASONS[1]
        }
        Code::UnknownPartition => REASONS[2],
        _ if is_of_topic(code) => REASONS[3],
        _ => REASONS[0],
    }
}

/// Returns whether the topic does not exist, or does not accept messages of this client.
pub(super) fn is_of_topic(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::TopicAuthorizationFailed
    )
}

/// Returns whether another client uses the transactional id, or its transaction has timed out.
pub(super) fn is_fenced(code: Code) -> bool {
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
}

/// Removes failures without information on their message: after the first failure of a transaction,
/// the client purges all messages. Keeps them if there is no other failure.
pub(super) fn only_causes(failed: &mut Failed) {
    let is_cause =
        |code: Code| !matches!(code, Code::PurgeQueue | Code::PurgeInflight | Code::State);
    if failed.iter().any(|(_, code)| is_cause(*code)) {
        failed.retain(|(_, code)| is_cause(*code));
    }
}

/// Returns the first failure that concerns more than its own message. `is_overdue` tells whether
/// the wait for a topic that rejects the event's messages is over.
pub(super) fn of_the_batch(
    failed: &Failed,
    mut is_overdue: impl FnMut(usize) -> bool,
) -> Option<(usize, Code)> {
    failed.iter().copied().find(|(place, code)| match class_of(*code) {
        ErrorClass::Poison => false,
        _ => !(is_of_topic(*code) && is_overdue(*place)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_was_given_up_with_its_transaction_is_not_the_cause() {
        let mut failed = vec![
            (0, Code::PurgeQueue),
            (3, Code::MessageSizeTooLarge),
            (4, Code::PurgeInflight),
            (5, Code::State),
        ];
        only_causes(&mut failed);
        assert_eq!(failed, [(3, Code::MessageSizeTooLarge)]);
        assert_eq!(of_the_batch(&failed, |_| false), None);
    }

    #[test]
    fn failures_without_a_cause_belong_to_the_whole_batch() {
        let mut failed = vec![(0, Code::PurgeQueue), (1, Code::PurgeInflight)];
        only_causes(&mut failed);
        assert_eq!(of_the_batch(&failed, |_| true), Some((0, Code::PurgeQueue)));
        let fenced = vec![(0, Code::UnknownPartition), (1, Code::ProducerFenced)];
        assert_eq!(of_the_batch(&fenced, |_| true), Some((1, Code::ProducerFenced)));
    }

    #[test]
    fn a_topic_that_the_event_names_concerns_only_its_events_after_the_wait() {
        let failed = vec![
            (0, Code::UnknownTopic),
            (1, Code::UnknownTopicOrPartition),
            (2, Code::TopicAuthorizationFailed),
        ];
        assert_eq!(of_the_batch(&failed, |_| true), None);
        assert_eq!(of_the_batch(&failed, |place| place == 0), Some((1, failed[1].1)));
        for (_, code) in failed {
            assert_eq!(reason_of(code), "unknown_destination");
        }
    }
}
