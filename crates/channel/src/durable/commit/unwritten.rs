//! Settled tickets that no frame contains yet: commits, and batches given up as damaged.

use crate::durable::log::records::{AckRecord, ForgetRecord};

/// Settlements that are on no disk yet.
#[derive(Default)]
pub(crate) struct Unwritten {
    /// They shall be written although no put carries them.
    pub(crate) flush: bool,
    /// Commits of takes that are in no frame yet, and those in the group being written.
    pub(crate) acks: AckRecord,
    pub(crate) acks_in_write: AckRecord,
    /// The same for batches found damaged.
    pub(crate) forget: ForgetRecord,
    pub(crate) forget_in_write: ForgetRecord,
}

impl Unwritten {
    /// Returns `true` if everything is in a frame or being written.
    pub(crate) fn is_empty(&self) -> bool {
        self.acks.is_empty() && self.forget.is_empty()
    }

    /// Moves everything into the STATE of a segment that is begun.
    pub(crate) fn all_in_write(&mut self) {
        let acks = std::mem::take(&mut self.acks);
        self.acks_in_write.merge(&acks);
        let forget = std::mem::take(&mut self.forget);
        self.forget_in_write.merge(&forget);
    }

    /// Marks the data in the write as durable.
    pub(crate) fn written(&mut self) {
        self.acks_in_write = AckRecord::default();
        self.forget_in_write = ForgetRecord::default();
    }

    /// The write failed.
    pub(crate) fn take_back(&mut self) {
        let acks = std::mem::take(&mut self.acks_in_write);
        self.acks.merge(&acks);
        let forget = std::mem::take(&mut self.forget_in_write);
        self.forget.merge(&forget);
    }
}
