//! Sends events of a batch as messages, and finds those that brokers reject.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use formats::avro::datum::put_event;
use pipeline::deliver::Delivered;
use pipeline::{Batch, EventRef};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use tokio::time::Instant;

use super::producer::{Handed, Pending, Producer};
use super::reasons::{Failed, of_the_batch, only_causes, reason_of};
use super::{Kafka, SendError};

/// Pause while the client's queue is full.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);

impl Kafka {
    /// Hands the selected events to the client. Returns those that the client rejects: they are not
    /// part of a transaction.
    pub(super) async fn hand_all_over(
        &self,
        producer: &Producer,
        batch: &Batch,
        is_meant: impl Fn(usize) -> bool + Send,
    ) -> (Arc<Pending>, Failed) {
        let (pending, mut not_taken) = (Pending::new(), Failed::new());
        for event in batch.iter().filter(|event| is_meant(event.index())) {
            let result = loop {
                match self.hand_over(producer, event, &pending) {
                    // A failed transaction sends nothing more, so the queue stays full.
                    Err(Code::QueueFull) if producer.is_transactional && pending.has_failed() => {
                        break Err(Code::State);
                    }
                    Err(Code::QueueFull) => tokio::time::sleep(QUEUE_FULL_PAUSE).await,
                    result => break result,
                }
            };
            if let Err(code) = result {
                not_taken.push((event.index(), code));
            }
        }
        pending.all_handed_over();
        (pending, not_taken)
    }

    /// Sends the selected events, or all, and waits for the results.
    pub(super) async fn send(
        &self,
        producer: &Producer,
        batch: &Batch,
        only: Option<&BTreeSet<usize>>,
    ) -> Result<Failed, SendError> {
        let is_meant = |place: usize| only.is_none_or(|only| only.contains(&place));
        let (pending, mut failed) = self.hand_all_over(producer, batch, is_meant).await;
        failed.append(&mut pending.outcome().await);
        self.judge(batch, failed)
    }

    /// Returns the events that failed individually, in order.
    ///
    /// # Errors
    /// A problem affects all events.
    pub(super) fn judge(&self, batch: &Batch, mut failed: Failed) -> Result<Failed, SendError> {
        failed.sort_unstable_by_key(|(index, _)| *index);
        let failing = of_the_batch(&failed, |place| self.is_overdue(batch, place));
        let Some((index, code)) = failing else { return Ok(failed) };
        Err(self.not_acknowledged(batch, index, code))
    }

    /// Returns whether the event names a topic that rejects messages, and the wait for it is over.
    fn is_overdue(&self, batch: &Batch, place: usize) -> bool {
        let topic = batch.iter().nth(place).map(|event| self.target.topic(event));
        let chosen = topic.filter(|topic| *topic != self.target.topic);
        chosen.is_some_and(|topic| self.destinations.refused(topic, Instant::now()))
    }

    pub(super) fn not_acknowledged(&self, batch: &Batch, index: usize, code: Code) -> SendError {
        let event = batch.iter().nth(index);
        let topic = event.map_or_else(String::new, |event| self.target.topic(event).to_owned());
        SendError::NotAcknowledged { topic, code }
    }

    /// Sends these events to find out which are rejected. With a transactional producer, the
    /// transaction is aborted.
    async fn try_out(
        &self,
        producer: &Arc<Producer>,
        batch: &Batch,
        places: &BTreeSet<usize>,
    ) -> Result<Failed, SendError> {
        if !producer.is_transactional {
            return self.send(producer, batch, Some(places)).await;
        }
        self.begin(producer).await?;
        let is_meant = |place: usize| places.contains(&place);
        let (pending, mut failed) = self.hand_all_over(producer, batch, is_meant).await;
        pending.done_or_failed().await;
        self.abort(producer).await?;
        failed.append(&mut pending.outcome().await);
        only_causes(&mut failed);
        self.judge(batch, failed)
    }

    /// Returns which of these events are rejected individually. A broker rejects whole requests,
    /// which may contain messages of other batches, so the events are resent in parts, while no
    /// other batch is.
    pub(super) async fn refused(
        &self,
        producer: &Arc<Producer>,
        batch: &Batch,
        failed: Failed,
    ) -> Result<Failed, SendError> {
        let _alone = producer.alone.write().await;
        let sizes: Vec<usize> = batch.iter().map(|event| event.body().len()).collect();
        let (mut refused, mut suspects) = (Failed::new(), vec![failed]);
        while let Some(group) = suspects.pop() {
            let places = group.iter().map(|(place, _)| *place).collect();
            let mut failed = self.try_out(producer, batch, &places).await?;
            if places.len() == 1 {
                refused.extend(failed);
                continue;
            }
            // If an event is too large, it is probably the largest; each rejection costs the client
            // time.
            failed.sort_unstable_by_key(|(place, _)| sizes[*place]);
            let largest = failed.pop();
            let (one, other) = failed.split_at(failed.len() / 2);
            let parts = [one, other, largest.as_slice()];
            suspects.extend(parts.into_iter().filter(|part| !part.is_empty()).map(<[_]>::to_vec));
        }
        refused.sort_unstable_by_key(|(place, _)| *place);
        Ok(refused)
    }

    /// Hands an event to the client, without waiting.
    fn hand_over(
        &self,
        producer: &Producer,
        event: EventRef<'_>,
        pending: &Arc<Pending>,
    ) -> Result<(), Code> {
        let target = &self.target;
        let partition = target.partition(event).map_err(|()| Code::UnknownPartition)?;
        let mut encoded = Vec::new();
        let payload = if target.is_flume_event {
            let headers: Vec<_> = event.headers().collect();
            put_event(&mut encoded, &headers, event.body());
            &encoded
        } else {
            event.body()
        };
        let handed = Box::new(Handed { pending: pending.clone(), index: event.index() });
        let mut record: BaseRecord<'_, str, [u8], Box<Handed>> =
            BaseRecord::with_opaque_to(target.topic(event), handed).payload(payload);
        record.key = target.key(event);
        record.partition = partition;
        record.timestamp = target.timestamp(event);
        if !target.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(target.headers.len());
            for (name, of) in &target.headers {
                if let Some(value) = event.header(of) {
                    headers = headers.insert(Header { key: name, value: Some(value) });
                }
            }
            record = record.headers(headers);
        }
        pending.begin();
        producer.send(record).inspect_err(|_| pending.end())
    }
}

/// Returns the result of a batch with these rejected events.
pub(super) fn delivered(mut refused: Failed) -> Delivered {
    refused.sort_unstable_by_key(|(place, _)| *place);
    let Some((_, code)) = refused.first() else { return Delivered::All };
    let (reason, detail) = (
        reason_of(*code),
        format!(
            "the brokers reject the message: {code}; correct the limits or the settings of the \
             topic, and replay it"
        ),
    );
    let events = refused.iter().map(|(place, _)| *place).collect();
    Delivered::Except { events, reason, detail }
}
