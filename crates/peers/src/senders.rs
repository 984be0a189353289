//! The agents that send to a source now: the source writes the board, status pages read it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// A sender that is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Its own name, which comes from outside.
    pub agent: Arc<str>,
    /// Its address.
    pub peer: Arc<str>,
    /// The name that it has proved, if it has shown anything.
    pub proved: Option<Proved>,
    /// Since when it is connected.
    pub since: Instant,
}

/// A name that something proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// The name.
    pub name: Arc<str>,
    /// The proof of its name: `certificate` or `token`.
    pub by: &'static str,
}

#[derive(Debug, Default)]
struct Present {
    /// Number of the next one.
    next: u64,
    senders: BTreeMap<u64, Sender>,
    /// Incarnation of the source.
    incarnation: Option<u64>,
}

/// The senders of one source. Clones share them. As many as the source has connections: it bounds
/// them.
#[derive(Debug, Clone, Default)]
pub struct SenderBoard(Arc<Mutex<Present>>);

impl SenderBoard {
    fn present(&self) -> MutexGuard<'_, Present> {
        // Each change is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the incarnation that the source announces to its senders: random for each start.
    pub fn set_incarnation(&self, incarnation: u64) {
        self.present().incarnation = Some(incarnation);
    }

    /// Returns the incarnation of the source; `None` before its start, and if it has no senders.
    pub fn incarnation(&self) -> Option<u64> {
        self.present().incarnation
    }

    /// A sender is connected until the answer is dropped.
    pub fn enter(&self, sender: Sender) -> SenderPlace {
        let mut present = self.present();
        let number = present.next;
        present.next += 1;
        present.senders.insert(number, sender);
        drop(present);
        SenderPlace { board: self.clone(), number }
    }

    /// Returns the number of senders, and the first `most` of them, the longest connected first.
    pub fn read(&self, most: usize) -> (usize, Vec<Sender>) {
        let present = self.present();
        (present.senders.len(), present.senders.values().take(most).cloned().collect())
    }
}

/// The place of a sender on its board.
#[derive(Debug)]
pub struct SenderPlace {
    board: SenderBoard,
    number: u64,
}

impl Drop for SenderPlace {
    fn drop(&mut self) {
        self.board.present().senders.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_listed_while_it_is_connected() {
        let board = SenderBoard::default();
        let sender = |agent: &str| Sender {
            agent: agent.into(),
            peer: "10.0.0.1:5".into(),
            proved: None,
            since: Instant::now(),
        };
        let names = |most| {
            let (all, senders) = board.read(most);
            (all, senders.iter().map(|it| it.agent.to_string()).collect::<Vec<_>>().join(" "))
        };
        let first = board.enter(sender("a"));
        let second = board.enter(sender("b"));
        let third = board.enter(sender("a"));
        assert_eq!(names(2), (3, "a b".to_owned()));
        drop(second);
        assert_eq!(names(9), (2, "a a".to_owned()));
        drop((first, third));
        assert_eq!(names(9), (0, String::new()));
    }
}
