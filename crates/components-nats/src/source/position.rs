//! Where the reading of a stream stands, as a channel stores it. Pure.
//!
//! ```text
//!   key     name of the stream
//!   value   form, sequence of the next message, time at which the stream was made
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::jetstream::StreamInfo;

/// Version of the form of the value.
const FORM: u8 = 1;

/// Where a stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// When the stream was made: sequences of another one of its name mean nothing.
    pub(super) created: String,
    /// Sequence of the next message.
    pub(super) next: u64,
}

impl Position {
    /// As it is stored.
    pub(super) fn encode(&self) -> Bytes {
        let mut value = BytesMut::new();
        value.put_u8(FORM);
        value.put_u64_le(self.next);
        value.put_slice(self.created.as_bytes());
        value.freeze()
    }

    fn decode(mut value: &[u8]) -> Option<Self> {
        if value.try_get_u8().ok()? != FORM {
            return None;
        }
        let next = value.try_get_u64_le().ok()?;
        Some(Self { created: String::from_utf8(value.to_vec()).ok()?, next })
    }
}

/// What a channel knows of a stream; `None`: nothing.
///
/// # Errors
/// It is in a form of another version.
pub(super) fn known(known: &[(Bytes, Bytes)], stream: &str) -> Result<Option<Position>, String> {
    let Some((_, value)) = known.iter().find(|(key, _)| **key == *stream.as_bytes()) else {
        return Ok(None);
    };
    Position::decode(value).map(Some).ok_or_else(|| {
        format!(
            "another version wrote the position of `{stream}` in the channel: run that version, \
             or rename the source to discard the position"
        )
    })
}

/// Where the reading begins, and what is odd about that.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StartAt {
    /// Sequence of the next message.
    pub(super) next: u64,
    /// Why it is not that of the position; a reason of an anomaly.
    pub(super) odd: Option<&'static str>,
    /// Sequences that the stream has deleted since, which were not read.
    pub(super) deleted: u64,
}

/// Where the reading goes on that stands at `position`.
pub(super) fn begin(position: &Position, stream: &StreamInfo) -> StartAt {
    let first = stream.state.first_seq.max(1);
    if position.created != stream.created {
        return StartAt { next: first, odd: Some("stream_replaced"), deleted: 0 };
    }
    // A server that has lost its last messages gives their numbers to others.
    if position.next > stream.state.last_seq + 1 {
        return StartAt {
            next: stream.state.last_seq + 1,
            odd: Some("stream_rewound"),
            deleted: 0,
        };
    }
    StartAt { next: position.next, odd: None, deleted: first.saturating_sub(position.next) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stream(created: &str, first: u64, last: u64) -> StreamInfo {
        serde_json::from_value(json!({
            "config": { "retention": "limits" },
            "created": created,
            "state": { "first_seq": first, "last_seq": last },
        }))
        .unwrap()
    }

    #[test]
    fn reads_back_positions_and_rejects_other_forms() {
        let position = Position { created: "2026-11-28T22:17:28.77Z".into(), next: u64::MAX };
        let stored = [(Bytes::from_static(b"S"), position.encode())];
        assert_eq!(known(&stored, "S"), Ok(Some(position)));
        assert_eq!(known(&stored, "T"), Ok(None));
        let other = [(Bytes::from_static(b"S"), Bytes::from_static(b"\x02"))];
        assert!(known(&other, "S").unwrap_err().contains("another version"));
    }

    #[test]
    fn reading_goes_on_behind_the_position_or_where_another_stream_begins() {
        let at = |next| Position { created: "a".into(), next };
        let begun = |next, odd, deleted| StartAt { next, odd, deleted };
        assert_eq!(begin(&at(5), &stream("a", 1, 9)), begun(5, None, 0));
        assert_eq!(begin(&at(10), &stream("a", 1, 9)), begun(10, None, 0));
        assert_eq!(begin(&at(5), &stream("a", 8, 9)), begun(5, None, 3));
        // All are deleted, and the next one is not there yet.
        assert_eq!(begin(&at(5), &stream("a", 10, 9)), begun(5, None, 5));
        assert_eq!(begin(&at(5), &stream("b", 0, 0)), begun(1, Some("stream_replaced"), 0));
        assert_eq!(begin(&at(11), &stream("a", 1, 9)), begun(10, Some("stream_rewound"), 0));
    }
}
