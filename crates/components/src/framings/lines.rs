//! `lines`: a message is a line.

use bytes::{Buf, BytesMut};
use memchr::memchr;
use pipeline::{BuildContext, BuildError, Component, Frame, Framer, Framing};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the framing `lines`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The byte that ends each message, as one character: a line feed unless set, or `"\u0000"`. A
    /// carriage return before a line feed belongs to the end.
    #[serde(default = "default_delimiter")]
    delimiter: String,
}

fn default_delimiter() -> String {
    "\n".to_owned()
}

impl Component for Config {
    const KIND: &'static str = "lines";
    type Role = dyn Framing;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Framing>, BuildError> {
        let [delimiter] = *self.delimiter.as_bytes() else {
            let problem = "it must be one character of one byte, such as \"\\n\" or \"\\u0000\"";
            return Err(BuildError::invalid("delimiter", problem));
        };
        Ok(Box::new(Lines { delimiter }))
    }
}

struct Lines {
    delimiter: u8,
}

impl Framing for Lines {
    fn begin(&self, message_max: usize) -> Box<dyn Framer> {
        Box::new(LineFramer { delimiter: self.delimiter, message_max, skips: false, looked: 0 })
    }
}

struct LineFramer {
    delimiter: u8,
    message_max: usize,
    /// The rest of a line that was too long is passed over.
    skips: bool,
    /// Bytes at the front of the stream that hold no delimiter.
    looked: usize,
}

impl LineFramer {
    fn frame(&self, mut message: BytesMut, is_cut: bool) -> Frame {
        if self.delimiter == b'\n' && !is_cut && message.last() == Some(&b'\r') {
            message.truncate(message.len() - 1);
        }
        Frame { message: message.freeze(), is_cut }
    }

    fn take(&mut self, stream: &mut BytesMut, end: usize) -> BytesMut {
        let message = stream.split_to(end);
        stream.advance(1);
        self.looked = 0;
        message
    }
}

impl Framer for LineFramer {
    fn next(&mut self, stream: &mut BytesMut) -> Option<Frame> {
        loop {
            let found = memchr(self.delimiter, &stream[self.looked..]);
            let end = found.map(|at| self.looked + at);
            match end {
                Some(end) if self.skips => {
                    self.take(stream, end);
                    self.skips = false;
                }
                None if self.skips => {
                    stream.clear();
                    return None;
                }
                Some(end) if end <= self.message_max => {
                    let line = self.take(stream, end);
                    return Some(self.frame(line, false));
                }
                None if stream.len() <= self.message_max => {
                    self.looked = stream.len();
                    return None;
                }
                _ => {
                    let start = stream.split_to(self.message_max);
                    (self.skips, self.looked) = (true, 0);
                    return Some(self.frame(start, true));
                }
            }
        }
    }

    fn rest(&mut self, stream: &mut BytesMut) -> Option<Frame> {
        let rest = stream.split();
        let is_none = rest.is_empty() || self.skips;
        (!is_none).then(|| self.frame(rest, false))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::testkit::build;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::testkit::{cut, frames, whole};
    use super::*;

    fn built(delimiter: &str) -> Result<Box<dyn Framing>, pipeline::SettingsError> {
        let cx = BuildContext::alone("lines", std::path::Path::new("unused"), env::real());
        build::<Config>(&json!({ "delimiter": delimiter }), &cx)
    }

    #[test]
    fn each_line_is_a_message_also_an_empty_one_and_the_last_without_its_end() {
        let stream = b"one\r\n\ntwo\rthree\nlast";
        for piece in 1..=stream.len() {
            let expected = whole(&["one", "", "two\rthree", "last"]);
            assert_eq!(frames(&*built("\n").unwrap(), stream, piece, 100), expected, "{piece}");
        }
        let zero = built("\0").unwrap();
        assert_eq!(frames(&*zero, b"a\nb\r\0c\0", 2, 100), whole(&["a\nb\r", "c"]));
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_one_is_read() {
        let lines = built("\n").unwrap();
        for piece in [1, 5, 100] {
            let all = frames(&*lines, b"0123456789\nnext\nexactly8\nabcdefghi", piece, 8);
            let expected = [cut("01234567"), whole(&["next"])[0].clone()];
            let expected = [&expected[..], &whole(&["exactly8"]), &[cut("abcdefgh")]].concat();
            assert_eq!(all, expected, "{piece}");
        }
    }

    #[test]
    fn a_delimiter_of_several_bytes_is_refused() {
        for delimiter in ["", "\r\n", "é"] {
            assert_eq!(built(delimiter).err().unwrap().path, "delimiter");
        }
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_messages(
            stream in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'x')], 0..99),
            piece in 1_usize..40,
        ) {
            let lines = built("\n").unwrap();
            prop_assert_eq!(frames(&*lines, &stream, piece, 8), frames(&*lines, &stream, 1, 8));
        }
    }
}
