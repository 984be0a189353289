//! What a code of the client or a broker says of a message, and of the batch that it is of. Pure.

use pipeline::ErrorClass;
use pipeline::deliver::UNKNOWN_DESTINATION;
use rdkafka::error::RDKafkaErrorCode as Code;

/// The reasons of dead letters. Their places are stored: keep them.
pub(super) const REASONS: [&str; 4] =
    ["refused", "too_large", "unknown_partition", UNKNOWN_DESTINATION];

/// The places of events that were not acknowledged, each with the reason.
pub(super) type Failed = Vec<(usize, Code)>;

/// What the failure of a message says.
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
        // It may be in the topic.
        _ => ErrorClass::Indeterminate,
    }
}

/// The reason of the dead letter.
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

/// Whether the topic does not exist, or does not accept messages of this client.
pub(super) fn is_of_topic(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::TopicAuthorizationFailed
    )
}

/// Whether another client has taken the transactional id, or its transaction has timed out.
pub(super) fn is_fenced(code: Code) -> bool {
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
}

/// Takes out what says nothing of the message itself: with the first failure of a transaction, the
/// client gives up all of it. Without any other failure, nothing is taken out.
pub(super) fn only_causes(failed: &mut Failed) {
    let is_cause =
        |code: Code| !matches!(code, Code::PurgeQueue | Code::PurgeInflight | Code::State);
    if failed.iter().any(|(_, code)| is_cause(*code)) {
        failed.retain(|(_, code)| is_cause(*code));
    }
}

/// The first one that does not only concern its own message. `is_overdue`: the topic of the event
/// at this place does not accept messages, and the wait for it is over.
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
    fn what_was_given_up_without_a_cause_is_of_the_whole_batch() {
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
