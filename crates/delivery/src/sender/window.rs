//! The limit of unanswered batches and bytes, and their current number.

/// Maximum number of unanswered batches and bytes. A single batch may exceed the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Number of batches.
    pub batches: u32,
    /// Bytes of their bodies.
    pub bytes: u64,
}

impl Window {
    /// Returns the smaller limit of each kind.
    pub(super) fn smaller(self, other: Self) -> Self {
        Self { batches: self.batches.min(other.batches), bytes: self.bytes.min(other.bytes) }
    }
}

/// Number of batches, and their total size.
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

    /// Returns `true` if one more batch fits. The first one always does.
    pub(super) fn admits(self, bytes: u64, window: Window) -> bool {
        self.batches == 0 || (self.batches < window.batches && self.bytes + bytes <= window.bytes)
    }
}
