//! `length_prefixed`: each message is preceded by its length.
//!
//! ```text
//!   00 00 00 05 h e l l o  00 00 00 02 …      bytes = 4, big endian
//! ```
//!
//! Nothing marks the beginning of a message, so after a wrong length the stream cannot be resumed.
//! A length over the maximum reveals that. With lengths of one or two bytes, every value is valid.

use bytes::{Buf, BytesMut};
use pipeline::{BuildContext, BuildError, Component, Frame, Framer, Framing, FramingLost};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MESSAGE_BYTES_MAX;

/// Settings of the framing `length_prefixed`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Size of the length in bytes: 1, 2, 4 or 8.
    #[serde(default = "pipeline::units::number::<4>")]
    bytes: usize,
    /// Byte order of the length.
    #[serde(default)]
    order: Order,
}

/// Which byte of a number comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// Big-endian, as in network protocols.
    #[default]
    BigEndian,
    /// Little-endian.
    LittleEndian,
}

impl Component for Config {
    const KIND: &'static str = "length_prefixed";
    type Role = dyn Framing;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Framing>, BuildError> {
        if ![1, 2, 4, 8].contains(&self.bytes) {
            return Err(BuildError::invalid("bytes", "must be 1, 2, 4 or 8"));
        }
        Ok(Box::new(LengthPrefixed { bytes: self.bytes, order: self.order }))
    }
}

#[derive(Clone, Copy)]
struct LengthPrefixed {
    bytes: usize,
    order: Order,
}

impl Framing for LengthPrefixed {
    fn begin(&self, message_max: usize) -> Box<dyn Framer> {
        Box::new(LengthFramer { prefix: *self, message_max, skip: 0, is_lost: false })
    }
}

struct LengthFramer {
    prefix: LengthPrefixed,
    message_max: usize,
    /// Bytes left to skip of a message that was too long.
    skip: u64,
    /// True if the beginning of the next message is unknown.
    is_lost: bool,
}

impl LengthFramer {
    /// Returns the length at the front of the stream; `None` if it is incomplete.
    fn length(&self, stream: &BytesMut) -> Option<u64> {
        let digits = stream.get(..self.prefix.bytes)?.iter();
        let append = |number: u64, digit: &u8| number << 8 | u64::from(*digit);
        Some(match self.prefix.order {
            Order::BigEndian => digits.fold(0, append),
            Order::LittleEndian => digits.rev().fold(0, append),
        })
    }

    /// Returns how many bytes of a message are kept.
    fn kept(&self, length: u64) -> usize {
        usize::try_from(length).unwrap_or(usize::MAX).min(self.message_max)
    }
}

impl Framer for LengthFramer {
    fn next(&mut self, stream: &mut BytesMut) -> Result<Option<Frame>, FramingLost> {
        if self.is_lost {
            stream.clear();
            return Ok(None);
        }
        let here = usize::try_from(self.skip).unwrap_or(usize::MAX).min(stream.len());
        stream.advance(here);
        self.skip -= here as u64;
        let Some(length) = self.length(stream).filter(|_| self.skip == 0) else { return Ok(None) };
        if length > MESSAGE_BYTES_MAX as u64 {
            self.is_lost = true;
            let problem = format!(
                "the prefix of a message announces {length} bytes, over the limit of 16 MiB: the \
                 sender uses another framing, or counts characters instead of bytes"
            );
            return Err(FramingLost { problem, is_found_again: false });
        }
        let kept = self.kept(length);
        if stream.len() < self.prefix.bytes + kept {
            return Ok(None);
        }
        stream.advance(self.prefix.bytes);
        self.skip = length - kept as u64;
        Ok(Some(Frame { message: stream.split_to(kept).freeze(), is_cut: self.skip > 0 }))
    }

    fn rest(&mut self, stream: &mut BytesMut) -> Result<Option<Frame>, FramingLost> {
        let has_begun = self.length(stream).is_some_and(|length| length > 0) && self.skip == 0;
        let mut rest = stream.split();
        if self.is_lost || !has_begun || rest.len() == self.prefix.bytes {
            return Ok(None);
        }
        rest.advance(self.prefix.bytes);
        Ok(Some(Frame { message: rest.freeze(), is_cut: true }))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::testkit::build;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::testkit::{cut, frames, frames_and_losses, whole};
    use super::*;

    fn built(settings: &Value) -> Result<Box<dyn Framing>, pipeline::SettingsError> {
        let cx = BuildContext::alone("length", std::path::Path::new("unused"), env::real());
        build::<Config>(settings, &cx)
    }

    #[test]
    fn messages_of_any_bytes_follow_their_length_in_either_order() {
        let of = |order: &str, stream: &[u8]| {
            let framing = built(&json!({ "bytes": 2, "order": order })).unwrap();
            (1..=stream.len()).map(|piece| frames(&*framing, stream, piece, 99)).collect::<Vec<_>>()
        };
        for all in of("big_endian", b"\0\x03a\nb\0\0\0\x01c") {
            assert_eq!(all, whole(&["a\nb", "", "c"]));
        }
        for all in of("little_endian", b"\x03\0a\nb\0\0\x01\0c") {
            assert_eq!(all, whole(&["a\nb", "", "c"]));
        }
    }

    #[test]
    fn cuts_a_long_message_and_reads_the_next() {
        let framing = built(&json!({ "bytes": 1 })).unwrap();
        for piece in [1, 3, 20] {
            let all = frames(&*framing, b"\x0a0123456789\x04next\x05half", piece, 8);
            let expected = [vec![cut("01234567")], whole(&["next"]), vec![cut("half")]].concat();
            assert_eq!(all, expected, "{piece}");
        }
    }

    #[test]
    fn a_length_that_no_message_has_ends_the_stream_and_holds_no_memory() {
        let framing = built(&json!({ "bytes": 8 })).unwrap();
        let stream = [&[0, 0, 0, 0, 0, 0, 0, 2, b'a', b'b'][..], &[0xff; 8], &[b'x'; 100]].concat();
        for piece in [1, 7, 200] {
            let (all, losses) = frames_and_losses(&*framing, &stream, piece, 8);
            assert_eq!(all, whole(&["ab"]));
            let [lost] = &losses[..] else { panic!("{losses:?}") };
            assert!(!lost.is_found_again && lost.problem.contains("18446744073709551615 bytes"));
        }
    }

    #[test]
    fn a_sender_that_counts_characters_is_noticed_at_its_next_message() {
        let framing = built(&json!({})).unwrap();
        let mut stream = Vec::new();
        for (n, text) in ["one", "zwei \u{fc}\u{e4}", "three"].iter().enumerate() {
            let length = if n == 1 { text.chars().count() } else { text.len() };
            stream.extend_from_slice(&(length as u32).to_be_bytes());
            stream.extend_from_slice(text.as_bytes());
        }
        for piece in 1..=stream.len() {
            let (all, losses) = frames_and_losses(&*framing, &stream, piece, 64);
            assert_eq!((all.len(), losses.len()), (2, 1), "{all:?}");
        }
    }

    #[test]
    fn a_number_of_another_size_is_refused() {
        assert_eq!(built(&json!({ "bytes": 3 })).err().unwrap().path, "bytes");
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_messages(
            stream in prop::collection::vec(0_u8..20, 0..99),
            piece in 1_usize..40,
        ) {
            let framing = built(&json!({ "bytes": 1 })).unwrap();
            let one_by_one = frames(&*framing, &stream, 1, 8);
            prop_assert_eq!(frames(&*framing, &stream, piece, 8), one_by_one);
        }
    }
}
