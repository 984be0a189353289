//! Puts: each is checked, waits for its share of the budget, is unpacked and handed to the
//! channels, and gets a reply when they have stored or rejected it.

use futures::future::BoxFuture;
use kit::tenants::{Memory, Place};
use pipeline::{Batch, Classify, Epoch, ErrorClass, Identity, IntakeError, KeySet, Known, Origin};
use support::mutant;
use tokio::time::Instant;
use tonic::Status;
use tracing::{debug, warn};
use wire::Rejection;
use wire::v1::{Put, Reason};

use super::super::answers;
use super::super::ending::End;
use super::{BUSY, BUSY_EVERY, Conversation};

/// Result of a put in the channels.
pub(super) struct Outcome {
    identity: Identity,
    bytes: u64,
    result: Result<(), IntakeError>,
}

/// A put that waits for its share of the budget.
pub(super) struct Arrived {
    identity: Identity,
    pub(super) put: Put,
    pub(super) permit: BoxFuture<'static, Permit>,
}

/// Memory for a put, and its place in the backlog of its tenant.
pub(super) struct Permit {
    memory: Memory,
    place: Option<Place>,
}

impl Conversation {
    /// Handles a new put: checks its sizes before anything else.
    pub(super) async fn arrive(&mut self, put: Put) -> Result<(), End> {
        let largest = self.service.limits.body_max;
        let own = self.member.message_max(largest);
        let (identity, memory) = match wire::parcel::check(&put, own) {
            Ok(checked) => checked,
            Err(rejection) => {
                // Only the tenant's limit rejects it.
                if own < largest && wire::parcel::check(&put, largest).is_ok() {
                    self.member.too_large();
                }
                return self.reject(&rejection).await;
            }
        };
        let spoken = std::iter::once(identity.origin);
        self.service.binding.check(&self.peer, spoken, &mut self.warned)?;
        if !self.is_waited_for() {
            self.busy_at = Instant::now() + BUSY_EVERY;
        }
        self.receiver.put(identity, put.body.len() as u64)?;
        if self.service.cx.relay.is_closed(identity) {
            self.receiver.answered(put.body.len() as u64);
            self.service.count("put_of_closed_epoch");
            let detail = "the batch is a late copy: its sender had closed this epoch, after every \
                          batch in it was delivered; no event is lost unless two agents use \
                          copies of one data directory";
            return self
                .say(answers::refused(identity, Reason::EpochClosed, detail.to_owned()))
                .await;
        }
        if self.share.put() {
            self.share.count(self.receiver.awaited(), self.committed.origins() + 1)?;
        }
        self.committed.follow(identity.origin);
        let (sharing, member) = (self.service.sharing.clone(), self.member.clone());
        let bytes = put.uncompressed_bytes;
        let permit = Box::pin(async move {
            member.pass(memory).await;
            let place = member.place(identity, bytes).await;
            Permit { memory: sharing.memory(&member, memory).await, place }
        });
        self.arrived = Some(Arrived { identity, put, permit });
        Ok(())
    }

    /// Returns a put that waits when the agent stops: its sender keeps it.
    pub(super) async fn give_back(&mut self) -> Result<(), End> {
        let Some(Arrived { identity, put, .. }) = self.arrived.take() else { return Ok(()) };
        self.receiver.answered(put.body.len() as u64);
        self.say(answers::busy(BUSY, &KeySet::from_iter([identity]))).await
    }

    /// Unpacks a put and hands it to the channels.
    pub(super) async fn begin(&mut self, put: Put, permit: Permit) -> Result<(), End> {
        let Permit { memory, place } = permit;
        let bytes = put.body.len() as u64;
        let (opened, memory) = self.open(put, memory).await;
        let batch = match opened {
            Ok(batch) => batch,
            Err(rejection) => {
                self.receiver.answered(bytes);
                return self.reject(&rejection).await;
            }
        };
        let identity = batch.envelope.identity.expect("an opened put has its identity");
        if !self.service.admit(identity, &batch) {
            self.receiver.answered(bytes);
            self.service.count("put_of_other_content");
            let detail = "this agent already has a batch with this identity and other events; two \
                          agents may use copies of one data directory: stop one, or renew its \
                          identity with `aqueduct channel renew DATA_DIR/channels/CHANNEL` while \
                          it is stopped"
                .to_owned();
            warn!(source = %self.service.name, peer = %self.peer, %identity, detail,
                "rejected a batch, which goes to the dead letters of its sender; `detail` names \
                 the cause and the remedy");
            return self.say(answers::refused(identity, Reason::OtherContent, detail)).await;
        }
        let size = batch.size().bytes;
        self.member.count(batch.len() as u64, size, Instant::now());
        let intake = self.service.cx.relay.clone();
        let turn = self.service.sharing.channel_turn(&self.member, size);
        let outcomes = self.outcomes_in.clone();
        let early = mutant!("stored_before_durable");
        if early {
            let _ = outcomes.send(Box::new(Outcome { identity, bytes, result: Ok(()) }));
        }
        let mut work = Box::pin(async move {
            let result = intake.accept_in_turn(batch, Box::pin(turn)).await;
            drop(memory);
            if let Some(place) = place.filter(|_| result.is_ok()) {
                place.keep();
            }
            if !early {
                // If the connection is gone, the sender asks again on the next one.
                let _ = outcomes.send(Box::new(Outcome { identity, bytes, result }));
            }
        });
        if futures::poll!(&mut work).is_pending() {
            self.service.work.spawn(work);
        }
        Ok(())
    }

    /// Unpacks a put. The work continues if the sender disconnects, and keeps the memory until its
    /// end.
    async fn open(&mut self, put: Put, memory: Memory) -> (Result<Batch, Rejection>, Memory) {
        let body_max = self.service.limits.body_max;
        if put.uncompressed_bytes == put.body.len() as u64 {
            return (wire::unpack(put, body_max), memory);
        }
        self.service.env.offload(move || (wire::unpack(put, body_max), memory)).await
    }

    /// Replies to finished puts. Queries the channels once for consecutive puts of an epoch, after
    /// the last of them has finished.
    pub(super) async fn settle_all(&mut self, first: Box<Outcome>) -> Result<(), End> {
        let mut ended = vec![first];
        while let Ok(more) = self.outcomes.try_recv() {
            ended.push(more);
        }
        let mut last: Option<((Origin, Epoch), Known)> = None;
        for outcome in ended {
            let life = (outcome.identity.origin, outcome.identity.epoch);
            let known = match last.take() {
                Some((same, known)) if same == life => known,
                _ => self.service.cx.relay.known(life.0, life.1),
            };
            self.settle(*outcome, &known).await?;
            last = Some((life, known));
        }
        Ok(())
    }

    async fn settle(&mut self, outcome: Outcome, known: &Known) -> Result<(), End> {
        let Outcome { identity, bytes, result } = outcome;
        match result {
            Ok(()) => {
                if let Some(floors) = self.receiver.carried(identity.origin) {
                    self.service.cx.relay.close_epochs(&floors);
                }
                self.receiver.stored(identity, bytes, known).map_err(End::from)
            }
            Err(error) if error.class() == ErrorClass::Poison => {
                self.receiver.answered(bytes);
                self.service.count("refused_by_channel");
                self.say(answers::refused(identity, Reason::TooLarge, error.to_string())).await
            }
            Err(error) => {
                self.receiver.answered(bytes);
                debug!(source = %self.service.name, %identity, %error, "batch is not stored");
                self.say(answers::busy(BUSY, &KeySet::from_iter([identity]))).await
            }
        }
    }

    async fn reject(&mut self, rejection: &Rejection) -> Result<(), End> {
        let Some((identity, reason)) = rejection.answer() else {
            return Err(End::Told(Status::invalid_argument(rejection.to_string())));
        };
        self.service.count(match reason {
            Reason::TooLarge => "put_too_large",
            Reason::Damaged => "put_damaged",
            _ => "put_malformed",
        });
        warn!(source = %self.service.name, peer = %self.peer, problem = %rejection,
            "rejected a batch, which its sender resends, holds back or moves to its dead letters; \
             `problem` names the cause and the remedy");
        self.say(answers::refused(identity, reason, rejection.to_string())).await
    }
}
