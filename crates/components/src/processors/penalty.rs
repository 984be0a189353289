//! Pauses of group members after failures.
//!
//! ```text
//!   TRUSTED ──failed──► PAUSED ──opened, or the pause is over──► SUSPECT ──one batch──► proves it
//!      ▲                   ▲                                        │                      │
//!      │                   └──────────────── failed ◄───────────────┘                      │
//!      └───────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! If a member states when to retry, it is paused until then: it works and is busy, so it does not
//! become a suspect and its later pauses do not grow. All other pauses double from `base` to
//! `limit`, with jitter. If a member fails again within `limit` after a pause, the next pause
//! continues the series, so a member that opens and then refuses every batch is tried less and less
//! often. Several batches in flight fail together; a failure during a pause does not extend it.
//!
//! A suspect whose results arrive soon gets one batch once it is open, and no other before the
//! result of that one. If results take long, as with a file, opening is sufficient proof.

use std::sync::Arc;
use std::time::Duration;

use pipeline::env::Entropy;
use pipeline::{ErrorClass, Failure, MemberView, Report};
use support::backoff::jittered;
use tokio::time::Instant;

/// Parameters of the pauses.
#[derive(Clone)]
pub(super) struct Pauses {
    pub(super) base: Duration,
    pub(super) limit: Duration,
    pub(super) entropy: Arc<dyn Entropy>,
}

/// State of one member.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    failures: u32,
    /// End of the last pause; `None` before the first one.
    pause_ends: Option<Instant>,
    /// End of the last pause after a failure.
    suspect_until: Option<Instant>,
    paused: bool,
    /// True if it has failed and has not proved since that it works.
    suspect: bool,
}

/// State of every member of a group.
pub(super) struct Penalties {
    pauses: Pauses,
    members: Vec<Standing>,
}

impl Penalties {
    pub(super) fn new(pauses: Pauses, members: usize) -> Self {
        Self { pauses, members: vec![Standing::default(); members] }
    }

    /// Returns the maximum pause.
    pub(super) fn longest_pause(&self) -> Duration {
        self.pauses.limit
    }

    /// Returns true if the member may be used now.
    pub(super) fn is_live(&self, member: usize, view: &MemberView, now: Instant) -> bool {
        let standing = &self.members[member];
        let probing = standing.suspect && view.proves;
        view.is_present()
            && !standing.is_paused(now)
            && (!probing || view.is_open && view.unproved == 0)
    }

    /// Returns the end of the member's pause, also after the end; `None` without a pause.
    pub(super) fn ends(&self, member: usize) -> Option<Instant> {
        let standing = &self.members[member];
        standing.pause_ends.filter(|_| standing.paused)
    }

    /// Returns when to ask again if no member may be used: at the end of the first pause. A
    /// suspect's pending result arrives on its own.
    pub(super) fn ask_again(&self, now: Instant) -> Instant {
        let paused = self.members.iter().filter(|standing| standing.is_paused(now));
        let first = paused.filter_map(|standing| standing.pause_ends).min();
        first.unwrap_or(now + self.pauses.limit)
    }

    /// Records the result of an attempt.
    pub(super) fn report(&mut self, member: usize, report: Report, now: Instant) {
        let Pauses { base, limit, entropy } = &self.pauses;
        let standing = &mut self.members[member];
        match report {
            Report::Opened => standing.paused = false,
            Report::Replaced => *standing = Standing::default(),
            Report::Proved => (standing.paused, standing.suspect) = (false, false),
            // The batch caused the failure, not the member.
            Report::Failed(Failure { class: ErrorClass::Poison, .. }) => {}
            Report::Failed(Failure { retry_after: Some(after), .. }) => {
                standing.paused = true;
                standing.pause_ends = Some(now + after.min(*limit));
            }
            Report::Failed(Failure {
                class:
                    ErrorClass::Transient
                    | ErrorClass::Indeterminate
                    | ErrorClass::Blocked
                    | ErrorClass::Fatal,
                ..
            }) if !standing.is_paused(now) => {
                let trusted = standing.suspect_until.is_none_or(|ended| ended + *limit < now);
                standing.failures = if trusted { 1 } else { standing.failures.saturating_add(1) };
                let pause = jittered(*base, *limit, standing.failures, entropy.next_u64());
                standing.pause_ends = Some(now + pause);
                standing.suspect_until = standing.pause_ends;
                (standing.paused, standing.suspect) = (true, true);
            }
            Report::Failed(_) => {}
        }
    }
}

impl Standing {
    fn is_paused(&self, now: Instant) -> bool {
        self.paused && self.pause_ends.is_some_and(|ends| ends > now)
    }
}

#[cfg(test)]
mod tests {
    use pipeline::SeatView;
    use proptest::prelude::*;

    use super::*;

    /// Without jitter: each pause has its maximum length.
    struct Longest;

    impl Entropy for Longest {
        fn next_u64(&self) -> u64 {
            u64::MAX
        }
    }

    const BASE: Duration = Duration::from_secs(1);
    const LIMIT: Duration = Duration::from_secs(30);

    /// Open, without batches in flight.
    const IDLE: MemberView = MemberView {
        has_room: true,
        unacknowledged_bytes: 0,
        is_open: true,
        unproved: 0,
        proves: true,
        is_unable: false,
        is_too_small: false,
        seat: None,
    };

    fn failed(class: ErrorClass) -> Report {
        Report::Failed(class.into())
    }

    fn penalties() -> Penalties {
        Penalties::new(Pauses { base: BASE, limit: LIMIT, entropy: Arc::new(Longest) }, 1)
    }

    #[test]
    fn pauses_grow_to_the_limit_and_stay_there_however_often_it_fails() {
        let (mut penalties, mut now) = (penalties(), Instant::now());
        for failure in 0..100_u32 {
            let expected = BASE.saturating_mul(1 << failure.min(20)).min(LIMIT);
            penalties.report(0, failed(ErrorClass::Transient), now);
            assert!(!penalties.is_live(0, &IDLE, now + expected - Duration::from_millis(1)));
            now += expected;
            assert!(penalties.is_live(0, &IDLE, now), "after failure {failure}");
        }
    }

    #[test]
    fn counts_simultaneous_failures_as_one() {
        let (mut penalties, now) = (penalties(), Instant::now());
        (0..64).for_each(|_| penalties.report(0, failed(ErrorClass::Indeterminate), now));
        assert!(penalties.is_live(0, &IDLE, now + BASE));
    }

    #[test]
    fn a_success_ends_the_pause_and_quiet_the_suspicion() {
        let (mut penalties, now) = (penalties(), Instant::now());
        penalties.report(0, failed(ErrorClass::Blocked), now);
        penalties.report(0, Report::Proved, now);
        assert!(penalties.is_live(0, &IDLE, now));
        penalties.report(0, failed(ErrorClass::Blocked), now);
        assert!(!penalties.is_live(0, &IDLE, now + BASE), "the second pause is longer");
        let later = now + LIMIT * 3;
        penalties.report(0, failed(ErrorClass::Blocked), later);
        assert!(penalties.is_live(0, &IDLE, later + BASE), "the first pause of a new trouble");
    }

    #[test]
    fn who_says_when_to_come_again_is_asked_then_and_is_not_the_less_trusted() {
        let (mut penalties, now) = (penalties(), Instant::now());
        let after = Duration::from_millis(300);
        let busy = Failure { class: ErrorClass::Transient, retry_after: Some(after) };
        for round in 0..20 {
            let now = now + after * round;
            penalties.report(0, Report::Failed(busy), now);
            assert!(!penalties.is_live(0, &IDLE, now + after - Duration::from_millis(1)));
            assert!(penalties.is_live(0, &IDLE, now + after));
        }
        let later = now + after * 20;
        penalties.report(0, failed(ErrorClass::Transient), later);
        assert!(penalties.is_live(0, &IDLE, later + BASE), "the first real failure");
        let forever = Failure { retry_after: Some(LIMIT * 9), ..busy };
        penalties.report(0, Report::Failed(forever), later + BASE);
        assert!(
            penalties.is_live(0, &IDLE, later + BASE + LIMIT),
            "no member is left alone for longer"
        );
    }

    #[test]
    fn a_poisonous_batch_is_not_held_against_the_member() {
        let (mut penalties, now) = (penalties(), Instant::now());
        penalties.report(0, failed(ErrorClass::Poison), now);
        assert!(penalties.is_live(0, &IDLE, now));
    }

    #[test]
    fn a_suspect_gets_one_batch_and_is_trusted_when_that_is_stored() {
        let (mut penalties, now) = (penalties(), Instant::now());
        let (closed, busy) =
            (MemberView { is_open: false, ..IDLE }, MemberView { unproved: 1, ..IDLE });
        assert!(penalties.is_live(0, &closed, now) && penalties.is_live(0, &busy, now));
        penalties.report(0, failed(ErrorClass::Transient), now);
        penalties.report(0, Report::Opened, now);
        assert!(!penalties.is_live(0, &closed, now), "it is opened first");
        assert!(penalties.is_live(0, &IDLE, now));
        assert!(!penalties.is_live(0, &busy, now), "it has not stored the first");
        assert!(penalties.is_live(0, &MemberView { proves: false, ..busy }, now));
        assert!(penalties.ask_again(now) > now, "nothing spins meanwhile");
        penalties.report(0, failed(ErrorClass::Indeterminate), now);
        assert!(!penalties.is_live(0, &IDLE, now + BASE), "the next pause is longer");
        penalties.report(0, Report::Opened, now + BASE);
        penalties.report(0, Report::Proved, now + BASE);
        assert!(penalties.is_live(0, &busy, now + BASE));
    }

    #[test]
    fn an_empty_seat_is_passed_over_and_whoever_sits_down_next_begins_anew() {
        let (mut penalties, now) = (penalties(), Instant::now());
        let seat = |is_present| Some(SeatView { is_present, ..SeatView::default() });
        let (empty, taken) = (
            MemberView { seat: seat(false), ..IDLE },
            MemberView { seat: seat(true), unproved: 1, ..IDLE },
        );
        assert!(!penalties.is_live(0, &empty, now) && penalties.is_live(0, &taken, now));
        penalties.report(0, failed(ErrorClass::Transient), now);
        assert!(!penalties.is_live(0, &taken, now));
        penalties.report(0, Report::Replaced, now);
        assert!(penalties.is_live(0, &taken, now), "neither paused nor a suspect");
    }

    #[derive(Debug, Clone)]
    enum Op {
        Give,
        Store,
        Fail,
        Open,
        Wait(u64),
    }

    proptest! {
        /// In any order of events: between a failure and the next stored batch, a member never has
        /// two batches from after the failure, and none while it is closed.
        #[test]
        fn a_suspect_is_never_given_a_second_batch(
            ops in prop::collection::vec(prop_oneof![
                4 => Just(Op::Give), 2 => Just(Op::Store), 1 => Just(Op::Fail), 2 => Just(Op::Open),
                1 => (1..40_u64).prop_map(Op::Wait),
            ], 0..200)
        ) {
            let (mut penalties, mut now) = (penalties(), Instant::now());
            let (mut in_hand, mut open, mut suspect) = (0_usize, false, false);
            for op in ops {
                let view = MemberView { is_open: open, unproved: in_hand, ..IDLE };
                match op {
                    Op::Give if penalties.is_live(0, &view, now) => {
                        prop_assert!(!suspect || open && in_hand == 0);
                        in_hand += 1;
                    }
                    Op::Store if in_hand > 0 => {
                        in_hand -= 1;
                        suspect = false;
                        penalties.report(0, Report::Proved, now);
                    }
                    Op::Fail => {
                        (in_hand, open, suspect) = (0, false, true);
                        penalties.report(0, failed(ErrorClass::Transient), now);
                    }
                    Op::Open => {
                        open = true;
                        penalties.report(0, Report::Opened, now);
                    }
                    Op::Wait(seconds) => now += Duration::from_secs(seconds),
                    Op::Give | Op::Store => {}
                }
                let idle = MemberView { is_open: true, unproved: 0, ..IDLE };
                let live = penalties.is_live(0, &idle, now + LIMIT);
                prop_assert!(live, "each member that is open and idle is tried in the end");
                prop_assert!(penalties.ask_again(now) > now);
            }
        }
    }
}
