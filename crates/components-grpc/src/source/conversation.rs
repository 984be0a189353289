//! One stream: handles a sender's messages and sends the replies.
//!
//! The puts of a stream enter the channels in parallel, so that one disk write may serve many; the
//! replies follow in the order in which the puts finish. This module starts each put in the order
//! of arrival. A put that does not finish immediately continues in its own task, and runs to its
//! end even if the connection breaks.

mod puts;

use std::sync::Arc;
use std::time::Duration;

use delivery::receiver::Receiver;
use delivery::sender::Window;
use hyper::body::Incoming;
use kit::tenants::{Member, Peer};
use kit::waits::{granted, until};
use pipeline::{KeySet, Routing};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;
use tracing::{debug, warn};
use wire::exchange::RequestStream;
use wire::keys;
use wire::v1::{FromReceiver, FromSender, Hello, Progress, Welcome, from_sender};

use super::allowance::Share;
use super::ending::{self, End};
use super::incoming::Outbox;
use super::news::SentNotices;
use super::roster::Presence;
use super::subscriptions::{CommitEvent, Subscription};
use super::{DRAIN, Service, answers};
use puts::{Arrived, Outcome};

/// How long a sender may take to send Hello.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a sender is notified that its puts wait for room.
const BUSY_EVERY: Duration = Duration::from_secs(1);

/// How long a sender must wait before it retries when there is no room: longer than until the next
/// notification.
const BUSY: Duration = Duration::from_secs(2);

/// Name of this program, for the operators of the other agent.
const AGENT: &str = concat!("aqueduct ", env!("CARGO_PKG_VERSION"));

pub(super) struct Conversation {
    service: Arc<Service>,
    peer: Arc<Peer>,
    /// True if it has sent an origin that is not its own, and that was logged.
    warned: bool,
    receiver: Receiver,
    window: Window,
    /// Its membership in a tenant. Puts that wait for their turn keep it too.
    member: Arc<Member>,
    outbox: Outbox,
    committed: Subscription,
    /// Versions of the notices that it has sent.
    sent: SentNotices,
    /// Time when its limit became outdated: the stream ends, and its sender reconnects.
    outdated: Option<Instant>,
    /// Its share of the memory for senders.
    share: Share,
    outcomes_in: mpsc::UnboundedSender<Box<Outcome>>,
    outcomes: mpsc::UnboundedReceiver<Box<Outcome>>,
    arrived: Option<Arrived>,
    /// Time by which the sender must send Hello; `None` after that.
    hello_due: Option<Instant>,
    /// The sender, after Hello.
    presence: Option<Presence>,
    /// Time at which the agent began to stop.
    stopping: Option<Instant>,
    /// Time of the next notification that puts wait.
    busy_at: Instant,
}

impl Conversation {
    pub(super) fn new(service: Arc<Service>, peer: Arc<Peer>, outbox: Outbox) -> Self {
        let (outcomes_in, outcomes) = mpsc::unbounded_channel();
        let now = Instant::now();
        let member = service.sharing.enter(&peer);
        let window = service.window(&member);
        Self {
            receiver: Receiver::new(window),
            window,
            member,
            committed: service.subscriptions.subscribe(),
            sent: SentNotices::default(),
            outdated: None,
            share: service.allowance.share(),
            service,
            peer,
            warned: false,
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

    /// Runs the stream until one side has nothing more to send.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` has room for its arguments twice")]
    pub(super) fn run(
        mut self,
        mut puts: RequestStream<Incoming>,
    ) -> impl Future<Output = ()> + Send {
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

    /// Handles one event. The handlers are boxed: their state then takes memory only while they
    /// run, not in each of thousands of idle connections.
    async fn step(&mut self, puts: &mut RequestStream<Incoming>) -> Result<(), End> {
        let deadline = self.deadline();
        let goes_on = self.stopping.is_none() && self.outdated.is_none();
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
            () = self.service.news(&self.sent), if self.presence.is_some() => {
                Box::pin(self.tell_news()).await
            }
            event = self.committed.next() => {
                self.on_commit(event);
                Ok(())
            }
            permit = granted(self.arrived.as_mut().map(|arrived| &mut arrived.permit)),
                if self.arrived.is_some() =>
            {
                let arrived = self.arrived.take().expect("a put waits for this permit");
                Box::pin(self.begin(arrived.put, permit)).await
            }
            message = puts.message(), if listening => match message {
                Ok(Some(FromSender { message: Some(message) })) => {
                    Box::pin(self.on_message(message)).await
                }
                Ok(Some(FromSender { message: None })) => Ok(()),
                // The sender has finished or disconnected; puts in work continue.
                Ok(None) => Err(End::Quiet),
                Err(status) => {
                    debug!(source = %self.service.name, peer = %self.peer, %status, "stream broke");
                    Err(End::unreadable(status))
                }
            },
            () = until(deadline) => self.time(Instant::now()).await,
        }
    }

    /// Returns the next time at which something is due without a message. `None` if nothing waits:
    /// thousands of quiet connections then need no timers.
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
            let waits = self.service.cx.relay.is_full() || self.member.has_to_wait(now);
            if self.is_waited_for() && self.stopping.is_none() && waits {
                self.say(answers::busy(BUSY, &KeySet::default())).await?;
            }
        }
        Ok(())
    }

    fn on_commit(&mut self, event: CommitEvent) {
        let intake = &self.service.cx.relay;
        match event {
            CommitEvent::Committed(keys) => self.receiver.committed(&keys),
            CommitEvent::Missed => {
                self.receiver.recount(|origin, epoch| intake.known(origin, epoch));
            }
        }
    }

    async fn on_message(&mut self, message: from_sender::Message) -> Result<(), End> {
        match message {
            from_sender::Message::Hello(hello) => self.welcome(hello).await,
            from_sender::Message::Put(put) => self.arrive(put).await,
            from_sender::Message::Progress(progress) => self.observe(&progress),
        }
    }

    /// Records how far the origins of the sender got. Only their owner may report that.
    fn observe(&mut self, progress: &Progress) -> Result<(), End> {
        let reports = keys::decode_reached(&progress.reached)?;
        let spoken = reports.iter().map(|(origin, _)| *origin);
        self.service.binding.check(&self.peer, spoken, &mut self.warned)?;
        self.service.cx.relay.observe_progress(&reports);
        Ok(())
    }

    async fn welcome(&mut self, hello: Hello) -> Result<(), End> {
        self.member.check()?;
        // Count it before decoding: the decoded Hello is many times larger.
        self.share.ask(keys::extent(&hello.keys)?, hello.floors.len())?;
        let asked = keys::decode(hello.keys)?;
        let floors = keys::decode_floors(hello.floors)?;
        let spoken = asked.iter().map(|(origin, ..)| origin);
        let spoken = spoken.chain(floors.iter().map(|(origin, _)| origin));
        self.service.binding.check(&self.peer, spoken, &mut self.warned)?;
        let intake = &self.service.cx.relay;
        // Subscribe before the query, so that no commit falls between the two.
        asked.iter().for_each(|(origin, _, _)| self.committed.follow(origin));
        let known = |origin, epoch| intake.known(origin, epoch);
        let answer = self.receiver.hello(&asked, known)?;
        intake.close_epochs(&self.receiver.declared(&floors, &answer));
        drop(asked);
        self.share.count(self.receiver.awaited(), self.committed.origins())?;
        if self.hello_due.take().is_some() {
            self.presence = Some(self.service.roster.enter(&self.peer, &hello.agent));
            self.tell_news().await?;
        }
        let routing = self.service.cx.relay.routing();
        let letters = self.service.cx.relay.dead_letters(&answer.committed);
        let limits = self.service.limits;
        let named = self.service.look_at_limit();
        self.sent.limit.get_or_insert(named);
        let takes = self.member.message_max(named.takes);
        let cut = named.cut.min(takes);
        let features = limits.zstd.then(|| wire::FEATURE_ZSTD.to_owned());
        // Send one Welcome at a time, and only if the sender reads them: a Welcome is as large as a
        // Hello.
        let free = self.outbox.reserve_many(self.outbox.max_capacity()).await;
        drop(free.map_err(|_| End::Quiet)?);
        self.say(FromReceiver {
            message: Some(wire::v1::from_receiver::Message::Welcome(Welcome {
                agent: AGENT.to_owned(),
                features: features.into_iter().collect(),
                incarnation: self.service.incarnation,
                stored_keys: keys::encode(&answer.stored),
                committed_keys: keys::encode(&answer.committed),
                dead_letters: keys::encode_dead_letters(&letters),
                window_batches: self.window.batches,
                window_bytes: self.window.bytes,
                body_max: takes,
                body_cut: if cut < takes { cut } else { 0 },
                routing: routing.map(|Routing { digest, text }| wire::v1::Routing {
                    digest,
                    text: text.to_string(),
                }),
            })),
        })
        .await
    }

    /// Sends due replies; returns the end when the agent stops and owes nothing more.
    async fn reply(&mut self) -> Result<(), End> {
        while let Some(reply) = self.receiver.next_reply() {
            self.say(answers::reply(&reply, &*self.service.cx.relay)).await?;
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

    /// Sends changes of the outlet and of the downstream ledgers. A changed limit ends the stream.
    async fn tell_news(&mut self) -> Result<(), End> {
        if self.sent.limit.is_some_and(|sent| self.service.limit.is_other_than(sent)) {
            self.sent.limit = None;
            self.outdated.get_or_insert_with(Instant::now);
        }
        if let Some(outlet) = self.service.outlet.message_for(&mut self.sent.outlet) {
            self.say(outlet).await?;
        }
        match self.service.ledgers.message_for(&mut self.sent.ledgers) {
            Some(ledgers) => self.say(ledgers).await,
            None => Ok(()),
        }
    }

    async fn say(&mut self, message: FromReceiver) -> Result<(), End> {
        self.outbox.send(Box::new(Ok(message))).await.map_err(|_| End::Quiet)
    }
}
