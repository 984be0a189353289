//! Maps parts that relays made to the batches of the accounts.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::{Account, KeySet, Origin, PartNames};

use crate::Settled;

/// Consecutive relays that may have split a batch.
const RELAYS_MAX: u32 = 2;

/// The origins of accounts, and how their parts are named.
pub(super) struct Originals {
    origins: BTreeSet<Origin>,
    channels: Vec<PartNames>,
}

impl Originals {
    /// Collects the batches that these accounts accepted, split by the channels of the accounts.
    pub(super) fn from_accounts(accounts: &[Account]) -> Self {
        let accepted = accounts.iter().flat_map(|account| account.accepted.iter());
        let channels: BTreeSet<&str> = accounts.iter().map(|account| &*account.channel).collect();
        Self {
            origins: accepted.map(|(origin, ..)| origin).collect(),
            channels: channels.into_iter().map(PartNames::new).collect(),
        }
    }

    /// Returns the origin of the batches whose parts have this origin.
    fn of_part(&self, part: Origin, relays: u32) -> Option<Origin> {
        if relays == 0 {
            return None;
        }
        self.channels.iter().map(|names| names.original(part)).find_map(|origin| {
            let is_known = self.origins.contains(&origin);
            if is_known { Some(origin) } else { self.of_part(origin, relays - 1) }
        })
    }

    /// Returns `true` if batches of this origin are parts of an accepted batch.
    pub(super) fn is_part(&self, origin: Origin) -> bool {
        !self.origins.contains(&origin) && self.of_part(origin, RELAYS_MAX).is_some()
    }

    /// Returns the batches with parts among `keys`. Batches that no relay split are not included.
    pub(super) fn of_parts(&self, keys: &KeySet) -> KeySet {
        let (mut originals, mut found) = (KeySet::default(), BTreeMap::new());
        for (origin, epoch, sequences) in keys.iter() {
            if self.origins.contains(&origin) {
                continue;
            }
            let of = found.entry(origin).or_insert_with(|| self.of_part(origin, RELAYS_MAX));
            if let Some(of) = *of {
                originals.insert_set(of, epoch, sequences);
            }
        }
        originals
    }

    /// Returns the contents of a ledger, extended by the batches whose parts it names.
    pub(super) fn added_to(&self, settled: &Settled) -> Settled {
        let mut with = settled.clone();
        with.keys.insert_all(&self.of_parts(&settled.keys));
        for (origin, epoch) in settled.floors.iter() {
            if !self.origins.contains(&origin)
                && let Some(of) = self.of_part(origin, RELAYS_MAX)
            {
                with.floors.raise(of, epoch);
            }
        }
        with
    }
}
