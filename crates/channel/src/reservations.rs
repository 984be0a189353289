//! Room of a channel that puts have reserved.

use pipeline::BatchSize;

/// Reserved room, and the put that waits for room.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    /// Size of all puts that have not ended.
    pub(crate) reserved: BatchSize,
    /// The last size that did not fit; `None` once there was room again.
    pub(crate) refused: Option<BatchSize>,
}

impl Reservations {
    /// Reserves room for `size` if it fits; otherwise puts wait.
    pub(crate) fn reserve(&mut self, size: BatchSize, fits: bool) -> bool {
        self.refused = (!fits).then_some(size);
        if fits {
            self.reserved.bytes += size.bytes;
            self.reserved.events += size.events;
        }
        fits
    }

    /// Releases reserved room.
    pub(crate) fn release(&mut self, size: BatchSize) {
        self.reserved.bytes -= size.bytes;
        self.reserved.events -= size.events;
    }
}
