//! Limits batches to the size that the downstream agents announced.

use std::sync::Arc;

use peers::limits::Cut;
use pipeline::Intake;

use super::lines::Limits;

/// The configured limits and the announced one.
pub(super) struct Agreed {
    set: Limits,
    /// Maximum size of an encoded batch in bytes.
    bytes_max: Option<u64>,
    intake: Option<Arc<dyn Intake>>,
}

impl Agreed {
    /// Creates limits without an announced one.
    pub(super) fn new(set: Limits) -> Self {
        Self { set, bytes_max: None, intake: None }
    }

    /// Returns the limits for a batch of at most `bytes` bytes.
    fn limits(&self, bytes: Option<u64>) -> Limits {
        let Some(bytes) = bytes else { return self.set };
        let Cut { body_bytes, events } = Cut::within(bytes);
        let smaller = |set: usize, most: u64| set.min(usize::try_from(most).unwrap_or(usize::MAX));
        Limits {
            line_bytes: self.set.line_bytes,
            batch_bytes: smaller(self.set.batch_bytes, body_bytes),
            batch_events: smaller(self.set.batch_events, events),
        }
    }

    /// Follows the limit that `intake` announces.
    pub(super) fn follow(&mut self, intake: Arc<dyn Intake>) {
        self.intake = Some(intake);
    }

    /// Returns new limits if the announced one has changed. `source` is named in the log.
    pub(super) fn update(&mut self, source: &str) -> Option<Limits> {
        let bytes = self.intake.as_ref().and_then(|intake| intake.batch_bytes_max());
        if bytes == self.bytes_max {
            return None;
        }
        self.bytes_max = bytes;
        let limits = self.limits(bytes);
        let line_max = limits.line_bytes as u64;
        if let Some(bytes) = bytes.filter(|bytes| line_max > *bytes) {
            tracing::warn!(
                source,
                line_max,
                message_max = bytes,
                "`line_max` of this source ({line_max} bytes) exceeds `message_max` of the next \
                 agent ({bytes} bytes), so longer lines go to the dead letters; lower `line_max` \
                 here or raise `message_max` there",
            );
        }
        Some(limits)
    }
}
