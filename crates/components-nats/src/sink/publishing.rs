//! A connection that publishes one batch at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kit::refused::Refusal;

use crate::connection::Connection;
use crate::jetstream::{self, PublishAck, Reply};
use crate::protocol;
use crate::refusal::{NatsError, refused};
use crate::server::Target;

/// Buffer size at which messages are sent.
const SENT_BYTES: usize = 64 << 10;

/// The stream's error code for a message over its limit.
const TOO_LARGE: u32 = 10054;

/// An outgoing message.
pub(super) struct Outgoing<'a> {
    /// Position of its event in the batch.
    pub(super) place: usize,
    pub(super) subject: String,
    /// Header block, with the id of the message.
    pub(super) headers: Vec<u8>,
    pub(super) body: &'a [u8],
}

/// Result of a batch.
#[derive(Default)]
pub(super) struct Outcome {
    /// Number of messages that the streams had already.
    pub(super) known: u64,
    /// Names of the streams.
    pub(super) streams: Vec<String>,
    pub(super) refused: Vec<Refusal>,
    /// Positions of messages that no stream accepts, or that the user may not send, with the
    /// reasons.
    pub(super) not_granted: Vec<(usize, NatsError)>,
}

/// A connection for publishing.
pub(super) struct Publishing {
    connection: Connection,
    target: Target,
}

impl Publishing {
    /// Connects as the client with this number.
    ///
    /// # Errors
    /// Fails if it cannot connect.
    pub(super) async fn open(target: &Target, number: usize) -> Result<Self, NatsError> {
        let client_id = match number {
            0 => target.client_id.to_string(),
            more => format!("{}-{more}", target.client_id),
        };
        let connection = Connection::open(target, &client_id).await?;
        Ok(Self { connection, target: target.clone() })
    }

    /// Returns `host:port` of the server.
    pub(super) fn address(&self) -> &Arc<str> {
        &self.connection.address
    }

    /// Returns the maximum size of a message's headers and body.
    pub(super) fn payload_max(&self) -> u64 {
        self.connection.info.max_payload
    }

    /// Returns true if the connection is open, as far as this side knows.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Returns how long a stream remembers message ids.
    ///
    /// # Errors
    /// Fails without a reply.
    pub(super) async fn window(&mut self, stream: &str) -> Result<Duration, NatsError> {
        let info = jetstream::stream(&mut self.connection, &self.target, stream).await?;
        Ok(info.config.duplicate_window())
    }

    /// Returns the names of the streams that accept a subject.
    ///
    /// # Errors
    /// Fails without a reply.
    pub(super) async fn streams_of(&mut self, subject: &str) -> Result<Vec<String>, NatsError> {
        jetstream::streams_of(&mut self.connection, &self.target, subject).await
    }

    /// Returns true if no stream accepts this subject. An existing stream may be silent for a
    /// while, for example while its servers elect a leader: its messages wait.
    ///
    /// # Errors
    /// Fails if JetStream does not reply.
    pub(super) async fn is_without_stream(
        &mut self,
        subject: &str,
        error: &NatsError,
    ) -> Result<bool, NatsError> {
        if matches!(error, NatsError::NoRight { .. }) {
            return Ok(true);
        }
        match self.streams_of(subject).await {
            Ok(streams) => Ok(streams.is_empty()),
            // The user is not permitted to ask.
            Err(NatsError::NoRight { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Sends messages, and waits until each is acknowledged.
    ///
    /// # Errors
    /// Fails if the connection has ended, or a stream refuses. Some messages may have been stored.
    pub(super) async fn publish(
        &mut self,
        messages: &[Outgoing<'_>],
    ) -> Result<Outcome, NatsError> {
        let mut open = BTreeMap::new();
        let mut out = Vec::new();
        for one in messages {
            let (inbox, number) = self.connection.inbox();
            open.insert(number, one);
            let payload = (&*one.headers, one.body);
            protocol::publish(&mut out, &one.subject, Some(&inbox), payload);
            if out.len() >= SENT_BYTES {
                self.connection.send(std::mem::take(&mut out)).await?;
            }
        }
        self.connection.send(out).await?;
        let mut outcome = Outcome::default();
        while !open.is_empty() {
            let message = match self.connection.next().await {
                Ok(message) => message,
                // The server sends one such error for each message.
                Err(error) => {
                    let NatsError::NoRight { subject, .. } = &error else { return Err(error) };
                    let number = open.iter().find(|(_, one)| one.subject == *subject);
                    let Some(number) = number.map(|(number, _)| *number) else { return Err(error) };
                    let one = open.remove(&number).expect("it was found");
                    outcome.not_granted.push((one.place, error));
                    continue;
                }
            };
            let Some(one) = self.connection.answers(&message).and_then(|it| open.remove(&it))
            else {
                continue;
            };
            let said =
                jetstream::read(&message).map_err(|problem| self.connection.ended(problem))?;
            self.on_ack(one, said, &mut outcome)?;
        }
        Ok(outcome)
    }

    fn on_ack(
        &self,
        one: &Outgoing<'_>,
        said: Reply<PublishAck>,
        outcome: &mut Outcome,
    ) -> Result<(), NatsError> {
        let address = &self.connection.address;
        let what = format!("a message for `{}`", one.subject);
        match said {
            Reply::Yes(taken) => {
                outcome.known += u64::from(taken.duplicate);
                if !outcome.streams.contains(&taken.stream) {
                    outcome.streams.push(taken.stream);
                }
            }
            Reply::No(no) if no.err_code == TOO_LARGE => {
                let detail = format!(
                    "the stream rejects the message: {}; correct the limits of the stream, and \
                     replay the message",
                    no.description
                );
                outcome.refused.push(Refusal { place: one.place, reason: "too_large", detail });
            }
            Reply::No(no) => return Err(refused(address, &what, no.err_code, &no.description)),
            Reply::NoResponders => {
                let problem = format!(
                    "has no stream that accepts {what}: create one for this subject, or correct \
                     `subject`"
                );
                let error = NatsError::NotGranted { address: address.clone(), problem };
                outcome.not_granted.push((one.place, error));
            }
        }
        Ok(())
    }
}
