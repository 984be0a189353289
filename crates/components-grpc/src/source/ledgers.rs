//! The commit ledgers behind the channels, as they are named to senders.
//!
//! ```text
//!   boards of the channels ──each second──► Notice ──when one changes or grows──► every stream
//! ```
//!
//! That a ledger has grown is said every ten seconds at most; all else within a second.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peers::ledgers::LEDGERS_MAX;
use pipeline::LedgerState;
use tokio::time::Instant;
use wire::v1::{FromReceiver, Ledger, Ledgers, from_receiver};

use super::Service;

/// How often it is said that a ledger has grown.
const GROWTH_EVERY: Duration = Duration::from_secs(10);

/// What the conversations say.
#[derive(Default)]
pub(super) struct Notice {
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    ledgers: Vec<LedgerState>,
    /// Goes up with each change; 0 while nothing was ever known.
    version: u64,
    at: Option<Instant>,
}

impl Notice {
    fn said(&self) -> MutexGuard<'_, Said> {
        // It is whole between two calls, also after a panic elsewhere.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are the ledgers now; whether that is to be said.
    fn look(&self, ledgers: Vec<LedgerState>, now: Instant) -> bool {
        let mut said = self.said();
        let names = |ledgers: &[LedgerState]| -> Vec<_> {
            ledgers.iter().map(|one| (one.dataset.clone(), one.identity)).collect()
        };
        let is_same = names(&said.ledgers) == names(&ledgers);
        let lengths =
            said.ledgers.iter().zip(&ledgers).map(|(old, new)| (old.entries, new.entries));
        let has_shrunk = lengths.clone().any(|(old, new)| new < old);
        let has_grown = lengths.clone().any(|(old, new)| new > old);
        let is_recent = said.at.is_some_and(|at| now < at + GROWTH_EVERY);
        if is_same && !has_shrunk && (is_recent || !has_grown) {
            return false;
        }
        *said = Said { ledgers, version: said.version + 1, at: Some(now) };
        true
    }

    /// Whether there is another version than `seen`.
    pub(super) fn is_newer_than(&self, seen: u64) -> bool {
        self.said().version != seen
    }

    /// What a stream says that has said the version `seen`, if there is another one.
    pub(super) fn message_for(&self, seen: &mut u64) -> Option<FromReceiver> {
        let said = self.said();
        let is_new = std::mem::replace(seen, said.version) != said.version;
        is_new.then(|| message(&said.ledgers, Instant::now()))
    }
}

fn message(ledgers: &[LedgerState], now: Instant) -> FromReceiver {
    let ledger = |one: &LedgerState| Ledger {
        dataset: one.dataset.to_string(),
        identity: one.identity.0.to_vec().into(),
        follows: one.follows.iter().map(|id| id.0.to_vec().into()).collect(),
        entries: one.entries,
        // Rounded up: it was read then, or later.
        read_ms_ago: u64::try_from(now.saturating_duration_since(one.read).as_millis())
            .map_or(u64::MAX, |millis| millis.saturating_add(1)),
    };
    let ledgers = ledgers.iter().take(LEDGERS_MAX).map(ledger).collect();
    FromReceiver { message: Some(from_receiver::Message::Ledgers(Ledgers { ledgers })) }
}

impl Service {
    /// Looks at the ledgers behind the channels; `true`: streams have to name them.
    pub(super) fn look_at_ledgers(&self) -> bool {
        self.ledgers.look(self.cx.relay.ledgers(), Instant::now())
    }
}
