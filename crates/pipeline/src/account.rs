//! The account of a channel: every batch that was created in it, the batches that it still holds,
//! and its agent's events among the dead letters. From accounts and the commit ledger an auditor
//! proves that no event is missing.
//!
//! ```json
//! { "channel": "main", "origin": "6f0c…", "lives": [
//!     { "origin": "6f0c…", "epoch": 4, "accepted": [[0, 1200]], "pending": [[1180, 1200]],
//!       "dead_letters": { "unwritable_event": [[17, 3]] },
//!       "dead_letter_batches": { "too_large": [[18, 5]] } } ],
//!   "held_events": 170, "unnamed_dead_letters": { "filtered": 2 },
//!   "remarks": { "message_cut": 1 } }
//! ```
//!
//! Ranges are half open. A dead letter is a sequence number with a count of events, of a part of a
//! batch or of a whole one. Batches that were created in other channels have no `accepted`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identity::{Epoch, Identity, KeySet, Origin, Sequence};
use crate::intervals::IntervalSet;

/// The batches and events of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Name of the channel.
    pub channel: String,
    /// Origin of batches that are created in it.
    pub origin: Origin,
    /// Every batch with events that it accepted and named.
    pub accepted: KeySet,
    /// Batches that some consumer has not committed, whichever agent named them.
    pub pending: KeySet,
    /// Events that some consumer has not committed.
    pub held_events: u64,
    /// Events among the dead letters that came from this channel, whichever agent named their
    /// batches.
    pub letters: LetterCounts,
    /// Events that the agent has altered, truncated or stored elsewhere since its start, by reason.
    pub remarks: BTreeMap<String, u64>,
}

/// The channel name of the account of dead letters without a known channel: events that an
/// interceptor rejected, and letters of channels that were removed from the configuration.
pub const DEAD_LETTERS: &str = "dead-letters";

/// Events of one batch that are among dead letters for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetterCount<'a> {
    /// The reason, in snake case.
    pub reason: &'a str,
    /// The batch; `None` if it had no identity.
    pub batch: Option<Identity>,
    /// The letter is the whole batch, refused by the only group of its channel. If the batch is
    /// committed anyway, the letter is a copy of it.
    pub whole: bool,
    /// The events.
    pub events: u64,
}

/// Counts the events among dead letters, by reason and batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterCounts {
    /// By reason, and by whether letters are whole batches.
    counts: BTreeMap<(String, bool), BTreeMap<Option<Identity>, u64>>,
}

impl LetterCounts {
    /// Adds a letter.
    pub fn add(&mut self, LetterCount { reason, batch, whole, events }: LetterCount<'_>) {
        let batches = self.counts.entry((reason.to_owned(), whole)).or_default();
        *batches.entry(batch).or_default() += events;
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Self) {
        other.iter().for_each(|letter| self.add(letter));
    }

    /// Removes a letter that was added.
    pub fn remove(&mut self, LetterCount { reason, batch, whole, events }: LetterCount<'_>) {
        let place = (reason.to_owned(), whole);
        let Some(batches) = self.counts.get_mut(&place) else { return };
        if let Some(left) = batches.get_mut(&batch) {
            *left = left.saturating_sub(events);
            if *left == 0 {
                batches.remove(&batch);
            }
        }
        if batches.is_empty() {
            self.counts.remove(&place);
        }
    }

    /// Every reason and batch with its events.
    pub fn iter(&self) -> impl Iterator<Item = LetterCount<'_>> {
        self.counts.iter().flat_map(|((reason, whole), batches)| {
            let count = move |(batch, events): (&Option<Identity>, &u64)| LetterCount {
                reason,
                batch: *batch,
                whole: *whole,
                events: *events,
            };
            batches.iter().map(count)
        })
    }

    /// Returns `true` if there are no letters.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The batches with an identity.
    pub fn keys(&self) -> KeySet {
        self.iter().filter_map(|letter| letter.batch).collect()
    }

    /// Events of one batch, over all reasons.
    pub fn events_of(&self, batch: Identity) -> u64 {
        self.counts.values().filter_map(|batches| batches.get(&Some(batch))).sum()
    }

    /// The lowest epoch of `origin` with a batch among the letters.
    pub fn lowest_epoch(&self, origin: Origin) -> Option<Epoch> {
        let first = Some(Identity { origin, epoch: Epoch(0), sequence: Sequence(0) });
        let firsts = self.counts.values().filter_map(|batches| batches.range(first..).next());
        let own = firsts.filter_map(|(batch, _)| batch.filter(|batch| batch.origin == origin));
        own.map(|batch| batch.epoch).min()
    }
}

/// A text is not an account.
#[derive(Debug, Error)]
pub enum AccountError {
    /// It is not JSON, or has another structure.
    #[error("must be the output of `aqueduct channel account`")]
    Form(#[from] serde_json::Error),
    /// An origin is not 32 hexadecimal digits.
    #[error(
        "must be the output of `aqueduct channel account`, but an origin is `{text}` instead of 32 \
         hexadecimal digits"
    )]
    Origin {
        /// The text that was found.
        text: String,
    },
    /// A range ends before it begins.
    #[error(
        "must be the output of `aqueduct channel account`, but a range of batch numbers is \
         [{start}, {end}], which begins after its end"
    )]
    Range {
        /// Its first number.
        start: u64,
        /// The number after its last one.
        end: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    channel: String,
    origin: String,
    lives: Vec<Life>,
    #[serde(default)]
    held_events: u64,
    /// Events of batches without an identity, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    unnamed_dead_letters: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    remarks: BTreeMap<String, u64>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Life {
    origin: String,
    epoch: u64,
    #[serde(default)]
    accepted: Vec<(u64, u64)>,
    #[serde(default)]
    pending: Vec<(u64, u64)>,
    /// Sequences of batches in part among the letters, with the events there, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    dead_letters: BTreeMap<String, Vec<(u64, u64)>>,
    /// The same of whole batches.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    dead_letter_batches: BTreeMap<String, Vec<(u64, u64)>>,
    /// Ranges of sequences, written by older agents: the events are not known.
    #[serde(default, skip_serializing)]
    letters: Vec<(u64, u64)>,
}

impl Account {
    /// An account of nothing.
    pub fn empty(channel: &str, origin: Origin) -> Self {
        Self {
            channel: channel.to_owned(),
            origin,
            accepted: KeySet::default(),
            pending: KeySet::default(),
            held_events: 0,
            letters: LetterCounts::default(),
            remarks: BTreeMap::new(),
        }
    }

    /// The account as one line of JSON.
    ///
    /// # Panics
    /// Never: numbers and names are always JSON.
    pub fn to_json(&self) -> String {
        let mut lives: BTreeMap<(Origin, Epoch), Life> = BTreeMap::new();
        let mut life = |origin: Origin, epoch: Epoch, fill: &mut dyn FnMut(&mut Life)| {
            let new = || Life { origin: origin.to_string(), epoch: epoch.0, ..Life::default() };
            fill(lives.entry((origin, epoch)).or_insert_with(new));
        };
        let runs = |set: &IntervalSet| set.runs().iter().map(|run| (run.start, run.end)).collect();
        for (origin, epoch, set) in self.accepted.iter() {
            life(origin, epoch, &mut |life| life.accepted = runs(set));
        }
        for (origin, epoch, set) in self.pending.iter() {
            life(origin, epoch, &mut |life| life.pending = runs(set));
        }
        let mut unnamed_dead_letters: BTreeMap<String, u64> = BTreeMap::new();
        for LetterCount { reason, batch, whole, events } in self.letters.iter() {
            let Some(Identity { origin, epoch, sequence }) = batch else {
                *unnamed_dead_letters.entry(reason.to_owned()).or_default() += events;
                continue;
            };
            life(origin, epoch, &mut |life| {
                let Life { dead_letters, dead_letter_batches, .. } = life;
                let letters = if whole { dead_letter_batches } else { dead_letters };
                letters.entry(reason.to_owned()).or_default().push((sequence.0, events));
            });
        }
        let sheet = Sheet {
            channel: self.channel.clone(),
            origin: self.origin.to_string(),
            lives: lives.into_values().collect(),
            held_events: self.held_events,
            unnamed_dead_letters,
            remarks: self.remarks.clone(),
        };
        serde_json::to_string(&sheet).expect("numbers and names are always JSON")
    }

    /// Parses any number of concatenated accounts.
    ///
    /// # Errors
    /// The text contains something else.
    pub fn from_json(text: &[u8]) -> Result<Vec<Self>, AccountError> {
        let sheets = serde_json::Deserializer::from_slice(text).into_iter::<Sheet>();
        sheets.map(|sheet| Self::from_sheet(sheet?)).collect()
    }

    fn from_sheet(sheet: Sheet) -> Result<Self, AccountError> {
        let mut account = Self::empty(&sheet.channel, origin(&sheet.origin)?);
        for life in &sheet.lives {
            let (origin, epoch) = (origin(&life.origin)?, Epoch(life.epoch));
            account.accepted.insert_set(origin, epoch, &set(&life.accepted)?);
            account.pending.insert_set(origin, epoch, &set(&life.pending)?);
            let mut add = |reason: &str, whole, sequence, events| {
                let batch = Some(Identity { origin, epoch, sequence: Sequence(sequence) });
                account.letters.add(LetterCount { reason, batch, whole, events });
            };
            set(&life.letters)?.iter().for_each(|sequence| add("unknown", true, sequence, 1));
            for (letters, whole) in [(&life.dead_letters, false), (&life.dead_letter_batches, true)]
            {
                for (reason, batches) in letters {
                    batches.iter().for_each(|(sequence, n)| add(reason, whole, *sequence, *n));
                }
            }
        }
        for (reason, events) in &sheet.unnamed_dead_letters {
            account.letters.add(LetterCount { reason, batch: None, whole: false, events: *events });
        }
        account.held_events = sheet.held_events;
        account.remarks = sheet.remarks;
        Ok(account)
    }
}

fn origin(text: &str) -> Result<Origin, AccountError> {
    text.parse().map_err(|_| AccountError::Origin { text: text.to_owned() })
}

fn set(ranges: &[(u64, u64)]) -> Result<IntervalSet, AccountError> {
    let mut set = IntervalSet::EMPTY;
    for (start, end) in ranges.iter().copied() {
        if start >= end {
            return Err(AccountError::Range { start, end });
        }
        set.insert_range(start..end);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_read_back_as_they_were() {
        let own = Origin(*b"\x00\x01sixteen bytes!");
        let mut account = Account::empty("main", own);
        account.accepted.insert_set(own, Epoch(4), &(0..1_200).into());
        account.pending.insert_set(own, Epoch(4), &(1_180..1_200).into());
        account.pending.insert_set(Origin([9; 16]), Epoch(1), &(7..8).into());
        let mut add = |reason, sequence: Option<u64>, whole, events| {
            let batch = |n| Identity { origin: own, epoch: Epoch(3), sequence: Sequence(n) };
            let batch = sequence.map(batch);
            account.letters.add(LetterCount { reason, batch, whole, events });
        };
        add("too_large", Some(2), true, 1);
        add("unwritable_event", Some(2), false, 3);
        add("unwritable_event", Some(9), false, 1);
        add("unwritable_event", Some(9), true, 4);
        add("filtered", None, false, 7);
        account.held_events = 12;
        account.remarks.insert("message_cut".into(), 4);
        let text = format!("{0}\n{0}\n", account.to_json());
        let read = Account::from_json(text.as_bytes()).unwrap();
        assert_eq!(read, [account.clone(), account]);
    }

    /// Older agents list batches, not events.
    #[test]
    fn reads_dead_letters_of_an_older_agent_as_one_event_of_each_batch() {
        let own = Origin([7; 16]);
        let life = format!(r#"{{"origin":"{own}","epoch":1,"letters":[[4,6]]}}"#);
        let text = format!(r#"{{"channel":"c","origin":"{own}","lives":[{life}]}}"#);
        let [read] = Account::from_json(text.as_bytes()).unwrap().try_into().unwrap();
        let batch = |sequence| Identity { origin: own, epoch: Epoch(1), sequence };
        assert_eq!(read.letters.keys().count(), 2);
        assert_eq!(read.letters.events_of(batch(Sequence(5))), 1);
        assert_eq!(read.letters.lowest_epoch(own), Some(Epoch(1)));
    }

    #[test]
    fn rejects_invalid_accounts() {
        let good = r#"{"channel":"c","origin":"ORIGIN","lives":[LIFE]}"#;
        let life = r#"{"origin":"ORIGIN","epoch":1,"accepted":[[4, 2]]}"#;
        let origin = "0".repeat(32);
        let texts = [
            ("nonsense".to_owned(), "the output of `aqueduct channel account`"),
            (good.replace("ORIGIN", "abc").replace("LIFE", ""), "an origin is `abc`"),
            (good.replace("LIFE", life).replace("ORIGIN", &origin), "numbers is [4, 2]"),
        ];
        for (text, problem) in texts {
            let error = Account::from_json(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
