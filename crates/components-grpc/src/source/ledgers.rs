//! Downstream commit ledgers, as announced to senders.
//!
//! ```text
//!   boards of the channels ──each second──► Notice ──on a change or growth──► every stream
//! ```
//!
//! Growth of a ledger is announced every ten seconds at most; other changes within a second.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peers::ledgers::LEDGERS_MAX;
use pipeline::LedgerState;
use tokio::time::Instant;
use wire::v1::{FromReceiver, Ledger, Ledgers, from_receiver};

use super::Service;

/// Minimum interval between announcements of growth.
const GROWTH_EVERY: Duration = Duration::from_secs(10);

/// State that the conversations announce.
#[derive(Default)]
pub(super) struct Notice {
    announced: Mutex<Announced>,
}

#[derive(Default)]
struct Announced {
    ledgers: Vec<LedgerState>,
    /// Increases with each change; 0 before the first ledger.
    version: u64,
    at: Option<Instant>,
}

impl Notice {
    fn announced(&self) -> MutexGuard<'_, Announced> {
        // The value is consistent between calls, even after a panic elsewhere.
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the current ledgers; returns true if streams must announce them.
    fn look(&self, ledgers: Vec<LedgerState>, now: Instant) -> bool {
        let mut announced = self.announced();
        let names = |ledgers: &[LedgerState]| -> Vec<_> {
            ledgers.iter().map(|one| (one.dataset.clone(), one.identity)).collect()
        };
        let is_same = names(&announced.ledgers) == names(&ledgers);
        let lengths =
            announced.ledgers.iter().zip(&ledgers).map(|(old, new)| (old.entries, new.entries));
        let has_shrunk = lengths.clone().any(|(old, new)| new < old);
        let has_grown = lengths.clone().any(|(old, new)| new > old);
        let is_recent = announced.at.is_some_and(|at| now < at + GROWTH_EVERY);
        if is_same && !has_shrunk && (is_recent || !has_grown) {
            return false;
        }
        *announced = Announced { ledgers, version: announced.version + 1, at: Some(now) };
        true
    }

    /// Returns true if there is another version than `seen`.
    pub(super) fn is_newer_than(&self, seen: u64) -> bool {
        self.announced().version != seen
    }

    /// Returns the message for a stream that announced version `seen`, if there is a newer one.
    pub(super) fn message_for(&self, seen: &mut u64) -> Option<FromReceiver> {
        let announced = self.announced();
        let is_new = std::mem::replace(seen, announced.version) != announced.version;
        is_new.then(|| message(&announced.ledgers, Instant::now()))
    }
}

fn message(ledgers: &[LedgerState], now: Instant) -> FromReceiver {
    let ledger = |one: &LedgerState| Ledger {
        dataset: one.dataset.to_string(),
        identity: one.identity.0.to_vec().into(),
        follows: one.follows.iter().map(|id| id.0.to_vec().into()).collect(),
        entries: one.entries,
        // Rounded up: the read was at that time or later.
        read_ms_ago: u64::try_from(now.saturating_duration_since(one.read).as_millis())
            .map_or(u64::MAX, |millis| millis.saturating_add(1)),
    };
    let ledgers = ledgers.iter().take(LEDGERS_MAX).map(ledger).collect();
    FromReceiver { message: Some(from_receiver::Message::Ledgers(Ledgers { ledgers })) }
}

impl Service {
    /// Checks the downstream ledgers; returns true if streams must announce them.
    pub(super) fn look_at_ledgers(&self) -> bool {
        self.ledgers.look(self.cx.relay.ledgers(), Instant::now())
    }
}
