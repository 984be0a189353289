//! Sends reports of progress to the downstream agent, each once per stream.

use std::collections::BTreeMap;

use peers::ProgressBoard;
use pipeline::{Origin, Reached};
use wire::v1::{self, FromSender, from_sender};

/// The reports that one stream has sent.
pub(super) struct ProgressNews {
    board: ProgressBoard,
    /// Changes of the board that are sent.
    changes: u64,
    sent: BTreeMap<Origin, Reached>,
}

impl ProgressNews {
    /// A stream that has sent nothing.
    pub(super) fn new(board: &ProgressBoard) -> Self {
        Self { board: board.clone(), changes: 0, sent: BTreeMap::new() }
    }

    /// Returns whether there is a report to send.
    pub(super) fn is_due(&self) -> bool {
        self.board.changes() != self.changes
    }

    /// Waits until there is a report to send. Cancel safe.
    pub(super) async fn changed(&self) {
        self.board.changed(self.changes).await;
    }

    /// Returns a message with reports that are due, and counts them as sent.
    pub(super) fn message(&mut self) -> FromSender {
        let changes = self.board.changes();
        let mut due = self.board.reached();
        due.retain(|(origin, reached)| self.sent.get(origin) != Some(reached));
        let is_last = due.len() <= wire::REACHED_MAX;
        due.truncate(wire::REACHED_MAX);
        if is_last {
            self.changes = changes;
        }
        self.sent.extend(due.iter().cloned());
        let progress = v1::Progress { reached: wire::keys::encode_reached(&due) };
        FromSender { message: Some(from_sender::Message::Progress(progress)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(news: &mut ProgressNews) -> usize {
        let Some(from_sender::Message::Progress(progress)) = news.message().message else {
            panic!("a report");
        };
        progress.reached.len()
    }

    #[test]
    fn each_change_is_sent_once_in_messages_of_bounded_size() {
        let board = ProgressBoard::default();
        let mut news = ProgressNews::new(&board);
        assert!(!news.is_due());
        let all = wire::REACHED_MAX + 1;
        let at = |n: usize, before| {
            let origin = Origin((n as u128).to_be_bytes());
            (origin, Reached { host: "web-1".into(), before, held_by: "".into() })
        };
        board.observe((0..all).map(|n| at(n, 5)));
        assert_eq!((sent(&mut news), news.is_due()), (wire::REACHED_MAX, true));
        assert_eq!((sent(&mut news), news.is_due()), (1, false));
        board.observe([at(7, 6)]);
        assert_eq!((sent(&mut news), news.is_due()), (1, false));
    }
}
