//! A connection that publishes one batch at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Refusal;
use crate::connection::Connection;
use crate::jetstream::{self, Said, Taken};
use crate::protocol;
use crate::refusal::{NatsError, refused};
use crate::server::Target;

/// Bytes from which on what was gathered is sent.
const SENT_BYTES: usize = 64 << 10;

/// The stream's code for a message that is larger than it allows.
const TOO_LARGE: u32 = 10054;

/// A message that is sent.
pub(super) struct Outgoing<'a> {
    /// Its event in the batch.
    pub(super) place: usize,
    pub(super) subject: String,
    /// The block of headers, with the id of the message.
    pub(super) headers: Vec<u8>,
    pub(super) body: &'a [u8],
}

/// What the streams say of a batch.
#[derive(Default)]
pub(super) struct Outcome {
    /// Messages that they had already.
    pub(super) known: u64,
    /// The names of the streams.
    pub(super) streams: Vec<String>,
    pub(super) refused: Vec<Refusal>,
    /// Messages that no stream takes, or that the user may not send: their places, and why.
    pub(super) not_granted: Vec<(usize, NatsError)>,
}

/// A connection for messages.
pub(super) struct Publishing {
    connection: Connection,
    target: Target,
}

impl Publishing {
    /// Connects, as the client with this number.
    ///
    /// # Errors
    /// There is no connection.
    pub(super) async fn open(target: &Target, number: usize) -> Result<Self, NatsError> {
        let client_id = match number {
            0 => target.client_id.to_string(),
            more => format!("{}-{more}", target.client_id),
        };
        let connection = Connection::open(target, &client_id).await?;
        Ok(Self { connection, target: target.clone() })
    }

    /// `host:port` of the server.
    pub(super) fn address(&self) -> &Arc<str> {
        &self.connection.address
    }

    /// Bytes of headers and body of a message at most.
    pub(super) fn payload_max(&self) -> u64 {
        self.connection.info.max_payload
    }

    /// Returns true if it is open, as far as this side knows.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// How long a stream knows ids.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn window(&mut self, stream: &str) -> Result<Duration, NatsError> {
        let info = jetstream::stream(&mut self.connection, &self.target, stream).await?;
        Ok(info.config.duplicate_window())
    }

    /// The names of the streams that take a subject.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn streams_of(&mut self, subject: &str) -> Result<Vec<String>, NatsError> {
        jetstream::streams_of(&mut self.connection, &self.target, subject).await
    }

    /// Whether no stream takes this subject. A stream that exists may not answer for a time, as
    /// while its servers elect a leader: its messages wait.
    ///
    /// # Errors
    /// JetStream does not answer.
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
            // The user may not ask.
            Err(NatsError::NoRight { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Sends messages, and waits until each is acknowledged.
    ///
    /// # Errors
    /// The connection has ended, or a stream refuses. Messages may have been taken.
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
            self.heard(one, said, &mut outcome)?;
        }
        Ok(outcome)
    }

    fn heard(
        &self,
        one: &Outgoing<'_>,
        said: Said<Taken>,
        outcome: &mut Outcome,
    ) -> Result<(), NatsError> {
        let address = &self.connection.address;
        let what = format!("a message for `{}`", one.subject);
        match said {
            Said::Yes(taken) => {
                outcome.known += u64::from(taken.duplicate);
                if !outcome.streams.contains(&taken.stream) {
                    outcome.streams.push(taken.stream);
                }
            }
            Said::No(no) if no.err_code == TOO_LARGE => {
                let detail = format!("the stream refuses it: {}", no.description);
                outcome.refused.push(Refusal { place: one.place, reason: "too_large", detail });
            }
            Said::No(no) => return Err(refused(address, &what, no.err_code, &no.description)),
            Said::NoResponders => {
                let problem = format!(
                    "has no stream that takes {what}: make one for this subject, or look at \
                     `subject`"
                );
                let error = NatsError::NotGranted { address: address.clone(), problem };
                outcome.not_granted.push((one.place, error));
            }
        }
        Ok(())
    }
}
