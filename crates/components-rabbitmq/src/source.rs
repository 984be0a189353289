//! `rabbitmq`: each message of a queue is an event, acknowledged when it is stored.
//!
//! ```text
//!   broker ──deliver──► round ──put──► channels      one put at a time; the next round fills
//!      ▲                                  │          while it is stored
//!      └── ack, up to the last of it ◄─ stored
//! ```
//!
//! The broker sends `prefetch` messages ahead of the acknowledgements and no more. What is not
//! acknowledged when a connection ends it delivers again, to this source or to another consumer.
//!
//! # Invariants
//!
//! 1. An acknowledgement names the last message of a round that is stored. Rounds are stored in
//!    the order in which they came, so all before it are stored or were rejected.
//! 2. A message of which no event can be made ends the source behind the messages before it, or is
//!    rejected, as `unusable` says. It is never acknowledged.

mod config;
mod consuming;
mod round;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kit::messages::ROUND_BYTES;
use kit::under_way::{Storing, put_of, settled};
use metrics::Metrics;
use pipeline::{
    BuildContext, Classify, GivesAgain, Guarantee, IntakeError, Source, SourceContext, SourceError,
};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::broker::Target;
use crate::refusal::RabbitError;
pub use config::Config;
use config::{Options, Unusable};
use consuming::{Arrived, Consuming};
use round::{Message, Round};

/// How long a stop waits for what is being stored.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a stop waits for the last acknowledgement to be sent.
const GOODBYE: Duration = Duration::from_secs(2);

struct Rabbit {
    name: Arc<str>,
    metrics: Metrics,
    options: Options,
    target: Target,
    round: Round,
    /// A message that belongs into the next round.
    waiting: Option<Message>,
    storing: Option<Storing<Round>>,
    /// What ends the source once all that came before it is stored.
    ending: Option<RabbitError>,
    consuming: Option<Consuming>,
}

impl Rabbit {
    fn new(cx: &BuildContext, options: Options, target: Target) -> Self {
        Self {
            name: cx.name.clone(),
            metrics: cx.metrics.clone(),
            options,
            target,
            round: Round::default(),
            waiting: None,
            storing: None,
            ending: None,
            consuming: None,
        }
    }

    fn count(&self, reason: &'static str) {
        self.metrics.count_anomaly(&self.name, reason, 1);
    }

    fn failed(error: RabbitError) -> SourceError {
        SourceError {
            class: error.class(),
            message: "no messages of the broker".into(),
            source: Some(Box::new(error)),
        }
    }

    fn not_stored(error: IntakeError) -> SourceError {
        let message = "messages are not stored, and are returned to the broker".to_owned();
        SourceError { class: error.class(), message, source: Some(Box::new(error)) }
    }

    /// Takes in what came.
    async fn take(
        &mut self,
        arrived: Arrived,
        consuming: &mut Consuming,
    ) -> Result<(), RabbitError> {
        let (tag, made) = match arrived {
            Arrived::Message(tag, message) => {
                if message.is_repeated {
                    self.count("message_repeated");
                }
                (tag, Message::new(tag, *message, &self.options.properties))
            }
            Arrived::Unusable(tag, problem) => (tag, Err(problem)),
        };
        let problem = match made {
            Ok(message) => {
                self.waiting = Some(message);
                return Ok(());
            }
            Err(problem) => problem,
        };
        match self.options.unusable {
            Unusable::Hold => {
                let queue = self.options.queue.clone();
                self.ending = Some(RabbitError::Unusable { queue, problem });
                Ok(())
            }
            Unusable::Reject => {
                self.count("message_rejected");
                warn!(source = %self.name, problem, "a message that is no event is rejected");
                consuming.reject(tag).await
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
            if self.storing.is_none() && !self.round.is_empty() {
                let mut round = std::mem::take(&mut self.round);
                let batch = round.batch();
                self.storing = Some(Storing::begin(round, batch, cx));
                continue;
            }
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
                    consuming.acknowledge(round.last_tag).await
                }
                arrived = consuming.next(), if reads => match arrived {
                    Ok(arrived) => self.take(arrived, consuming).await,
                    Err(error) => Err(error),
                },
            };
            taken.map_err(Self::failed)?;
        }
    }

    /// Acknowledges what is being stored, and says goodbye. What has no acknowledgement then the
    /// broker has again.
    async fn finish(&mut self, mut consuming: Consuming) {
        if let Some(Storing { put, .. }) = &mut self.storing
            // What takes longer is stored or not, and delivered again.
            && let Ok(result) = timeout(DRAIN, put).await
            && let Some(Storing { round, .. }) = self.storing.take()
            && matches!(result, Ok(Ok(())))
        {
            let _gone = consuming.acknowledge(round.last_tag).await;
        }
        consuming.close(GOODBYE).await;
    }
}

#[async_trait]
impl Source for Rabbit {
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn gives_again(&self) -> GivesAgain {
        GivesAgain::Nothing
    }

    fn batch_bytes(&self) -> u64 {
        ROUND_BYTES
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        self.round = Round::default();
        (self.waiting, self.ending) = (None, None);
        // A put of a connection that has ended: its messages come again.
        if let Some((round, result)) = settled(&mut self.storing).await {
            let (messages, is_stored) = (round.len(), result.is_ok());
            debug!(source = %self.name, messages, is_stored, "redelivered messages");
        }
        let opened = Consuming::open(&self.target, &self.options).await;
        let consuming = opened.map_err(Self::failed)?;
        info!(source = %self.name, broker = %consuming.address(), "connected");
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
