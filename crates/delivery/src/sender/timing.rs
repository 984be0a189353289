//! Connections that open and close, and timeouts.

use pipeline::{Identity, KeySet, Ticket};
use support::mutant;
use tokio::time::Instant;

use super::{Link, Load, Peer, Sender, Verdict, Welcome};

impl<P: Clone> Sender<P> {
    /// Handles a new connection: asks the peer about all unsettled batches.
    pub fn connected(&mut self, now: Instant) {
        let parked = self.parked.keys();
        let mut held: KeySet = self.unanswered.keys().copied().collect();
        held.insert_all(&parked);
        self.greeted = held.iter().map(|(origin, epoch, _)| (origin, epoch)).collect();
        self.hellos = [held].into();
        self.asked = [parked].into();
        self.link = Link::Greeting { since: now };
        self.outlet.connected();
    }

    /// Handles the answer to the oldest open Hello. A Welcome without a Hello is ignored.
    pub fn welcome(&mut self, welcome: &Welcome) {
        let Some(asked) = self.asked.pop_front() else { return };
        if let Link::Greeting { .. } = self.link {
            self.away_since = None;
            self.hopeless = false;
            self.outlet.welcomed();
            self.link = Link::Up(Peer {
                window: welcome.window,
                body_max: welcome.body_max,
                zstd: welcome.zstd,
                busy_until: None,
                excused_at: None,
                draining: false,
                barred: false,
            });
        }
        self.committed(&welcome.committed);
        self.stored(&welcome.stored);
        // The peer has lost parked batches that it reports neither as stored nor as committed. A
        // batch that was committed since the Hello is not parked any more, so `take` does not find
        // it.
        let mut lost = asked;
        lost.remove_all(&welcome.stored);
        lost.remove_all(&welcome.committed);
        if mutant!("lacking_not_offered") {
            return;
        }
        let tickets = self.parked.take(&lost);
        self.settle_all(Verdict::Missing, &tickets);
    }

    /// Settles unanswered batches that match `which` as `LetGo`, because this peer never accepts
    /// them. They are not put again here.
    pub fn return_matching(&mut self, which: impl Fn(&P) -> bool) {
        let named = self.unanswered.iter().filter(|(_, entry)| which(&entry.parcel));
        let named: Vec<Identity> = named.map(|(identity, _)| *identity).collect();
        for identity in named {
            if let Some(entry) = self.remove(identity) {
                self.settle(Verdict::LetGo, entry.ticket);
            }
        }
    }

    /// Allows or forbids puts to this peer. The peer may have batches that were put before, so the
    /// sender waits for their answers; it returns the batches that were not put.
    pub fn bar(&mut self, barred: bool) {
        let Link::Up(peer) = &mut self.link else { return };
        peer.barred = barred;
        if barred {
            for identity in std::mem::take(&mut self.queue) {
                if let Some(entry) = self.remove(identity) {
                    self.settle(Verdict::Unanswered, entry.ticket);
                }
            }
        }
    }

    /// Handles a lost connection, or a failed attempt to connect.
    pub fn disconnected(&mut self, now: Instant) {
        let stopping = match &self.link {
            Link::Up(peer) => {
                self.away_since = Some(now);
                peer.draining
            }
            Link::Down | Link::Greeting { .. } => {
                self.hopeless = true;
                false
            }
        };
        self.link = Link::Down;
        self.hellos.clear();
        self.asked.clear();
        self.greeted.clear();
        self.put = Load::default();
        let mut order: Vec<(Ticket, Identity)> = Vec::with_capacity(self.unanswered.len());
        for (identity, entry) in &mut self.unanswered {
            entry.put_at = None;
            order.push((entry.ticket, *identity));
        }
        order.sort_unstable();
        self.queue = order.into_iter().map(|(_, identity)| identity).collect();
        // An agent that is stopping answers no more puts, so do not ask it again.
        if stopping {
            self.give_up_unanswered();
        }
    }

    /// Stops waiting: settles all batches as `LetGo`. The caller must close the connection.
    pub fn disconnect(&mut self) {
        let mut tickets = self.parked.take_all();
        for identity in self.unanswered.keys().copied().collect::<Vec<_>>() {
            if let Some(entry) = self.remove(identity) {
                tickets.insert(entry.ticket);
            }
        }
        self.settle_all(Verdict::LetGo, &tickets);
    }

    /// Handles timeouts. Returns `true` if the connection is dead and must be closed.
    #[must_use]
    pub fn tick(&mut self, now: Instant) -> bool {
        if self.away_since.is_some_and(|since| now >= since + self.options.courtesy) {
            self.hopeless = true;
            self.give_up_unanswered();
        }
        if self.away_since.is_some_and(|since| now >= since + self.options.resend_after) {
            let tickets = self.parked.take_all();
            self.settle_all(Verdict::Missing, &tickets);
        }
        let turned = self.turn_away(now);
        match &self.link {
            Link::Down => false,
            Link::Greeting { since } => now >= *since + self.options.welcome_timeout,
            Link::Up(_) => self.give_up_late(now) || turned,
        }
    }

    /// When [`Sender::tick`] is next due.
    pub fn deadline(&self) -> Option<Instant> {
        let oldest = self.unanswered.values().filter_map(|entry| entry.put_at).min();
        let away = self.away_since;
        let waits_for_it = !self.hopeless || !self.unanswered.is_empty();
        [
            oldest.map(|at| self.due(at)),
            self.turns_at(),
            away.filter(|_| waits_for_it).map(|at| at + self.options.courtesy),
            away.filter(|_| !self.parked.is_empty()).map(|at| at + self.options.resend_after),
            match self.link {
                Link::Greeting { since } => Some(since + self.options.welcome_timeout),
                Link::Down | Link::Up(_) => None,
            },
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Returns when the answer to a put is due. A peer that reports a lack of room is slow, not
    /// broken.
    fn due(&self, put_at: Instant) -> Instant {
        let excused_at = match &self.link {
            Link::Up(peer) => peer.excused_at,
            Link::Down | Link::Greeting { .. } => None,
        };
        excused_at.map_or(put_at, |at| at.max(put_at)) + self.options.answer_timeout
    }

    /// Settles batches whose answer is overdue as `Unanswered`; returns `true` if there are any.
    /// The caller then closes the connection: the peer drops the puts that it has not accepted, and
    /// its whole window is free again.
    fn give_up_late(&mut self, now: Instant) -> bool {
        let is_late = |put_at: Option<Instant>| put_at.is_some_and(|at| now >= self.due(at));
        let late: Vec<Identity> =
            self.unanswered.iter().filter(|(_, e)| is_late(e.put_at)).map(|(id, _)| *id).collect();
        for identity in &late {
            if let Some(entry) = self.remove(*identity) {
                self.settle(Verdict::Unanswered, entry.ticket);
            }
        }
        !late.is_empty()
    }

    fn give_up_unanswered(&mut self) {
        let tickets = self.unanswered.values().map(|entry| entry.ticket).collect();
        self.unanswered.clear();
        self.queue.clear();
        self.held = Load::default();
        self.put = Load::default();
        self.settle_all(Verdict::Unanswered, &tickets);
    }
}
