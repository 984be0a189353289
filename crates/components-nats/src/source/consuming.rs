//! A consumer of a stream, on a connection: messages are asked for, a number of them at a time.
//!
//! ```text
//!   this side   ask for 1000, 8 MiB ──►        ◄── 1000 messages, or some and a status
//!               ask for 1000, 8 MiB ──►        ◄── …
//! ```
//!
//! # Invariants
//!
//! 1. One question is open at a time, so no more than its messages are held.
//! 2. Without a shared consumer, each message is the one after the last that the consumer was sent:
//!    the server sends none of them twice, so one that is missing ends the connection, and the next
//!    one begins at the position.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::config::{Options, Start};
use super::position::{self, Position, StartAt};
use crate::connection::Connection;
use crate::headers::Headers;
use crate::jetstream::{self, ConsumerInfo, StreamInfo};
use crate::message::Place;
use crate::protocol::{self, Message};
use crate::refusal::NatsError;
use crate::server::Target;

/// How long a question is open where no messages come.
const EXPIRES: Duration = Duration::from_secs(10);

/// Bytes that are asked for at once; a message that is larger comes alone.
const REQUEST_BYTES: u64 = 8 << 20;

/// How long the server keeps a consumer of this source alone that asks for nothing.
const IDLE_MAX: Duration = Duration::from_mins(10);

/// A message, and what is known of it.
pub(super) struct Delivered {
    pub(super) place: Place,
    /// Sequences before it that the stream has deleted, and that were not read.
    pub(super) deleted: u64,
    pub(super) message: Message,
}

/// What a consumer for this source alone begins with.
pub(super) struct Opened {
    /// When the stream was made.
    pub(super) created: String,
    /// `None`: where the first message says.
    pub(super) begin: Option<StartAt>,
}

/// A question that is open.
struct PendingRequest {
    number: u64,
    left: u32,
    /// Whether no message has come for it.
    is_untouched: bool,
    until: Instant,
}

/// A consumer.
pub(super) struct Consuming {
    connection: Connection,
    target: Target,
    stream: String,
    consumer: String,
    prefetch: u32,
    asked: Option<PendingRequest>,
    /// The next message is larger than what is asked for at once.
    is_large: bool,
    alone: Option<ExpectedSequence>,
}

/// What is expected of the next message, where no others share the consumer.
struct ExpectedSequence {
    of_consumer: u64,
    sequence: Option<u64>,
    /// Whether sequences that are missing are messages that were to be read.
    has_all_subjects: bool,
}

impl ExpectedSequence {
    /// Looks whether a message is the one after the last, and answers how many sequences between
    /// them the stream has deleted.
    ///
    /// # Errors
    /// One is missing, or it was there already: the cause.
    fn follows(&mut self, place: &Place) -> Result<u64, String> {
        let expected = self.sequence.unwrap_or(place.sequence);
        if place.of_consumer != self.of_consumer || place.sequence < expected {
            return Err(format!(
                "messages are missing or repeated: message {} arrived as number {} of the \
                 consumer; expected number {}, from message {expected} on",
                place.sequence, place.of_consumer, self.of_consumer
            ));
        }
        self.of_consumer += 1;
        self.sequence = Some(place.sequence + 1);
        Ok(if self.has_all_subjects { place.sequence - expected } else { 0 })
    }
}

impl Consuming {
    /// Connects, and takes the consumer that several share.
    ///
    /// # Errors
    /// There is no connection, no such stream, or another kind of consumer.
    pub(super) async fn share(
        target: &Target,
        options: &Options,
        name: &str,
    ) -> Result<Self, NatsError> {
        let mut connection = Connection::open(target, &target.client_id).await?;
        jetstream::stream(&mut connection, target, &options.stream).await?;
        let place = (&*options.stream, name);
        let info = match jetstream::consumer(&mut connection, target, place).await? {
            Some(info) => info,
            None => {
                let mut config = options.consumer();
                options.start.put(&mut config);
                config["durable_name"] = json!(name);
                config["ack_policy"] = json!("explicit");
                config["ack_wait"] = json!(nanos(options.ack_wait));
                let place = (&*options.stream, Some(name));
                let made = jetstream::make_consumer(&mut connection, target, place, config).await?;
                check_filter(&connection, options, &made)?;
                made
            }
        };
        if info.config.ack_policy != "explicit" || info.config.deliver_subject.is_some() {
            let address = connection.address.clone();
            let problem = format!(
                "has a consumer `{name}` that is not a pull consumer with explicit \
                 acknowledgements: delete it, or set another name in `consumer`"
            );
            return Err(NatsError::NotGranted { address, problem });
        }
        Ok(Self::new(connection, target, options, info.name, None))
    }

    /// Connects, and makes a consumer for this source alone, which begins behind `position`.
    ///
    /// # Errors
    /// There is no connection, no such stream, or one that is not read so.
    pub(super) async fn alone(
        target: &Target,
        options: &Options,
        position: Option<&Position>,
    ) -> Result<(Self, Opened), NatsError> {
        let mut connection = Connection::open(target, &target.client_id).await?;
        let stream = jetstream::stream(&mut connection, target, &options.stream).await?;
        if stream.config.retention != "limits" {
            let address = connection.address.clone();
            let problem = format!(
                "has the stream `{}` with the retention `{}`, which needs acknowledgements: set \
                 `consumer`",
                options.stream, stream.config.retention
            );
            return Err(NatsError::NotGranted { address, problem });
        }
        let begin = start(options, position, &stream);
        let mut config = options.consumer();
        match &begin {
            Some(begin) => {
                config["deliver_policy"] = json!("by_start_sequence");
                config["opt_start_seq"] = json!(begin.next);
            }
            None => options.start.put(&mut config),
        }
        config["ack_policy"] = json!("none");
        config["inactive_threshold"] = json!(nanos(IDLE_MAX));
        config["mem_storage"] = json!(true);
        config["num_replicas"] = json!(1);
        let place = (&*options.stream, None);
        let info = jetstream::make_consumer(&mut connection, target, place, config).await?;
        check_filter(&connection, options, &info)?;
        let alone = ExpectedSequence {
            of_consumer: 1,
            sequence: begin.as_ref().map(|begin| begin.next),
            has_all_subjects: options.filter.is_empty(),
        };
        let consuming = Self::new(connection, target, options, info.name, Some(alone));
        Ok((consuming, Opened { created: stream.created, begin }))
    }

    fn new(
        connection: Connection,
        target: &Target,
        options: &Options,
        consumer: String,
        alone: Option<ExpectedSequence>,
    ) -> Self {
        Self {
            connection,
            target: target.clone(),
            stream: options.stream.clone(),
            consumer,
            prefetch: options.prefetch,
            asked: None,
            is_large: false,
            alone,
        }
    }

    /// `host:port` of the server.
    pub(super) fn address(&self) -> &str {
        &self.connection.address
    }

    /// Whether the connection is open, as far as this side knows.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// The next message. Cancel safe.
    ///
    /// # Errors
    /// The consumer or the connection has ended.
    pub(super) async fn next(&mut self) -> Result<Delivered, NatsError> {
        loop {
            let Some(asked) = &mut self.asked else {
                self.ask().await?;
                continue;
            };
            let Ok(message) = timeout_at(asked.until, self.connection.next()).await else {
                let what = format!("messages of `{}`", self.stream);
                let (address, limit) = (self.connection.address.clone(), EXPIRES);
                return Err(NatsError::NoAnswer { address, what, limit });
            };
            let message = message?;
            match self.connection.answers(&message) {
                Some(number) if number == asked.number => self.status(&message)?,
                Some(_) => {}
                None => {
                    (asked.left, asked.is_untouched) = (asked.left.saturating_sub(1), false);
                    if asked.left == 0 {
                        self.asked = None;
                    }
                    return self.arrived(message);
                }
            }
        }
    }

    /// Asks for messages. Cancel safe.
    async fn ask(&mut self) -> Result<(), NatsError> {
        let (inbox, number) = self.connection.inbox();
        let left = if self.is_large { 1 } else { self.prefetch };
        let mut request = json!({ "batch": left, "expires": nanos(EXPIRES) });
        if !self.is_large {
            let bytes = REQUEST_BYTES.max(2 * self.connection.info.max_payload);
            request["max_bytes"] = json!(bytes);
        }
        let subject =
            format!("{}.CONSUMER.MSG.NEXT.{}.{}", self.target.api, self.stream, self.consumer);
        let (mut out, body) = (Vec::new(), request.to_string());
        protocol::publish(&mut out, &subject, Some(&inbox), (b"", body.as_bytes()));
        self.connection.send(out).await?;
        let until = Instant::now() + EXPIRES + self.target.timeout;
        self.asked = Some(PendingRequest { number, left, is_untouched: true, until });
        self.is_large = false;
        Ok(())
    }

    /// What the server says instead of a message.
    fn status(&mut self, message: &Message) -> Result<(), NatsError> {
        let read = Headers::read(&message.headers).map_err(|it| self.connection.ended(it))?;
        let Some((code, words)) = read.status else { return Ok(()) };
        match code {
            // A sign that it is there.
            100 => return Ok(()),
            // Nothing more came in time.
            404 | 408 => {}
            409 if words.contains("MaxBytes") => {
                self.is_large = self.asked.as_ref().is_some_and(|asked| asked.is_untouched);
            }
            _ => {
                let problem = format!("the consumer `{}`: {code} {words}", self.consumer);
                return Err(self.connection.ended(problem));
            }
        }
        self.asked = None;
        Ok(())
    }

    fn arrived(&mut self, message: Message) -> Result<Delivered, NatsError> {
        let Some(place) = message.reply.as_deref().and_then(Place::read) else {
            return Err(self.connection.ended("a message has no sequence number of the stream"));
        };
        let Some(alone) = &mut self.alone else {
            return Ok(Delivered { place, deleted: 0, message });
        };
        let deleted = alone.follows(&place).map_err(|problem| self.connection.ended(problem))?;
        Ok(Delivered { place, deleted, message })
    }

    /// Acknowledges messages, by the subjects of their acknowledgements.
    ///
    /// # Errors
    /// The connection has ended: the server redelivers them.
    pub(super) async fn acknowledge(&mut self, replies: &[&str]) -> Result<(), NatsError> {
        self.reply(replies, b"+ACK").await
    }

    /// Says of a message that it shall not come again.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn reject(&mut self, reply: &str) -> Result<(), NatsError> {
        self.reply(&[reply], b"+TERM").await
    }

    async fn reply(&mut self, replies: &[&str], word: &[u8]) -> Result<(), NatsError> {
        if self.alone.is_some() {
            return Ok(());
        }
        let mut out = Vec::new();
        for reply in replies {
            protocol::publish(&mut out, reply, None, (b"", word));
        }
        self.connection.send(out).await
    }

    /// Ends it in order, with all that is queued; for so long at most.
    pub(super) async fn close(mut self, limit: Duration) {
        // The answer says that all before it has reached the server.
        let (what, place) = match self.alone {
            Some(_) => ("DELETE", format!("{}.{}", self.stream, self.consumer)),
            None => ("INFO", format!("{}.{}", self.stream, self.consumer)),
        };
        let subject = format!("{}.CONSUMER.{what}.{place}", self.target.api);
        let _late = self.connection.ask(&subject, b"", ("the end", limit)).await;
    }
}

fn nanos(period: Duration) -> u64 {
    u64::try_from(period.as_nanos()).unwrap_or(u64::MAX)
}

/// Where a source that reads alone begins; `None`: at a time.
fn start(options: &Options, position: Option<&Position>, stream: &StreamInfo) -> Option<StartAt> {
    let at = |next| Some(StartAt { next, odd: None, deleted: 0 });
    match (position, &options.start) {
        (Some(position), _) => Some(position::begin(position, stream)),
        (None, Start::All) => at(stream.state.first_seq.max(1)),
        (None, Start::New) => at(stream.state.last_seq + 1),
        (None, Start::At(_)) => None,
    }
}

/// Servers before 2.10 do not know several subjects, and send everything.
fn check_filter(
    connection: &Connection,
    options: &Options,
    made: &ConsumerInfo,
) -> Result<(), NatsError> {
    if options.filter.len() < 2 || made.config.filter_subjects == options.filter {
        return Ok(());
    }
    let (address, version) = (connection.address.clone(), &connection.info.version);
    let problem = format!(
        "has version {version}, which allows one subject in `filter`; several need 2.10: use one \
         with wildcards, or one source for each subject"
    );
    Err(NatsError::NotGranted { address, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(of_consumer: u64, sequence: u64) -> Place {
        Place { delivered: 1, sequence, of_consumer, nanos: 0, pending: 0 }
    }

    #[test]
    fn missing_or_repeated_messages_close_the_connection_but_not_deleted_ones() {
        let begun = |has_all_subjects| ExpectedSequence {
            of_consumer: 1,
            sequence: Some(5),
            has_all_subjects,
        };
        let mut alone = begun(true);
        assert_eq!(alone.follows(&place(1, 5)), Ok(0));
        assert_eq!(alone.follows(&place(2, 9)), Ok(3));
        assert!(alone.follows(&place(4, 11)).unwrap_err().contains("number 3, from message 10 on"));
        assert!(alone.follows(&place(3, 9)).unwrap_err().contains("message 9"));
        assert_eq!(alone.follows(&place(3, 10)), Ok(0));
        assert_eq!(begun(false).follows(&place(1, 9)), Ok(0));
        let mut anywhere = ExpectedSequence { sequence: None, ..begun(true) };
        assert_eq!(anywhere.follows(&place(1, 9)), Ok(0));
        assert_eq!(anywhere.follows(&place(2, 11)), Ok(1));
    }
}
