//! Limits of a batch that is built from outside events.

use thiserror::Error;

/// Memory and time for building a batch from outside events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuilderLimits {
    /// Bytes of memory.
    pub bytes: usize,
    /// Steps: for each event some for each header of the batch, and one for each pair of a batch
    /// header and an event header, if the event has other header names than the batch.
    pub steps: usize,
}

/// The reason why a builder accepts no further event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Excess {
    /// It would need too much memory.
    #[error(
        "the decoded events need more memory than the source may use (`in_flight_max`); let the \
         sender send smaller messages"
    )]
    Bytes,
    /// It would need too much time.
    #[error(
        "the events of a message have too many different header names; let the sender send fewer \
         events in one message"
    )]
    Steps,
}

impl BuilderLimits {
    /// Bytes of an event without headers, besides its body.
    pub(super) const EVENT_BYTES: usize = 5;
    /// Bytes of a header of the batch, besides its name and its values.
    pub(super) const COLUMN_BYTES: usize = 160;
    /// Bytes of a value of a header, besides its text.
    pub(super) const VALUE_BYTES: usize = 8;
    /// Steps of an event for each header of the batch.
    pub(super) const COLUMN_STEPS: usize = 4;
}

/// No limit: for events that the program creates itself.
impl Default for BuilderLimits {
    fn default() -> Self {
        Self { bytes: usize::MAX, steps: usize::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BatchBuilder;
    use super::*;

    #[test]
    fn a_builder_rejects_events_beyond_its_limits_by_name() {
        let limits = BuilderLimits { bytes: 10_000, steps: 100_000 };
        let mut builder = BatchBuilder::within(limits);
        for _ in 0..900 {
            builder.push(b"12345", &[]);
        }
        assert_eq!((builder.len(), builder.excess()), (900, None));
        assert!(!builder.has_room(2_000));
        builder.push(b"", &[]);
        assert_eq!((builder.len(), builder.excess()), (900, Some(Excess::Bytes)));
        // Headers count with their values, and headers with other names with their cost.
        let mut builder = BatchBuilder::within(limits);
        builder.push(b"", &[("h", &"v".repeat(10_000))]);
        assert_eq!(builder.excess(), Some(Excess::Bytes));
        let names: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let headers = |skipped: usize| -> Vec<(&str, &str)> {
            names.iter().skip(skipped).map(|name| (name.as_str(), "")).collect()
        };
        let mut alike = BatchBuilder::within(BuilderLimits { bytes: usize::MAX, ..limits });
        let mut unlike = BatchBuilder::within(BuilderLimits { bytes: usize::MAX, ..limits });
        for n in 0..100 {
            alike.push(b"", &headers(0));
            unlike.push(b"", &headers(n % 2));
        }
        assert_eq!((alike.len(), alike.excess()), (100, None));
        assert!(unlike.len() < 100);
        assert_eq!(unlike.excess(), Some(Excess::Steps));
    }
}
