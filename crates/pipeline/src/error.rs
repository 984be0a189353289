//! Classes of failures by their effect on the batch: the only property of an error that the runner
//! uses.

use std::time::Duration;

/// The possible state of a batch after a failure, and therefore its next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Not applied. It may be retried, here or elsewhere, after a pause.
    Transient,
    /// May or may not be applied. A retry is safe only because the batch carries its identity; a
    /// sink without identity may repeat it, and declares that.
    Indeterminate,
    /// This batch can never be applied. It goes to the dead-letter channel, or is counted and
    /// dropped.
    Poison,
    /// Not applied, and nothing can be before an operator acts: missing permission, a damaged
    /// ledger, a wrong configuration. Retried anyway, because the cause may be removed while the
    /// agent runs.
    Blocked,
    /// Nothing can be applied, and there is no retry: the agent stops. Never returned by a sink.
    Fatal,
}

/// Implemented once for each component's error enum, by one `match` without a catch-all arm.
pub trait Classify {
    /// The class of this failure.
    fn class(&self) -> ErrorClass;

    /// Returns when to retry, if the other side has named a time: it works, and is busy.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// The lower-case name of the class, for logs and metrics.
impl std::fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Transient => "transient",
            Self::Indeterminate => "indeterminate",
            Self::Poison => "poison",
            Self::Blocked => "blocked",
            Self::Fatal => "fatal",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_counts_its_failures_by_the_names_of_the_classes() {
        let of_a_sink = [
            ErrorClass::Transient,
            ErrorClass::Indeterminate,
            ErrorClass::Poison,
            ErrorClass::Blocked,
        ];
        assert_eq!(of_a_sink.map(|class| class.to_string()), metrics::start::FAILURE_CLASSES);
    }
}
