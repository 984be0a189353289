//! `nats`: each message of a stream of JetStream is an event.
//!
//! ```text
//!   alone    stream ──► round ──put, with the sequence after it──► channel
//!              ▲                                                      │
//!              └──────── from the sequence in the channel on ─────────┘    exactly once
//!
//!   shared   stream ──► round ──put──► channels
//!              ▲                          │
//!              └── ack of each message ◄──┘                                at least once
//! ```
//!
//! [`kit::consume`] has the rounds and their invariants. In addition, alone: the position of a
//! round is the sequence after its last message, in the same write as its events. A consumer begins
//! at the stored position.

mod config;
mod consuming;
mod position;

use std::sync::Arc;
use std::time::Duration;

use kit::consume::{Arrived, Consume, Content, Problem, Verdict, not_received};
use kit::follow::only_channel;
use metrics::{FloatGauge, Metrics};
use pipeline::{Component, Guarantee, ResendMode, SourceContext, SourceError, SourcePosition};
use tracing::{info, warn};

use crate::message::{Place, event_of};
use crate::refusal::NatsError;
use crate::server::Target;
pub use config::Config;
use config::{Options, Unusable};
use consuming::{Consuming, Delivered, Opened};
use position::Position;

struct Nats {
    name: Arc<str>,
    metrics: Metrics,
    lag: FloatGauge,
    options: Options,
    target: Target,
    /// When the stream was made that this source reads alone.
    created: String,
    /// Where it begins, if no channel knows that yet.
    unstored: Option<u64>,
}

/// A message that arrived.
struct Ack {
    place: Place,
    /// Subject of the acknowledgement.
    reply: String,
    /// Sequences before it that the stream has deleted.
    deleted: u64,
}

impl Nats {
    fn is_alone(&self) -> bool {
        self.options.consumer.is_none()
    }

    fn count(&self, reason: &'static str, times: u64) {
        self.metrics.count_anomaly(&self.name, reason, times);
    }

    /// Connects, with a consumer for this source alone.
    async fn open_alone(&mut self, cx: &SourceContext) -> Result<Consuming, SourceError> {
        let known = only_channel(Config::KIND, &self.name, cx)?;
        let known = position::known(&known, &self.options.stream);
        let known = known.map_err(|message| SourceError {
            class: pipeline::ErrorClass::Fatal,
            message,
            source: None,
        })?;
        let opened = Consuming::alone(&self.target, &self.options, known.as_ref()).await;
        let (consuming, Opened { created, begin }) = opened.map_err(not_received)?;
        self.created = created;
        let Some(begin) = begin else { return Ok(consuming) };
        let (stream, next) = (&self.options.stream, begin.next);
        if let Some(odd) = begin.odd {
            self.count(odd, 1);
            warn!(
                source = %self.name, %stream, next,
                "the stream was recreated or has lost messages ({odd}); reading from message \
                 `next`; unread messages of a recreated stream are lost; find out what recreated it"
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
            "messages were deleted from the stream before they were read; they are lost, except \
             those outside `filter`: raise `max_age`, `max_bytes` or `max_msgs` of the stream"
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
}

impl Consume for Nats {
    type Link = Consuming;
    type Ack = Ack;
    type Error = NatsError;

    fn guarantee(&self) -> Guarantee {
        if self.is_alone() { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce }
    }

    fn resend_mode(&self) -> ResendMode {
        if self.is_alone() { ResendMode::ByPosition } else { ResendMode::Nothing }
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<Consuming, SourceError> {
        self.unstored = None;
        let Some(name) = &self.options.consumer else { return self.open_alone(cx).await };
        let shared = Consuming::share(&self.target, &self.options, name).await;
        let consuming = shared.map_err(not_received)?;
        info!(source = %self.name, server = %consuming.address(), "connected");
        Ok(consuming)
    }

    fn begins_with_position(&self) -> bool {
        self.unstored.is_some()
    }

    async fn next(&mut self, link: &mut Consuming) -> Result<Arrived<Ack>, NatsError> {
        let Delivered { place, deleted, mut message } = link.next().await?;
        let reply = message.reply.take().unwrap_or_default();
        let of_stream = (&*self.options.stream, &place);
        let content = match event_of(message, of_stream, &self.options.properties) {
            Ok(event) => Content::Event(event),
            Err(problem) => Content::Unusable(problem),
        };
        let is_repeated = place.delivered > 1;
        Ok(Arrived { ack: Ack { place, reply, deleted }, content, is_repeated })
    }

    fn positions(&mut self, acks: &[Ack]) -> Vec<SourcePosition> {
        if !self.is_alone() {
            return Vec::new();
        }
        let next = acks.last().map(|last| last.place.sequence + 1).or(self.unstored);
        next.map(|next| self.position(next)).into_iter().collect()
    }

    async fn acknowledge(&mut self, link: &mut Consuming, acks: Vec<Ack>) -> Result<(), NatsError> {
        if let Some(last) = acks.last() {
            self.lag.set(last.place.pending as f64);
        }
        let deleted = acks.iter().map(|ack| ack.deleted).sum();
        if deleted > 0 {
            self.deleted(deleted);
        }
        let replies: Vec<&str> = acks.iter().map(|ack| &*ack.reply).collect();
        link.acknowledge(&replies).await
    }

    fn verdict(&self, ack: &Ack, problem: &Problem) -> Verdict<NatsError> {
        match self.options.unusable {
            Unusable::Reject => Verdict::Reject,
            Unusable::Hold => {
                let (stream, problem) = (self.options.stream.clone(), problem.to_string());
                let sequence = ack.place.sequence;
                Verdict::Hold(NatsError::Unusable { stream, sequence, problem })
            }
        }
    }

    fn describe(&self, ack: &Ack) -> String {
        ack.place.sequence.to_string()
    }

    async fn reject(
        &mut self,
        link: &mut Consuming,
        ack: Ack,
        _problem: &Problem,
    ) -> Result<(), NatsError> {
        link.reject(&ack.reply).await
    }

    fn is_open(&self, link: &Consuming) -> bool {
        link.is_open()
    }

    async fn close(&mut self, link: Consuming, limit: Duration) {
        link.close(limit).await;
    }
}
