//! A sink under test whose settlements are compared with the batches that were written to it. The
//! event equation of a sink: each event of a batch is settled once, as delivered, as a dead letter,
//! or together with its batch as offered again.
//!
//! | rule | a sink that breaks it |
//! |---|---|
//! | a settlement names batches that the sink holds | counts a batch twice, or one of another sink |
//! | a letter has events, and not more than its batch | loses its letter, or repeats events |
//! | a letter of a whole batch has all of its events | drops the events that it leaves out |
//! | a letter has the identity of its batch | makes events that `verify` cannot find |

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::channel::{Taken, Ticket};
use crate::extensions::Extensions;
use crate::identity::Identity;
use crate::sink::{DedupeScope, Guarantee, Letter, Outcome, Settlement, Sink, SinkError};
use crate::sink_board::SinkBoard;

/// A batch that the sink holds.
struct Held {
    identity: Option<Identity>,
    events: usize,
    /// Events of it that became dead letters.
    refused: usize,
}

/// Checks each settlement of a sink. [`build`](super::build) wraps every sink in one.
pub struct Checked {
    sink: Box<dyn Sink>,
    held: BTreeMap<Ticket, Held>,
}

impl Checked {
    /// Checks `sink`, which holds no batch yet.
    pub fn new(sink: Box<dyn Sink>) -> Self {
        Self { sink, held: BTreeMap::new() }
    }

    fn check(&mut self, settlement: &Settlement) {
        let Settlement { tickets, outcome } = settlement;
        assert!(!tickets.is_empty(), "a settlement names a batch: {outcome:?}");
        for ticket in tickets.iter() {
            assert!(
                self.held.contains_key(&ticket),
                "batch {ticket} is settled, and the sink does not hold it: {outcome:?}"
            );
        }
        match outcome {
            Outcome::Stored => {}
            Outcome::Delivered | Outcome::Again(_) | Outcome::HeldBack(_) => {
                self.held.retain(|ticket, _| !tickets.contains(*ticket));
            }
            Outcome::Refused(letter) => {
                assert!(
                    tickets.iter().eq([letter.ticket]),
                    "the letter of batch {} settles {tickets:?}",
                    letter.ticket
                );
                self.check_letter(letter);
            }
        }
    }

    fn check_letter(&mut self, Letter { ticket, events, whole, .. }: &Letter) {
        let held = self.held.get_mut(ticket).expect("the ticket was looked at");
        held.refused += events.len();
        let (all, refused) = (held.events, held.refused);
        assert!(!events.is_empty(), "a letter of batch {ticket} has no events");
        assert!(refused <= all, "{refused} of {all} events of batch {ticket} are dead letters");
        assert_eq!(events.envelope.identity, held.identity, "the identity of batch {ticket}");
        if *whole {
            assert_eq!(events.len(), all, "the letter of the whole batch {ticket} has all events");
            self.held.remove(ticket);
        }
    }
}

#[async_trait]
impl Sink for Checked {
    async fn open(&mut self) -> Result<(), SinkError> {
        self.sink.open().await
    }

    async fn probe(&mut self) -> Result<Option<String>, SinkError> {
        self.sink.probe().await
    }

    async fn write(&mut self, taken: Taken) -> Result<(), SinkError> {
        let (ticket, identity) = (taken.ticket, taken.batch.envelope.identity);
        // Before the call: a test may give up waiting for it.
        self.held.insert(ticket, Held { identity, events: taken.batch.len(), refused: 0 });
        self.sink.write(taken).await.inspect_err(|_| {
            self.held.remove(&ticket);
        })
    }

    async fn settled(&mut self) -> Settlement {
        let settlement = self.sink.settled().await;
        self.check(&settlement);
        settlement
    }

    fn flush(&mut self) {
        self.sink.flush();
    }

    async fn close(&mut self) {
        self.sink.close().await;
        self.held.clear();
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.sink.unacknowledged_bytes()
    }

    fn guarantee(&self) -> Guarantee {
        self.sink.guarantee()
    }

    fn extensions(&self) -> Extensions {
        self.sink.extensions()
    }

    fn status(&self) -> Option<&SinkBoard> {
        self.sink.status()
    }

    fn dedupe_scope(&self) -> DedupeScope {
        self.sink.dedupe_scope()
    }
}
