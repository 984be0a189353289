//! One stream: what a sender says, and what it is answered.
//!
//! The puts of a stream enter the channels side by side, so that one write to disk may serve many;
//! their answers come in the order in which they end. Each is begun here, in the order of its
//! arrival, and goes on in a task of its own if it does not end at once: it runs to its end even if
//! the connection does not.

use std::sync::Arc;
use std::time::Duration;

use delivery::receiver::Receiver;
use delivery::sender::Window;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use pipeline::{
    Batch, Class, Classify, Epoch, Identity, IntakeError, KeySet, Known, Origin, Routing, mutant,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tonic::Status;
use tracing::{debug, warn};
use wire::exchange::Heard;
use wire::v1::{FromReceiver, FromSender, Hello, Put, Reason, Welcome, from_sender};
use wire::{Rejection, keys};

use super::allowance::Share;
use super::ending::{self, End};
use super::incoming::Outbox;
use super::news::{News, Subscription};
use super::roster::Presence;
use super::waits::{granted, until};
use super::{DRAIN, Service, answers, budget_units};

/// How long a sender may take to its first word.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a sender hears that its puts wait for room.
const BUSY_EVERY: Duration = Duration::from_secs(1);

/// How long a sender is to stay away when there is no room: until well after the next word.
const BUSY: Duration = Duration::from_secs(2);

/// Who speaks, for people at the other end.
const AGENT: &str = concat!("aqueduct ", env!("CARGO_PKG_VERSION"));

/// A put that the channels have taken, or not.
struct Outcome {
    identity: Identity,
    bytes: u64,
    result: Result<(), IntakeError>,
}

/// A put that waits for its share of the budget.
struct Arrived {
    identity: Identity,
    put: Put,
    permit: BoxFuture<'static, OwnedSemaphorePermit>,
}

pub(super) struct Conversation {
    service: Arc<Service>,
    peer: Arc<str>,
    receiver: Receiver,
    window: Window,
    /// Counts this stream among those that share.
    _stream: Arc<()>,
    outbox: Outbox,
    committed: Subscription,
    /// Whether the sender was told that what is held here cannot be stored.
    outage_said: bool,
    /// The limit that the first Welcome named.
    limit_said: Option<u64>,
    /// When it was another one: the stream ends, and its sender connects again.
    outdated: Option<Instant>,
    /// What is remembered because of it.
    share: Share,
    outcomes_in: mpsc::UnboundedSender<Box<Outcome>>,
    outcomes: mpsc::UnboundedReceiver<Box<Outcome>>,
    arrived: Option<Arrived>,
    /// When the sender must have said Hello; far away once it has.
    hello_due: Option<Instant>,
    /// The sender, once it has said Hello.
    presence: Option<Presence>,
    /// When the agent began to stop.
    stopping: Option<Instant>,
    /// When the sender hears next that its puts wait.
    busy_at: Instant,
}

impl Conversation {
    pub(super) fn new(service: Arc<Service>, peer: Arc<str>, outbox: Outbox) -> Self {
        let (outcomes_in, outcomes) = mpsc::unbounded_channel();
        let now = Instant::now();
        let window = service.window();
        let _stream = service.streams.clone();
        Self {
            receiver: Receiver::new(window),
            window,
            _stream,
            committed: service.board.subscribe(),
            outage_said: false,
            limit_said: None,
            outdated: None,
            share: service.allowance.share(),
            service,
            peer,
            outbox,
            outcomes_in,
            outcomes,
            arrived: None,
            hello_due: Some(now + HELLO_TIMEOUT),
            presence: None,
            stopping: None,
            busy_at: now + BUSY_EVERY,
        }
    }

    /// Speaks with the sender until either has nothing more to say.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` has room for its arguments twice")]
    pub(super) fn run(mut self, mut puts: Heard<Incoming>) -> impl Future<Output = ()> + Send {
        async move {
            let end = loop {
                if let Err(end) = self.step(&mut puts).await {
                    break end;
                }
                if let Err(end) = self.reply().await {
                    break end;
                }
            };
            if let End::Told(status) = end {
                let (source, peer) = (&self.service.name, &self.peer);
                warn!(%source, %peer, problem = status.message(), "stream ended");
                ending::tell(status, &self.outbox, &self.service.cx.stop).await;
            }
        }
    }

    /// What is done with a message is in a box: it is there while it is done, and not in each of
    /// thousands of connections that wait for the next one.
    async fn step(&mut self, puts: &mut Heard<Incoming>) -> Result<(), End> {
        let deadline = self.deadline();
        let goes_on = self.stopping.is_none() && self.outdated.is_none();
        let limit_said = self.limit_said.filter(|_| goes_on);
        let listening = goes_on && self.arrived.is_none();
        tokio::select! {
            biased;
            () = self.service.cx.stop.cancelled(), if self.stopping.is_none() => {
                self.stopping = Some(Instant::now());
                self.say(answers::draining()).await?;
                self.give_back().await
            }
            () = self.outbox.closed() => Err(End::Quiet),
            Some(outcome) = self.outcomes.recv() => Box::pin(self.settle_all(outcome)).await,
            () = self.service.outlet.otherwise(self.outage_said), if self.presence.is_some() => {
                Box::pin(self.tell_outlet()).await
            }
            () = self.service.limit.otherwise(limit_said) => {
                self.outdated = Some(Instant::now());
                Ok(())
            }
            news = self.committed.next() => {
                self.hear(news);
                Ok(())
            }
            permit = granted(self.arrived.as_mut().map(|arrived| &mut arrived.permit)), if self.arrived.is_some() => {
                let arrived = self.arrived.take().expect("a put waits for this permit");
                Box::pin(self.begin(arrived.put, permit)).await
            }
            message = puts.message(), if listening => match message {
                Ok(Some(FromSender { message: Some(message) })) => {
                    Box::pin(self.heed(message)).await
                }
                Ok(Some(FromSender { message: None })) => Ok(()),
                // The sender is done or gone; puts in work end by themselves.
                Ok(None) => Err(End::Quiet),
                Err(status) => {
                    debug!(source = %self.service.name, peer = %self.peer, %status, "stream broke");
                    Err(End::unreadable(status))
                }
            },
            () = until(deadline) => self.time(Instant::now()).await,
        }
    }

    /// When something is due without anybody saying anything; never, where nobody waits: of
    /// thousands of quiet connections none costs anything.
    fn deadline(&self) -> Option<Instant> {
        let busy = self.is_waited_for().then_some(self.busy_at);
        let drained = self.stopping.or(self.outdated).map(|since| since + DRAIN);
        [self.hello_due, busy, drained].into_iter().flatten().min()
    }

    fn is_waited_for(&self) -> bool {
        self.receiver.unanswered() > 0 || self.arrived.is_some()
    }

    async fn time(&mut self, now: Instant) -> Result<(), End> {
        if self.hello_due.is_some_and(|due| now >= due) {
            return Err(End::Told(Status::deadline_exceeded("no Hello")));
        }
        if now >= self.busy_at {
            self.busy_at = now + BUSY_EVERY;
            if self.is_waited_for() && self.stopping.is_none() && self.service.cx.intake.is_full() {
                self.say(answers::busy(BUSY, &KeySet::default())).await?;
            }
        }
        Ok(())
    }

    fn hear(&mut self, news: News) {
        let intake = &self.service.cx.intake;
        match news {
            News::Committed(keys) => self.receiver.committed(&keys),
            News::Missed => self.receiver.recount(|origin, epoch| intake.known(origin, epoch)),
        }
    }

    async fn heed(&mut self, message: from_sender::Message) -> Result<(), End> {
        match message {
            from_sender::Message::Hello(hello) => self.welcome(hello).await,
            from_sender::Message::Put(put) => self.arrive(put).await,
        }
    }

    async fn welcome(&mut self, hello: Hello) -> Result<(), End> {
        // Counted before it is made: a few bytes of a Hello become many times as many.
        self.share.ask(keys::extent(&hello.keys)?, hello.floors.len())?;
        let asked = keys::decode(hello.keys)?;
        let floors = keys::decode_floors(hello.floors)?;
        let intake = &self.service.cx.intake;
        // Before the question, so that nothing falls between the two.
        asked.iter().for_each(|(origin, _, _)| self.committed.follow(origin));
        let known = |origin, epoch| intake.known(origin, epoch);
        let answer = self.receiver.hello(&asked, known)?;
        intake.close_epochs(&self.receiver.declared(&floors, &answer));
        drop(asked);
        self.share.count(self.receiver.awaited(), self.committed.origins())?;
        if self.hello_due.take().is_some() {
            self.presence = Some(self.service.roster.enter(&self.peer, &hello.agent));
            self.tell_outlet().await?;
        }
        let routing = self.service.cx.intake.routing();
        let limits = self.service.limits;
        let batch_max = self.service.batch_max();
        self.limit_said.get_or_insert(batch_max);
        let features = limits.zstd.then(|| wire::FEATURE_ZSTD.to_owned());
        // One Welcome at a time, to a sender that reads them: they are as large as Hello.
        let free = self.outbox.reserve_many(self.outbox.max_capacity()).await;
        drop(free.map_err(|_| End::Quiet)?);
        self.say(FromReceiver {
            message: Some(wire::v1::from_receiver::Message::Welcome(Welcome {
                agent: AGENT.to_owned(),
                features: features.into_iter().collect(),
                incarnation: self.service.incarnation,
                stored_keys: keys::encode(&answer.stored),
                committed_keys: keys::encode(&answer.committed),
                window_batches: self.window.batches,
                window_bytes: self.window.bytes,
                body_max: batch_max,
                routing: routing.map(|Routing { digest, text }| wire::v1::Routing {
                    digest,
                    text: text.to_string(),
                }),
            })),
        })
        .await
    }

    /// A put is here: its sizes are looked at before anything is done with it.
    async fn arrive(&mut self, put: Put) -> Result<(), End> {
        let limits = self.service.limits;
        let (identity, memory) = match wire::parcel::check(&put, limits.body_max) {
            Ok(checked) => checked,
            Err(rejection) => return self.reject(&rejection).await,
        };
        if !self.is_waited_for() {
            self.busy_at = Instant::now() + BUSY_EVERY;
        }
        self.receiver.put(identity, put.body.len() as u64)?;
        if self.service.cx.intake.is_closed(identity) {
            self.receiver.answered(put.body.len() as u64);
            self.service.count("put_of_closed_epoch");
            let detail = "the origin has declared this epoch empty: a copy that came late";
            return self
                .say(answers::refused(identity, Reason::EpochClosed, detail.to_owned()))
                .await;
        }
        if self.share.put() {
            self.share.count(self.receiver.awaited(), self.committed.origins() + 1)?;
        }
        self.committed.follow(identity.origin);
        let units = budget_units(memory.min(limits.in_flight_max));
        let budget = self.service.budget.clone();
        let permit = Box::pin(async move {
            budget.acquire_many_owned(units).await.expect("the budget is never closed")
        });
        self.arrived = Some(Arrived { identity, put, permit });
        Ok(())
    }

    /// A put that was not begun when the agent stops is the sender's again.
    async fn give_back(&mut self) -> Result<(), End> {
        let Some(Arrived { identity, put, .. }) = self.arrived.take() else { return Ok(()) };
        self.receiver.answered(put.body.len() as u64);
        self.say(answers::busy(BUSY, &KeySet::from_iter([identity]))).await
    }

    /// Opens a put and hands it to the channels.
    async fn begin(&mut self, put: Put, permit: OwnedSemaphorePermit) -> Result<(), End> {
        let bytes = put.body.len() as u64;
        let batch = match self.open(put).await {
            Ok(batch) => batch,
            Err(rejection) => {
                self.receiver.answered(bytes);
                return self.reject(&rejection).await;
            }
        };
        let identity = batch.identity.expect("an opened put has its identity");
        if !self.service.admit(identity, &batch) {
            self.receiver.answered(bytes);
            self.service.count("put_of_other_content");
            let detail = "this identity came before, and named other events".to_owned();
            warn!(source = %self.service.name, peer = %self.peer, %identity, detail, "put refused");
            return self.say(answers::refused(identity, Reason::OtherContent, detail)).await;
        }
        let intake = self.service.cx.intake.clone();
        let outcomes = self.outcomes_in.clone();
        let early = mutant!("stored_before_durable");
        if early {
            let _ = outcomes.send(Box::new(Outcome { identity, bytes, result: Ok(()) }));
        }
        let mut work = Box::pin(async move {
            let result = intake.accept(batch).await;
            drop(permit);
            if !early {
                // Nobody listens if the connection is gone; the sender asks again.
                let _ = outcomes.send(Box::new(Outcome { identity, bytes, result }));
            }
        });
        if futures::poll!(&mut work).is_pending() {
            self.service.work.spawn(work);
        }
        Ok(())
    }

    async fn open(&mut self, put: Put) -> Result<Batch, Rejection> {
        let body_max = self.service.limits.body_max;
        if put.uncompressed_bytes == put.body.len() as u64 {
            return wire::unpack(put, body_max);
        }
        self.service.env.offload(move || wire::unpack(put, body_max)).await
    }

    /// Answers the puts that have ended. What the channels know is asked once for puts of one
    /// life in a row, and after the last of them has ended.
    async fn settle_all(&mut self, first: Box<Outcome>) -> Result<(), End> {
        let mut ended = vec![first];
        while let Ok(more) = self.outcomes.try_recv() {
            ended.push(more);
        }
        let mut last: Option<((Origin, Epoch), Known)> = None;
        for outcome in ended {
            let life = (outcome.identity.origin, outcome.identity.epoch);
            let known = match last.take() {
                Some((same, known)) if same == life => known,
                _ => self.service.cx.intake.known(life.0, life.1),
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
                    self.service.cx.intake.close_epochs(&floors);
                }
                self.receiver.stored(identity, bytes, known).map_err(End::from)
            }
            Err(error) if error.class() == Class::Poison => {
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
        warn!(source = %self.service.name, peer = %self.peer, problem = %rejection, "put refused");
        self.say(answers::refused(identity, reason, rejection.to_string())).await
    }

    /// Says what is due; the end, when the agent stops and nothing more is owed.
    async fn reply(&mut self) -> Result<(), End> {
        while let Some(reply) = self.receiver.next_reply() {
            self.say(answers::reply(&reply)).await?;
        }
        if let Some(since) = self.outdated.filter(|_| self.stopping.is_none()) {
            let answered = !self.is_waited_for() || since.elapsed() >= DRAIN;
            return if answered { Err(End::Quiet) } else { Ok(()) };
        }
        let Some(since) = self.stopping else { return Ok(()) };
        let (elapsed, linger) = (since.elapsed(), self.service.limits.linger);
        let answered = self.receiver.unanswered() == 0 || elapsed >= DRAIN;
        let told = !self.receiver.owes() || elapsed >= linger;
        if answered && told { Err(End::Quiet) } else { Ok(()) }
    }

    async fn tell_outlet(&mut self) -> Result<(), End> {
        match self.service.outlet.to_say(&mut self.outage_said) {
            Some(outlet) => self.say(outlet).await,
            None => Ok(()),
        }
    }

    async fn say(&mut self, message: FromReceiver) -> Result<(), End> {
        self.outbox.send(Box::new(Ok(message))).await.map_err(|_| End::Quiet)
    }
}
