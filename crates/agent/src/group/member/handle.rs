//! The group's end of a member: its queue, and the state that it reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peers::NextHop;
use pipeline::{Outage, SeatView, Taken};
use tokio::sync::{Notify, mpsc};

/// The group's end of a member.
pub(in crate::group) struct Handle {
    pub(super) name: Arc<str>,
    pub(super) queue: mpsc::Sender<Taken>,
    pub(super) flush: Arc<Notify>,
    pub(super) unacknowledged_bytes: Arc<AtomicU64>,
    pub(super) proves: bool,
    pub(super) seat: Option<SeatView>,
    pub(super) next_hop: Option<NextHop>,
}

impl Handle {
    /// Returns the state that the next agent reports, if any.
    pub(in crate::group) fn next_hop(&self) -> Option<&NextHop> {
        self.next_hop.as_ref()
    }

    /// Returns `true` if the next agent reports that it cannot store its batches.
    pub(in crate::group) fn is_unable(&self) -> bool {
        self.next_hop.as_ref().is_some_and(NextHop::is_unable)
    }

    /// Returns the reason why the next agent cannot store, as it reports.
    pub(in crate::group) fn outage(&self) -> Option<Outage> {
        self.next_hop.as_ref().and_then(NextHop::unable)
    }

    /// Returns the incarnation of the next agent's source, if it is known.
    pub(in crate::group) fn incarnation(&self) -> Option<u64> {
        self.next_hop.as_ref().and_then(NextHop::incarnation)
    }

    /// Its seat, as it was before the first change.
    pub(in crate::group) fn seat(&self) -> Option<SeatView> {
        self.seat
    }

    /// Name of the sink.
    pub(in crate::group) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns `true` if the sink soon reports what it has stored.
    pub(in crate::group) fn proves(&self) -> bool {
        self.proves
    }

    /// Returns `true` if a batch would be accepted immediately.
    pub(in crate::group) fn has_room(&self) -> bool {
        self.queue.capacity() > 0
    }

    /// Bytes that the sink has taken over and not stored anywhere.
    pub(in crate::group) fn unacknowledged_bytes(&self) -> u64 {
        self.unacknowledged_bytes.load(Ordering::Relaxed)
    }

    /// Asks the sink to settle its batches, after those that wait for it.
    pub(in crate::group) fn flush(&self) {
        self.flush.notify_one();
    }

    /// Waits for room; `false` when the member has ended. Cancel safe.
    pub(in crate::group) async fn wait_for_room(&self) -> bool {
        self.queue.reserve().await.is_ok()
    }

    /// Sends a batch; there must be room, as reported by [`Handle::wait_for_room`].
    pub(in crate::group) fn send(&self, taken: Taken) {
        // A member ends only after its group has stopped sending.
        self.queue.try_send(taken).expect("the group is the only one that fills the queue");
    }
}
