//! Compares reported ledgers with remembered ones. No I/O.
//!
//! # Rules
//!
//! 1. The first reported ledger of a dataset is remembered.
//! 2. A ledger that was rebuilt from the remembered one replaces it.
//! 3. Another ledger is a change. It replaces the remembered one, unless some other agent still
//!    reports that one: then the two are apart.
//! 4. A ledger with fewer entries than remembered is shorter, if it was read after those were
//!    known. An agent that reads seldom also reports fewer entries, which is not a change.
//! 5. Each change is reported once, however often the ledger is reported.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use pipeline::{LedgerId, LedgerState};

use super::LEDGERS_MAX;

/// Maximum number of remembered datasets; further ones are ignored.
const DATASETS_MAX: usize = 256;

/// The remembered state of one dataset's ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) identity: LedgerId,
    pub(super) entries: u64,
    /// The time when it had this many entries.
    pub(super) since: Instant,
}

/// A dataset, and its ledger.
type Named = (Arc<str>, LedgerId);

/// A ledger that one agent names.
#[derive(Debug, Default)]
struct Claim {
    /// It was not the remembered one when it was first reported.
    is_other: bool,
    /// It is shorter than remembered.
    is_shorter: bool,
}

/// A ledger that is not the one that was remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The dataset.
    pub dataset: Arc<str>,
    /// The ledger that is named now.
    pub found: LedgerId,
    /// Its entries.
    pub entries: u64,
    /// The change.
    pub change: Change,
}

/// A change of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was rebuilt from the remembered one, and contains all of it.
    Rebuilt {
        /// The ledger that was remembered.
        before: LedgerId,
    },
    /// It is another ledger.
    Other {
        /// The ledger that was remembered.
        before: LedgerId,
    },
    /// It is another ledger, and some agent still reports the remembered one.
    Apart {
        /// The ledger that is remembered.
        known: LedgerId,
        /// The agent that names it.
        other: Arc<str>,
    },
    /// It has fewer entries than before.
    Shorter {
        /// The entries that it had.
        before: u64,
    },
}

/// The known ledgers downstream of a channel.
#[derive(Debug, Default)]
pub struct KnownLedgers {
    pub(super) datasets: BTreeMap<Arc<str>, Remembered>,
    /// By agent; then by dataset and ledger.
    claims: BTreeMap<Arc<str>, BTreeMap<Named, Claim>>,
}

impl KnownLedgers {
    /// Records the complete list of a member's ledgers; returns changes, for the log.
    pub fn observe(
        &mut self,
        member: &Arc<str>,
        ledgers: &[LedgerState],
        now: Instant,
    ) -> Vec<Finding> {
        let ledgers = &ledgers[..ledgers.len().min(LEDGERS_MAX)];
        let mut claims = self.claims.remove(member).unwrap_or_default();
        let is_named = |(dataset, identity): &Named| {
            ledgers.iter().any(|one| one.dataset == *dataset && one.identity == *identity)
        };
        claims.retain(|key, _| is_named(key));
        let mut findings = Vec::new();
        // A relay may name several ledgers of one dataset, and so be apart from itself.
        let named =
            ledgers.iter().map(|one| ((one.dataset.clone(), one.identity), Claim::default()));
        self.claims.insert(member.clone(), named.collect());
        for state in ledgers {
            let key = (state.dataset.clone(), state.identity);
            let is_new = !claims.contains_key(&key);
            let claim = claims.entry(key).or_default();
            if let Some(change) = self.change(state, is_new, claim, now) {
                let LedgerState { dataset, identity: found, entries, .. } = state.clone();
                findings.push(Finding { dataset, found, entries, change });
            }
        }
        self.claims.insert(member.clone(), claims);
        findings
    }

    /// Removes the ledgers of this member.
    pub fn withdraw(&mut self, member: &str) {
        self.claims.remove(member);
    }

    /// Returns `true` if a ledger of this member was not the remembered one, or is shorter.
    pub fn is_changed(&self, member: &str) -> bool {
        let mut claims = self.claims.get(member).into_iter().flat_map(BTreeMap::values);
        claims.any(|claim| claim.is_other || claim.is_shorter)
    }

    fn change(
        &mut self,
        state: &LedgerState,
        is_new: bool,
        claim: &mut Claim,
        now: Instant,
    ) -> Option<Change> {
        let LedgerState { dataset, identity, entries, .. } = state;
        let current = Remembered { identity: *identity, entries: *entries, since: now };
        let has_room = self.datasets.len() < DATASETS_MAX;
        let Some(known) = self.datasets.get_mut(dataset) else {
            if has_room {
                self.datasets.insert(dataset.clone(), current);
            }
            return None;
        };
        if known.identity == *identity {
            let was_shorter = claim.is_shorter;
            claim.is_shorter = *entries < known.entries && state.read > known.since;
            if *entries > known.entries {
                *known = current;
            }
            let before = known.entries;
            return (claim.is_shorter && !was_shorter).then_some(Change::Shorter { before });
        }
        claim.is_shorter = false;
        let before = known.identity;
        if state.follows.contains(&before) {
            *known = current;
            return Some(Change::Rebuilt { before });
        }
        if !is_new {
            return None;
        }
        claim.is_other = true;
        let still_named = (dataset.clone(), before);
        let mut others = self.claims.iter();
        match others.find(|(_, claims)| claims.contains_key(&still_named)) {
            Some((other, _)) => Some(Change::Apart { known: before, other: other.clone() }),
            None => {
                *known = current;
                Some(Change::Other { before })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn state(identity: u8, entries: u64, read: Instant) -> LedgerState {
        let identity = LedgerId([identity; 16]);
        LedgerState { dataset: "d".into(), identity, follows: Vec::new(), entries, read }
    }

    fn later(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    /// Reports ledgers of one member, a minute apart; returns the last change.
    fn heard(
        known: &mut KnownLedgers,
        member: &str,
        ledger: &LedgerState,
        now: Instant,
    ) -> Option<Change> {
        let mut found = known.observe(&member.into(), std::slice::from_ref(ledger), now);
        assert!(found.len() <= 1);
        found.pop().map(|finding| finding.change)
    }

    #[tokio::test(start_paused = true)]
    async fn another_ledger_is_found_once_and_is_the_known_one_from_then_on() {
        let (mut known, now) = (KnownLedgers::default(), Instant::now());
        assert_eq!(heard(&mut known, "a", &state(1, 5, now), now), None, "rule 1");
        let found = heard(&mut known, "a", &state(2, 1, now), now);
        assert_eq!(found, Some(Change::Other { before: LedgerId([1; 16]) }));
        assert!(known.is_changed("a"));
        assert_eq!(heard(&mut known, "a", &state(2, 2, now), now), None, "rule 5");
        assert!(known.is_changed("a"), "it shows until the agent is started again");
        assert_eq!(heard(&mut known, "b", &state(2, 2, now), now), None);
        assert!(!known.is_changed("b"));
        assert_eq!(known.datasets["d"].identity, LedgerId([2; 16]));
    }

    #[tokio::test(start_paused = true)]
    async fn collectors_that_store_by_different_ledgers_are_found() {
        let (mut known, now) = (KnownLedgers::default(), Instant::now());
        assert_eq!(heard(&mut known, "a", &state(1, 5, now), now), None);
        let apart = Change::Apart { known: LedgerId([1; 16]), other: "a".into() };
        for _ in 0..2 {
            assert_eq!(heard(&mut known, "b", &state(2, 1, now), now), Some(apart.clone()));
            assert_eq!(heard(&mut known, "b", &state(2, 1, now), now), None);
            assert_eq!(heard(&mut known, "a", &state(1, 6, now), now), None, "it does not flip");
            assert!(known.is_changed("b") && !known.is_changed("a"));
            known.withdraw("b");
        }
        // The member with the first ledger is gone: only the known one is left.
        known.withdraw("a");
        let found = heard(&mut known, "b", &state(2, 1, now), now);
        assert_eq!(found, Some(Change::Other { before: LedgerId([1; 16]) }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_whose_collectors_are_apart_names_both_and_is_found() {
        let (mut known, now, relay) = (KnownLedgers::default(), Instant::now(), Arc::from("r"));
        let both = [state(1, 5, now), state(2, 1, now)];
        let found = known.observe(&relay, &both, now);
        let apart = Change::Apart { known: LedgerId([1; 16]), other: relay.clone() };
        assert_eq!(found.into_iter().map(|one| one.change).collect::<Vec<_>>(), [apart]);
        assert_eq!(known.observe(&relay, &both, now), [], "rule 5");
        assert!(known.is_changed("r"));
        assert_eq!(known.datasets["d"].identity, LedgerId([1; 16]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_copy_is_found_and_a_collector_that_reads_seldom_is_not_one() {
        let (mut known, now) = (KnownLedgers::default(), Instant::now());
        assert_eq!(heard(&mut known, "a", &state(1, 100, now), later(now, 10)), None);
        // It read its 60 entries before the other one had 100.
        assert_eq!(heard(&mut known, "b", &state(1, 60, later(now, 9)), later(now, 20)), None);
        assert!(!known.is_changed("b"));
        let copy = state(1, 60, later(now, 11));
        let shorter = Some(Change::Shorter { before: 100 });
        assert_eq!(heard(&mut known, "a", &copy, later(now, 20)), shorter);
        assert_eq!(heard(&mut known, "a", &copy, later(now, 30)), None, "rule 5");
        assert!(known.is_changed("a"));
        assert_eq!(known.datasets["d"].entries, 100);
        assert_eq!(
            heard(&mut known, "c", &copy, later(now, 30)),
            shorter,
            "whichever agent names it"
        );
        // It has grown back to its old length: only collectors can detect that it is another one.
        assert_eq!(heard(&mut known, "a", &state(1, 101, later(now, 40)), later(now, 40)), None);
        assert!(!known.is_changed("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_was_rebuilt_takes_the_place_of_the_known_one() {
        let (mut known, now) = (KnownLedgers::default(), Instant::now());
        assert_eq!(heard(&mut known, "a", &state(1, 5, now), now), None);
        let rebuilt = LedgerState { follows: vec![LedgerId([1; 16])], ..state(2, 6, now) };
        let found = heard(&mut known, "a", &rebuilt, now);
        assert_eq!(found, Some(Change::Rebuilt { before: LedgerId([1; 16]) }));
        assert!(!known.is_changed("a"));
        assert_eq!(known.datasets["d"].identity, LedgerId([2; 16]));
    }

    #[tokio::test(start_paused = true)]
    async fn remembers_a_bounded_number_of_ledgers() {
        let (mut known, now) = (KnownLedgers::default(), Instant::now());
        for n in 0..10 * DATASETS_MAX as u64 {
            let dataset = n.to_string().into();
            let named = vec![LedgerState { dataset, ..state(1, n, now) }; LEDGERS_MAX + 1];
            known.observe(&"a".into(), &named, now);
        }
        assert_eq!(known.datasets.len(), DATASETS_MAX);
        assert_eq!(known.claims["a"].len(), 1, "no other is named now");
    }
}
