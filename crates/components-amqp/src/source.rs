//! `amqp`: each message of a broker is an event, accepted when it is stored.
//!
//! The broker sends at most `credit` messages ahead of the answers. It redelivers every message
//! without an answer when a connection ends, to this source or to another consumer. Messages that
//! are not stored when the source stops or fails are released. [`kit::consume`] has the rounds and
//! their invariants.

mod config;
mod receiving;

use std::sync::Arc;
use std::time::Duration;

use kit::consume::{Arrived, Consume, Content, Load, Problem, Verdict, not_received};
use pipeline::{Guarantee, SourceContext, SourceError};
use tracing::info;

use crate::broker::Target;
use crate::connection::{AmqpError, OnlyAmqp};
use crate::message::{event_of, is_repeated};
pub use config::Config;
use config::Options;
use receiving::{Delivered, Delivery, Receiving};

struct Amqp {
    name: Arc<str>,
    options: Options,
    target: Target,
}

impl Consume for Amqp {
    type Link = Receiving;
    type Ack = Delivery;
    type Error = AmqpError;

    fn guarantee(&self) -> Guarantee {
        match self.options.keeps() {
            true => Guarantee::AtLeastOnce,
            // The subscription does not get messages that are sent while there is no connection.
            false => Guarantee::BestEffort,
        }
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<Receiving, SourceError> {
        let receiving = Receiving::open(&self.target, &self.options).await.map_err(not_received)?;
        info!(source = %self.name, broker = %receiving.address(), "connected");
        Ok(receiving)
    }

    async fn prepare(&mut self, link: &mut Receiving, load: Load) -> Result<(), AmqpError> {
        link.give_credit(self.options.credit, load.unanswered).await
    }

    async fn next(&mut self, link: &mut Receiving) -> Result<Arrived<Delivery>, AmqpError> {
        let (ack, message) = match link.next().await? {
            Delivered::Message(ack, message) => (ack, message),
            Delivered::Undecodable(ack, problem) => {
                return Ok(Arrived {
                    ack,
                    content: Content::Unusable(problem),
                    is_repeated: false,
                });
            }
        };
        let is_repeated = is_repeated(&message);
        let content = match event_of(*message, &self.options.jms_headers) {
            Ok(event) => Content::Event(event),
            Err(what) => Content::Unusable(format!("its body is {what}, not text or bytes")),
        };
        Ok(Arrived { ack, content, is_repeated })
    }

    async fn acknowledge(
        &mut self,
        link: &mut Receiving,
        acks: Vec<Delivery>,
    ) -> Result<(), AmqpError> {
        link.accept(acks).await
    }

    fn verdict(&self, _ack: &Delivery, problem: &Problem) -> Verdict<AmqpError> {
        match problem {
            Problem::NoEvent(_) => Verdict::Reject,
            // Another collector may have room for it.
            Problem::Refused(problem) => {
                let (address, problem) = (self.options.address.clone(), problem.clone());
                Verdict::Hold(AmqpError::Other(OnlyAmqp::Refused { address, problem }))
            }
        }
    }

    async fn reject(
        &mut self,
        link: &mut Receiving,
        ack: Delivery,
        problem: &Problem,
    ) -> Result<(), AmqpError> {
        link.reject(ack, &problem.to_string()).await
    }

    fn is_open(&self, link: &Receiving) -> bool {
        link.is_open()
    }

    async fn pause(&mut self, link: &mut Receiving) -> Result<(), AmqpError> {
        link.stop_credit().await
    }

    async fn release(
        &mut self,
        link: &mut Receiving,
        acks: Vec<Delivery>,
    ) -> Result<(), AmqpError> {
        link.release(acks).await
    }

    async fn close(&mut self, link: Receiving, limit: Duration) {
        link.close(limit).await;
    }
}
