//! The assigned partitions: their start, and their gathered and stored positions.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::{Offset, TopicPartitionList};

use super::super::position::{End, Partition, Position};

/// An assigned partition.
pub(super) struct Assigned {
    /// Start of reading.
    begin: u64,
    /// Offset of the next message to gather.
    next: u64,
    /// For each channel, the offset of the first message that it lacks.
    standing: Vec<u64>,
    key: Bytes,
    /// Whether the batch in progress has its messages.
    is_gathered: bool,
    /// End offset of the messages that all channels have.
    pub(super) stored: u64,
}

impl Assigned {
    /// Creates a partition read from `start`; each channel has the messages before its `standing`.
    pub(super) fn new(begin: u64, start: u64, standing: Vec<u64>, key: Bytes) -> Self {
        Self { begin, next: start, standing, key, is_gathered: false, stored: start }
    }

    /// Returns the channels that lack the message at this offset, `None` for all. Returns nothing
    /// if the message was gathered before, or no channel lacks it.
    #[allow(clippy::option_option, reason = "as a piece names its targets")]
    pub(super) fn lacking(&self, offset: u64) -> Option<Option<Vec<usize>>> {
        if offset < self.next {
            return None;
        }
        if self.standing.iter().all(|next| *next <= offset) {
            return Some(None);
        }
        let lacking = (0..).zip(&self.standing).filter(|(_, next)| **next <= offset);
        let lacking: Vec<usize> = lacking.map(|(channel, _)| channel).collect();
        (!lacking.is_empty()).then_some(Some(lacking))
    }

    /// Records a gathered message.
    pub(super) fn gathered(&mut self, offset: u64) {
        self.next = offset + 1;
        self.is_gathered = true;
    }
}

/// All assigned partitions, by topic and number.
#[derive(Default)]
pub(super) struct Assignment(BTreeMap<Arc<str>, BTreeMap<i32, Assigned>>);

impl Assignment {
    pub(super) fn insert(&mut self, partition: Partition, assigned: Assigned) {
        self.0.entry(partition.topic).or_default().insert(partition.number, assigned);
    }

    pub(super) fn remove(&mut self, topic: &str, number: i32) {
        if let Some(numbers) = self.0.get_mut(topic) {
            numbers.remove(&number);
        }
    }

    pub(super) fn get_mut(&mut self, topic: &str, number: i32) -> Option<&mut Assigned> {
        self.0.get_mut(topic)?.get_mut(&number)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (&Arc<str>, i32, &mut Assigned)> {
        self.0.iter_mut().flat_map(|(topic, numbers)| {
            numbers.iter_mut().map(move |(number, one)| (topic, *number, one))
        })
    }

    /// Returns the end positions of partitions with gathered messages, and marks these as sent.
    pub(super) fn take_ends(&mut self) -> Vec<End> {
        let gathered = self.iter_mut().filter(|(_, _, one)| one.is_gathered);
        let end = |(topic, number, one): (&Arc<str>, i32, &mut Assigned)| {
            one.is_gathered = false;
            let position = Position { begin: one.begin, next: one.next };
            let partition = Partition { topic: topic.clone(), number };
            End { partition, key: one.key.clone(), position }
        };
        gathered.map(end).collect()
    }

    /// Returns the client's list of these partitions, each with this offset.
    pub(super) fn list(&mut self, at: Offset) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (topic, number, _) in self.iter_mut() {
            // The client's own offset type is always valid.
            let _ = list.add_partition_offset(topic, number, at);
        }
        list
    }

    /// Returns the number of messages that are not stored, with these ends of the partitions.
    pub(super) fn lag(&mut self, ends: &TopicPartitionList) -> u64 {
        let mut lag = 0;
        for element in ends.elements() {
            let assigned = self.get_mut(element.topic(), element.partition());
            let end = element.offset().to_raw().and_then(|at| u64::try_from(at).ok());
            if let (Some(assigned), Some(end), Ok(())) = (assigned, end, element.error()) {
                lag += end.saturating_sub(assigned.stored);
            }
        }
        lag
    }
}
