//! Whether everything that edges accepted is in the store: their accounts held against its ledgers.
//! Pure: what was read goes in, what is proved comes out.
//!
//! A batch of an account is, in this order of looking:
//!
//! | | |
//! |---|---|
//! | committed | in a ledger, or below one of its floors: in a visible file, once |
//! | pending | not in a ledger, and some channel whose account is given still holds it |
//! | in dead letters | neither, and among the dead letters of some account that is given; also one of an epoch that a ledger has closed, if the channel that named it has it among its own: a floor names no batch |
//! | missing | accepted, and nowhere |
//!
//! What a relay split is in ledgers and other channels under the names of its parts. They are
//! recognised by the channels that accounts are given of: those of the relay, too. Such a batch is
//! committed when a ledger has some part of it, and none of these channels still has one.

mod parts;

use pipeline::{Account, KeySet};

use crate::Settled;
use parts::Originals;

/// What is proved of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// Batches that were accepted.
    pub accepted: u64,
    /// Those that are committed.
    pub committed: u64,
    /// Those that some channel still has to deliver.
    pub pending: KeySet,
    /// Those that are kept among dead letters, for an operator to put back or to drop.
    pub letters: KeySet,
    /// Those that are nowhere.
    pub missing: KeySet,
}

/// Holds each of `accounts` against what the ledgers say; a batch needs to be in one of these.
pub fn prove<'a>(accounts: &[Account], ledgers: impl Iterator<Item = &'a Settled>) -> Vec<Proof> {
    let (mut held, mut dead) = (KeySet::default(), KeySet::default());
    for account in accounts {
        held.insert_all(&account.pending);
        dead.insert_all(&account.letters);
    }
    let ledgers: Vec<&Settled> = ledgers.collect();
    let originals = Originals::of(accounts);
    // Of a batch that was split one part may be in a ledger while another one still waits.
    let mut open = held.clone();
    open.insert_all(&dead);
    for settled in &ledgers {
        open.remove_all(&settled.keys);
        let closed = settled.floors.closed_of(&open);
        open.remove_all(&closed);
    }
    let open = originals.of_parts(&open);
    held.insert_all(&originals.of_parts(&held));
    dead.insert_all(&originals.of_parts(&dead));
    let ledgers: Vec<Settled> = ledgers.into_iter().map(|one| originals.added_to(one)).collect();
    let one = |account: &Account| {
        let mut rest = account.accepted.clone();
        ledgers.iter().for_each(|settled| rest.remove_all(&settled.keys));
        // An epoch is closed when all of it is committed and none of it is a letter. So what is one
        // all the same is of a second life of that epoch: of a copy of the directory, perhaps.
        let second = rest.intersection(&account.letters);
        for settled in &ledgers {
            rest.remove_all(&settled.floors.closed_of(&account.accepted));
        }
        rest.insert_all(&second);
        rest.insert_all(&open.intersection(&account.accepted));
        let pending = rest.intersection(&held);
        let committed = account.accepted.count() - rest.count();
        rest.remove_all(&pending);
        let letters = rest.intersection(&dead);
        rest.remove_all(&letters);
        Proof { accepted: account.accepted.count(), committed, pending, letters, missing: rest }
    };
    accounts.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use pipeline::{Epoch, Origin, PartNames};

    use super::*;

    const OWN: Origin = Origin([1; 16]);

    fn keys(epoch: u64, range: std::ops::Range<u64>) -> KeySet {
        let mut keys = KeySet::default();
        keys.insert_set(OWN, Epoch(epoch), &range.into());
        keys
    }

    fn account(accepted: KeySet, pending: KeySet) -> Account {
        let letters = KeySet::default();
        Account { channel: "main".into(), origin: OWN, accepted, pending, letters }
    }

    fn settled(keys: KeySet) -> Settled {
        Settled { keys, ..Settled::default() }
    }

    #[test]
    fn each_batch_is_committed_pending_or_missing() {
        let edge = account(keys(1, 0..10), keys(1, 8..10));
        let ledger = settled(keys(1, 0..6));
        let [proof] = prove(&[edge], [&ledger].into_iter()).try_into().unwrap();
        assert_eq!((proof.accepted, proof.committed), (10, 6));
        assert_eq!((proof.pending, proof.missing), (keys(1, 8..10), keys(1, 6..8)));
    }

    /// What an edge has let go may still wait in a collector.
    #[test]
    fn what_any_given_channel_holds_is_not_missing() {
        let edge = account(keys(1, 0..10), KeySet::default());
        let collector = account(KeySet::default(), keys(1, 6..10));
        let ledger = settled(keys(1, 0..6));
        let proofs = prove(&[edge, collector], [&ledger].into_iter());
        assert_eq!(proofs[0].pending, keys(1, 6..10));
        assert!(proofs[0].missing.is_empty());
        assert_eq!(proofs[1], Proof::default());
    }

    /// A letter counts for nothing where the batch is in a ledger, or still on its way.
    #[test]
    fn what_is_among_dead_letters_is_neither_missing_nor_committed() {
        let edge = account(keys(1, 0..10), keys(1, 8..9));
        let mut collector = account(KeySet::default(), KeySet::default());
        collector.letters = keys(1, 5..9);
        let ledger = settled(keys(1, 0..6));
        let proofs = prove(&[edge, collector], [&ledger].into_iter());
        assert_eq!((proofs[0].committed, &proofs[0].pending), (6, &keys(1, 8..9)));
        assert_eq!((&proofs[0].letters, &proofs[0].missing), (&keys(1, 6..8), &keys(1, 9..10)));
    }

    /// A directory restored from an old copy names new lines by an epoch that was closed.
    #[test]
    fn a_letter_of_a_closed_epoch_is_not_committed_by_its_floor() {
        let mut edge = account(keys(1, 0..10), KeySet::default());
        edge.letters = keys(1, 7..10);
        let mut closed = Settled::default();
        closed.floors.raise(OWN, Epoch(2));
        let proofs = prove(&[edge.clone()], [&closed].into_iter());
        assert_eq!((proofs[0].committed, &proofs[0].letters), (7, &keys(1, 7..10)));
        // A copy that came late at a collector says nothing of the edge's own batch.
        let mut collector = account(KeySet::default(), KeySet::default());
        (collector.origin, collector.letters) = (Origin([9; 16]), edge.letters);
        edge.letters = KeySet::default();
        let proofs = prove(&[edge, collector], [&closed].into_iter());
        assert_eq!((proofs[0].committed, proofs[0].letters.count()), (10, 0));
    }

    /// Method: two relays split, one after the other; the second one holds one part of a part.
    #[test]
    fn a_batch_that_is_split_is_committed_when_no_channel_has_a_part_of_it() {
        let [a, b] = ["a", "b"].map(PartNames::of_channel);
        let part = |names: &PartNames, keys: &KeySet| {
            let mut named = KeySet::default();
            for (origin, epoch, set) in keys.iter() {
                named.insert_set(names.of_origin(origin), epoch, set);
            }
            named
        };
        let edge = account(keys(1, 0..10), KeySet::default());
        let relay = |channel: &str, pending: KeySet, letters: KeySet| {
            let (origin, accepted) = (Origin([8; 16]), KeySet::default());
            Account { channel: channel.into(), origin, accepted, pending, letters }
        };
        let (in_a, in_b) = (part(&a, &keys(1, 0..8)), part(&b, &part(&a, &keys(1, 0..8))));
        let store = settled(in_a.clone());
        let nothing = KeySet::default;
        let of_a = relay("a", nothing(), nothing());
        let of_b = relay("b", part(&b, &part(&a, &keys(1, 3..4))), part(&b, &keys(1, 5..6)));
        let all = [edge.clone(), of_a.clone(), of_b];
        let proof = prove(&all, [&store].into_iter()).swap_remove(0);
        assert_eq!((proof.committed, &proof.pending), (6, &keys(1, 3..4)));
        assert_eq!((&proof.letters, &proof.missing), (&keys(1, 5..6), &keys(1, 8..10)));
        // What two relays named is found, and what is in a ledger waits nowhere.
        let store = settled(in_b.clone());
        let all = [edge.clone(), of_a.clone(), relay("b", in_b, nothing())];
        let proof = prove(&all, [&store].into_iter()).swap_remove(0);
        assert_eq!((proof.committed, proof.missing), (8, keys(1, 8..10)));
        // A floor of the parts is one of the batches, and a channel that is not known names none.
        let mut closed = Settled::default();
        closed.floors.raise(a.of_origin(OWN), Epoch(2));
        let proof = prove(&[edge.clone(), of_a], [&closed].into_iter()).swap_remove(0);
        assert_eq!((proof.committed, proof.missing.count()), (10, 0));
        let proof = prove(&[edge], [&settled(in_a)].into_iter()).swap_remove(0);
        assert_eq!((proof.committed, proof.missing.count()), (0, 10));
    }

    #[test]
    fn what_is_below_a_floor_is_committed_in_whichever_ledger() {
        let mut accepted = keys(1, 0..4);
        accepted.insert_all(&keys(2, 0..4));
        let mut closed = Settled::default();
        closed.floors.raise(OWN, Epoch(2));
        let other = settled(keys(2, 0..4));
        let edge = account(accepted, KeySet::default());
        let proofs = prove(&[edge], [&closed, &other].into_iter());
        assert_eq!((proofs[0].committed, proofs[0].missing.count()), (8, 0));
    }
}
