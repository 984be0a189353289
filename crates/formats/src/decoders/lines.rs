//! `lines`: each line of the message is an event, without its line end.

use std::io::{BufRead, Read};

use memchr::memchr_iter;
use pipeline::{
    BatchBuilder, BuildContext, BuildError, Component, Decoder, FileDecoder, FileError, FindEvent,
    MalformedMessage, Message, OneByOne, Piece,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Maximum length of a line in a file.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Settings of the `lines` decoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whether an empty line is an event.
    #[serde(default)]
    keep_empty: bool,
}

impl Component for Config {
    const KIND: &'static str = "lines";
    type Role = dyn Decoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Decoder>, BuildError> {
        Ok(Box::new(Lines { keep_empty: self.keep_empty }))
    }
}

struct Lines {
    keep_empty: bool,
}

impl Decoder for Lines {
    fn decode(
        &self,
        message: &Message<'_>,
        events: &mut BatchBuilder,
    ) -> Result<(), MalformedMessage> {
        let mut start = 0;
        let ends = memchr_iter(b'\n', message.bytes).chain(Some(message.bytes.len()));
        for end in ends {
            // There is no line after the last line end.
            if start == message.bytes.len() {
                break;
            }
            let line = &message.bytes[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if self.keep_empty || !line.is_empty() {
                events.push(line, message.headers);
            }
            start = end + 1;
        }
        Ok(())
    }

    fn begin_file(&self) -> Option<Box<dyn FileDecoder>> {
        let keep_empty = self.keep_empty;
        Some(Box::new(OneByOne::new(File { keep_empty, line: None, at: 0 })))
    }
}

/// A file of lines.
struct File {
    keep_empty: bool,
    /// The next line, if it was found already.
    line: Option<Vec<u8>>,
    /// Bytes read so far.
    at: u64,
}

impl File {
    /// Reads the next line that is an event; `None` at the end of the file.
    fn line(&mut self, file: &mut dyn BufRead) -> Result<Option<Vec<u8>>, FileError> {
        loop {
            let mut line = Vec::new();
            let read = file.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
            if read > LINE_BYTES_MAX {
                let problem = format!(
                    "the line at byte {} has more than {LINE_BYTES_MAX} bytes; divide it at the \
                     sender",
                    self.at
                );
                return Err(MalformedMessage { problem }.into());
            }
            self.at += read as u64;
            if read == 0 {
                return Ok(None);
            }
            if line.pop_if(|byte| *byte == b'\n').is_some() {
                line.pop_if(|byte| *byte == b'\r');
            }
            if self.keep_empty || !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

impl FindEvent for File {
    fn find(&mut self, file: &mut dyn BufRead) -> Result<bool, FileError> {
        if self.line.is_none() {
            self.line = self.line(file)?;
        }
        Ok(self.line.is_some())
    }

    fn put(&mut self, piece: &mut Piece<'_>) -> bool {
        piece.put(self.line.as_ref().expect("it was found"), &[])
    }

    fn consume(&mut self) {
        self.line = None;
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Message;
    use serde_json::{Value, json};

    use super::super::testkit::{decoded, message};

    fn lines(settings: &Value, bytes: &[u8]) -> Vec<String> {
        let batch = decoded(settings, &message(bytes)).unwrap();
        batch.iter().map(|event| String::from_utf8_lossy(event.body()).into_owned()).collect()
    }

    #[test]
    fn each_line_is_an_event_with_or_without_a_last_line_end() {
        for (bytes, expected) in [
            (&b"one\ntwo\n"[..], vec!["one", "two"]),
            (b"one\r\ntwo", vec!["one", "two"]),
            (b"", vec![]),
            (b"\n\n", vec![]),
            (b"a\n\nb", vec!["a", "b"]),
        ] {
            assert_eq!(lines(&json!("lines"), bytes), expected, "{bytes:?}");
        }
        let keep = json!({ "type": "lines", "keep_empty": true });
        assert_eq!(lines(&keep, b"a\n\nb\n"), ["a", "", "b"]);
    }

    /// A file has the same events as a message with the same bytes, for any piece size and after
    /// any number of skipped events.
    #[test]
    fn a_file_that_is_read_piece_by_piece_has_the_same_lines() {
        let text = b"one\n\ntwo\r\nthree four\nfive";
        let all = lines(&json!("lines"), text);
        for (bytes, events) in [(0, 99), (8, 99), (99, 2), (99, 99)] {
            for passed in 0..=all.len() {
                let decoder = super::super::testkit::decoder(&json!("lines")).unwrap();
                let mut file = decoder.begin_file().unwrap();
                let mut reader = std::io::BufReader::with_capacity(3, &text[..]);
                file.skip_events(&mut reader, passed as u64).unwrap();
                let mut found = Vec::new();
                loop {
                    let mut piece = pipeline::BatchBuilder::default();
                    let limits = pipeline::PieceLimits { bytes, events };
                    let is_more = file.next(&mut reader, limits, &[], &mut piece).unwrap();
                    let piece = piece.finish();
                    assert!(piece.len() <= events);
                    found.extend(piece.iter().map(|event| event.body().to_vec()));
                    if !is_more {
                        break;
                    }
                }
                let expected: Vec<_> = all[passed..].iter().map(|line| line.as_bytes()).collect();
                assert_eq!(found, expected, "{bytes} {events} {passed}");
            }
        }
    }

    #[test]
    fn every_event_has_the_headers_of_the_message() {
        let headers = [("host", "web-1")];
        let message = Message { headers: &headers, ..message(b"a\nb") };
        let batch = decoded(&json!("lines"), &message).unwrap();
        assert_eq!(batch.shared_header("host"), Some("web-1"));
        assert_eq!(batch.len(), 2);
    }
}
