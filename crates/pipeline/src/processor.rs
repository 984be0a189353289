//! The sink processor: decides which sink of a group gets the next batch.
//!
//! It is pure: time and the members' state come in, a decision comes out. The group's runner does
//! the waiting and the writing, and the members work side by side.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::ErrorClass;
use crate::identity::Origin;

/// A seat as its group sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeatView {
    /// How often an address has left it: with each generation it is another member.
    pub generation: u64,
    /// Whether there is a member that is not leaving: only then it gets batches.
    pub is_present: bool,
    /// Of the occupant: the lowest are used, as long as one of them works.
    pub priority: u16,
    /// Of the occupant: its share among those of the same priority.
    pub weight: u16,
    /// Of the occupant: the same for the same address, wherever it sits.
    pub key: u64,
}

/// What the processor sees of a member at each decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemberView {
    /// Whether it would take a batch at once.
    pub has_room: bool,
    /// Bytes taken over and not stored anywhere yet.
    pub unacknowledged_bytes: u64,
    /// Whether it has opened, and not failed since.
    pub is_open: bool,
    /// Batches in its hand that it has not said of that they are stored.
    pub unproved: usize,
    /// Whether it says soon what it has stored, so that one batch shows whether it works.
    pub proves: bool,
    /// Whether the next agent says that it cannot store what it holds.
    pub is_unable: bool,
    /// Whether the next agent takes no batch of this size, and another open member does: it does
    /// not get this one.
    pub is_too_small: bool,
    /// Its seat, where it is discovered: one that is not present gets nothing.
    pub seat: Option<SeatView>,
}

impl MemberView {
    /// Whether there is a member to give a batch to.
    pub fn is_present(&self) -> bool {
        self.seat.is_none_or(|seat| seat.is_present)
    }
}

/// Which member gets the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// This one, when it has room.
    Use(usize),
    /// None before this instant: all are backing off.
    WaitUntil(Instant),
}

/// What a member has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It opened: the other side answers.
    Opened,
    /// It stored or delivered something, or said of it that it never can be: it works.
    Proved,
    /// It failed.
    Failed(Failure),
    /// It is another one from now on: nothing that is known of it counts any more.
    Replaced,
}

/// How a member failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What it says about the batch that it met.
    pub class: ErrorClass,
    /// When to come again, where the other side has said so: then it works, and is only busy.
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

    /// Until when this member is passed over because it failed; `None` where it is not. For status
    /// pages.
    fn penalty_ends(&self, _member: usize) -> Option<Instant> {
        None
    }

    /// The longest that a member which failed is left alone, however often it does: `backoff_max`.
    fn longest_pause(&self) -> Duration;
}
