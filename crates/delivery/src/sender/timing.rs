//! Connections that come and go, and time that passes.

use pipeline::{Identity, KeySet, Ticket};
use support::mutant;
use tokio::time::Instant;

use super::{Link, Load, Peer, Sender, Verdict, Welcome};

impl<P: Clone> Sender<P> {
    /// There is a connection: the peer is asked about all that is not settled.
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

    /// The peer's answer to the oldest Hello without one. An answer to nothing is passed over.
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
        // What was parked and is neither stored nor committed there is lost there. What was
        // committed meanwhile is not parked any more, and so is not found.
        let mut lost = asked;
        lost.remove_all(&welcome.stored);
        lost.remove_all(&welcome.committed);
        if mutant!("lacking_not_offered") {
            return;
        }
        let tickets = self.parked.take(&lost);
        self.settle_all(Verdict::Missing, &tickets);
    }

    /// Gives back what is unanswered here and that this peer never takes, as `which` says: it is
    /// not put again.
    pub fn give_back(&mut self, which: impl Fn(&P) -> bool) {
        let named = self.unanswered.iter().filter(|(_, entry)| which(&entry.parcel));
        let named: Vec<Identity> = named.map(|(identity, _)| *identity).collect();
        for identity in named {
            if let Some(entry) = self.remove(identity) {
                self.settle(Verdict::LetGo, entry.ticket);
            }
        }
    }

    /// Whether batches may be put at this peer, which has said Welcome. What was put before it was
    /// barred may be there, so its answer is waited for; what was not is given back.
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

    /// The connection is gone, or an attempt to make one failed.
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
        // An agent that is stopping answers nothing more: it is not asked again.
        if stopping {
            self.give_up_unanswered();
        }
    }

    /// Nothing is waited for any more: all that is not settled is given back.
    /// The connection goes with it.
    pub fn let_go(&mut self) {
        let mut tickets = self.parked.take_all();
        for identity in self.unanswered.keys().copied().collect::<Vec<_>>() {
            if let Some(entry) = self.remove(identity) {
                tickets.insert(entry.ticket);
            }
        }
        self.settle_all(Verdict::LetGo, &tickets);
    }

    /// Time has passed. `true`: the connection is to be given up, since nothing comes through it.
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

    /// When the answer to a put is due. A peer that says it is full is slow, not broken.
    fn due(&self, put_at: Instant) -> Instant {
        let excused_at = match &self.link {
            Link::Up(peer) => peer.excused_at,
            Link::Down | Link::Greeting { .. } => None,
        };
        excused_at.map_or(put_at, |at| at.max(put_at)) + self.options.answer_timeout
    }

    /// Gives back what was put too long ago. The connection goes with it: the peer then drops what
    /// it has not taken, and its window is whole again.
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
