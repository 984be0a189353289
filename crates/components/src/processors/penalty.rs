//! Who of a group is passed over for a while, because it failed.
//!
//! A member that says itself when to come again is passed over until then: it works, and is busy, so
//! its next pauses are no longer for that. All other pauses double from `base` to `limit` and are
//! jittered. A success ends a pause at once, but
//! is not trusted fully: a member that fails again within `limit` goes on where its pauses were.
//! So one that opens and then refuses every batch is not tried ever and ever again. Several batches
//! in flight fail together; what fails during a pause does not lengthen it.

use std::sync::Arc;
use std::time::Duration;

use pipeline::backoff::jittered;
use pipeline::env::Entropy;
use pipeline::{Class, Failure};
use tokio::time::Instant;

/// How long members are passed over.
#[derive(Clone)]
pub(super) struct Pauses {
    pub(super) base: Duration,
    pub(super) limit: Duration,
    pub(super) entropy: Arc<dyn Entropy>,
}

/// What is known of one member.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    failures: u32,
    /// When the last pause ends or ended; `None` before the first one.
    pause_ends: Option<Instant>,
    /// The same of pauses for failures alone.
    suspect_until: Option<Instant>,
    paused: bool,
}

/// The standing of every member of a group.
pub(super) struct Penalties {
    pauses: Pauses,
    members: Vec<Standing>,
}

impl Penalties {
    pub(super) fn new(pauses: Pauses, members: usize) -> Self {
        Self { pauses, members: vec![Standing::default(); members] }
    }

    /// Whether the member may be used now.
    pub(super) fn is_live(&self, member: usize, now: Instant) -> bool {
        let standing = &self.members[member];
        !standing.paused || standing.pause_ends.is_none_or(|ends| ends <= now)
    }

    /// When the first member may be used again.
    pub(super) fn first_live(&self) -> Option<Instant> {
        self.members.iter().filter_map(|standing| standing.pause_ends).min()
    }

    /// Notes what became of a try.
    pub(super) fn report(&mut self, member: usize, result: Result<(), Failure>, now: Instant) {
        let live = self.is_live(member, now);
        let Pauses { base, limit, entropy } = &self.pauses;
        let standing = &mut self.members[member];
        match result {
            Ok(()) => standing.paused = false,
            // The batch is at fault, not the member.
            Err(Failure { class: Class::Poison, .. }) => {}
            Err(Failure { retry_after: Some(after), .. }) => {
                standing.paused = true;
                standing.pause_ends = Some(now + after.min(*limit));
            }
            Err(Failure {
                class: Class::Transient | Class::Indeterminate | Class::Fatal, ..
            }) if live => {
                let trusted = standing.suspect_until.is_none_or(|ended| ended + *limit < now);
                standing.failures = if trusted { 1 } else { standing.failures.saturating_add(1) };
                let pause = jittered(*base, *limit, standing.failures, entropy.next_u64());
                standing.pause_ends = Some(now + pause);
                standing.suspect_until = standing.pause_ends;
                standing.paused = true;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No jitter: each pause is as long as it can be.
    struct Longest;

    impl Entropy for Longest {
        fn next_u64(&self) -> u64 {
            u64::MAX
        }
    }

    const BASE: Duration = Duration::from_secs(1);
    const LIMIT: Duration = Duration::from_secs(30);

    fn penalties() -> Penalties {
        Penalties::new(Pauses { base: BASE, limit: LIMIT, entropy: Arc::new(Longest) }, 1)
    }

    #[test]
    fn pauses_grow_to_the_limit_and_stay_there_however_often_it_fails() {
        let (mut penalties, mut now) = (penalties(), Instant::now());
        for failure in 0..100_u32 {
            let expected = BASE.saturating_mul(1 << failure.min(20)).min(LIMIT);
            penalties.report(0, Err(Class::Transient.into()), now);
            assert!(!penalties.is_live(0, now + expected - Duration::from_millis(1)));
            now += expected;
            assert!(penalties.is_live(0, now), "after failure {failure}");
        }
    }

    #[test]
    fn what_fails_together_is_one_failure() {
        let (mut penalties, now) = (penalties(), Instant::now());
        (0..64).for_each(|_| penalties.report(0, Err(Class::Indeterminate.into()), now));
        assert!(penalties.is_live(0, now + BASE));
    }

    #[test]
    fn a_success_ends_the_pause_and_quiet_the_suspicion() {
        let (mut penalties, now) = (penalties(), Instant::now());
        penalties.report(0, Err(Class::Fatal.into()), now);
        penalties.report(0, Ok(()), now);
        assert!(penalties.is_live(0, now));
        penalties.report(0, Err(Class::Fatal.into()), now);
        assert!(!penalties.is_live(0, now + BASE), "the second pause is longer");
        let later = now + LIMIT * 3;
        penalties.report(0, Err(Class::Fatal.into()), later);
        assert!(penalties.is_live(0, later + BASE), "the first pause of a new trouble");
    }

    #[test]
    fn who_says_when_to_come_again_is_asked_then_and_is_not_the_less_trusted() {
        let (mut penalties, now) = (penalties(), Instant::now());
        let after = Duration::from_millis(300);
        let busy = Failure { class: Class::Transient, retry_after: Some(after) };
        for round in 0..20 {
            let now = now + after * round;
            penalties.report(0, Err(busy), now);
            assert!(!penalties.is_live(0, now + after - Duration::from_millis(1)));
            assert!(penalties.is_live(0, now + after));
        }
        let later = now + after * 20;
        penalties.report(0, Err(Class::Transient.into()), later);
        assert!(penalties.is_live(0, later + BASE), "the first real failure");
        penalties.report(0, Err(Failure { retry_after: Some(LIMIT * 9), ..busy }), later + BASE);
        assert!(penalties.is_live(0, later + BASE + LIMIT), "nobody is left alone for longer");
    }

    #[test]
    fn a_poisonous_batch_is_not_held_against_the_member() {
        let (mut penalties, now) = (penalties(), Instant::now());
        penalties.report(0, Err(Class::Poison.into()), now);
        assert!(penalties.is_live(0, now));
    }
}
