//! Goal: no order of calls loses a batch, delivers an uncommitted one, exceeds the window, or
//! leaves a batch at a peer that cannot store while another one can. Method: a sender and a peer
//! that may lose its disk, with connections that break at any point and time that passes. All
//! messages and actions are compared with a plain record of both.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Offer,
    Send,
    Connect,
    /// The peer answers the messages that it got, `Hello` included, up to this number.
    Answer(usize),
    Commit(u64),
    Break,
    LoseDisk,
    Wait(u64),
    Refuse,
    /// The peer returns the newest put, or only asks for patience.
    Busy(bool),
    /// The peer is barred, or allowed again.
    Bar(bool),
    /// The sender stops waiting for the peer.
    LetGo,
    /// The peer reports whether it is unable to store.
    Unable(bool),
    /// True if another peer would accept returned batches and can store them.
    OthersAble(bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::Offer),
        4 => Just(Op::Send),
        2 => Just(Op::Connect),
        4 => (1usize..5).prop_map(Op::Answer),
        2 => (0u64..20).prop_map(Op::Commit),
        1 => Just(Op::Break),
        1 => Just(Op::LoseDisk),
        1 => (1u64..70).prop_map(Op::Wait),
        1 => Just(Op::Refuse),
        1 => any::<bool>().prop_map(Op::Busy),
        1 => any::<bool>().prop_map(Op::Bar),
        1 => Just(Op::LetGo),
        1 => any::<bool>().prop_map(Op::Unable),
        1 => any::<bool>().prop_map(Op::OthersAble),
    ]
}

struct World {
    sender: Sender<u64>,
    now: Instant,
    connected: bool,
    /// Messages that the peer has not answered yet.
    inbox: Vec<Outgoing<u64>>,
    stored: BTreeSet<u64>,
    committed: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    /// Puts that the peer returned.
    given_back: BTreeSet<u64>,
    next: u64,
    /// Batches that the sender has, and whether it called them stored.
    held: BTreeMap<u64, bool>,
    /// Batches that were returned and will be offered again.
    back: BTreeSet<u64>,
    delivered: BTreeSet<u64>,
    others_able: bool,
    /// True if the current step may return held batches.
    may_let_go: bool,
}

impl World {
    fn new() -> Self {
        Self {
            sender: Sender::new(OPTIONS),
            now: start(),
            connected: false,
            inbox: Vec::new(),
            stored: BTreeSet::new(),
            committed: BTreeSet::new(),
            refused: BTreeSet::new(),
            given_back: BTreeSet::new(),
            next: 0,
            held: BTreeMap::new(),
            back: BTreeSet::new(),
            delivered: BTreeSet::new(),
            others_able: false,
            may_let_go: false,
        }
    }

    fn set(numbers: &BTreeSet<u64>, asked: &KeySet) -> KeySet {
        numbers.iter().map(|n| key(*n)).filter(|k| asked.contains(*k)).collect()
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Offer => {
                if self.sender.room(10, self.now) == Room::Free {
                    let sequence = self.back.pop_first().unwrap_or(self.next);
                    self.next = self.next.max(sequence + 1);
                    offer(&mut self.sender, sequence);
                    assert_eq!(self.held.insert(sequence, false), None);
                }
            }
            Op::Send if self.connected => {
                self.inbox.extend(self.sender.next_outgoing(self.now));
                let puts = self.inbox.iter().filter(|m| matches!(m, Outgoing::Put(_))).count();
                assert!(puts <= WINDOW.batches as usize, "{puts} puts without an answer");
            }
            Op::Connect if !self.connected => {
                self.sender.connected(self.now);
                self.connected = true;
            }
            Op::Answer(count) => {
                for _ in 0..*count {
                    self.answer();
                }
            }
            Op::Commit(n) => {
                if self.stored.contains(n) {
                    self.committed.insert(*n);
                    if self.connected {
                        self.sender.committed(&keys([*n]));
                    }
                }
            }
            Op::Break if self.connected => self.cut(),
            Op::LoseDisk => {
                self.cut();
                self.stored.clear();
            }
            Op::Wait(seconds) => {
                self.may_let_go = self.sender.is_unable() && self.others_able;
                self.now += Duration::from_secs(*seconds);
                if self.sender.tick(self.now) {
                    self.cut();
                }
                // Else the timer would fire without end.
                assert!(!self.sender.tick(self.now), "a tick is done once");
                assert!(self.sender.deadline().is_none_or(|next| next > self.now));
            }
            Op::Refuse => self.refuse(),
            Op::Busy(back) => {
                let newest = self.inbox.pop_if(|m| *back && matches!(m, Outgoing::Put(_)));
                let key = newest.map(|m| if let Outgoing::Put(n) = m { n } else { unreachable!() });
                let keys = keys(key);
                self.given_back.extend(key);
                self.sender.busy(Duration::from_secs(1), &keys, self.now);
            }
            Op::Bar(barred) => self.bar(*barred),
            Op::LetGo => self.let_go(),
            Op::Unable(unable) if self.connected => self.sender.unable(*unable, self.now),
            Op::OthersAble(able) => {
                self.others_able = *able;
                self.sender.others_are_able(*able);
            }
            Op::Send | Op::Connect | Op::Break | Op::Unable(_) => {}
        }
        self.judge();
        self.may_let_go = false;
    }

    fn refuse(&mut self) {
        if let Some(Outgoing::Put(n)) = self.inbox.last().cloned() {
            self.inbox.pop();
            // If it was returned in the meantime, it is offered again despite the refusal.
            if let Some(refused) = self.sender.refused(key(n)) {
                assert_eq!(refused, (n + 100, n));
                assert_eq!(self.held.remove(&n), Some(false));
                self.refused.insert(n);
            }
        }
    }

    fn bar(&mut self, barred: bool) {
        self.sender.bar(barred);
        if barred && self.sender.is_up() {
            let next = self.sender.next_outgoing(self.now);
            assert!(!matches!(next, Some(Outgoing::Put(_))));
            self.inbox.extend(next);
        }
    }

    fn let_go(&mut self) {
        self.sender.disconnect();
        self.may_let_go = true;
        self.judge();
        assert!(self.sender.is_idle() && self.held.is_empty());
        self.cut();
    }

    /// After this time, an unable peer has no batch left if another peer can store.
    fn turn(&mut self) {
        for op in [Op::Connect, Op::Send, Op::Answer(9), Op::Unable(true), Op::OthersAble(true)] {
            self.run(&op);
        }
        self.run(&Op::Wait(RETURN_AFTER.as_secs()));
        assert!(!self.held.values().any(|stored| *stored), "left behind: {:?}", self.held);
        self.run(&Op::OthersAble(false));
        if self.connected {
            self.run(&Op::Unable(false));
        }
    }

    fn cut(&mut self) {
        self.connected = false;
        self.inbox.clear();
        self.sender.disconnected(self.now);
    }

    fn answer(&mut self) {
        if self.inbox.is_empty() {
            return;
        }
        match self.inbox.remove(0) {
            Outgoing::Hello(asked) => {
                let mut stored = Self::set(&self.stored, &asked);
                let committed = Self::set(&self.committed, &asked);
                stored.insert_all(&committed);
                self.sender.welcome(&welcome(stored, committed));
            }
            Outgoing::Put(n) => {
                self.stored.insert(n);
                self.sender.stored(&keys([n]));
                if self.committed.contains(&n) {
                    self.sender.committed(&keys([n]));
                }
            }
        }
    }

    /// Compares the sender's verdicts with the true state.
    fn judge(&mut self) {
        for (verdict, tickets) in verdicts(&mut self.sender) {
            for n in tickets.iter().map(|ticket| ticket - 100) {
                let stored = self.held.remove(&n).expect("a verdict is about a batch it holds");
                match verdict {
                    Verdict::Stored => {
                        assert!(
                            !stored && (self.stored.contains(&n) || self.committed.contains(&n))
                        );
                        self.held.insert(n, true);
                    }
                    Verdict::Delivered => {
                        assert!(self.committed.contains(&n), "{n} is not committed");
                        assert!(self.delivered.insert(n), "{n} was delivered before");
                    }
                    Verdict::Missing => {
                        assert!(stored, "only what was stored can be missing");
                        self.back.insert(n);
                    }
                    Verdict::Unanswered => {
                        assert!(!stored, "what was stored has an answer");
                        self.back.insert(n);
                    }
                    Verdict::LetGo => {
                        assert!(self.may_let_go, "{n} is given back, and no other peer is able");
                        self.back.insert(n);
                    }
                    Verdict::NotTaken(_) => {
                        assert!(!stored && self.given_back.remove(&n));
                        self.back.insert(n);
                    }
                    Verdict::Unreadable => panic!("this was not said"),
                }
            }
        }
    }

    /// Without further faults, every batch must be delivered exactly once.
    fn heal(&mut self) {
        // Whatever the peer asked for, its patience is over.
        self.run(&Op::Wait(2));
        self.run(&Op::Bar(false));
        for _ in 0..40 {
            for op in [Op::Connect, Op::Offer, Op::Send, Op::Answer(9), Op::Send, Op::Answer(9)] {
                // No more new batches are offered.
                if !matches!(op, Op::Offer) || !self.back.is_empty() {
                    self.run(&op);
                }
            }
            for n in self.stored.clone() {
                self.run(&Op::Commit(n));
            }
        }
    }
}

proptest! {
    #[test]
    fn every_batch_is_delivered_or_refused_once_whatever_happens(
        ops in prop::collection::vec(op(), 0..120),
    ) {
        let mut world = World::new();
        ops.iter().for_each(|op| world.run(op));
        world.turn();
        world.heal();
        prop_assert!(world.held.is_empty(), "left behind: {:?}", world.held);
        let ended: BTreeSet<u64> = world.delivered.union(&world.refused).copied().collect();
        prop_assert_eq!(ended, (0..world.next).collect());
        prop_assert_eq!(world.sender.unanswered_bytes(), 0);
    }
}
