//! Reads and writes the messages of `ThriftSourceProtocol`, for both sides.

use std::collections::BTreeSet;

use pipeline::{BatchBuilder, EventRef};

use super::read::{self, Reader};
use super::write::{self, Writer};
use super::{Fault, Head, Kind, Malformed, Method, Protocol, Status};
use crate::decoders;

/// Reads the beginning of a message.
///
/// # Errors
/// Fails if it is not a message, or incomplete.
pub fn head(protocol: Protocol, bytes: &[u8]) -> Result<Head, Malformed> {
    Reader::new(protocol, bytes).head()
}

/// Adds the events of a call of `method`, in order, from its complete message, until the batch has
/// an excess.
///
/// # Errors
/// Fails if the message is not such a call, or a batch cannot have these events.
pub fn read_events(
    protocol: Protocol,
    method: Method,
    message: &[u8],
    batch: &mut BatchBuilder,
) -> Result<(), Malformed> {
    let mut reader = Reader::new(protocol, message);
    reader.head()?;
    let (field, kind) = match method {
        Method::Append => ("event", read::Type::Struct),
        Method::AppendBatch => ("events", read::Type::List),
    };
    let mut events = Reading { batch, names: BTreeSet::new(), headers: Vec::new() };
    let (mut last, mut is_there) = (0, false);
    while let Some(found) = reader.field(&mut last)? {
        if found.id != 1 {
            reader.skip(found.kind)?;
            continue;
        }
        if found.kind != kind || is_there {
            return Err(Malformed::Field { field });
        }
        is_there = true;
        let count = match method {
            Method::Append => 1,
            Method::AppendBatch => match reader.list()? {
                (read::Type::Struct, count) | (_, count @ 0) => count,
                _ => return Err(Malformed::Field { field }),
            },
        };
        for _ in 0..count {
            events.event(&mut reader)?;
            if events.batch.excess().is_some() {
                return Ok(());
            }
        }
    }
    reader.end()?;
    if !is_there {
        return Err(Malformed::Field { field });
    }
    Ok(())
}

/// State of reading events.
struct Reading<'a, 'b> {
    batch: &'b mut BatchBuilder,
    names: BTreeSet<&'a str>,
    /// Headers of one event.
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Reading<'a, '_> {
    fn event(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let (mut last, mut has_headers, mut body) = (0, false, None);
        while let Some(field) = reader.field(&mut last)? {
            match (field.id, field.kind) {
                (1, read::Type::Map) if !has_headers => {
                    self.read_headers(reader)?;
                    has_headers = true;
                }
                (1, _) => return Err(Malformed::Field { field: "headers" }),
                (2, read::Type::Binary) if body.is_none() => body = Some(reader.bytes()?),
                (2, _) => return Err(Malformed::Field { field: "body" }),
                (_, kind) => reader.skip(kind)?,
            }
        }
        if !has_headers {
            return Err(Malformed::Field { field: "headers" });
        }
        let body = body.ok_or(Malformed::Field { field: "body" })?;
        self.batch.push(body, &self.headers);
        Ok(())
    }

    fn read_headers(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        self.headers.clear();
        let count = match reader.map()? {
            None => 0,
            Some((read::Type::Binary, read::Type::Binary, count)) => count,
            Some(_) => return Err(Malformed::Field { field: "headers" }),
        };
        let unfit = |error: pipeline::MalformedMessage| Malformed::Headers(error.problem);
        if count > decoders::HEADER_NAMES_MAX {
            return Err(unfit(decoders::too_many_names()));
        }
        for _ in 0..count {
            let (name, value) = (reader.text()?, reader.text()?);
            if self.names.insert(name) {
                decoders::check_name(name).map_err(unfit)?;
                if self.names.len() > decoders::HEADER_NAMES_MAX {
                    return Err(unfit(decoders::too_many_names()));
                }
            }
            self.headers.push((name, value));
        }
        Ok(())
    }
}

/// Returns a message in its frame.
fn frame(protocol: Protocol, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new(protocol);
    writer.out.extend([0; 4]);
    write(&mut writer);
    let mut frame = writer.out;
    let bytes = u32::try_from(frame.len() - 4).expect("what is written is within `frame_max`");
    frame[..4].copy_from_slice(&bytes.to_be_bytes());
    frame
}

/// Returns the reply to a call with the status of its events.
pub fn status(protocol: Protocol, call: &Head, status: Status) -> Vec<u8> {
    frame(protocol, |writer| {
        writer.head(&call.name, Kind::Reply, call.sequence);
        writer.field(write::Type::I32, 0, 0);
        writer.i32(status.number());
        writer.stop();
    })
}

/// Returns an error reply to a call.
pub fn exception(protocol: Protocol, call: &Head, fault: Fault, text: &str) -> Vec<u8> {
    frame(protocol, |writer| {
        writer.head(&call.name, Kind::Exception, call.sequence);
        writer.field(write::Type::Binary, 1, 1);
        writer.bytes(text.as_bytes());
        writer.field(write::Type::I32, 2, 1);
        writer.i32(fault as i32);
        writer.stop();
    })
}

/// Builder of a call of `appendBatch`.
#[derive(Debug)]
pub struct Events {
    protocol: Protocol,
    encoded: Writer,
    count: usize,
}

impl Events {
    /// Maximum size of a call without its events.
    pub const CALL_BYTES: usize = 64;

    /// Creates an empty call.
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, encoded: Writer::new(protocol), count: 0 }
    }

    /// Returns the number of events.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns true if there are no events.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds an event, if the total then has at most `bytes` bytes; returns whether it did.
    #[must_use]
    pub fn push(&mut self, event: &EventRef<'_>, bytes: usize) -> bool {
        let before = self.encoded.out.len();
        // A number takes at most 5 bytes; the rest of an event takes less than 32.
        let headers = event.headers().map(|(name, value)| 10 + name.len() + value.len());
        let most = event.body().len() + headers.sum::<usize>() + 32;
        if before + most > bytes {
            return false;
        }
        self.encoded.field(write::Type::Map, 1, 1);
        self.encoded.texts(event.headers().count(), event.headers());
        self.encoded.field(write::Type::Binary, 2, 1);
        self.encoded.bytes(event.body());
        self.encoded.stop();
        self.count += 1;
        true
    }

    /// Returns the call in its frame, and removes all events.
    pub fn call(&mut self, sequence: i32) -> Vec<u8> {
        let (events, count) = (std::mem::take(&mut self.encoded.out), self.count);
        self.count = 0;
        frame(self.protocol, |writer| {
            writer.out.reserve_exact(events.len() + Self::CALL_BYTES);
            writer.head(Method::AppendBatch.name(), Kind::Call, sequence);
            writer.field(write::Type::List, 1, 1);
            writer.list(write::Type::Struct, count);
            writer.out.extend_from_slice(&events);
            writer.stop();
        })
    }
}

/// Reply to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Status of the events; an unknown status is kept as its number.
    Status(Result<Status, i32>),
    /// The call failed.
    Exception {
        /// Reason, for people.
        text: String,
        /// Number of the error type.
        number: i32,
    },
}

/// Reads the reply to the call of `appendBatch` with this sequence number, from a complete message.
///
/// # Errors
/// Fails if it is not a reply to that call.
pub fn answer(protocol: Protocol, sequence: i32, message: &[u8]) -> Result<Answer, Malformed> {
    let mut reader = Reader::new(protocol, message);
    let head = reader.head()?;
    if head.sequence != sequence || head.name != Method::AppendBatch.name() {
        return Err(Malformed::OtherCall);
    }
    let is_exception = match head.kind {
        Kind::Reply => false,
        Kind::Exception => true,
        Kind::Call | Kind::Oneway => return Err(Malformed::OtherCall),
    };
    let (mut last, mut success, mut text, mut number) = (0, None, String::new(), 0);
    while let Some(field) = reader.field(&mut last)? {
        match (is_exception, field.id, field.kind) {
            (false, 0, read::Type::I32) => success = Some(reader.i32()?),
            (true, 1, read::Type::Binary) => {
                text = String::from_utf8_lossy(reader.bytes()?).into_owned();
            }
            (true, 2, read::Type::I32) => number = reader.i32()?,
            (_, _, kind) => reader.skip(kind)?,
        }
    }
    reader.end()?;
    if is_exception {
        return Ok(Answer::Exception { text, number });
    }
    let success = success.ok_or(Malformed::Field { field: "success" })?;
    Ok(Answer::Status(Status::of(success).ok_or(success)))
}
