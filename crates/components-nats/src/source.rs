//! `nats`: each message of a stream of JetStream is an event.
//!
//! ```text
//!   alone    stream ──► round ──put, with the sequence behind it──► channel
//!              ▲                                                       │
//!              └──────── from the sequence in the channel on ──────────┘   exactly once
//!
//!   shared   stream ──► round ──put──► channels
//!              ▲                          │
//!              └── ack of each message ◄──┘                                at least once
//! ```
//!
//! One put is under way at a time; the next round fills while it is stored.
//!
//! # Invariants
//!
//! 1. Alone: the position of a round is the sequence behind its last message, in the same write as
//!    its events. Rounds are stored in the order in which they came, and a consumer begins at the
//!    position that is stored, after what was under way has ended.
//! 2. Shared: a message is acknowledged when its round is stored.
//! 3. A message of which no event can be made ends the source behind the messages before it, or is
//!    passed over, as `unusable` says.

mod config;
mod consuming;
mod position;
mod round;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kit::messages::ROUND_BYTES;
use kit::one_channel;
use kit::under_way::{Storing, put_of, settled};
use metrics::{FloatGauge, Metrics};
use pipeline::{
    Batch, BuildContext, Classify, Component, GivesAgain, Guarantee, IntakeError, Source,
    SourceContext, SourceError, SourcePosition,
};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::refusal::NatsError;
use crate::server::Target;
pub use config::Config;
use config::{Options, Unusable};
use consuming::{Arrived, Consuming, Opened};
use position::Position;
use round::{Message, Round};

/// How long a stop waits for what is being stored.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a stop waits for the server's last answer.
const GOODBYE: Duration = Duration::from_secs(2);

struct Nats {
    name: Arc<str>,
    metrics: Metrics,
    lag: FloatGauge,
    options: Options,
    target: Target,
    round: Round,
    /// A message that belongs into the next round.
    waiting: Option<Message>,
    storing: Option<Storing<Round>>,
    /// What ends the source once all that came before it is stored.
    ending: Option<NatsError>,
    consuming: Option<Consuming>,
    /// When the stream was made that this source reads alone.
    created: String,
    /// Where it begins, if no channel knows that yet.
    unstored: Option<u64>,
}

impl Nats {
    fn new(cx: &BuildContext, options: Options, target: Target, lag: FloatGauge) -> Self {
        Self {
            name: cx.name.clone(),
            metrics: cx.metrics.clone(),
            lag,
            options,
            target,
            round: Round::default(),
            waiting: None,
            storing: None,
            ending: None,
            consuming: None,
            created: String::new(),
            unstored: None,
        }
    }

    fn is_alone(&self) -> bool {
        self.options.consumer.is_none()
    }

    fn count(&self, reason: &'static str, times: u64) {
        self.metrics.count_anomaly(&self.name, reason, times);
    }

    fn failed(error: NatsError) -> SourceError {
        SourceError {
            class: error.class(),
            message: "no messages of the stream".into(),
            source: Some(Box::new(error)),
        }
    }

    fn not_stored(error: IntakeError) -> SourceError {
        let message = "messages are not stored, and will be redelivered".to_owned();
        SourceError { class: error.class(), message, source: Some(Box::new(error)) }
    }

    /// Connects, with a consumer for this source alone.
    async fn open_alone(&mut self, cx: &SourceContext) -> Result<Consuming, SourceError> {
        let known = one_channel::known(Config::KIND, &self.name, cx)?;
        let known = position::known(&known, &self.options.stream);
        let known = known.map_err(|message| SourceError {
            class: pipeline::ErrorClass::Fatal,
            message,
            source: None,
        })?;
        let opened = Consuming::alone(&self.target, &self.options, known.as_ref()).await;
        let (consuming, Opened { created, begin }) = opened.map_err(Self::failed)?;
        self.created = created;
        let Some(begin) = begin else { return Ok(consuming) };
        let (stream, next) = (&self.options.stream, begin.next);
        if let Some(odd) = begin.odd {
            self.count(odd, 1);
            warn!(
                source = %self.name, %stream, next,
                "the stream is not the one that was read, or has lost messages: {odd}"
            );
        }
        if begin.deleted > 0 && !self.options.filter.is_empty() {
            self.deleted(begin.deleted);
        }
        let is_known = known.is_some_and(|known| known.next == next && begin.odd.is_none());
        self.unstored = (!is_known).then_some(next);
        info!(source = %self.name, server = %consuming.address(), %stream, next, "connected");
        Ok(consuming)
    }

    fn deleted(&self, messages: u64) {
        self.count("messages_deleted", messages);
        warn!(
            source = %self.name, stream = %self.options.stream, messages,
            "messages were deleted from the stream before they were read: look at its limits"
        );
    }

    /// Where the stream stands when the next message has this sequence.
    fn position(&self, next: u64) -> SourcePosition {
        let position = Position { created: self.created.clone(), next };
        SourcePosition {
            source: self.name.clone(),
            key: self.options.stream.clone().into_bytes().into(),
            value: Some(position.encode()),
            after: None,
        }
    }

    /// Takes in what came.
    async fn take(&mut self, arrived: Arrived, consuming: &mut Consuming) -> Result<(), NatsError> {
        let Arrived { place, deleted, message } = arrived;
        if place.delivered > 1 {
            self.count("message_repeated", 1);
        }
        let reply = message.reply.clone().unwrap_or_default();
        let stream = &*self.options.stream;
        let made = Message::new(message, (stream, place), deleted, &self.options.properties);
        let problem = match made {
            Ok(message) => {
                self.waiting = Some(message);
                return Ok(());
            }
            Err(problem) => problem,
        };
        let sequence = place.sequence;
        match self.options.unusable {
            Unusable::Hold => {
                let stream = stream.to_owned();
                self.ending = Some(NatsError::Unusable { stream, sequence, problem });
                Ok(())
            }
            Unusable::Reject => {
                self.count("message_rejected", 1);
                warn!(
                    source = %self.name, sequence, problem,
                    "skipping a message that is not an event"
                );
                consuming.reject(reply).await
            }
        }
    }

    /// Moves the message that waits into the round, if that has room.
    fn fill(&mut self, batch_bytes: Option<u64>) {
        let round = &mut self.round;
        if let Some(message) = self.waiting.take_if(|it| round.has_room_for(it, batch_bytes)) {
            round.push(message);
        }
    }

    /// Begins to store what there is, if nothing is being stored.
    fn store(&mut self, cx: &SourceContext) {
        if self.storing.is_some() || (self.round.is_empty() && self.unstored.is_none()) {
            return;
        }
        let mut round = Round::default();
        let mut batch = Batch::default();
        let next = match self.unstored.take() {
            Some(next) => Some(next),
            None => {
                round = std::mem::take(&mut self.round);
                batch = round.batch();
                round.last.map(|last| last.sequence + 1)
            }
        };
        if let Some(next) = next.filter(|_| self.is_alone()) {
            batch.envelope.positions.push(self.position(next));
        }
        self.storing = Some(Storing::begin(round, batch, cx));
    }

    /// What follows from a round that is stored.
    async fn stored(&self, round: &Round, consuming: &mut Consuming) -> Result<(), NatsError> {
        if let Some(last) = round.last {
            self.lag.set(last.pending as f64);
        }
        if round.deleted > 0 {
            self.deleted(round.deleted);
        }
        consuming.acknowledge(&round.replies).await
    }

    /// Whether all that came is stored.
    fn is_settled(&self) -> bool {
        self.storing.is_none() && self.round.is_empty() && self.waiting.is_none()
    }

    /// Takes messages in until the connection ends or the source is to stop.
    async fn messages(
        &mut self,
        cx: &SourceContext,
        consuming: &mut Consuming,
    ) -> Result<(), SourceError> {
        loop {
            self.fill(cx.intake.batch_bytes_max());
            self.store(cx);
            // The round has room again.
            self.fill(cx.intake.batch_bytes_max());
            if self.is_settled()
                && let Some(error) = self.ending.take()
            {
                return Err(Self::failed(error));
            }
            let reads = self.waiting.is_none() && self.ending.is_none();
            let taken = tokio::select! {
                biased;
                () = cx.stop.cancelled() => return Ok(()),
                result = put_of(&mut self.storing) => {
                    let Some(Storing { round, .. }) = self.storing.take() else { continue };
                    result.map_err(Self::not_stored)?;
                    self.stored(&round, consuming).await
                }
                arrived = consuming.next(), if reads => match arrived {
                    Ok(arrived) => self.take(arrived, consuming).await,
                    Err(error) => Err(error),
                },
            };
            taken.map_err(Self::failed)?;
        }
    }

    /// Says what is being stored, and goodbye. What is not acknowledged then comes again.
    async fn finish(&mut self, mut consuming: Consuming) {
        if let Some(Storing { put, .. }) = &mut self.storing
            // What takes longer is stored or not: the position says so, or it comes again.
            && let Ok(result) = timeout(DRAIN, put).await
            && let Some(Storing { round, .. }) = self.storing.take()
            && matches!(result, Ok(Ok(())))
        {
            let _gone = self.stored(&round, &mut consuming).await;
        }
        consuming.close(GOODBYE).await;
    }
}

#[async_trait]
impl Source for Nats {
    fn guarantee(&self) -> Guarantee {
        if self.is_alone() { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce }
    }

    fn gives_again(&self) -> GivesAgain {
        if self.is_alone() { GivesAgain::ByPosition } else { GivesAgain::Nothing }
    }

    fn batch_bytes(&self) -> u64 {
        ROUND_BYTES
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        self.round = Round::default();
        (self.waiting, self.ending, self.unstored) = (None, None, None);
        // A put of a connection that has ended: the channel says next whether it has it.
        if let Some((round, result)) = settled(&mut self.storing).await {
            let (messages, is_stored) = (round.len(), result.is_ok());
            debug!(source = %self.name, messages, is_stored, "a put of the last connection");
        }
        let consuming = match self.options.consumer.clone() {
            None => self.open_alone(cx).await?,
            Some(name) => {
                let shared = Consuming::share(&self.target, &self.options, &name).await;
                let consuming = shared.map_err(Self::failed)?;
                info!(source = %self.name, server = %consuming.address(), "connected");
                consuming
            }
        };
        self.consuming = Some(consuming);
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let mut consuming = self.consuming.take().expect("a source is opened before it runs");
        let ended = self.messages(&cx, &mut consuming).await;
        match &ended {
            Ok(()) => self.finish(consuming).await,
            // A connection that works is given up for what was not stored: in order.
            Err(error) if consuming.is_open() => {
                debug!(source = %self.name, %error, "the connection is given up");
                self.finish(consuming).await;
            }
            Err(_) => {}
        }
        ended
    }
}
