//! The partitions of a member: where each was begun, and how far it is gathered and stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::{Offset, TopicPartitionList};

use super::super::position::{End, Partition, Position};

/// A partition of this member.
pub(super) struct Assigned {
    /// Where reading began.
    begin: u64,
    /// Offset of the next message to gather.
    next: u64,
    /// For each channel the offset of the first message that it lacks.
    standing: Vec<u64>,
    key: Bytes,
    /// Whether something of it is gathered and not handed over.
    is_gathered: bool,
    /// Offset behind what all channels have.
    pub(super) stored: u64,
}

impl Assigned {
    /// One that is read from `start`, and of which each channel has what lies before `standing`.
    pub(super) fn new(begin: u64, start: u64, standing: Vec<u64>, key: Bytes) -> Self {
        Self { begin, next: start, standing, key, is_gathered: false, stored: start }
    }

    /// The channels that lack the message at this offset, `None` for all; nothing if it was
    /// gathered before, or none lacks it.
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

    /// The message at this offset is gathered.
    pub(super) fn gathered(&mut self, offset: u64) {
        self.next = offset + 1;
        self.is_gathered = true;
    }
}

/// All of them, by topic and number.
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

    /// Where the partitions end of which something is gathered; it counts as handed over.
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

    /// The same as the client lists them, each with this offset.
    pub(super) fn list(&mut self, at: Offset) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (topic, number, _) in self.iter_mut() {
            // An offset of the client's own type is a valid one.
            let _ = list.add_partition_offset(topic, number, at);
        }
        list
    }

    /// Messages that are not stored, when partitions end there.
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
