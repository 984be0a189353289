//! Agreement of a group's members on the routing of events into datasets.
//!
//! ```text
//!   batch K ──► collector-1: shop ─► dataset A      collector-2: shop ─► dataset B
//!                            rest ─► dataset B                    rest ─► dataset A
//! ```
//!
//! A batch may go to any member of a group, and to another one when an answer is lost. Each dataset
//! knows by its ledger which batches it has, so no batch is repeated while every member sends the
//! same events of it into the same datasets. If members differ, as above, an event is stored in two
//! datasets, or in none. Therefore each member announces its [`Routing`], and the sender compares.
//!
//! # Rules
//!
//! 1. The routing of the majority is in force. In case of a tie, the previous one stays in force,
//!    because earlier batches followed it.
//! 2. A member with another routing than the one in force gets no batch. Its connection stays, so
//!    that batches that it has stored are settled.
//! 3. A member without an announcement is not compared: an older agent, or one that forwards to
//!    others.
//! 4. A member that was down so long that it certainly has no unsettled batch does not count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::Routing;
use support::notice;
use tokio::sync::Notify;

/// Two members that do not send the same events into the same datasets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute {
    /// The routing of the refused member.
    pub own: Routing,
    /// Another member.
    pub other: Arc<str>,
    /// The routing of the first member and of the majority.
    pub theirs: Routing,
}

/// The last announcement of a member.
#[derive(Debug, Clone)]
struct Answer {
    routing: Routing,
    /// Sequence number of the announcement, to find the first of several.
    number: u64,
}

/// Decides which routing is in force, from the announcements of a group's members. No clock, no
/// I/O.
#[derive(Debug, Default)]
pub struct RoutingVote {
    answers: BTreeMap<Arc<str>, Answer>,
    answered: u64,
    holds: Option<u64>,
}

impl RoutingVote {
    /// Records a member's routing; `None`: it does not announce one.
    pub fn observe(&mut self, member: &Arc<str>, routing: Option<Routing>) {
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

    /// Removes a member that certainly has no unsettled batch.
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

/// The routings of one group's members, shared by its sinks. Clones share the board.
#[derive(Debug, Clone, Default)]
pub struct RoutingBoard {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    vote: Mutex<RoutingVote>,
    /// Number of announcements and withdrawals.
    changes: AtomicU64,
    /// Wakes in the order of waiting, as a `watch` does not: a simulation can be repeated.
    changed: Notify,
}

impl RoutingBoard {
    /// As [`RoutingVote::observe`].
    pub fn observe(&self, member: &Arc<str>, routing: Option<Routing>) {
        self.vote().observe(member, routing);
        self.notify();
    }

    /// As [`RoutingVote::withdraw`].
    pub fn withdraw(&self, member: &str) {
        self.vote().withdraw(member);
        self.notify();
    }

    /// As [`RoutingVote::dispute`].
    pub fn dispute(&self, member: &str) -> Option<Dispute> {
        self.vote().dispute(member)
    }

    /// Waits until some answer of [`RoutingBoard::dispute`] may differ from the one after `seen`
    /// changes; updates `seen`. Cancel safe.
    pub async fn changed(&self, seen: &mut u64) {
        *seen = notice::until(&self.inner.changed, || {
            let changes = self.inner.changes.load(Ordering::SeqCst);
            (changes != *seen).then_some(changes)
        })
        .await;
    }

    fn notify(&self) {
        self.inner.changes.fetch_add(1, Ordering::SeqCst);
        self.inner.changed.notify_waiters();
    }

    fn vote(&self) -> MutexGuard<'_, RoutingVote> {
        // Each announcement recomputes the decision, whichever task panicked before.
        self.inner.vote.lock().unwrap_or_else(PoisonError::into_inner)
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
        Some(Routing::from_text(text))
    }

    #[test]
    fn the_odd_one_of_three_is_refused_whoever_was_heard_first() {
        let [a, b, c, _] = names();
        let mut vote = RoutingVote::default();
        vote.observe(&a, said("odd"));
        assert_eq!(vote.dispute("a"), None, "none says otherwise");
        vote.observe(&b, said("even"));
        let Dispute { own, other, theirs } = vote.dispute("b").unwrap();
        assert_eq!((&*own.text, &*other, &*theirs.text), ("even", "a", "odd"));
        vote.observe(&c, said("even"));
        assert_eq!(vote.dispute("a").unwrap().other, b);
        assert_eq!((vote.dispute("b"), vote.dispute("c")), (None, None));
    }

    /// Collectors are changed one after the other: the old routing stays in force until the
    /// majority has the new one, and a member that never returns does not block forever.
    #[test]
    fn a_new_routing_takes_over_when_the_most_have_it() {
        let [a, b, c, _] = names();
        let mut vote = RoutingVote::default();
        [&a, &b, &c].into_iter().for_each(|member| vote.observe(member, said("old")));
        vote.observe(&a, said("new"));
        assert!(vote.dispute("a").is_some());
        vote.withdraw("c");
        assert!(vote.dispute("a").is_some(), "a tie keeps the routing");
        vote.observe(&b, said("new"));
        assert_eq!((vote.dispute("a"), vote.dispute("b")), (None, None));
        vote.observe(&c, said("old"));
        assert!(vote.dispute("c").is_some());
    }

    #[test]
    fn peers_without_a_description_are_not_compared() {
        let [a, b, ..] = names();
        let mut vote = RoutingVote::default();
        vote.observe(&a, said("one"));
        vote.observe(&b, None);
        assert_eq!((vote.dispute("a"), vote.dispute("b")), (None, None));
        vote.observe(&b, said("two"));
        vote.observe(&a, None);
        assert_eq!(vote.dispute("b"), None);
    }

    proptest! {
        /// In any order of announcements: members in use agree, no other agreeing set is larger,
        /// and in case of a tie the previous routing stays.
        #[test]
        fn those_in_use_always_agree_and_are_never_fewer(
            steps in prop::collection::vec((0..4_usize, 0..4_u64), 1..60)
        ) {
            let (names, mut vote) = (names(), RoutingVote::default());
            let mut model: BTreeMap<usize, u64> = BTreeMap::new();
            let mut held: Option<u64> = None;
            for (member, word) in steps {
                if word == 0 {
                    vote.withdraw(&names[member]);
                    model.remove(&member);
                } else {
                    vote.observe(&names[member], Some(Routing::from_digest(word, "")));
                    model.insert(member, word);
                }
                let of = |word: u64| model.values().filter(|other| **other == word).count();
                let used: Vec<u64> = model
                    .iter()
                    .filter(|(member, _)| vote.dispute(&names[**member]).is_none())
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
