//! `amqp`: each message of a broker is an event, accepted when it is stored.
//!
//! ```text
//!   broker ──transfer──► round ──put──► channels      one put at a time; the next round fills
//!      ▲                                   │          while it is stored
//!      └── accepted, further credit ◄─── stored
//!          released ◄─── refused, or the source stops
//! ```
//!
//! The broker sends `credit` messages ahead of the answers and no more. What it does not hear of
//! when a connection ends it delivers again, to this source or to another consumer.

mod config;
mod receiving;
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
use crate::connection::AmqpError;
use crate::message::is_repeated;
pub use config::Config;
use config::Options;
use receiving::{Arrived, Receiving};
use round::{Message, Round};

/// How long a stop waits for what is being stored.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a stop waits for the last answers to be sent.
const GOODBYE: Duration = Duration::from_secs(2);

struct Amqp {
    name: Arc<str>,
    metrics: Metrics,
    options: Options,
    target: Target,
    round: Round,
    /// A message that belongs into the next round.
    waiting: Option<Message>,
    storing: Option<Storing<Round>>,
    receiving: Option<Receiving>,
}

impl Amqp {
    fn new(cx: &BuildContext, options: Options, target: Target) -> Self {
        Self {
            name: cx.name.clone(),
            metrics: cx.metrics.clone(),
            options,
            target,
            round: Round::default(),
            waiting: None,
            storing: None,
            receiving: None,
        }
    }

    fn count(&self, reason: &'static str) {
        self.metrics.count_anomaly(&self.name, reason, 1);
    }

    fn failed(error: AmqpError) -> SourceError {
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

    /// Messages that came and have no answer.
    fn held(&self) -> usize {
        let stored = self.storing.as_ref().map_or(0, |it| it.round.len());
        self.round.len() + usize::from(self.waiting.is_some()) + stored
    }

    /// Takes in what came.
    async fn take(&mut self, arrived: Arrived, receiving: &Receiving) -> Result<(), AmqpError> {
        let (delivery, message) = match arrived {
            Arrived::Message(delivery, message) => (delivery, message),
            Arrived::Undecodable(delivery, problem) => {
                return self.reject(delivery, &problem, receiving).await;
            }
        };
        if is_repeated(&message) {
            self.count("message_repeated");
        }
        match Message::new(delivery, *message, &self.options.jms_headers) {
            Ok(message) => self.waiting = Some(message),
            Err((delivery, problem)) => self.reject(delivery, &problem, receiving).await?,
        }
        Ok(())
    }

    /// The broker has to find another place for a message of which no event can be made.
    async fn reject(
        &self,
        delivery: receiving::Delivery,
        problem: &str,
        receiving: &Receiving,
    ) -> Result<(), AmqpError> {
        self.count("message_rejected");
        warn!(source = %self.name, problem, "a message that is no event is rejected");
        receiving.reject(delivery, problem).await
    }

    /// Moves the message that waits into the round, if that has room.
    fn fill(&mut self, batch_bytes: Option<u64>) {
        let round = &mut self.round;
        if let Some(message) = self.waiting.take_if(|it| round.has_room_for(it, batch_bytes)) {
            round.push(message);
        }
    }

    /// Takes messages in until the connection ends or the source is to stop.
    async fn messages(
        &mut self,
        cx: &SourceContext,
        receiving: &mut Receiving,
    ) -> Result<(), SourceError> {
        loop {
            let credit = receiving.give_credit(self.options.credit, self.held()).await;
            credit.map_err(Self::failed)?;
            self.fill(cx.intake.batch_bytes_max());
            if self.storing.is_none() && !self.round.is_empty() {
                let mut round = std::mem::take(&mut self.round);
                let batch = round.batch();
                self.storing = Some(Storing::begin(round, batch, cx));
                continue;
            }
            let taken = tokio::select! {
                biased;
                () = cx.stop.cancelled() => return Ok(()),
                result = put_of(&mut self.storing) => {
                    let Some(Storing { round, .. }) = self.storing.take() else { continue };
                    if let Err(error) = result {
                        let _gone = receiving.release(round.deliveries).await;
                        return Err(Self::not_stored(error));
                    }
                    receiving.accept(round.deliveries).await
                }
                arrived = receiving.next(), if self.waiting.is_none() => match arrived {
                    Ok(arrived) => self.take(arrived, receiving).await,
                    Err(error) => Err(error),
                },
            };
            taken.map_err(Self::failed)?;
        }
    }

    /// Gives an answer for all that came, and says goodbye.
    async fn finish(&mut self, mut receiving: Receiving) {
        let _stopped = receiving.stop_credit().await;
        let mut released = std::mem::take(&mut self.round).deliveries;
        released.extend(self.waiting.take().map(|it| it.delivery));
        if let Some(Storing { round, put, .. }) = &mut self.storing {
            // What takes longer is stored or not, and delivered again.
            if let Ok(result) = timeout(DRAIN, put).await {
                let deliveries = std::mem::take(&mut round.deliveries);
                self.storing = None;
                match result {
                    Ok(Ok(())) => {
                        let _gone = receiving.accept(deliveries).await;
                    }
                    _ => released.extend(deliveries),
                }
            }
        }
        let _gone = receiving.release(released).await;
        receiving.close(GOODBYE).await;
    }
}

#[async_trait]
impl Source for Amqp {
    fn guarantee(&self) -> Guarantee {
        match self.options.keeps() {
            true => Guarantee::AtLeastOnce,
            // What is sent while there is no connection is not for this subscription.
            false => Guarantee::BestEffort,
        }
    }

    fn gives_again(&self) -> GivesAgain {
        GivesAgain::Nothing
    }

    fn batch_bytes(&self) -> u64 {
        ROUND_BYTES
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        self.round = Round::default();
        self.waiting = None;
        // A put of a connection that has ended: its messages come again.
        if let Some((round, result)) = settled(&mut self.storing).await {
            let (messages, is_stored) = (round.len(), result.is_ok());
            debug!(source = %self.name, messages, is_stored, "redelivered messages");
        }
        let opened = Receiving::open(&self.target, &self.options).await;
        let receiving = opened.map_err(Self::failed)?;
        info!(source = %self.name, broker = %receiving.address(), "connected");
        self.receiving = Some(receiving);
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let mut receiving = self.receiving.take().expect("a source is opened before it runs");
        let ended = self.messages(&cx, &mut receiving).await;
        match &ended {
            Ok(()) => self.finish(receiving).await,
            // A connection that works is given up for what was not stored: in order.
            Err(error) if receiving.is_open() => {
                debug!(source = %self.name, %error, "the connection is given up");
                self.finish(receiving).await;
            }
            Err(_) => {}
        }
        ended
    }
}
