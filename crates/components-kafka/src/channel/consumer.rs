//! Reads a partition to its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::channel::remote::LogError;
use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::time::Instant;

use super::config::Target;
use super::parts::Joiner;
use super::rights::{Right, is_denied};
use crate::client::{self, Delivery};
use crate::token;

/// Timeout of a broker request.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Time for a client to request and get a new token.
const RENEWED_WITHIN: Duration = Duration::from_millis(20);
/// Timeout of a poll.
const POLL: Duration = Duration::from_millis(100);

/// Offsets of the records of a transaction, by their index in it.
pub(super) type Offsets = Arc<Mutex<Vec<Option<i64>>>>;

/// Callbacks of a client. A record has its index in its transaction.
pub(super) type Context = client::Context<(usize, Offsets)>;

impl Delivery for (usize, Offsets) {
    fn delivered(self, result: &DeliveryResult<'_>) {
        // The commit reports missing records.
        if let Ok(message) = result {
            let (at, offsets) = self;
            offsets.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(message.offset());
        }
    }
}

/// Converts an error of the client to a log error.
pub(super) fn failed(what: &str, error: &KafkaError) -> LogError {
    LogError::Failed(std::io::Error::other(format!("{what}: {error}")))
}

/// A reader of a topic with a single partition.
pub(super) struct Reader {
    pub(super) consumer: BaseConsumer<Context>,
    topic: String,
    /// Position of the consumer; reads from here need no seek.
    next: Option<i64>,
}

impl Reader {
    pub(super) fn new(target: &Target, topic: &str) -> Result<Self, LogError> {
        let consumer = target.consumer.create_with_context(target.context());
        let consumer: BaseConsumer<Context> = consumer.map_err(|error| {
            failed("cannot create the Kafka client: check `properties`", &error)
        })?;
        token::poll_until_token(&consumer, consumer.context().token.as_ref(), ANSWER_WITHIN);
        Ok(Self { consumer, topic: topic.to_owned(), next: None })
    }

    /// Gives the client a new token if it needs one: it requests tokens only when polled, which may
    /// not have happened for hours.
    fn renew_token(&mut self) {
        if self.consumer.context().token.is_none() {
            return;
        }
        while let Some(Ok(_)) = self.consumer.poll(RENEWED_WITHIN) {
            // The poll may have skipped records, so the position is unknown.
            self.next = None;
        }
    }

    /// Returns the first offset, and the end offset.
    pub(super) fn bounds(&mut self) -> Result<(i64, i64), LogError> {
        self.renew_token();
        let bounds = self.consumer.fetch_watermarks(&self.topic, 0, ANSWER_WITHIN);
        bounds
            .map_err(|error| failed("cannot get the first and last offset of a partition", &error))
    }

    fn begin_at(&mut self, from: i64) -> Result<(), LogError> {
        let (low, high) = self.bounds()?;
        if from > high {
            return Err(LogError::Unusable(format!(
                "topic `{}` ends at offset {high}, but its state topic records offset {from}: the \
                 topic was recreated, or the brokers lost records; to start empty, delete both \
                 topics",
                self.topic
            )));
        }
        let mut list = TopicPartitionList::new();
        let offset = Offset::Offset(from.max(low));
        list.add_partition_offset(&self.topic, 0, offset)
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|error| failed("cannot read a partition", &error))
    }

    /// Passes values and their offsets from `from` on to `take`, until it has enough or the current
    /// end is reached.
    pub(super) fn values(
        &mut self,
        from: i64,
        mut take: impl FnMut(i64, Bytes) -> bool,
    ) -> Result<(), LogError> {
        let mut goes_on = self.next.take() == Some(from);
        if !goes_on {
            self.begin_at(from)?;
        }
        let mut joiner = Joiner::default();
        let mut until = Instant::now() + ANSWER_WITHIN;
        let mut problem = None;
        loop {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    goes_on = false;
                    until = Instant::now() + ANSWER_WITHIN;
                    let record = message.payload().unwrap_or_default();
                    let joined = joiner.add(message.offset(), record);
                    let joined =
                        joined.map_err(|()| unexpected_record(&self.topic, message.offset()))?;
                    if let Some((begin, value)) = joined
                        && !take(begin, value)
                    {
                        self.next = Some(begin + 1);
                        return Ok(());
                    }
                }
                // This may be the end of the previous read.
                Some(Err(KafkaError::PartitionEOF(_))) if goes_on => {
                    goes_on = false;
                    self.begin_at(from)?;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                Some(Err(error)) if error.rdkafka_error_code().is_some_and(is_denied) => {
                    let right = Right::on_topic("Read", &self.topic);
                    return Err(right.failed("cannot read a partition", &error));
                }
                Some(Err(error)) => problem = Some(error),
                None if Instant::now() < until => {}
                None => {
                    let error = problem.unwrap_or(KafkaError::NoMessageReceived);
                    return Err(failed("cannot read a partition", &error));
                }
            }
        }
    }
}

fn unexpected_record(topic: &str, offset: i64) -> LogError {
    LogError::Unusable(format!(
        "topic `{topic}` has a record at offset {offset} that this channel did not write: use a \
         topic that only this channel writes to"
    ))
}
