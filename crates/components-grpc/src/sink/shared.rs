//! State that the sink shares with the task of its connection: the sender, behind a lock that is
//! never held across an await.

mod clock;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use delivery::sender::{Options, Room, Sender, Verdict, Welcome};
use peers::{DeadLettered, Dispute, NextHop};
use pipeline::{
    HeldBack, Identity, IntervalSet, KeySet, Letter, Outage, Outcome, Settlement, SinkError, Ticket,
};
use support::mutant;
use tokio::sync::Notify;
use tokio::time::Instant;
use wire::v1::{Put, Reason};

use super::GrpcError;

pub(super) struct Shared {
    pub(super) address: Arc<str>,
    /// Link between this sink and its group.
    pub(super) hop: NextHop,
    options: Options,
    state: Mutex<State>,
    /// Wakes the sink: there is room, a settlement, or a change of the connection.
    changed: Notify,
    /// Wakes the connection: there is something to send.
    outgoing: Notify,
    /// Wakes the connection's timers: the deadline may have moved closer.
    deadline: Notify,
    /// Wakes the connection: a caller waits for it.
    hurry: Notify,
    /// Tells the connection to close: it makes no progress.
    hang_up: Notify,
}

struct State {
    sender: Sender<Put>,
    /// Batches that the downstream agent rejected permanently, and that the group has not fetched
    /// yet.
    letters: VecDeque<Letter>,
    /// Batches that got another name, to be offered again.
    renamed: IntervalSet,
    /// Batches that are too large for the downstream agent, and that the group has not fetched yet.
    held_back: VecDeque<(Ticket, HeldBack)>,
    /// Number of connections that ended or failed.
    attempts: u64,
    failure: Option<Arc<GrpcError>>,
    /// Reason why the downstream agent gets no batches although it is connected.
    dispute: Option<Dispute>,
    hang_up: bool,
}

impl State {
    fn bar(&mut self, dispute: Option<Dispute>) {
        self.sender.bar(dispute.is_some());
        self.dispute = dispute;
    }
}

impl Shared {
    pub(super) fn new(address: Arc<str>, options: Options, hop: NextHop) -> Self {
        let state = State {
            sender: Sender::new(options),
            letters: VecDeque::new(),
            renamed: IntervalSet::EMPTY,
            held_back: VecDeque::new(),
            attempts: 0,
            failure: None,
            dispute: None,
            hang_up: false,
        };
        Self {
            address,
            hop,
            options,
            state: Mutex::new(state),
            changed: Notify::new(),
            outgoing: Notify::new(),
            deadline: Notify::new(),
            hurry: Notify::new(),
            hang_up: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The sender is consistent between calls, even if another task panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // === The sink's side ===

    /// Waits for a change. It may report a change that was seen already.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends the pause before the next attempt; returns the number of attempts that have ended.
    pub(super) fn hurry(&self) -> u64 {
        let attempts = self.attempts();
        self.hurry.notify_one();
        attempts
    }

    pub(super) fn attempts(&self) -> u64 {
        self.state().attempts
    }

    pub(super) fn failure(&self) -> Option<Arc<GrpcError>> {
        self.state().failure.clone()
    }

    pub(super) fn is_up(&self) -> bool {
        self.state().sender.is_up()
    }

    pub(super) fn takes_zstd(&self) -> bool {
        self.state().sender.takes_zstd()
    }

    pub(super) fn room(&self, bytes: u64, now: Instant) -> Room {
        self.state().sender.room(bytes, now)
    }

    pub(super) fn unanswered_bytes(&self) -> u64 {
        self.state().sender.unanswered_bytes()
    }

    pub(super) fn offer(&self, ticket: Ticket, identity: Identity, put: Put) {
        let bytes = put.body.len() as u64;
        self.state().sender.offer(ticket, identity, put, bytes);
        self.outgoing.notify_one();
        // If the connection broke while the batch was packed, the batch must be returned in time.
        self.deadline.notify_one();
    }

    /// Adds a batch that can never be delivered.
    pub(super) fn refuse(&self, letter: Letter) {
        self.state().letters.push_back(letter);
        self.changed.notify_one();
    }

    /// Adds a batch that exceeds the downstream agent's current limit.
    pub(super) fn hold_back(&self, ticket: Ticket, held: HeldBack) {
        self.state().held_back.push_back((ticket, held));
        self.changed.notify_one();
    }

    pub(super) fn next_settlement(&self) -> Option<Settlement> {
        let mut state = self.state();
        if let Some(letter) = state.letters.pop_front() {
            return Some(Settlement::refused(letter));
        }
        if !state.renamed.is_empty() {
            let tickets = std::mem::take(&mut state.renamed);
            return Some(Settlement { tickets, outcome: Outcome::Again(None) });
        }
        if let Some((ticket, held)) = state.held_back.pop_front() {
            let tickets = IntervalSet::from(ticket..ticket + 1);
            return Some(Settlement { tickets, outcome: Outcome::HeldBack(held) });
        }
        let (verdict, tickets) = state.sender.next_settled()?;
        let address = self.address.to_string();
        let again = |error: GrpcError| Outcome::Again(Some(SinkError::from(error)));
        let outcome = match verdict {
            Verdict::Stored => Outcome::Stored,
            Verdict::Delivered => Outcome::Delivered,
            Verdict::Missing | Verdict::LetGo => Outcome::Again(None),
            Verdict::Unanswered if mutant!("silence_is_delivery") => Outcome::Delivered,
            Verdict::Unanswered => {
                let source = state.failure.clone();
                again(GrpcError::NoAnswer { address, source })
            }
            Verdict::NotTaken(retry_after) => again(GrpcError::Full { address, retry_after }),
            Verdict::Unreadable => again(GrpcError::Unreadable { address }),
        };
        Some(Settlement { tickets, outcome })
    }

    /// Returns true if every batch is settled and the group has fetched every settlement.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state();
        let nothing_waits = state.renamed.is_empty() && state.held_back.is_empty();
        state.letters.is_empty() && nothing_waits && state.sender.is_idle()
    }

    /// Returns all unsettled batches.
    pub(super) fn let_go(&self) {
        self.state().sender.disconnect();
    }

    /// Forgets every batch: the channel offers them again.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.sender = Sender::new(self.options);
        state.sender.others_are_able(self.hop.are_others_able());
        self.hop.set_unable(None);
        self.hop.set_batch_max(None);
        self.hop.forget_dead_letters();
        state.letters.clear();
        state.renamed = IntervalSet::EMPTY;
        state.held_back.clear();
        state.failure = None;
    }

    // === The connection's side ===

    pub(super) fn connected(&self, now: Instant) {
        let mut state = self.state();
        state.hang_up = false;
        state.sender.connected(now);
        drop(state);
        self.deadline.notify_one();
    }

    /// Records the end of a connection or a failed attempt; returns true if the connection was up.
    pub(super) fn disconnected(&self, failure: Arc<GrpcError>, now: Instant) -> bool {
        let mut state = self.state();
        let was_up = state.sender.is_up();
        state.failure = Some(failure);
        state.attempts += 1;
        state.hang_up = false;
        state.sender.disconnected(now);
        drop(state);
        self.changed.notify_one();
        self.deadline.notify_one();
        was_up
    }

    /// Passes a message of the downstream agent to the sender.
    pub(super) fn heard(&self, tell: impl FnOnce(&mut Sender<Put>)) {
        let mut state = self.state();
        tell(&mut state.sender);
        let is_unable = state.sender.is_unable();
        drop(state);
        self.changed.notify_one();
        if is_unable {
            // Batches that are stored there may have to be returned.
            self.deadline.notify_one();
        }
    }

    /// Records commits of the downstream agent; some events of `letters` are in its dead letters.
    pub(super) fn committed(&self, keys: &KeySet, letters: &[(Identity, u64)]) {
        self.dead_letters(letters);
        self.heard(|sender| sender.committed(keys));
    }

    /// Reports dead letters of the downstream agent to the group, before their batches are settled.
    pub(super) fn dead_letters(&self, letters: &[(Identity, u64)]) {
        if letters.is_empty() {
            return;
        }
        let state = self.state();
        let known = letters.iter().filter_map(|(identity, events)| {
            let ticket = state.sender.ticket(*identity)?;
            Some(DeadLettered { ticket, identity: *identity, events: *events })
        });
        self.hop.add_dead_letters(known);
    }

    /// Records whether the downstream agent can store events. Returns whether it was unable before.
    pub(super) fn unable(&self, outage: Option<Outage>) -> bool {
        let was_unable = self.hop.is_unable();
        self.heard(|sender| sender.unable(outage.is_some(), Instant::now()));
        self.hop.set_unable(outage);
        was_unable
    }

    /// Records a permanent refusal of a batch.
    pub(super) fn refused(&self, identity: Identity, reason: Reason, detail: String) {
        let mut state = self.state();
        let Some((ticket, put)) = state.sender.refused(identity) else { return };
        let events = wire::unpack(put, u64::MAX).expect("what was packed here can be unpacked");
        if reason == Reason::TooLarge && events.len() > 1 {
            // Its limit was higher when the batch was offered.
            let (bytes, events) = (events.size().bytes, events.len() as u64);
            drop(state);
            return self.hold_back(ticket, HeldBack { bytes, events, refused: true });
        }
        let reason = reason_name(reason);
        state.letters.push_back(Letter { ticket, events, whole: true, reason, detail });
        drop(state);
        self.changed.notify_one();
    }

    /// Records that a batch was refused under its name: the channel offers it again.
    pub(super) fn offer_again(&self, identity: Identity) {
        let mut state = self.state();
        let Some((ticket, _)) = state.sender.refused(identity) else { return };
        state.renamed.insert(ticket);
        drop(state);
        self.changed.notify_one();
    }

    /// Records a Welcome; with a `dispute` the agent still gets no batches.
    pub(super) fn welcomed(&self, welcome: &Welcome, dispute: Option<Dispute>) {
        let mut state = self.state();
        state.sender.welcome(welcome);
        if !state.sender.is_unable() {
            self.hop.set_unable(None);
        }
        self.hop.set_batch_max((welcome.body_max < u64::MAX).then_some(welcome.body_max));
        if state.sender.is_up() {
            state.failure = None;
        }
        // They were offered when the limit was higher.
        let bytes = |put: &Put| put.uncompressed_bytes.max(put.body.len() as u64);
        state.sender.return_matching(|put| bytes(put) > welcome.body_max);
        state.bar(dispute);
        drop(state);
        self.changed.notify_one();
    }

    /// Records whether the downstream agent may get batches.
    pub(super) fn bar(&self, dispute: Option<Dispute>) {
        self.state().bar(dispute);
        self.changed.notify_one();
        self.outgoing.notify_one();
    }

    pub(super) fn is_barred(&self) -> bool {
        self.state().dispute.is_some()
    }

    pub(super) fn dispute(&self) -> Option<Dispute> {
        self.state().dispute.clone()
    }

    pub(super) fn busy(&self, retry_after: Duration, keys: &KeySet, now: Instant) {
        self.heard(|sender| sender.busy(retry_after, keys, now));
    }
}

/// Reason label of a batch that exceeds the downstream agent's limit.
pub(super) const TOO_LARGE: &str = "too_large";

/// Returns the reason label of a refusal.
fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::TooLarge => TOO_LARGE,
        Reason::Malformed => "malformed",
        Reason::EpochClosed => "epoch_closed",
        Reason::OtherContent => "other_content",
        // Refusals that a retry can fix are not counted as such.
        Reason::Unspecified | Reason::Damaged | Reason::Compression => "refused",
    }
}
