//! Frames of the Lumberjack protocol, versions 1 and 2. Pure.
//!
//! ```text
//!   version  '1' or '2'
//!   'W'  count: u32                                  number of events with one acknowledgement
//!   'J'  number: u32   length: u32   JSON            an event (version 2)
//!   'D'  number: u32   pairs: u32    (length: u32 bytes, length: u32 bytes)…   an event
//!   'C'  length: u32   zlib                          frames of events, compressed
//!   'A'  number: u32                                 reply: all events up to it are stored
//! ```
//!
//! Numbers are big endian. Sources: `PROTOCOL.md` of logstash-forwarder for version 1, and
//! Elastic's client `go-lumber` for version 2.

use std::io::Read;

use flate2::read::ZlibDecoder;

use crate::record::FIELDS_MAX;

/// A frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Frame<'a> {
    /// The number of events that follow.
    Window(u32),
    /// An event as JSON.
    Json { number: u32, json: &'a [u8] },
    /// An event as names and values.
    Pairs { number: u32, pairs: Vec<(&'a [u8], &'a [u8])> },
    /// Compressed frames.
    Compressed(&'a [u8]),
}

/// Result of parsing the available bytes.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed<'a> {
    /// A frame, its version and its length.
    Whole(Frame<'a>, u8, usize),
    /// The frame is incomplete; its minimum length.
    Needs(usize),
}

/// Finds the end of a frame incrementally. It resumes at the last position, so the time is
/// proportional to the frame's length.
#[derive(Debug, Default)]
pub(super) struct Extent {
    /// Number of bytes known to belong to the frame; may exceed the available bytes.
    at: usize,
    /// Number of texts that follow, each after its length.
    texts: u64,
}

/// Length of a frame.
#[derive(Debug, PartialEq)]
pub(super) enum Length {
    /// The frame is complete and has this length.
    Whole(usize),
    /// The frame has at least this length.
    AtLeast(usize),
}

impl Extent {
    /// Continues with all bytes of the frame that have arrived.
    ///
    /// # Errors
    /// Returns a description of the problem if the bytes do not begin a frame.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Result<Length, String> {
        let mut reader = Reader { bytes, at: self.at };
        match self.read(&mut reader) {
            Ok(()) if self.at <= bytes.len() => Ok(Length::Whole(self.at)),
            Ok(()) | Err(Stop::Needs(_)) => {
                let lengths = usize::try_from(self.texts).unwrap_or(usize::MAX).saturating_mul(4);
                // An incomplete header needs at least one more byte.
                let least = self.at.saturating_add(lengths).max(bytes.len() + 1);
                Ok(Length::AtLeast(least))
            }
            Err(Stop::Malformed(problem)) => Err(problem),
        }
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Stop> {
        if self.at == 0 {
            version(reader)?;
            self.texts = match reader.take(1)?[0] {
                b'W' => {
                    reader.number()?;
                    0
                }
                b'J' => {
                    reader.number()?;
                    1
                }
                b'C' => 1,
                b'D' => {
                    reader.number()?;
                    2 * u64::from(reader.number()?)
                }
                other => return Err(unknown(other)),
            };
            self.at = reader.at;
        }
        while self.texts > 0 {
            let length = reader.number()?;
            reader.at = reader.at.saturating_add(length as usize);
            (self.at, self.texts) = (reader.at, self.texts - 1);
        }
        Ok(())
    }
}

/// Parses a frame.
///
/// # Errors
/// Returns a description of the problem if the bytes do not begin a frame.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, String> {
    let mut reader = Reader { bytes, at: 0 };
    match frame(&mut reader) {
        Ok((frame, version)) => Ok(Parsed::Whole(frame, version, reader.at)),
        Err(Stop::Needs(bytes)) => Ok(Parsed::Needs(bytes)),
        Err(Stop::Malformed(problem)) => Err(problem),
    }
}

/// Returns the acknowledgement of all events up to this number. 0 is a keepalive.
pub(super) fn acknowledgement(version: u8, number: u32) -> [u8; 6] {
    let [a, b, c, d] = number.to_be_bytes();
    [version, b'A', a, b, c, d]
}

/// Decompresses a compressed frame.
///
/// # Errors
/// Fails if it is in another format, or has more than `max` bytes.
pub(super) fn inflate(compressed: &[u8], max: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut limited = ZlibDecoder::new(compressed).take(max as u64 + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(|error| format!("a compressed frame is not zlib: {error}"))?;
    if bytes.len() > max {
        return Err(format!(
            "a compressed frame contains over {max} bytes (`message_max`); raise it, or let the \
             client send smaller messages"
        ));
    }
    Ok(bytes)
}

enum Stop {
    Needs(usize),
    Malformed(String),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let end = self.at.saturating_add(length);
        let taken = self.bytes.get(self.at..end).ok_or(Stop::Needs(end))?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, Stop> {
        let digits = self.take(4)?;
        Ok(digits.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn text(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.number()?;
        self.take(length as usize)
    }
}

/// Reads the version of the protocol.
fn version(reader: &mut Reader<'_>) -> Result<u8, Stop> {
    let version = reader.take(1)?[0];
    if !matches!(version, b'1' | b'2') {
        let hint = match version {
            0x16 => {
                "; it looks like TLS: set the table `tls` of this source, or disable TLS at the \
                 client"
            }
            b'{' => "; it looks like JSON: use the Logstash output of the Beats",
            b'G' | b'P' => "; it looks like HTTP: send HTTP requests to a source of type `http`",
            _ => "",
        };
        let shown = version.escape_ascii();
        return Err(Stop::Malformed(format!(
            "a frame with the version `{shown}` is not supported; known: 1, 2{hint}"
        )));
    }
    Ok(version)
}

fn unknown(kind: u8) -> Stop {
    Stop::Malformed(format!(
        "a frame of the type `{}` is not supported; known: W, J, D, C",
        kind.escape_ascii()
    ))
}

fn frame<'a>(reader: &mut Reader<'a>) -> Result<(Frame<'a>, u8), Stop> {
    let version = version(reader)?;
    let frame = match reader.take(1)?[0] {
        b'W' => Frame::Window(reader.number()?),
        b'J' => Frame::Json { number: reader.number()?, json: reader.text()? },
        b'C' => Frame::Compressed(reader.text()?),
        b'D' => {
            let (number, count) = (reader.number()?, reader.number()?);
            if count as usize > FIELDS_MAX {
                let problem =
                    format!("an event has {count} fields, but may have at most {FIELDS_MAX}");
                return Err(Stop::Malformed(problem));
            }
            // Each pair has at least 8 bytes, so the number of pairs is bounded by the input.
            let mut pairs = Vec::new();
            for _ in 0..count {
                pairs.push((reader.text()?, reader.text()?));
            }
            Frame::Pairs { number, pairs }
        }
        other => return Err(unknown(other)),
    };
    Ok((frame, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<(Vec<u8>, Frame<'static>)> {
        vec![
            (b"2W\0\0\x01\0".to_vec(), Frame::Window(256)),
            (b"2J\0\0\0\x07\0\0\0\x02{}".to_vec(), Frame::Json { number: 7, json: b"{}" }),
            (
                b"1D\0\0\0\x01\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc\0\0\0\0\0\0\0\x01d".to_vec(),
                Frame::Pairs { number: 1, pairs: vec![(b"a", b"bc"), (b"", b"d")] },
            ),
            (b"2C\0\0\0\x03xyz".to_vec(), Frame::Compressed(b"xyz")),
        ]
    }

    #[test]
    fn a_frame_is_read_once_it_is_whole_and_says_before_what_it_needs() {
        for (bytes, frame) in frames() {
            let more = [&bytes[..], b"2"].concat();
            assert_eq!(parse(&more), Ok(Parsed::Whole(frame, bytes[0], bytes.len())));
            for cut in 0..bytes.len() {
                let Ok(Parsed::Needs(needs)) = parse(&bytes[..cut]) else { panic!("{cut}") };
                assert!(needs > cut && needs <= bytes.len(), "{cut}: {needs}");
            }
        }
    }

    #[test]
    fn the_end_of_a_frame_is_found_without_reading_a_byte_twice() {
        for (mut bytes, _) in frames() {
            let (mut extent, length) = (Extent::default(), bytes.len());
            for cut in 0..length {
                let found = extent.find(&bytes[..cut]).unwrap();
                let Length::AtLeast(least) = found else { panic!("{cut}: {found:?}") };
                assert!(least > cut && least <= length, "{cut}: {least}");
                // Bytes that were parsed are not read again: they are overwritten with an invalid
                // frame.
                let read = extent.at.min(cut);
                bytes[..read].fill(0xff);
            }
            bytes.extend_from_slice(b"2W");
            assert_eq!(extent.find(&bytes), Ok(Length::Whole(length)));
        }
    }

    #[test]
    fn announced_pairs_and_lengths_count_before_they_have_come() {
        let many = b"2D\0\0\0\x01\xff\xff\xff\xff";
        let least = 10 + 8 * (u32::MAX as usize);
        assert_eq!(Extent::default().find(many), Ok(Length::AtLeast(least)));
        let long = b"2C\xff\xff\xff\xff";
        let least = 6 + u32::MAX as usize;
        assert_eq!(Extent::default().find(long), Ok(Length::AtLeast(least)));
    }

    #[test]
    fn an_invalid_frame_is_reported_with_its_likely_protocol() {
        for (bytes, expected) in
            [(&b"\x16\x03"[..], "TLS"), (b"GET /", "HTTP"), (b"2X", "type `X`"), (b"3W", "`3`")]
        {
            let error = parse(bytes).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert_eq!(Extent::default().find(bytes), Err(error));
        }
        assert!(inflate(b"none", 10).unwrap_err().contains("not zlib"));
    }

    #[test]
    fn an_answer_has_the_version_of_what_it_answers() {
        assert_eq!(&acknowledgement(b'1', 258), b"1A\0\0\x01\x02");
    }
}
