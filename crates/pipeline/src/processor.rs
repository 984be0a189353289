//! The sink processor: decides which sink of a group gets the next batch.
//!
//! It is pure: takes the time and the members' state, returns a decision. The group's runner does
//! the waiting and the writing, and the members run concurrently.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::ErrorClass;
use crate::identity::Origin;

/// A seat as its group sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeatView {
    /// Number of addresses that have left it: each generation is another member.
    pub generation: u64,
    /// True if it has a member that is not leaving: only then it gets batches.
    pub is_present: bool,
    /// Priority of the occupant: the lowest priority with a working member is used.
    pub priority: u16,
    /// Weight of the occupant: its share among members of the same priority.
    pub weight: u16,
    /// Of the occupant: the same for the same address, wherever it sits.
    pub key: u64,
}

/// The state of a member at a decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemberView {
    /// True if it would accept a batch immediately.
    pub has_room: bool,
    /// Bytes taken over and not stored anywhere yet.
    pub unacknowledged_bytes: u64,
    /// True if it has opened and not failed since.
    pub is_open: bool,
    /// Batches that it has accepted and not yet reported as stored.
    pub unproved: usize,
    /// True if it soon reports what it has stored, so that one batch shows whether it works.
    pub proves: bool,
    /// True if the next agent reports that it cannot store its batches.
    pub is_unable: bool,
    /// True if the next agent does not accept a batch of this size, but another open member does:
    /// this member does not get it.
    pub is_too_small: bool,
    /// Its seat, if it is discovered: a member that is not present gets no batch.
    pub seat: Option<SeatView>,
}

impl MemberView {
    /// Returns `true` if there is a member that can get a batch.
    pub fn is_present(&self) -> bool {
        self.seat.is_none_or(|seat| seat.is_present)
    }
}

/// The member for the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// This one, when it has room.
    Use(usize),
    /// No member before this instant: all are backing off.
    WaitUntil(Instant),
}

/// A report about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It opened: the other side answers.
    Opened,
    /// It stored, delivered or permanently rejected something: it works.
    Proved,
    /// It failed.
    Failed(Failure),
    /// It is another member from now on: previous knowledge is void.
    Replaced,
}

/// The failure of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The class of the error.
    pub class: ErrorClass,
    /// When to retry, if the other side has named a time: then it works, and is only busy.
    pub retry_after: Option<Duration>,
}

impl From<ErrorClass> for Failure {
    fn from(class: ErrorClass) -> Self {
        Self { class, retry_after: None }
    }
}

/// Decides which sink of a group gets the next batch.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use std::time::Duration;
///
/// use pipeline::{MemberView, Origin, Report, Selection, SinkProcessor};
/// use tokio::time::Instant;
///
/// /// Each member in turn, whatever it did.
/// struct RoundRobin(usize);
///
/// impl SinkProcessor for RoundRobin {
///     fn select(
///         &mut self,
///         _origin: Option<Origin>,
///         members: &[MemberView],
///         _now: Instant,
///     ) -> Selection {
///         self.0 = (self.0 + 1) % members.len();
///         Selection::Use(self.0)
///     }
///
///     fn report(&mut self, _member: usize, _report: Report, _now: Instant) {}
///
///     fn longest_pause(&self) -> Duration {
///         Duration::ZERO
///     }
/// }
///
/// let members = [MemberView::default(); 2];
/// let mut processor = RoundRobin(0);
/// let mut next = || processor.select(None, &members, Instant::now());
/// assert_eq!([next(), next()], [Selection::Use(1), Selection::Use(0)]);
/// ```
pub trait SinkProcessor: Send {
    /// The member for a batch of `origin`. A slow member is not a broken one: `Use` may name one
    /// without room, and then the group waits for it.
    fn select(&mut self, origin: Option<Origin>, members: &[MemberView], now: Instant)
    -> Selection;

    /// A member has done something.
    fn report(&mut self, member: usize, report: Report, now: Instant);

    /// Returns until when this member is skipped because it failed; `None` if it is not. For status
    /// pages.
    fn penalty_ends(&self, _member: usize) -> Option<Instant> {
        None
    }

    /// Returns the longest pause of a failed member, however often it fails: `backoff_max`.
    fn longest_pause(&self) -> Duration;
}
