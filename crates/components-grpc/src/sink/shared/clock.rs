//! Timers of the connection: when to send, the sender's deadlines, and closing the connection.

use delivery::sender::Outgoing;
use tokio::time::Instant;
use wire::v1::Put;

use super::Shared;

impl Shared {
    pub(in super::super) async fn until_outgoing(&self) {
        self.outgoing.notified().await;
    }

    pub(in super::super) async fn until_hurried(&self) {
        self.hurry.notified().await;
    }

    pub(in super::super) async fn until_hung_up(&self) {
        while !self.state().hang_up {
            self.hang_up.notified().await;
        }
    }

    pub(in super::super) fn has_outgoing(&self) -> bool {
        self.state().sender.has_outgoing()
    }

    pub(in super::super) fn next_outgoing(&self, now: Instant) -> Option<Outgoing<Put>> {
        let mut state = self.state();
        let before = state.sender.deadline();
        let outgoing = state.sender.next_outgoing(now);
        let nearer = state.sender.deadline() != before;
        drop(state);
        if nearer {
            self.deadline.notify_one();
        }
        outgoing
    }

    /// Keeps the sender informed whether other members of the group can store events. Never
    /// returns.
    pub(in super::super) async fn keep_others(&self) {
        let mut able = self.hop.are_others_able();
        loop {
            self.state().sender.others_are_able(able);
            self.deadline.notify_one();
            able = self.hop.others_changed(able).await;
        }
    }

    /// Runs the sender's timers. Never returns.
    pub(in super::super) async fn keep_time(&self) {
        loop {
            let deadline = self.next_deadline();
            let due = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.deadline.notified() => {}
                () = due => self.tick(Instant::now()),
            }
        }
    }

    /// `None` while the connection is being closed: due work stays due until then.
    fn next_deadline(&self) -> Option<Instant> {
        let state = self.state();
        if state.hang_up { None } else { state.sender.deadline() }
    }

    fn tick(&self, now: Instant) {
        let mut state = self.state();
        let hang_up = state.sender.tick(now);
        state.hang_up |= hang_up;
        drop(state);
        self.changed.notify_one();
        if hang_up {
            self.hang_up.notify_one();
        }
    }
}
