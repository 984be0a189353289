//! The log of a channel in a topic. See the [page](super).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::park_timeout;
use std::time::Duration;

use ::channel::remote::{Failure, Log, LogError, Place, Stored};
use bytes::Bytes;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use tokio::time::Instant;

use super::admin::Admin;
use super::config::Target;
use super::consumer::{Context, Offsets, Reader, failed};
use super::parts;
use super::rights::Right;
use super::topics::{self, PAUSE};

/// Timeout of a single client call; the call is repeated.
const STEP: Duration = Duration::from_secs(5);
/// Initial number of records at the end of the state topic to search for the newest STATE.
const STATE_TAIL: i64 = 64;
/// How long to poll for acknowledgements before the commit waits, and the pause between polls.
const ACKNOWLEDGED_SOON: Duration = Duration::from_millis(200);
const ACKNOWLEDGED_PAUSE: Duration = Duration::from_micros(500);
/// Pause while the client's queue is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

type Producer = ThreadedProducer<Context>;

/// A record of a transaction.
struct Record {
    key: Option<String>,
    value: Vec<u8>,
}

/// An owner's access to the topics.
pub(super) struct TopicLog {
    target: Arc<Target>,
    label: String,
    /// Set while this agent may be the owner.
    producer: Mutex<Option<Producer>>,
    frames: Mutex<Reader>,
    state: Mutex<Reader>,
    admin: Admin,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_retriable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.is_retriable())
}

impl TopicLog {
    /// Finds or creates the topics.
    ///
    /// # Errors
    /// They are missing or misconfigured, or no broker answers.
    pub(super) fn connect(target: Arc<Target>) -> Result<Self, LogError> {
        let reader = |topic| Reader::new(&target, topic);
        let (mut frames, mut state) = (reader(&target.topic)?, reader(&target.state_topic)?);
        let admin = Admin::new(target.clone());
        topics::prepare(&admin, (&mut frames, &mut state), &target)?;
        let label = format!("topic `{}`", target.topic);
        let (frames, state) = (Mutex::new(frames), Mutex::new(state));
        Ok(Self { target, label, producer: Mutex::default(), frames, state, admin })
    }

    /// Writes records in one transaction and returns their offsets. Drops the producer if the
    /// outcome is unknown.
    fn transact(&self, topic: &str, records: &[Record]) -> Result<Vec<i64>, Failure> {
        let mut slot = lock(&self.producer);
        let Some(producer) = &*slot else {
            let problem = std::io::Error::other(
                "the outcome of the last transaction is unknown; the channel retries",
            );
            return Err(Failure::Unknown(LogError::Failed(problem)));
        };
        let outcome = self.attempt(producer, topic, records);
        if matches!(outcome, Err(Failure::Unknown(_))) {
            *slot = None;
        }
        outcome
    }

    fn attempt(
        &self,
        producer: &Producer,
        topic: &str,
        records: &[Record],
    ) -> Result<Vec<i64>, Failure> {
        let until = Instant::now() + self.target.timeout;
        let right = Right::on_topic("Write", topic);
        let unknown = |step: &str, error: &KafkaError| Failure::Unknown(right.failed(step, error));
        producer
            .begin_transaction()
            .map_err(|error| unknown("cannot begin a transaction", &error))?;
        let offsets: Offsets = Arc::new(Mutex::new(vec![None; records.len()]));
        for (at, Record { key, value }) in records.iter().enumerate() {
            let handed = Box::new((at, offsets.clone()));
            let mut record = BaseRecord::with_opaque_to(topic, handed).partition(0).payload(value);
            if let Some(key) = key {
                record = record.key(key);
            }
            while let Err((error, back)) = producer.send(record) {
                let is_full = error.rdkafka_error_code() == Some(Code::QueueFull);
                if !is_full || Instant::now() >= until {
                    return Err(self.abort(producer, right, &error));
                }
                record = back;
                park_timeout(QUEUE_PAUSE);
            }
        }
        // The commit checks for acknowledgements only ten times a second; for a small group, poll
        // more often here.
        let soon = Instant::now() + ACKNOWLEDGED_SOON;
        while producer.in_flight_count() > 0 && Instant::now() < soon {
            park_timeout(ACKNOWLEDGED_PAUSE);
        }
        loop {
            match producer.commit_transaction(STEP) {
                Ok(()) => break,
                Err(error) if is_retriable(&error) && Instant::now() < until => park_timeout(PAUSE),
                Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                    return Err(self.abort(producer, right, &KafkaError::Transaction(error)));
                }
                Err(error) => return Err(unknown("cannot commit a transaction", &error)),
            }
        }
        let offsets = std::mem::take(&mut *lock(&offsets));
        let known: Option<Vec<i64>> = offsets.into_iter().collect();
        let without = KafkaError::MessageProduction(Code::NoError);
        known.ok_or_else(|| {
            unknown(
                "the client committed a transaction but did not report the offsets of its records",
                &without,
            )
        })
    }

    /// Aborts a transaction for this reason.
    fn abort(&self, producer: &Producer, right: Right<'_>, cause: &KafkaError) -> Failure {
        let until = Instant::now() + self.target.timeout;
        let cause = || right.failed("transaction aborted", cause);
        loop {
            match producer.abort_transaction(STEP) {
                Ok(()) => return Failure::Nothing(cause()),
                Err(error) if is_retriable(&error) && Instant::now() < until => park_timeout(PAUSE),
                Err(_) => return Failure::Unknown(cause()),
            }
        }
    }

    fn init(&self) -> Result<Producer, LogError> {
        let made = self.target.producer.create_with_context(self.target.context());
        let producer: Producer = made.map_err(|error| {
            failed("cannot create the Kafka client: check `properties`", &error)
        })?;
        let id = self.target.transactional_id();
        let right = Right::on_id("Write", &id);
        let until = Instant::now() + self.target.timeout;
        loop {
            match producer.init_transactions(STEP) {
                Ok(()) => return Ok(producer),
                Err(error) if is_retriable(&error) && Instant::now() < until => park_timeout(PAUSE),
                Err(error) => {
                    park_timeout(PAUSE);
                    return Err(
                        right.failed("cannot take over the topic from its previous owner", &error)
                    );
                }
            }
        }
    }

    fn newest_state(&self) -> Result<Option<Bytes>, LogError> {
        let mut reader = lock(&self.state);
        let (low, high) = reader.bounds()?;
        let tail = low.max(high - STATE_TAIL);
        for from in [tail, low] {
            let mut newest = None;
            reader.values(from, |_, value| {
                newest = Some(value);
                true
            })?;
            if newest.is_some() || from == low {
                return Ok(newest);
            }
        }
        Ok(None)
    }
}

/// Pauses after a failure, before the call is repeated.
fn pause_on_error<T, E>(outcome: Result<T, E>) -> Result<T, E> {
    if outcome.is_err() {
        park_timeout(PAUSE);
    }
    outcome
}

impl Log for TopicLog {
    fn name(&self) -> &str {
        &self.label
    }

    fn fence(&self) -> Result<(), LogError> {
        let mut slot = lock(&self.producer);
        // Dropping it takes up to half a second.
        *slot = None;
        let producer = self.init()?;
        // Check the write permission before the first put.
        let trial = [Record { key: None, value: parts::filler() }];
        let tried = pause_on_error(self.attempt(&producer, &self.target.topic, &trial));
        tried.map_err(|(Failure::Nothing(error) | Failure::Unknown(error))| error)?;
        *slot = Some(producer);
        Ok(())
    }

    fn state(&self) -> Result<Option<Bytes>, LogError> {
        pause_on_error(self.newest_state())
    }

    fn store_state(&self, state: &Bytes) -> Result<(), Failure> {
        let parts = parts::split(state, self.target.record_bytes_max);
        let records = parts.into_iter().enumerate();
        let records: Vec<_> =
            records.map(|(at, value)| Record { key: Some(at.to_string()), value }).collect();
        pause_on_error(self.transact(&self.target.state_topic, &records)).map(drop)
    }

    fn append(&self, frames: &[Bytes]) -> Result<Vec<Place>, Failure> {
        let (mut records, mut firsts) = (Vec::new(), Vec::new());
        for frame in frames {
            firsts.push(records.len());
            let parts = parts::split(frame, self.target.record_bytes_max);
            records.extend(parts.into_iter().map(|value| Record { key: None, value }));
        }
        let offsets = pause_on_error(self.transact(&self.target.topic, &records))?;
        Ok(firsts.into_iter().map(|first| offsets[first] as Place).collect())
    }

    fn read(&self, from: Place, bytes: usize) -> Result<Vec<Stored>, LogError> {
        let (mut found, mut left) = (Vec::new(), bytes);
        let read = lock(&self.frames).values(from as i64, |place, frame| {
            left = left.saturating_sub(frame.len());
            found.push(Stored { place: place as Place, frame });
            left > 0
        });
        pause_on_error(read).map(|()| found)
    }

    fn release(&self, below: Place) -> Result<(), LogError> {
        if below == 0 {
            return Ok(());
        }
        topics::delete_below(&self.admin, &self.target.topic, below as i64)
    }
}
