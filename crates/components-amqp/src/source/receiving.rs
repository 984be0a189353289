//! The link from an address: messages come, answers go.

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::Receiver;
use fe2o3_amqp::link::delivery::DeliveryInfo;
use fe2o3_amqp::link::{CreditMode, ReceiverAttachError, RecvError};
use fe2o3_amqp::types::definitions::SenderSettleMode;
use fe2o3_amqp::types::definitions::{AmqpError as Condition, Error, ReceiverSettleMode};
use fe2o3_amqp::types::messaging::message::Body;
use fe2o3_amqp::types::messaging::{Source, TerminusDurability, TerminusExpiryPolicy};
use fe2o3_amqp::types::primitives::{Symbol, Value};
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use tokio::time::timeout;

use super::config::Options;
use crate::broker::Target;
use crate::connection::{AmqpError, Connection};
use crate::message::Received;

/// The filter that brokers have for a selector of JMS, by its number.
const SELECTOR: (&str, u64) = ("apache.org:selector-filter:string", 0x0000_468c_0000_0004);

/// What names a message in an answer.
pub(super) type Delivery = DeliveryInfo;

/// A delivery of the broker.
pub(super) enum Delivered {
    /// A message.
    Message(Delivery, Box<Received>),
    /// Bytes that are no message: what is wrong.
    Undecodable(Delivery, String),
}

/// A link, and the connection below it. Dropped, the connection is cut, so that the library does
/// not close the link: the broker would end a durable subscription with it.
pub(super) struct Receiving {
    /// Always there until it is closed.
    receiver: Option<Receiver>,
    connection: Option<Connection>,
    keeps_subscription: bool,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.cut();
        }
    }
}

impl Receiving {
    /// Connects, and asks for the messages of the address.
    ///
    /// # Errors
    /// There is no connection, or the broker does not grant the link.
    pub(super) async fn open(target: &Target, options: &Options) -> Result<Self, AmqpError> {
        let mut connection = Connection::open(target, &target.client_id).await?;
        connection.limit_messages(options.message_max);
        let mut builder = Receiver::builder()
            .name(options.link_name.clone())
            .source(source_of(options))
            .sender_settle_mode(SenderSettleMode::Unsettled)
            .receiver_settle_mode(ReceiverSettleMode::First)
            .credit_mode(CreditMode::Manual);
        if !options.is_durable() {
            // Over the limit the library closes the link, which ends a durable subscription.
            builder = builder.max_message_size(options.message_max);
        }
        let attaching = timeout(target.timeout, builder.attach(&mut connection.session)).await;
        let address = || connection.address.clone();
        let receiver = match attaching {
            Ok(Ok(receiver)) => receiver,
            Ok(Err(error)) => return Err(not_granted(address(), &options.address, &error)),
            Err(_) => {
                return Err(AmqpError::NoAnswer { address: address(), limit: target.timeout });
            }
        };
        let (receiver, connection) = (Some(receiver), Some(connection));
        Ok(Self { receiver, connection, keeps_subscription: options.is_durable() })
    }

    fn receiver(&self) -> &Receiver {
        self.receiver.as_ref().expect("it is there until the end")
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("it is there until the end")
    }

    /// `host:port` of the broker.
    pub(super) fn address(&self) -> &Arc<str> {
        &self.connection().address
    }

    /// Whether the connection is open, as far as this side knows.
    pub(super) fn is_open(&self) -> bool {
        self.connection().is_open()
    }

    /// The next message. Cancel safe.
    ///
    /// # Errors
    /// The link or the connection has ended.
    pub(super) async fn next(&mut self) -> Result<Delivered, AmqpError> {
        let receiver = self.receiver.as_mut().expect("it is there until the end");
        match receiver.recv::<Body<Value>>().await {
            Ok(delivery) => {
                let (info, message) = delivery.into_parts();
                Ok(Delivered::Message(info, Box::new(message)))
            }
            Err(RecvError::MessageDecode(error)) => {
                let refused = self.connection().take_refused();
                let problem = refused.unwrap_or_else(|| error.source.to_string());
                Ok(Delivered::Undecodable(error.info, problem))
            }
            Err(RecvError::MessageSizeExceeded(error)) => Err(self.connection().ended(format!(
                "a message of {} bytes exceeds `message_max`: raise it, or remove the message \
                 from the broker",
                error.size
            ))),
            Err(error) => Err(self.connection().ended(error)),
        }
    }

    /// Has the broker send further messages, so that at most `most` have no answer. Not for each
    /// one alone.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn give_credit(&mut self, most: u32, held: usize) -> Result<(), AmqpError> {
        let receiver = self.receiver.as_mut().expect("it is there until the end");
        let wanted = most.saturating_sub(u32::try_from(held).unwrap_or(u32::MAX));
        let more = wanted.saturating_sub(receiver.credit());
        if more == 0 || more < most.div_ceil(4) {
            return Ok(());
        }
        let given = receiver.set_credit(wanted).await;
        given.map_err(|error| self.connection().ended(error))
    }

    /// The broker sends no further messages.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn stop_credit(&mut self) -> Result<(), AmqpError> {
        let receiver = self.receiver.as_mut().expect("it is there until the end");
        let stopped = receiver.set_credit(0).await;
        stopped.map_err(|error| self.connection().ended(error))
    }

    /// The broker may forget these messages.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn accept(&self, deliveries: Vec<Delivery>) -> Result<(), AmqpError> {
        let accepted = self.receiver().accept_all(deliveries).await;
        accepted.map_err(|error| self.connection().ended(error))
    }

    /// The broker has these messages again.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn release(&self, deliveries: Vec<Delivery>) -> Result<(), AmqpError> {
        let released = self.receiver().release_all(deliveries).await;
        released.map_err(|error| self.connection().ended(error))
    }

    /// The broker finds another place for a message.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn reject(&self, one: Delivery, problem: &str) -> Result<(), AmqpError> {
        let error = Error::new(Condition::DecodeError, Some(problem.to_owned()), None);
        let rejected = self.receiver().reject(one, error).await;
        rejected.map_err(|error| self.connection().ended(error))
    }

    /// Ends link and connection in order, with the answers that are queued; for about so long at
    /// most. A durable subscription stays.
    pub(super) async fn close(mut self, limit: Duration) {
        let (Some(receiver), Some(connection)) = (self.receiver.take(), self.connection.take())
        else {
            return;
        };
        let detached = timeout(limit, async {
            match self.keeps_subscription {
                true => drop(receiver.detach().await),
                false => drop(receiver.close().await),
            }
        })
        .await;
        match detached {
            Ok(()) => connection.close(limit).await,
            Err(_) => drop(connection),
        }
    }
}

/// What is asked for.
fn source_of(options: &Options) -> Source {
    let mut source = Source::builder()
        .address(options.address.clone())
        .capabilities(options.destination_type.capability());
    if options.is_durable() {
        source = source
            .durable(TerminusDurability::UnsettledState)
            .expiry_policy(TerminusExpiryPolicy::Never);
    }
    if let Some(selector) = &options.message_selector {
        let (name, code) = SELECTOR;
        let value = Value::String(selector.clone());
        let filter = Described { descriptor: Descriptor::Code(code), value };
        source = source.add_to_filter(Symbol::from(name), filter);
    }
    source.build()
}

fn not_granted(broker: Arc<str>, address: &str, error: &ReceiverAttachError) -> AmqpError {
    match error {
        ReceiverAttachError::RemoteClosedWithError(error) => AmqpError::NotGranted {
            address: broker,
            problem: format!(
                "does not allow receiving from `{address}`: {error}; check `address`, \
                 `destination_type` and the permissions of the user"
            ),
        },
        ReceiverAttachError::DesiredFilterNotSupported(_) => AmqpError::NotGranted {
            address: broker,
            problem: "does not support `message_selector`: remove it".into(),
        },
        error => AmqpError::Ended { address: broker, problem: error.to_string() },
    }
}
