//! Messages of the forward protocol. Pure.
//!
//! ```text
//!   [tag, time, record, option?]            one event
//!   [tag, [[time, record], …], option?]     several
//!   [tag, bytes, option?]                   bytes: [time, record][time, record]…, perhaps
//!                                           compressed: option {"compressed": "gzip"}
//!   nil                                     a keepalive
//!   option {"chunk": id}                    requests the reply {"ack": id}
//! ```
//!
//! Source: *Fluentd Forward Protocol Specification v1.5*.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use pipeline::BatchBuilder;

use super::json;
use super::pack::{Problem, Reader, Token, unsigned};
use crate::record::{Mapping, Record};

/// A message without its events.
#[derive(Debug)]
pub(super) struct Message {
    /// Number of additional events because of bodies that were divided.
    pub(super) divided: usize,
    /// Identity that the reply must contain.
    pub(super) chunk: Option<Chunk>,
}

/// Identity of a message, with which its sender matches the reply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Chunk(pub(super) Vec<u8>);

impl Chunk {
    /// Returns the reply: every event of the message is stored.
    pub(super) fn acknowledgement(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut write = || {
            rmp::encode::write_map_len(&mut out, 1)?;
            rmp::encode::write_str(&mut out, "ack")?;
            match std::str::from_utf8(&self.0) {
                Ok(text) => rmp::encode::write_str(&mut out, text),
                Err(_) => rmp::encode::write_bin(&mut out, &self.0),
            }
        };
        write().expect("memory takes every byte");
        out
    }
}

/// Rules for converting messages to events.
pub(super) struct Rules<'a> {
    pub(super) mapping: &'a Mapping,
    /// Maximum size of a message after decompression.
    pub(super) message_max: usize,
    /// Maximum size of an event's body.
    pub(super) body_max: usize,
}

/// Options of a message.
#[derive(Debug, Default)]
struct Options<'a> {
    chunk: Option<Chunk>,
    compressed: Option<&'a [u8]>,
    /// Signal type in Fluent Bit: 0 means logs; metrics and traces are not events.
    signal: u64,
}

/// Parts of a message, before its entries are decoded.
struct Parts<'a> {
    tag: &'a str,
    /// First token of the content, and the same token again.
    carried: Token<'a>,
    entries: Reader<'a>,
    options: Options<'a>,
}

/// Splits a message into its parts. `None`: it is a keepalive.
fn parts(bytes: &[u8]) -> Result<Option<Parts<'_>>, Problem> {
    let mut reader = Reader::new(bytes);
    let parts = match reader.next()? {
        Token::Nil => return Ok(None),
        Token::Array(parts @ 2..=4) => parts,
        other => {
            return Err(format!("a message must be an array of 2 to 4 values, not {other:?}"));
        }
    };
    let Token::Text(tag) = reader.next()? else {
        return Err("the first value of a message must be its tag (a string)".into());
    };
    let tag = std::str::from_utf8(tag).map_err(|_| "the tag is not UTF-8")?;
    let entries = reader;
    let carried = reader.next()?;
    let values = match carried {
        Token::Array(_) | Token::Text(_) | Token::Bytes(_) => 2,
        _ => 3,
    };
    if parts < values {
        return Err("the message has a tag but no record".into());
    }
    reader = entries;
    (1..values).try_for_each(|_| reader.skip())?;
    let options = if parts > values { options(&mut reader)? } else { Options::default() };
    Ok(Some(Parts { tag, carried, entries, options }))
}

/// Returns true if the entries of a message are compressed, if the message is readable.
pub(super) fn is_compressed(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let is_packed = (0..3).map(|_| reader.next()).last();
    // Other messages are not parsed twice.
    matches!(is_packed, Some(Ok(Token::Text(_) | Token::Bytes(_))))
        && matches!(parts(bytes), Ok(Some(parts)) if parts.options.compressed.is_some())
}

/// Reads a complete message, until the batch has an excess. `None`: it is a keepalive.
///
/// # Errors
/// Returns a description of the problem if it is not a message.
pub(super) fn message(
    bytes: &[u8],
    rules: &Rules<'_>,
    events: &mut BatchBuilder,
) -> Result<Option<Message>, Problem> {
    let Some(Parts { tag, carried, mut entries, options }) = parts(bytes)? else { return Ok(None) };
    if options.signal != 0 {
        return Err(
            "the message contains metrics or traces, but only logs are supported; send them to a \
             source of type `otlp`"
                .into(),
        );
    }
    let mut out = Out { tag, rules, events, divided: 0 };
    match carried {
        Token::Array(count) => {
            entries.next()?;
            (0..count).try_for_each(|_| out.entry(&mut entries))?;
        }
        Token::Text(packed) | Token::Bytes(packed) => match options.compressed {
            None | Some(b"text") => out.packed(packed)?,
            Some(b"gzip") => out.packed(&gunzip(packed, rules.message_max)?)?,
            Some(other) => {
                let other = other.escape_ascii();
                return Err(format!(
                    "the compression `{other}` is not supported; known: gzip, text"
                ));
            }
        },
        _ => out.event(&mut entries)?,
    }
    Ok(Some(Message { divided: out.divided, chunk: options.chunk }))
}

fn options<'a>(reader: &mut Reader<'a>) -> Result<Options<'a>, Problem> {
    let mut options = Options::default();
    let pairs = match reader.next()? {
        Token::Map(pairs) => pairs,
        Token::Nil => return Ok(options),
        other => return Err(format!("the options of a message must be a map, not {other:?}")),
    };
    for _ in 0..pairs {
        let Token::Text(name) = reader.next()? else {
            return Err("the name of an option must be a string".into());
        };
        let mut value = *reader;
        reader.skip()?;
        match (name, value.next()?) {
            (b"chunk", Token::Text(id) | Token::Bytes(id)) => {
                options.chunk = Some(Chunk(id.to_vec()));
            }
            (b"compressed", Token::Text(how) | Token::Bytes(how)) => options.compressed = Some(how),
            (b"fluent_signal", Token::Uint(signal)) => options.signal = signal,
            _ => {}
        }
    }
    Ok(options)
}

fn gunzip(packed: &[u8], max: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut limited = MultiGzDecoder::new(packed).take(max as u64 + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(|error| format!("the entries are not gzip: {error}"))?;
    if bytes.len() > max {
        return Err(format!(
            "the entries have over {max} bytes after decompression (`message_max`); raise it, or \
             let the client send smaller messages"
        ));
    }
    Ok(bytes)
}

struct Out<'a> {
    tag: &'a str,
    rules: &'a Rules<'a>,
    events: &'a mut BatchBuilder,
    divided: usize,
}

impl Out<'_> {
    fn packed(&mut self, packed: &[u8]) -> Result<(), Problem> {
        let mut entries = Reader::new(packed);
        while !entries.is_at_end() {
            self.entry(&mut entries)?;
        }
        Ok(())
    }

    /// Reads `[time, record]`.
    fn entry(&mut self, entries: &mut Reader<'_>) -> Result<(), Problem> {
        match entries.next()? {
            Token::Array(2) => self.event(entries),
            other => Err(format!("an entry must be an array of time and record, not {other:?}")),
        }
    }

    /// Reads a time and the record after it.
    fn event(&mut self, reader: &mut Reader<'_>) -> Result<(), Problem> {
        let millis = match reader.next()? {
            // Fluent Bit sends the time with metadata.
            Token::Array(2) => {
                let millis = millis(reader.next()?);
                reader.skip()?;
                millis
            }
            // A nested value is not a time; skip it.
            Token::Array(_) | Token::Map(_) => return Err("the time of an event is invalid".into()),
            time => millis(time),
        };
        let record = Record { millis, ..json::record(reader, self.events)? };
        let Rules { mapping, body_max, .. } = self.rules;
        let tag = [("fluent.tag", self.tag)];
        self.divided += mapping.push(&record, &tag, *body_max, self.events);
        match self.events.excess() {
            Some(excess) => Err(excess.to_string()),
            None => Ok(()),
        }
    }
}

/// Converts a time: seconds, or `EventTime`, which has nanoseconds.
fn millis(time: Token<'_>) -> Option<i64> {
    match time {
        Token::Uint(seconds) => i64::try_from(seconds).ok()?.checked_mul(1000),
        Token::Int(seconds) => seconds.checked_mul(1000),
        Token::Float(seconds) if seconds.is_finite() => Some((seconds * 1000.0) as i64),
        Token::Extension(0, bytes) if bytes.len() == 8 => {
            let (seconds, nanos) = bytes.split_at(4);
            Some((unsigned(seconds) * 1000 + unsigned(nanos) / 1_000_000) as i64)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
