//! The position of a partition, as stored in channels.

use std::sync::Arc;

use bytes::Bytes;

/// A partition of a topic in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Partition {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
}

/// The position of a partition in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Where this agent started to read it. A channel without a position starts here if another
    /// channel has one.
    pub(super) begin: u64,
    /// Offset of the next message.
    pub(super) next: u64,
}

/// The position of a partition after a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) partition: Partition,
    pub(super) key: Bytes,
    pub(super) position: Position,
}

impl Partition {
    /// Returns its key. The key contains the cluster, because offsets differ between clusters.
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

/// Returns the position of a key in a channel.
pub(super) fn find(known: &[(Bytes, Bytes)], key: &Bytes) -> Option<Position> {
    known.iter().find(|(known, _)| known == key).and_then(|(_, value)| Position::decode(value))
}

/// Returns where each channel starts, given its position and the group's offset; `None` without any
/// information.
pub(super) fn standing(known: &[Option<Position>], committed: Option<u64>) -> Option<Vec<u64>> {
    let begun = known.iter().flatten().map(|position| position.begin).min();
    // The group's offset is committed after all channels of some member have stored the events.
    let fallback = committed.or(begun)?;
    let at = |known: &Option<Position>| match known {
        Some(position) => position.next.max(committed.unwrap_or(0)),
        None => fallback,
    };
    Some(known.iter().map(at).collect())
}
