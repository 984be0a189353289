//! Where the reading of a partition stands, as channels store it.

use std::sync::Arc;

use bytes::Bytes;

/// A partition of a topic of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Partition {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
}

/// Where a partition stands in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Where this agent has begun to read it: a channel that knows nothing of the partition, when
    /// another one does, begins there.
    pub(super) begin: u64,
    /// Offset of the next message.
    pub(super) next: u64,
}

/// Where a partition stands behind a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) partition: Partition,
    pub(super) key: Bytes,
    pub(super) position: Position,
}

impl Partition {
    /// Its key. The cluster is part of it: offsets of another cluster mean nothing.
    pub(super) fn key(&self, cluster: &str) -> Bytes {
        format!("{cluster}/{}/{}", self.topic, self.number).into()
    }
}

impl Position {
    pub(super) fn encode(self) -> Bytes {
        let bytes = [self.begin.to_le_bytes(), self.next.to_le_bytes()].concat();
        bytes.into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let ([begin, next], []) = bytes.as_chunks::<8>() else { return None };
        Some(Self { begin: u64::from_le_bytes(*begin), next: u64::from_le_bytes(*next) })
    }
}

/// What a channel knows of a key.
pub(super) fn of(known: &[(Bytes, Bytes)], key: &Bytes) -> Option<Position> {
    known.iter().find(|(known, _)| known == key).and_then(|(_, value)| Position::decode(value))
}

/// Whether a channel that knows this lacks something up to these ends.
pub(super) fn lacks(known: &[(Bytes, Bytes)], ends: &[End]) -> bool {
    let reaches = |end: &End| of(known, &end.key).is_some_and(|has| has.next >= end.position.next);
    !ends.iter().all(reaches)
}

/// Where each channel begins, given what it knows and the offset of the group; `None` where nothing
/// is known at all.
pub(super) fn standing(known: &[Option<Position>], committed: Option<u64>) -> Option<Vec<u64>> {
    let begun = known.iter().flatten().map(|position| position.begin).min();
    // The offset of the group is behind what all channels of some member have stored.
    let fallback = committed.or(begun)?;
    let at = |known: &Option<Position>| match known {
        Some(position) => position.next.max(committed.unwrap_or(0)),
        None => fallback,
    };
    Some(known.iter().map(at).collect())
}
