//! The model: a list of batches, and the state of each batch for each consumer.

use std::collections::BTreeMap;

use pipeline::{Identity, IntervalSet, Ticket};

/// The state of one batch for one consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Ready,
    Held(Ticket),
    Committed,
    /// Committed, but a crash may have forgotten it: it may be delivered once more.
    PerhapsCommitted,
}

/// A batch as it is put.
#[derive(Debug, Clone)]
pub(super) struct PutBatch {
    pub(super) name: String,
    pub(super) events: u32,
    pub(super) foreign: Option<u64>,
}

#[derive(Debug, Clone)]
struct Stored {
    batch: PutBatch,
    identity: Option<Identity>,
    fates: [Fate; 2],
}

#[derive(Debug, Default)]
pub(super) struct Model {
    batches: Vec<Stored>,
    /// Foreign identities that were stored, with or without events.
    foreign: IntervalSet,
    /// The put in progress: it may be stored after a crash.
    putting: Option<(u64, Vec<PutBatch>)>,
    open: Option<(u64, Vec<PutBatch>)>,
    puts: u64,
    last_position: Option<u64>,
    tickets: BTreeMap<Ticket, String>,
}

impl Model {
    pub(super) fn next_put(&mut self) -> u64 {
        self.puts += 1;
        self.puts
    }

    pub(super) fn putting(&mut self, batches: Vec<PutBatch>) {
        self.putting = Some((self.puts, batches));
    }

    /// Handles an answer: success, or a failure although its disk works.
    pub(super) fn put_answered(&mut self, stored: bool) {
        let put = self.putting.take();
        if stored {
            // A later success means that an earlier open put is not stored.
            self.open = None;
            self.store(put.expect("a put is under way"));
        }
    }

    /// Handles a power failure during the put. The first such put may be stored; later ones met a
    /// disk that was off.
    pub(super) fn put_open(&mut self) {
        let put = self.putting.take();
        if self.open.is_none() {
            self.open = put;
        }
    }

    fn store(&mut self, (number, batches): (u64, Vec<PutBatch>)) {
        self.last_position = Some(number);
        for batch in batches {
            if batch.foreign.is_some_and(|sequence| !self.foreign.insert(sequence)) {
                continue;
            }
            if batch.events > 0 {
                self.batches.push(Stored { batch, identity: None, fates: [Fate::Ready; 2] });
            }
        }
    }

    /// Handles the last position of the channel, which shows whether the open put is stored.
    pub(super) fn reopened(&mut self, position: Option<u64>) {
        if let Some(open) = self.open.take()
            && position == Some(open.0)
        {
            self.store(open);
        }
        assert_eq!(position, self.last_position, "the position of the last put");
    }

    pub(super) fn crashed(&mut self) {
        for stored in &mut self.batches {
            for fate in &mut stored.fates {
                *fate = match fate {
                    Fate::Ready | Fate::Held(_) => Fate::Ready,
                    Fate::Committed | Fate::PerhapsCommitted => Fate::PerhapsCommitted,
                };
            }
        }
    }

    pub(super) fn closed(&mut self) {
        for consumer in 0..2 {
            self.drop_take(consumer);
        }
    }

    pub(super) fn drop_take(&mut self, consumer: usize) {
        for stored in &mut self.batches {
            if let Fate::Held(_) = stored.fates[consumer] {
                stored.fates[consumer] = Fate::Ready;
            }
        }
    }

    /// The channel handed out a batch: it must be the oldest one that is ready.
    pub(super) fn took(
        &mut self,
        consumer: usize,
        ticket: Ticket,
        name: &str,
        events: u32,
        identity: Option<Identity>,
    ) {
        let known = self.tickets.entry(ticket).or_insert_with(|| name.to_owned());
        assert_eq!(known, name, "ticket {ticket} names one batch for ever");
        for stored in &mut self.batches {
            let fate = stored.fates[consumer];
            if stored.batch.name == name {
                let allowed = [Fate::Ready, Fate::PerhapsCommitted];
                assert!(allowed.contains(&fate), "{name} was given although it is {fate:?}");
                assert_eq!(events, stored.batch.events, "events of {name}");
                let identity = identity.expect("a stored batch has an identity");
                let known = *stored.identity.get_or_insert(identity);
                assert_eq!(identity, known, "the identity of {name}");
                if let Some(foreign) = stored.batch.foreign {
                    assert_eq!(identity.sequence.0, foreign, "the foreign identity of {name}");
                }
                stored.fates[consumer] = Fate::Held(ticket);
                return;
            }
            assert_ne!(fate, Fate::Ready, "{name} was given before {}", stored.batch.name);
            if fate == Fate::PerhapsCommitted {
                stored.fates[consumer] = Fate::Committed;
            }
        }
        panic!("{name} was given and never stored");
    }

    pub(super) fn nothing_ready(&mut self, consumer: usize) {
        for stored in &mut self.batches {
            let fate = &mut stored.fates[consumer];
            assert_ne!(*fate, Fate::Ready, "{} was not given", stored.batch.name);
            if *fate == Fate::PerhapsCommitted {
                *fate = Fate::Committed;
            }
        }
    }

    /// Returns one of the tickets that a consumer holds.
    pub(super) fn held(&self, consumer: usize, n: usize) -> Option<Ticket> {
        let held = self.batches.iter().filter_map(|stored| match stored.fates[consumer] {
            Fate::Held(ticket) => Some(ticket),
            _ => None,
        });
        let held: Vec<Ticket> = held.collect();
        (!held.is_empty()).then(|| held[n % held.len()])
    }

    fn set(&mut self, consumer: usize, ticket: Ticket, fate: Fate) {
        let held = Fate::Held(ticket);
        let stored = self.batches.iter_mut().find(|stored| stored.fates[consumer] == held);
        stored.expect("only a held batch is settled").fates[consumer] = fate;
    }

    pub(super) fn commit(&mut self, consumer: usize, ticket: Ticket) {
        self.set(consumer, ticket, Fate::Committed);
    }

    pub(super) fn rollback(&mut self, consumer: usize, ticket: Ticket) {
        self.set(consumer, ticket, Fate::Ready);
    }

    pub(super) fn all_gone(&self) {
        for stored in &self.batches {
            assert_eq!(stored.fates, [Fate::Committed; 2], "{}", stored.batch.name);
        }
    }

    pub(super) fn foreign_stored(&self) -> IntervalSet {
        self.foreign.clone()
    }

    /// Returns the foreign identities that are certainly settled, and those that may be.
    pub(super) fn foreign_settled(&self) -> (IntervalSet, IntervalSet) {
        let (mut surely, mut perhaps) = (self.foreign.clone(), self.foreign.clone());
        for stored in &self.batches {
            let Some(foreign) = stored.batch.foreign else { continue };
            if stored.fates != [Fate::Committed; 2] {
                surely.remove(foreign);
            }
            let open = |fate: &Fate| matches!(fate, Fate::Ready | Fate::Held(_));
            if stored.fates.iter().any(open) {
                perhaps.remove(foreign);
            }
        }
        (surely, perhaps)
    }

    /// Fewest and most events that some consumer has not committed.
    pub(super) fn events(&self) -> (u64, u64) {
        let (mut least, mut most) = (0, 0);
        for stored in &self.batches {
            let events = u64::from(stored.batch.events);
            let open = |fate: &Fate| matches!(fate, Fate::Ready | Fate::Held(_));
            if stored.fates.iter().any(open) {
                least += events;
            }
            if stored.fates != [Fate::Committed; 2] {
                most += events;
            }
        }
        (least, most)
    }
}
