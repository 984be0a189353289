//! A connection that sends one batch at a time, with a link per address.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::link::delivery::DeliveryFut;
use fe2o3_amqp::link::{SendError, SenderAttachError};
use fe2o3_amqp::types::definitions::SenderSettleMode;
use fe2o3_amqp::types::definitions::{self, AmqpError as Condition, ErrorCondition, LinkError};
use fe2o3_amqp::types::messaging::message::Body;
use fe2o3_amqp::types::messaging::{Outcome, Target as Terminus};
use fe2o3_amqp::types::primitives::Value;
use fe2o3_amqp::{Sendable, Sender};
use kit::refused::Refusal;
use pipeline::deliver::{Destinations, UNKNOWN_DESTINATION};
use tokio::time::Instant;

use crate::broker::{DestinationType, Target};
use crate::connection::{AmqpError, Connection};

/// Maximum number of links per connection; a further address closes all of them.
const LINKS_MAX: usize = 64;

/// Time limit for closing a connection.
const GOODBYE: Duration = Duration::from_secs(1);

/// Position of a message that was sent, with its future outcome.
type Waiting = (usize, DeliveryFut<Result<Outcome, SendError>>);

/// An outgoing message.
pub(super) struct Outgoing {
    /// Position of its event in the batch.
    pub(super) place: usize,
    pub(super) address: String,
    /// True if a header of the event selects the address.
    pub(super) is_chosen: bool,
    pub(super) message: Sendable<Body<Value>>,
}

/// A connection for sending.
pub(super) struct Sending {
    links: BTreeMap<String, Sender>,
    connection: Connection,
    destination_type: DestinationType,
}

impl Sending {
    /// Connects as the client with this number.
    ///
    /// # Errors
    /// Fails if it cannot connect.
    pub(super) async fn open(
        target: &Target,
        number: usize,
        destination_type: DestinationType,
    ) -> Result<Self, AmqpError> {
        let client_id = match number {
            0 => target.client_id.to_string(),
            more => format!("{}-{more}", target.client_id),
        };
        let connection = Connection::open(target, &client_id).await?;
        Ok(Self { links: BTreeMap::new(), connection, destination_type })
    }

    /// Returns `host:port` of the broker.
    pub(super) fn address(&self) -> &Arc<str> {
        &self.connection.address
    }

    /// Returns true if the connection is open, as far as this side knows.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Closes the connection.
    pub(super) async fn close(self) {
        self.connection.close(GOODBYE).await;
    }

    /// Sends messages, and waits for the outcome of each. Adds permanently refused messages to
    /// `refused`.
    ///
    /// # Errors
    /// Fails if the connection has ended, or the broker refuses temporarily. Some messages may have
    /// been stored.
    pub(super) async fn send(
        &mut self,
        messages: &[Outgoing],
        destinations: &Destinations,
        refused: &mut Vec<Refusal>,
    ) -> Result<(), AmqpError> {
        let gone = self.connection.gone();
        tokio::select! {
            biased;
            sent = self.send_all(messages, destinations, refused) => sent,
            () = gone => Err(self.connection.ended("the broker closed the connection")),
        }
    }

    async fn send_all(
        &mut self,
        messages: &[Outgoing],
        destinations: &Destinations,
        refused: &mut Vec<Refusal>,
    ) -> Result<(), AmqpError> {
        let mut waiting = Vec::with_capacity(messages.len());
        let mut waits = None;
        for one in messages {
            if self.links.len() >= LINKS_MAX && !self.links.contains_key(&one.address) {
                // A closed link may get no more outcomes.
                self.outcomes(&mut waiting, refused).await?;
                for (_, link) in std::mem::take(&mut self.links) {
                    link.close().await.map_err(|error| self.connection.ended(error))?;
                }
            }
            let link = match self.link(&one.address).await {
                Ok(link) => link,
                Err(Attach::Never(detail)) => {
                    refused.push(Refusal { place: one.place, reason: "invalid_address", detail });
                    continue;
                }
                Err(Attach::NoRight(error)) if one.is_chosen => {
                    match destinations.refused(&one.address, Instant::now()) {
                        true => refused.push(Refusal {
                            place: one.place,
                            reason: UNKNOWN_DESTINATION,
                            detail: error.to_string(),
                        }),
                        false => {
                            waits.get_or_insert(error);
                        }
                    }
                    continue;
                }
                Err(Attach::NoRight(error)) => return Err(error),
                Err(Attach::Failed(error)) => return Err(error),
            };
            match link.send_batchable_ref(&one.message).await {
                Ok(outcome) => waiting.push((one.place, outcome)),
                Err(error) => self.not_sent(one.place, error, refused)?,
            }
        }
        self.outcomes(&mut waiting, refused).await?;
        waits.map_or(Ok(()), Err)
    }

    /// Waits for the outcomes of sent messages.
    async fn outcomes(
        &self,
        waiting: &mut Vec<Waiting>,
        refused: &mut Vec<Refusal>,
    ) -> Result<(), AmqpError> {
        for (place, outcome) in waiting.drain(..) {
            match outcome.await {
                Ok(Outcome::Accepted(_)) => {}
                Ok(Outcome::Rejected(it)) => self.rejected(place, it.error, refused)?,
                Ok(Outcome::Released(_)) => {
                    return Err(self
                        .not_taken("the broker returned the message with the outcome `released`"));
                }
                Ok(Outcome::Modified(_)) => {
                    return Err(self
                        .not_taken("the broker returned the message with the outcome `modified`"));
                }
                Err(error) => self.not_sent(place, error, refused)?,
            }
        }
        Ok(())
    }

    /// Returns the link to an address.
    async fn link(&mut self, address: &str) -> Result<&mut Sender, Attach> {
        if !self.links.contains_key(address) {
            let terminus = Terminus::builder()
                .address(address)
                .capabilities(self.destination_type.capability())
                .build();
            let attached = Sender::builder()
                .name(address)
                .target(terminus)
                .sender_settle_mode(SenderSettleMode::Unsettled)
                .attach(&mut self.connection.session)
                .await;
            let link = attached.map_err(|error| self.not_granted(address, &error))?;
            self.links.insert(address.to_owned(), link);
        }
        Ok(self.links.get_mut(address).expect("it was made"))
    }

    fn not_granted(&self, address: &str, error: &SenderAttachError) -> Attach {
        let SenderAttachError::RemoteClosedWithError(error) = error else {
            return Attach::Failed(self.connection.ended(error));
        };
        let broker = &self.connection.address;
        match is_passing(error) {
            true => Attach::Failed(self.not_taken(&error.to_string())),
            false if is_forbidden(error) => Attach::NoRight(AmqpError::NotGranted {
                address: broker.clone(),
                problem: format!(
                    "does not allow sending to `{address}`: {error}; grant the user permission to \
                     write to it"
                ),
            }),
            false => Attach::Never(format!(
                "{broker} has no address `{address}`: {error}; create it at the broker, or use \
                 another address"
            )),
        }
    }

    fn not_taken(&self, problem: &str) -> AmqpError {
        let (address, problem) = (self.connection.address.clone(), problem.to_owned());
        AmqpError::NotTaken { address, problem }
    }

    /// Handles a message without an outcome.
    fn not_sent(
        &self,
        place: usize,
        error: SendError,
        refused: &mut Vec<Refusal>,
    ) -> Result<(), AmqpError> {
        let reason = match error {
            SendError::MessageSizeExceeded(_) => "too_large",
            SendError::MessageEncodeError => "refused",
            error => return Err(self.connection.ended(error)),
        };
        refused.push(Refusal { place, reason, detail: error.to_string() });
        Ok(())
    }

    /// Handles a message that the broker has rejected: permanently, unless the cause is temporary.
    fn rejected(
        &self,
        place: usize,
        error: Option<definitions::Error>,
        refused: &mut Vec<Refusal>,
    ) -> Result<(), AmqpError> {
        let broker = &self.connection.address;
        let detail = match &error {
            Some(error) if is_passing(error) => return Err(self.not_taken(&error.to_string())),
            Some(error) if is_forbidden(error) => {
                return Err(AmqpError::NotGranted {
                    address: broker.clone(),
                    problem: format!(
                        "rejects a message: {error}; grant the user permission to write"
                    ),
                });
            }
            Some(error) => format!(
                "{broker} rejects the message: {error}; correct the limits of the address there, \
                 and replay the message"
            ),
            None => {
                format!("{broker} rejects the message without a reason; see the log of the broker")
            }
        };
        let is_large = error.is_some_and(|error| {
            error.condition == ErrorCondition::LinkError(LinkError::MessageSizeExceeded)
        });
        let reason = if is_large { "too_large" } else { "refused" };
        refused.push(Refusal { place, reason, detail });
        Ok(())
    }
}

/// Reason why a link to an address fails.
enum Attach {
    /// Permanently.
    Never(String),
    /// The user is not permitted.
    NoRight(AmqpError),
    /// Temporarily.
    Failed(AmqpError),
}

/// Returns true if a refusal has a temporary cause: a full address, a broker in trouble.
pub(super) fn is_passing(error: &definitions::Error) -> bool {
    match &error.condition {
        ErrorCondition::AmqpError(condition) => matches!(
            condition,
            Condition::InternalError
                | Condition::ResourceLimitExceeded
                | Condition::ResourceLocked
                | Condition::ResourceDeleted
                | Condition::IllegalState
        ),
        ErrorCondition::ConnectionError(_) | ErrorCondition::SessionError(_) => true,
        ErrorCondition::LinkError(error) => *error != LinkError::MessageSizeExceeded,
        ErrorCondition::Custom(_) => false,
    }
}

/// Returns true if the user is not permitted: the sink then cannot send any message until that is
/// fixed.
fn is_forbidden(error: &definitions::Error) -> bool {
    error.condition == ErrorCondition::AmqpError(Condition::UnauthorizedAccess)
}
