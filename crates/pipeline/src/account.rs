//! What a channel answers for: every batch that was born in it, and those it still holds. From such
//! accounts and the commit ledger an auditor proves that nothing is missing.
//!
//! ```json
//! { "channel": "main", "origin": "6f0c…", "lives": [
//!     { "origin": "6f0c…", "epoch": 4, "accepted": [[0, 1200]], "pending": [[1180, 1200]],
//!       "letters": [[17, 18]] } ] }
//! ```
//!
//! Ranges are half open. What other channels gave birth to stands without `accepted`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identity::{Epoch, KeySet, Origin};
use crate::intervals::IntervalSet;

/// What one channel answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Name of the channel.
    pub channel: String,
    /// Origin of what is born in it.
    pub origin: Origin,
    /// Every batch with events that it accepted and named.
    pub accepted: KeySet,
    /// Batches that some consumer has not committed, whichever agent named them.
    pub pending: KeySet,
    /// Batches with events among the dead letters of the agent, whichever agent named them.
    pub letters: KeySet,
}

/// A text is not an account.
#[derive(Debug, Error)]
pub enum AccountError {
    /// It is no JSON, or of another form.
    #[error("it is not an account of a channel")]
    Form(#[from] serde_json::Error),
    /// An origin is not 32 hexadecimal digits.
    #[error("`{text}` is no origin: 32 hexadecimal digits are")]
    Origin {
        /// What stands there.
        text: String,
    },
    /// A range ends before it begins.
    #[error("[{start}, {end}] is no range")]
    Range {
        /// Its first number.
        start: u64,
        /// The number behind its last.
        end: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    channel: String,
    origin: String,
    lives: Vec<Life>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Life {
    origin: String,
    epoch: u64,
    #[serde(default)]
    accepted: Vec<(u64, u64)>,
    #[serde(default)]
    pending: Vec<(u64, u64)>,
    #[serde(default)]
    letters: Vec<(u64, u64)>,
}

impl Account {
    /// The account as one line of JSON.
    ///
    /// # Panics
    /// Never: numbers and names are always JSON.
    pub fn to_json(&self) -> String {
        let of = |keys: &KeySet| keys.iter().map(|(o, e, _)| (o, e)).collect::<BTreeSet<_>>();
        let lives = &(&of(&self.accepted) | &of(&self.pending)) | &of(&self.letters);
        let runs = |keys: &KeySet, (origin, epoch)| {
            let set = keys.get(origin, epoch).map_or(&[][..], IntervalSet::runs);
            set.iter().map(|run| (run.start, run.end)).collect()
        };
        let lives = lives.into_iter().map(|life| Life {
            origin: life.0.to_string(),
            epoch: life.1.0,
            accepted: runs(&self.accepted, life),
            pending: runs(&self.pending, life),
            letters: runs(&self.letters, life),
        });
        let sheet = Sheet {
            channel: self.channel.clone(),
            origin: self.origin.to_string(),
            lives: lives.collect(),
        };
        serde_json::to_string(&sheet).expect("numbers and names are always JSON")
    }

    /// Reads the accounts in a text: any number of them, one behind the other.
    ///
    /// # Errors
    /// The text holds something else.
    pub fn from_json(text: &[u8]) -> Result<Vec<Self>, AccountError> {
        let sheets = serde_json::Deserializer::from_slice(text).into_iter::<Sheet>();
        sheets.map(|sheet| Self::of(sheet?)).collect()
    }

    fn of(sheet: Sheet) -> Result<Self, AccountError> {
        let [mut accepted, mut pending, mut letters] = <[KeySet; 3]>::default();
        for life in &sheet.lives {
            let (origin, epoch) = (origin(&life.origin)?, Epoch(life.epoch));
            accepted.insert_set(origin, epoch, &set(&life.accepted)?);
            pending.insert_set(origin, epoch, &set(&life.pending)?);
            letters.insert_set(origin, epoch, &set(&life.letters)?);
        }
        let origin = origin(&sheet.origin)?;
        Ok(Self { channel: sheet.channel, origin, accepted, pending, letters })
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
        let mut account = Account {
            channel: "main".into(),
            origin: own,
            accepted: KeySet::default(),
            pending: KeySet::default(),
            letters: KeySet::default(),
        };
        account.accepted.insert_set(own, Epoch(4), &(0..1_200).into());
        account.pending.insert_set(own, Epoch(4), &(1_180..1_200).into());
        account.pending.insert_set(Origin([9; 16]), Epoch(1), &(7..8).into());
        account.letters.insert_set(own, Epoch(3), &(2..4).into());
        let text = format!("{0}\n{0}\n", account.to_json());
        let read = Account::from_json(text.as_bytes()).unwrap();
        assert_eq!(read, [account.clone(), account]);
    }

    #[test]
    fn what_is_no_account_is_refused() {
        let good = r#"{"channel":"c","origin":"ORIGIN","lives":[LIFE]}"#;
        let life = r#"{"origin":"ORIGIN","epoch":1,"accepted":[[4, 2]]}"#;
        let origin = "0".repeat(32);
        let texts = [
            ("nonsense".to_owned(), "not an account"),
            (good.replace("ORIGIN", "abc").replace("LIFE", ""), "`abc` is no origin"),
            (good.replace("LIFE", life).replace("ORIGIN", &origin), "[4, 2] is no range"),
        ];
        for (text, problem) in texts {
            let error = Account::from_json(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
