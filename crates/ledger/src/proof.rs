//! Proves that everything that edges accepted is in the store: compares their accounts with its
//! ledgers. Pure: takes accounts and ledgers, returns a proof for each account.
//!
//! The state of a batch is the first of these that applies:
//!
//! | | |
//! |---|---|
//! | committed | in a ledger, or below one of its floors: in a visible file, once |
//! | pending | not in a ledger, and still in some channel whose account is given |
//! | in dead letters | neither, and among the dead letters of some given account; also a batch of an epoch that a ledger has closed, if the channel that named it has it among its own dead letters: a floor names no batch |
//! | missing | accepted, and in none of these |
//!
//! Ledgers and downstream channels know a batch that a relay split by the names of its parts. The
//! proof recognises the parts through the accounts of the channels, including the relay's. Such a
//! batch is committed when a ledger has some part of it, and no given channel still has one.
//!
//! A committed batch may lack events: a sink or an interceptor refused them, and the rest was
//! delivered. Therefore each proof counts the events among dead letters, whatever the state of
//! their batches. Only a letter of a complete batch that a ledger has is a copy, and is not
//! counted.

mod parts;

use std::collections::BTreeMap;

use pipeline::{Account, Identity, KeySet, LetterCount};
use support::mutant;

use crate::Settled;
use parts::Originals;

/// The proof of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// Batches that were accepted.
    pub accepted: u64,
    /// Number of committed batches.
    pub committed: u64,
    /// Batches that some channel still has to deliver.
    pub pending: KeySet,
    /// Batches without a committed part that are among the dead letters.
    pub letters: KeySet,
    /// Batches that are missing.
    pub missing: KeySet,
    /// Batches in its channel that are in no ledger and that no account accepted: they were
    /// replayed from dead letters, or the account of their edge is not given.
    pub foreign: KeySet,
    /// Events among its dead letters by reason, without copies of batches in a ledger.
    pub letter_events: BTreeMap<String, u64>,
}

/// Compares each of `accounts` with the ledgers; a batch has to be in one of them.
pub fn prove<'a>(accounts: &[Account], ledgers: impl Iterator<Item = &'a Settled>) -> Vec<Proof> {
    let (mut held, mut dead) = (KeySet::default(), KeySet::default());
    for account in accounts {
        held.insert_all(&account.pending);
        dead.insert_all(&account.letters.keys());
    }
    let ledgers: Vec<&Settled> = ledgers.collect();
    let originals = Originals::from_accounts(accounts);
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
    let unaccounted = unaccounted(accounts, &originals);
    let one = |account: &Account| {
        let mut rest = account.accepted.clone();
        ledgers.iter().for_each(|settled| rest.remove_all(&settled.keys));
        // An epoch is closed when all its batches are committed and none is a letter. A letter of a
        // closed epoch is therefore from a second life of that epoch, for example of a copied
        // directory.
        let second = rest.intersection(&account.letters.keys());
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
        Proof {
            accepted: account.accepted.count(),
            committed,
            pending,
            letters,
            missing: rest,
            foreign: without(&account.pending.intersection(&unaccounted), &ledgers),
            letter_events: letter_events(account, &ledgers),
        }
    };
    accounts.iter().map(one).collect()
}

/// Returns the pending batches of all accounts that none of them accepted.
fn unaccounted(accounts: &[Account], originals: &Originals) -> KeySet {
    let mut keys = KeySet::default();
    for (origin, epoch, set) in accounts.iter().flat_map(|account| account.pending.iter()) {
        if !originals.is_part(origin) {
            keys.insert_set(origin, epoch, set);
        }
    }
    accounts.iter().for_each(|account| keys.remove_all(&account.accepted));
    keys
}

/// Returns the `keys` that no ledger has.
fn without(keys: &KeySet, ledgers: &[Settled]) -> KeySet {
    let mut rest = keys.clone();
    for settled in ledgers {
        rest.remove_all(&settled.keys);
        rest.remove_all(&settled.floors.closed_of(keys));
    }
    rest
}

/// Events among the dead letters of an account by reason, without copies.
fn letter_events(account: &Account, ledgers: &[Settled]) -> BTreeMap<String, u64> {
    let is_committed = |batch: Identity| {
        let has = |settled: &Settled| {
            let is_closed = settled.is_closed(batch) && !account.accepted.contains(batch);
            settled.keys.contains(batch) || is_closed
        };
        ledgers.iter().any(has)
    };
    let mut events = BTreeMap::new();
    for LetterCount { reason, batch, whole, events: count } in account.letters.iter() {
        let is_copy = whole && batch.is_some_and(is_committed);
        let is_left_out = mutant!("letters_of_committed") && batch.is_some_and(is_committed);
        if !is_copy && !is_left_out {
            *events.entry(reason.to_owned()).or_default() += count;
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use pipeline::{Epoch, Origin, PartNames, Sequence};

    use super::*;

    const OWN: Origin = Origin([1; 16]);

    fn keys(epoch: u64, range: std::ops::Range<u64>) -> KeySet {
        let mut keys = KeySet::default();
        keys.insert_set(OWN, Epoch(epoch), &range.into());
        keys
    }

    fn account(accepted: KeySet, pending: KeySet) -> Account {
        Account { accepted, pending, ..Account::empty("main", OWN) }
    }

    /// Whole batches of one event among the letters of an account.
    fn add_letters(account: &mut Account, keys: &KeySet) {
        for (origin, epoch, set) in keys.iter() {
            for sequence in set.iter().map(Sequence) {
                let batch = Some(Identity { origin, epoch, sequence });
                let letter = LetterCount { reason: "too_large", batch, whole: true, events: 1 };
                account.letters.add(letter);
            }
        }
    }

    fn key(sequence: u64) -> Option<Identity> {
        Some(Identity { origin: OWN, epoch: Epoch(1), sequence: Sequence(sequence) })
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

    /// A batch that an edge no longer holds may still wait in a collector.
    #[test]
    fn batches_in_a_channel_are_not_missing() {
        let edge = account(keys(1, 0..10), KeySet::default());
        let collector = account(KeySet::default(), keys(1, 6..10));
        let ledger = settled(keys(1, 0..6));
        let proofs = prove(&[edge, collector], [&ledger].into_iter());
        assert_eq!(proofs[0].pending, keys(1, 6..10));
        assert!(proofs[0].missing.is_empty());
        assert_eq!(proofs[1], Proof::default());
    }

    /// A batch that was put back from dead letters has a name that no account accepted.
    #[test]
    fn pending_batches_that_no_account_accepted_are_shown() {
        let edge = account(keys(1, 0..2), KeySet::default());
        let mut back = KeySet::default();
        back.insert_set(Origin([7; 16]), Epoch(1), &(0..2).into());
        let collector = account(KeySet::default(), back.clone());
        let ledger = settled(keys(1, 0..2));
        let proofs = prove(&[edge.clone(), collector.clone()], [&ledger].into_iter());
        assert_eq!((proofs[0].committed, proofs[1].foreign.count()), (2, 2));
        // The account of the edge is not given.
        let proofs = prove(&[account(KeySet::default(), keys(1, 1..3))], [&ledger].into_iter());
        assert_eq!(proofs[0].foreign, keys(1, 2..3));
        let delivered = settled({
            let mut keys = keys(1, 0..2);
            keys.insert_all(&back);
            keys
        });
        let proofs = prove(&[edge, collector], [&delivered].into_iter());
        assert!(proofs[1].foreign.is_empty());
    }

    /// The rest of the batch was delivered, so the ledger has it.
    #[test]
    fn events_that_were_split_off_a_committed_batch_count_as_dead_letters() {
        let edge = account(keys(1, 0..2), KeySet::default());
        let mut collector = account(KeySet::default(), KeySet::default());
        let part = |reason, batch, events| LetterCount { reason, batch, whole: false, events };
        collector.letters.add(part("unwritable_event", key(0), 2));
        collector.letters.add(part("unwritable_event", key(1), 1));
        collector.letters.add(part("filtered", None, 4));
        add_letters(&mut collector, &keys(1, 1..2));
        let ledger = settled(keys(1, 0..2));
        let proofs = prove(&[edge, collector], [&ledger].into_iter());
        assert_eq!((proofs[0].committed, proofs[0].letters.count()), (2, 0));
        let events: Vec<(&str, u64)> =
            proofs[1].letter_events.iter().map(|(reason, events)| (&**reason, *events)).collect();
        assert_eq!(events, [("filtered", 4), ("unwritable_event", 3)], "a copy does not count");
    }

    /// A letter does not count if the batch is in a ledger, or still pending.
    #[test]
    fn dead_letters_are_neither_missing_nor_committed() {
        let edge = account(keys(1, 0..10), keys(1, 8..9));
        let mut collector = account(KeySet::default(), KeySet::default());
        add_letters(&mut collector, &keys(1, 5..9));
        let ledger = settled(keys(1, 0..6));
        let proofs = prove(&[edge, collector], [&ledger].into_iter());
        assert_eq!((proofs[0].committed, &proofs[0].pending), (6, &keys(1, 8..9)));
        assert_eq!((&proofs[0].letters, &proofs[0].missing), (&keys(1, 6..8), &keys(1, 9..10)));
    }

    /// A directory restored from an old copy names new lines by an epoch that was closed.
    #[test]
    fn a_letter_of_a_closed_epoch_is_not_committed_by_its_floor() {
        let mut edge = account(keys(1, 0..10), KeySet::default());
        add_letters(&mut edge, &keys(1, 7..10));
        let mut closed = Settled::default();
        closed.floors.raise(OWN, Epoch(2));
        let proofs = prove(&[edge.clone()], [&closed].into_iter());
        assert_eq!((proofs[0].committed, &proofs[0].letters), (7, &keys(1, 7..10)));
        assert_eq!(proofs[0].letter_events["too_large"], 3);
        // A late copy at a collector proves nothing about the edge's own batch.
        let mut collector = account(KeySet::default(), KeySet::default());
        (collector.origin, collector.letters) =
            (Origin([9; 16]), std::mem::take(&mut edge.letters));
        let proofs = prove(&[edge, collector], [&closed].into_iter());
        assert_eq!((proofs[0].committed, proofs[0].letters.count()), (10, 0));
        assert!(proofs[1].letter_events.is_empty(), "they are copies");
    }

    /// Method: two relays split, one after the other; the second one holds one part of a part.
    #[test]
    fn a_batch_that_is_split_is_committed_when_no_channel_has_a_part_of_it() {
        let [a, b] = ["a", "b"].map(PartNames::new);
        let part = |names: &PartNames, keys: &KeySet| {
            let mut named = KeySet::default();
            for (origin, epoch, set) in keys.iter() {
                named.insert_set(names.of_origin(origin), epoch, set);
            }
            named
        };
        let edge = account(keys(1, 0..10), KeySet::default());
        let relay = |channel: &str, pending: KeySet, letters: KeySet| {
            let mut relay = Account { pending, ..Account::empty(channel, Origin([8; 16])) };
            add_letters(&mut relay, &letters);
            relay
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
        // Batches named by both relays are found, and batches in a ledger are not pending.
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
    fn batches_below_a_floor_are_committed_in_any_ledger() {
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
