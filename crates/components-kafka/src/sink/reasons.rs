//! What a code of the client or a broker says of a message, and of the batch that it is of. Pure.

use pipeline::ErrorClass;
use rdkafka::error::RDKafkaErrorCode as Code;

/// The reasons of dead letters. Their places are stored: keep them.
pub(super) const REASONS: [&str; 3] = ["refused", "too_large", "unknown_partition"];

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
        _ => REASONS[0],
    }
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

/// The first one that does not only concern its own message.
pub(super) fn of_the_batch(failed: &Failed) -> Option<(usize, Code)> {
    failed.iter().copied().find(|(_, code)| class_of(*code) != ErrorClass::Poison)
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
        assert_eq!(of_the_batch(&failed), None);
    }

    #[test]
    fn what_was_given_up_without_a_cause_is_of_the_whole_batch() {
        let mut failed = vec![(0, Code::PurgeQueue), (1, Code::PurgeInflight)];
        only_causes(&mut failed);
        assert_eq!(of_the_batch(&failed), Some((0, Code::PurgeQueue)));
        let fenced = vec![(0, Code::UnknownPartition), (1, Code::ProducerFenced)];
        assert_eq!(of_the_batch(&fenced), Some((1, Code::ProducerFenced)));
    }
}
