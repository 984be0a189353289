//! Which events of a batch go into which dataset, and whether all members of a group agree on it.
//!
//! ```text
//!   batch K ──► collector-1: shop ─► dataset A      collector-2: shop ─► dataset B
//!                            rest ─► dataset B                    rest ─► dataset A
//! ```
//!
//! A batch may go to any member of a group, and to another one when an answer is lost. Each dataset
//! knows by its ledger which batches it has, so a batch is repeated nowhere as long as every member
//! sends the same events of it into the same datasets. Where members differ, as above, an event
//! lands in two datasets, or in none. So each member names its [`Routing`], and the sender
//! compares.
//!
//! # Rules
//!
//! 1. What the most members say holds. Where as many say something else, what held goes on to hold:
//!    it is what batches have gone by.
//! 2. A member that names another routing than the one in use gets no batch. Its connection stays:
//!    what it has stored already is settled by it.
//! 3. A member that names none is not compared: an older agent, or one that hands on to others.
//! 4. A member that was away so long that nothing is known to be with it does not count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::Routing;
use support::notice;
use tokio::sync::Notify;

/// Two members that do not send the same events into the same datasets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute {
    /// What the member said that is refused.
    pub own: Routing,
    /// Another member.
    pub other: Arc<str>,
    /// What that one and the most members say.
    pub theirs: Routing,
}

/// What a member said last.
#[derive(Debug, Clone)]
struct Answer {
    routing: Routing,
    /// Which answer of all it was, so that the first of several can be found.
    number: u64,
}

/// The decision: what the members of a group said, and what holds. No clock, no I/O.
#[derive(Debug, Default)]
pub struct Concord {
    answers: BTreeMap<Arc<str>, Answer>,
    answered: u64,
    holds: Option<u64>,
}

impl Concord {
    /// A member said how it routes; `None`: it says nothing about it.
    pub fn heard(&mut self, member: &Arc<str>, routing: Option<Routing>) {
        match routing {
            Some(routing) => {
                self.answered += 1;
                let answer = Answer { routing, number: self.answered };
                self.answers.insert(member.clone(), answer);
            }
            None => drop(self.answers.remove(member)),
        }
        self.decide();
    }

    /// Nothing is known to be with this member any more.
    pub fn withdraw(&mut self, member: &str) {
        self.answers.remove(member);
        self.decide();
    }

    /// Why this member gets no batch.
    pub fn dispute(&self, member: &str) -> Option<Dispute> {
        let own = &self.answers.get(member)?.routing;
        let holds = self.holds.filter(|holds| *holds != own.digest)?;
        let mut others = self.answers.iter();
        let (other, answer) = others.find(|(_, answer)| answer.routing.digest == holds)?;
        let theirs = answer.routing.clone();
        Some(Dispute { own: own.clone(), other: other.clone(), theirs })
    }

    /// Rule 1.
    fn decide(&mut self) {
        let mut votes: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
        for answer in self.answers.values() {
            let (count, first) = votes.entry(answer.routing.digest).or_insert((0, u64::MAX));
            (*count, *first) = (*count + 1, answer.number.min(*first));
        }
        let key = |(digest, (count, first)): &(u64, (usize, u64))| {
            (*count, Some(*digest) == self.holds, std::cmp::Reverse(*first))
        };
        self.holds = votes.into_iter().max_by_key(key).map(|(digest, _)| digest);
    }
}

/// What the sinks of one group know of each other's routing. Clones are the same board.
#[derive(Debug, Clone, Default)]
pub struct RoutingBoard {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    concord: Mutex<Concord>,
    /// How often something was said or withdrawn.
    changes: AtomicU64,
    /// Wakes in the order of waiting, as a `watch` does not: a simulation can be repeated.
    changed: Notify,
}

impl RoutingBoard {
    /// As [`Concord::heard`].
    pub fn heard(&self, member: &Arc<str>, routing: Option<Routing>) {
        self.concord().heard(member, routing);
        self.tell();
    }

    /// As [`Concord::withdraw`].
    pub fn withdraw(&self, member: &str) {
        self.concord().withdraw(member);
        self.tell();
    }

    /// As [`Concord::dispute`].
    pub fn dispute(&self, member: &str) -> Option<Dispute> {
        self.concord().dispute(member)
    }

    /// Waits until some answer of [`RoutingBoard::dispute`] may be otherwise than after so many
    /// changes as were `seen`, which it keeps. Cancel safe.
    pub async fn changed(&self, seen: &mut u64) {
        *seen = notice::until(&self.inner.changed, || {
            let changes = self.inner.changes.load(Ordering::SeqCst);
            (changes != *seen).then_some(changes)
        })
        .await;
    }

    fn tell(&self) {
        self.inner.changes.fetch_add(1, Ordering::SeqCst);
        self.inner.changed.notify_waiters();
    }

    fn concord(&self) -> MutexGuard<'_, Concord> {
        // The decision is made anew by each answer, whichever task panicked before.
        self.inner.concord.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> [Arc<str>; 4] {
        ["a", "b", "c", "d"].map(Arc::from)
    }

    fn said(text: &str) -> Option<Routing> {
        Some(Routing::of(text))
    }

    #[test]
    fn the_odd_one_of_three_is_refused_whoever_was_heard_first() {
        let [a, b, c, _] = names();
        let mut concord = Concord::default();
        concord.heard(&a, said("odd"));
        assert_eq!(concord.dispute("a"), None, "none says otherwise");
        concord.heard(&b, said("even"));
        let Dispute { own, other, theirs } = concord.dispute("b").unwrap();
        assert_eq!((&*own.text, &*other, &*theirs.text), ("even", "a", "odd"));
        concord.heard(&c, said("even"));
        assert_eq!(concord.dispute("a").unwrap().other, b);
        assert_eq!((concord.dispute("b"), concord.dispute("c")), (None, None));
    }

    /// Collectors are changed one after the other: the old routing holds until the most have the
    /// new one, and a member that never comes back does not stand in the way for ever.
    #[test]
    fn a_new_routing_takes_over_when_the_most_have_it() {
        let [a, b, c, _] = names();
        let mut concord = Concord::default();
        [&a, &b, &c].into_iter().for_each(|member| concord.heard(member, said("old")));
        concord.heard(&a, said("new"));
        assert!(concord.dispute("a").is_some());
        concord.withdraw("c");
        assert!(concord.dispute("a").is_some(), "as many say so: what held goes on to hold");
        concord.heard(&b, said("new"));
        assert_eq!((concord.dispute("a"), concord.dispute("b")), (None, None));
        concord.heard(&c, said("old"));
        assert!(concord.dispute("c").is_some());
    }

    #[test]
    fn who_says_nothing_is_not_compared() {
        let [a, b, ..] = names();
        let mut concord = Concord::default();
        concord.heard(&a, said("one"));
        concord.heard(&b, None);
        assert_eq!((concord.dispute("a"), concord.dispute("b")), (None, None));
        concord.heard(&b, said("two"));
        concord.heard(&a, None);
        assert_eq!(concord.dispute("b"), None);
    }

    proptest! {
        /// In any order of answers: those that may be used agree, they are at least as many as any
        /// others that agree, and what held stays when it is level with the best.
        #[test]
        fn those_in_use_always_agree_and_are_never_fewer(
            steps in prop::collection::vec((0..4_usize, 0..4_u64), 1..60)
        ) {
            let (names, mut concord) = (names(), Concord::default());
            let mut model: BTreeMap<usize, u64> = BTreeMap::new();
            let mut held: Option<u64> = None;
            for (member, word) in steps {
                if word == 0 {
                    concord.withdraw(&names[member]);
                    model.remove(&member);
                } else {
                    concord.heard(&names[member], Some(Routing::told(word, "")));
                    model.insert(member, word);
                }
                let of = |word: u64| model.values().filter(|other| **other == word).count();
                let used: Vec<u64> = model
                    .iter()
                    .filter(|(member, _)| concord.dispute(&names[**member]).is_none())
                    .map(|(_, word)| *word)
                    .collect();
                prop_assert_eq!(used.is_empty(), model.is_empty());
                if let Some(word) = used.first().copied() {
                    prop_assert!(used.iter().all(|other| *other == word));
                    prop_assert_eq!(used.len(), of(word));
                    prop_assert!(model.values().all(|other| of(*other) <= of(word)));
                    if let Some(before) = held.filter(|before| *before != word) {
                        prop_assert!(of(before) < of(word));
                    }
                    held = Some(word);
                } else {
                    held = None;
                }
            }
        }
    }
}
