//! Which batches of the accounts the parts are of, that relays made of them.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::{Account, KeySet, Origin, PartNames};

use crate::Settled;

/// Relays, one behind the other, that may have split a batch.
const RELAYS_MAX: u32 = 2;

/// The origins of accounts, and how their parts are named.
pub(super) struct Originals {
    origins: BTreeSet<Origin>,
    channels: Vec<PartNames>,
}

impl Originals {
    /// Those of the batches that these accounts accepted, split by the channels of the accounts.
    pub(super) fn of(accounts: &[Account]) -> Self {
        let accepted = accounts.iter().flat_map(|account| account.accepted.iter());
        let channels: BTreeSet<&str> = accounts.iter().map(|account| &*account.channel).collect();
        Self {
            origins: accepted.map(|(origin, ..)| origin).collect(),
            channels: channels.into_iter().map(PartNames::of_channel).collect(),
        }
    }

    /// The origin of the batches whose parts have this one.
    fn of_part(&self, part: Origin, relays: u32) -> Option<Origin> {
        if relays == 0 {
            return None;
        }
        self.channels.iter().map(|names| names.original(part)).find_map(|origin| {
            let is_known = self.origins.contains(&origin);
            if is_known { Some(origin) } else { self.of_part(origin, relays - 1) }
        })
    }

    /// Whether batches of this origin are parts of what an account accepted.
    pub(super) fn is_part(&self, origin: Origin) -> bool {
        !self.origins.contains(&origin) && self.of_part(origin, RELAYS_MAX).is_some()
    }

    /// The batches of which parts are among `keys`. What no relay split is not among them.
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

    /// What a ledger says, and the same of the batches whose parts it names.
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
