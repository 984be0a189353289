//! `rabbitmq`: each message of a queue is an event, acknowledged when it is stored.
//!
//! The broker sends at most `prefetch` messages ahead of the acknowledgements. It redelivers every
//! message without an acknowledgement when a connection ends, to this source or to another
//! consumer. [`kit::consume`] has the rounds and their invariants.
//!
//! An acknowledgement names the last message of a round. Rounds are stored in the order in which
//! they arrived, so every message before it is stored or was rejected.

mod config;
mod consuming;

use std::sync::Arc;
use std::time::Duration;

use kit::consume::{Arrived, Consume, Content, Problem, Verdict, not_received};
use pipeline::{Guarantee, SourceContext, SourceError};
use tracing::info;

use crate::broker::Target;
use crate::message::event_of;
use crate::refusal::{OnlyRabbit, RabbitError};
pub use config::Config;
use config::{Options, Unusable};
use consuming::{Consuming, Delivered};

struct Rabbit {
    name: Arc<str>,
    options: Options,
    target: Target,
}

impl Consume for Rabbit {
    type Link = Consuming;
    /// The delivery tag.
    type Ack = u64;
    type Error = RabbitError;

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<Consuming, SourceError> {
        let consuming = Consuming::open(&self.target, &self.options).await.map_err(not_received)?;
        info!(source = %self.name, broker = %consuming.address(), "connected");
        Ok(consuming)
    }

    async fn next(&mut self, link: &mut Consuming) -> Result<Arrived<u64>, RabbitError> {
        let (ack, content, is_repeated) = match link.next().await? {
            Delivered::Message(tag, message) => {
                let is_repeated = message.is_repeated;
                let event = event_of(*message, &self.options.properties);
                (tag, Content::Event(event), is_repeated)
            }
            Delivered::Unusable(tag, problem) => (tag, Content::Unusable(problem), false),
        };
        Ok(Arrived { ack, content, is_repeated })
    }

    async fn acknowledge(
        &mut self,
        link: &mut Consuming,
        tags: Vec<u64>,
    ) -> Result<(), RabbitError> {
        match tags.last() {
            Some(last) => link.acknowledge(*last).await,
            None => Ok(()),
        }
    }

    fn verdict(&self, _tag: &u64, problem: &Problem) -> Verdict<RabbitError> {
        match self.options.unusable {
            Unusable::Reject => Verdict::Reject,
            Unusable::Hold => {
                let (queue, problem) = (self.options.queue.clone(), problem.to_string());
                Verdict::Hold(RabbitError::Other(OnlyRabbit::Unusable { queue, problem }))
            }
        }
    }

    async fn reject(
        &mut self,
        link: &mut Consuming,
        tag: u64,
        _problem: &Problem,
    ) -> Result<(), RabbitError> {
        link.reject(tag).await
    }

    fn is_open(&self, link: &Consuming) -> bool {
        link.is_open()
    }

    async fn close(&mut self, link: Consuming, limit: Duration) {
        link.close(limit).await;
    }
}
