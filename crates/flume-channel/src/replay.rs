//! Finds the events that are committed and not taken. Pure: a state machine that gets the contents
//! of a checkpoint, and then every later record.
//!
//! The logs may be passed one after the other, by number: the records of a transaction are in one
//! data directory, in order. An event may be put in one directory and taken in another. If its take
//! is seen first, the take waits for its put.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::State;
use crate::record::{Kind, Pointer, Record, Side};

/// The position of an event in the queue: by the commit that put it there, then within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(i64, u64);

/// The operations of a transaction so far.
#[derive(Debug, Default)]
struct Transaction {
    puts: Vec<Pointer>,
    takes: Vec<Pointer>,
}

/// Counts of the records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records after the checkpoint.
    pub records: u64,
    /// Events that were put, committed or not.
    pub puts: u64,
    /// Events whose take was committed: Flume has delivered them.
    pub delivered: u64,
    /// Transactions that neither a commit nor a rollback ended.
    pub open_transactions: u64,
    /// Events put by them. Flume's source got no acknowledgement for them, and resends them.
    pub open_puts: u64,
    /// Events taken by them. They wait again.
    pub open_takes: u64,
}

/// The state of a channel as its logs are read.
#[derive(Debug, Default)]
pub struct Replay {
    /// Order of the checkpoint: only later records count.
    after: i64,
    waiting: BTreeMap<Pointer, Place>,
    open: BTreeMap<i64, Transaction>,
    /// Takes that were open at the checkpoint. Their events are in no queue.
    taken_before: BTreeMap<i64, Vec<Pointer>>,
    /// Taken, and their put was not seen yet.
    taken_early: BTreeSet<Pointer>,
    counts: Counts,
}

impl Replay {
    /// Starts from a checkpoint.
    pub fn of(state: State) -> Self {
        let queue = state.queue.into_iter().map(|(at, event)| (event, Place(i64::MIN + 1, at)));
        let open = state.puts.into_iter();
        let open = open.map(|(id, puts)| (id, Transaction { puts, takes: Vec::new() }));
        Self {
            after: state.order,
            waiting: queue.collect(),
            open: open.collect(),
            taken_before: state.takes,
            ..Self::default()
        }
    }

    /// The next record of a log, from this place.
    pub fn apply(&mut self, at: Pointer, record: &Record) {
        if record.order <= self.after {
            return;
        }
        self.counts.records += 1;
        let id = record.transaction;
        match &record.kind {
            Kind::Put(_) => {
                self.counts.puts += 1;
                self.open.entry(id).or_default().puts.push(at);
            }
            Kind::Take(event) => self.open.entry(id).or_default().takes.push(*event),
            Kind::Rollback => {
                self.open.remove(&id);
            }
            Kind::Commit(side) => {
                let transaction = self.open.remove(&id).unwrap_or_default();
                match side {
                    Side::Put => self.put(&transaction.puts, record.order),
                    Side::Take => {
                        let before = self.taken_before.remove(&id).unwrap_or_default();
                        self.take(transaction.takes.iter().chain(&before));
                    }
                }
            }
        }
    }

    fn put(&mut self, events: &[Pointer], order: i64) {
        for (at, event) in (0..).zip(events) {
            if !self.taken_early.remove(event) {
                self.waiting.insert(*event, Place(order, at));
            }
        }
    }

    fn take<'a>(&mut self, events: impl Iterator<Item = &'a Pointer>) {
        // The checkpoint and a later record may name the same place.
        for event in events.collect::<BTreeSet<_>>() {
            self.counts.delivered += 1;
            if self.waiting.remove(event).is_none() {
                self.taken_early.insert(*event);
            }
        }
    }

    /// All logs are read: the events that wait, by their place in the logs, each with its place in
    /// the queue.
    pub fn finish(mut self) -> (BTreeMap<Pointer, Place>, Counts) {
        // Never committed, so these events are in the channel still, as its first.
        for (at, event) in (0..).zip(self.taken_before.values().flatten()) {
            self.counts.open_takes += 1;
            self.waiting.insert(*event, Place(i64::MIN, at));
        }
        let open = self.open.keys().chain(self.taken_before.keys()).collect::<BTreeSet<_>>();
        self.counts.open_transactions = open.len() as u64;
        for transaction in self.open.values() {
            self.counts.open_puts += transaction.puts.len() as u64;
            self.counts.open_takes += transaction.takes.len() as u64;
        }
        (self.waiting, self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Event;

    fn at(file: i32, offset: i32) -> Pointer {
        Pointer::new(file, offset).unwrap()
    }

    /// Records of transactions, with rising orders.
    #[derive(Default)]
    struct Log {
        order: i64,
        replay: Replay,
    }

    impl Log {
        fn behind(state: State) -> Self {
            Self { order: state.order, replay: Replay::of(state) }
        }

        fn say(&mut self, transaction: i64, place: Pointer, kind: Kind) {
            self.order += 1;
            self.replay.apply(place, &Record { transaction, order: self.order, kind });
        }

        fn put(&mut self, transaction: i64, place: Pointer) {
            self.say(transaction, place, Kind::Put(Event::default()));
        }

        fn take(&mut self, transaction: i64, event: Pointer) {
            self.say(transaction, at(9, 9), Kind::Take(event));
        }

        fn commit(&mut self, transaction: i64, side: Side) {
            self.say(transaction, at(9, 9), Kind::Commit(side));
        }

        fn waiting(self) -> Vec<Pointer> {
            let (waiting, _) = self.replay.finish();
            let mut waiting: Vec<_> = waiting.into_iter().map(|(event, at)| (at, event)).collect();
            waiting.sort();
            waiting.into_iter().map(|(_, event)| event).collect()
        }
    }

    #[test]
    fn committed_events_wait_in_the_order_of_the_commits() {
        let mut log = Log::default();
        log.put(1, at(1, 10));
        log.put(2, at(1, 20));
        log.put(1, at(1, 30));
        log.commit(2, Side::Put);
        log.commit(1, Side::Put);
        log.take(3, at(1, 20));
        log.put(4, at(1, 40));
        assert_eq!(log.waiting(), [at(1, 20), at(1, 10), at(1, 30)]);
    }

    #[test]
    fn a_rolled_back_transaction_has_done_nothing() {
        let mut log = Log::default();
        log.put(1, at(1, 10));
        log.say(1, at(1, 20), Kind::Rollback);
        log.put(2, at(1, 30));
        log.commit(2, Side::Put);
        log.take(3, at(1, 30));
        log.say(3, at(1, 50), Kind::Rollback);
        assert_eq!(log.waiting(), [at(1, 30)]);
    }

    #[test]
    fn a_take_that_is_seen_before_its_put_counts() {
        let mut log = Log::default();
        log.take(2, at(7, 10));
        log.commit(2, Side::Take);
        log.put(1, at(7, 10));
        log.put(1, at(7, 20));
        log.commit(1, Side::Put);
        assert_eq!(log.waiting(), [at(7, 20)]);
    }

    #[test]
    fn restores_uncommitted_takes_of_the_checkpoint() {
        let state = || State {
            order: 100,
            queue: vec![(0, at(1, 30))],
            puts: [(8, vec![at(1, 40)])].into(),
            takes: [(5, vec![at(1, 10)]), (6, vec![at(1, 20)])].into(),
        };
        let mut log = Log::behind(state());
        log.commit(6, Side::Take);
        log.commit(8, Side::Put);
        assert_eq!(log.waiting(), [at(1, 10), at(1, 30), at(1, 40)]);

        let mut log = Log::behind(state());
        log.order = 50;
        log.commit(6, Side::Take);
        let waiting = log.waiting();
        assert_eq!(waiting, [at(1, 10), at(1, 20), at(1, 30)], "it is before the checkpoint");
    }

    #[test]
    fn open_transactions_are_counted() {
        let mut log = Log::default();
        log.put(1, at(1, 10));
        log.commit(1, Side::Put);
        log.put(2, at(1, 20));
        log.take(3, at(1, 10));
        let (waiting, counts) = log.replay.finish();
        assert_eq!(waiting.len(), 1);
        let expected = Counts {
            records: 4,
            puts: 2,
            delivered: 0,
            open_transactions: 2,
            open_puts: 1,
            open_takes: 1,
        };
        assert_eq!(counts, expected);
    }
}
