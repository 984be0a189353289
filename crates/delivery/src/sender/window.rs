//! How much may be without an answer, and how much is.

/// Batches and bytes that may be without an answer at a time. One batch alone may be larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Number of batches.
    pub batches: u32,
    /// Bytes of their bodies.
    pub bytes: u64,
}

impl Window {
    /// What both windows allow.
    pub(super) fn smaller(self, other: Self) -> Self {
        Self { batches: self.batches.min(other.batches), bytes: self.bytes.min(other.bytes) }
    }
}

/// How many batches there are, and how large they are together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) batches: u32,
    pub(super) bytes: u64,
}

impl Load {
    pub(super) fn add(&mut self, bytes: u64) {
        self.batches += 1;
        self.bytes += bytes;
    }

    pub(super) fn remove(&mut self, bytes: u64) {
        self.batches -= 1;
        self.bytes -= bytes;
    }

    /// Whether one more batch fits: always, when there is none.
    pub(super) fn admits(self, bytes: u64, window: Window) -> bool {
        self.batches == 0 || (self.batches < window.batches && self.bytes + bytes <= window.bytes)
    }
}
