//! Parses and formats frames of AMQP 0.9.1: methods and messages. No network.
//!
//! ```text
//!   frame    type 1 │ channel 2 │ length 4 │ payload │ 0xCE
//!   message  method (deliver, return) ─ header: length of the body, properties ─ body, body, …
//! ```
//!
//! # Invariants
//!
//! 1. A frame over the agreed length ends the connection: its bytes are not waited for.
//! 2. A body over the limit is skipped, and the next message is read normally.
//! 3. Invalid properties affect only their message: their length precedes them.
//! 4. The library decodes a table only after its depth and number of values were checked.

use amq_protocol::frame::parsing::parse_content_header;
use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, ProtocolVersion, WriteContext, gen_frame};
use amq_protocol::protocol::basic::{AMQPMethod as Basic, AMQPProperties, Publish};
use amq_protocol::protocol::{AMQPClass, parse_class};
use bytes::{Buf, BytesMut};

use crate::tables;

/// Overhead of a frame.
const AROUND: usize = 8;

/// Maximum size of a frame's payload in both directions, unless the broker's limit is lower.
pub(crate) const FRAME_BYTES_MAX: usize = 128 << 10;

/// Class of methods with content.
const BASIC: u16 = 60;

/// Bytes before the properties in the header of a message: class, weight, length of the body.
const HEADER_BYTES: usize = 12;

/// Approximate size of a decoded table value, with its name.
const VALUE_BYTES: usize = 96;

/// Overhead of decoded input.
const INCOMING_BYTES: usize = 512;

/// Body of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Whole(Vec<u8>),
    /// It exceeds the limit and was skipped; its size.
    Skipped(u64),
}

/// Decoded input.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    /// A method without content.
    Method(u16, AMQPClass),
    /// A method with a message; invalid properties are a description of the problem.
    Content(Basic, Result<Box<AMQPProperties>, String>, Body),
}

/// A message whose body is incomplete.
struct Partial {
    method: Basic,
    /// `None` until the header has arrived.
    header: Option<Result<Box<AMQPProperties>, String>>,
    body: Body,
    /// Missing bytes of the body.
    missing: u64,
    /// Size of the decoded header.
    header_bytes: usize,
}

/// Incremental parser.
pub(crate) struct Decoder {
    /// Bytes that were read and not consumed yet.
    pub(crate) buffer: BytesMut,
    /// Memory of the last complete input.
    pub(crate) held: usize,
    body_max: u64,
    partial: Option<Partial>,
}

impl Decoder {
    /// Creates a parser that keeps bodies of up to `body_max` bytes.
    pub(crate) fn new(body_max: u64) -> Self {
        Self { buffer: BytesMut::new(), held: 0, body_max, partial: None }
    }

    /// Returns the next complete input. Skips heartbeats.
    ///
    /// # Errors
    /// Describes the violation if the input is not AMQP 0.9.1.
    pub(crate) fn next(&mut self) -> Result<Option<Incoming>, String> {
        loop {
            if self.buffer.starts_with(b"AMQP") {
                return Err("the server speaks another version of AMQP; for AMQP 1.0 use the \
                            components `amqp`"
                    .into());
            }
            let Some(head) = self.buffer.first_chunk::<7>() else { return Ok(None) };
            let (kind, channel) = (head[0], u16::from_be_bytes([head[1], head[2]]));
            let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            if !matches!(kind, 1 | 2 | 3 | 8) {
                return Err("the server does not speak AMQP 0.9.1; check `broker.urls`".into());
            }
            if length > FRAME_BYTES_MAX {
                return Err(format!("the broker sent a frame of {length} bytes, over the limit"));
            }
            if self.buffer.len() < AROUND + length {
                self.buffer.reserve(AROUND + length - self.buffer.len());
                return Ok(None);
            }
            let frame = self.buffer.split_to(AROUND + length);
            if frame[AROUND + length - 1] != 0xCE {
                return Err("the broker sent a frame that does not match its length".into());
            }
            let found = self.frame(kind, channel, &frame[7..7 + length])?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn frame(
        &mut self,
        kind: u8,
        channel: u16,
        payload: &[u8],
    ) -> Result<Option<Incoming>, String> {
        match kind {
            1 => self.method(channel, payload),
            2 => self.header(payload),
            3 => self.body(payload),
            _ => Ok(None),
        }
    }

    fn method(&mut self, channel: u16, payload: &[u8]) -> Result<Option<Incoming>, String> {
        if self.partial.is_some() {
            return Err("the broker sent a method within a message".into());
        }
        if let Some(table) = tables::of_method(payload)? {
            let refused = |error| format!("cannot read the greeting of the broker: {error}");
            tables::check(table).map_err(refused)?;
        }
        self.held = INCOMING_BYTES + payload.len();
        let (_, class) = parse_class(payload)
            .map_err(|error| format!("cannot read a method of the broker: {error}"))?;
        match class {
            AMQPClass::Basic(method @ (Basic::Deliver(_) | Basic::Return(_))) => {
                let body = Body::Whole(Vec::new());
                let partial = Partial { method, header: None, body, missing: 0, header_bytes: 0 };
                self.partial = Some(partial);
                Ok(None)
            }
            class => Ok(Some(Incoming::Method(channel, class))),
        }
    }

    fn header(&mut self, payload: &[u8]) -> Result<Option<Incoming>, String> {
        let Some(partial) = self.partial.as_mut().filter(|it| it.header.is_none()) else {
            return Err("the broker sent the header of a message without its method".into());
        };
        let mut fixed = payload;
        if fixed.len() < HEADER_BYTES {
            return Err("the broker sent an incomplete header of a message".into());
        }
        let (_class, _weight, length) = (fixed.get_u16(), fixed.get_u16(), fixed.get_u64());
        partial.missing = length;
        if length > self.body_max {
            partial.body = Body::Skipped(length);
        }
        let values = tables::of_properties(fixed).map_or(Ok(0), tables::check);
        let properties = match &values {
            Ok(_) => parse_content_header(payload).map_err(|error| error.to_string()),
            Err(refused) => Err(refused.to_string()),
        };
        partial.header_bytes = payload.len() + VALUE_BYTES * values.unwrap_or_default();
        partial.header = Some(match properties {
            Ok((_, header)) => Ok(Box::new(header.properties)),
            Err(problem) => Err(format!("cannot read its properties: {problem}")),
        });
        Ok(self.complete())
    }

    fn body(&mut self, payload: &[u8]) -> Result<Option<Incoming>, String> {
        let Some(partial) = self.partial.as_mut().filter(|it| it.header.is_some()) else {
            return Err("the broker sent the body of a message without its header".into());
        };
        let left = partial.missing.checked_sub(payload.len() as u64);
        partial.missing = left
            .ok_or("the broker sent a body of a message that is longer than its header states")?;
        if let Body::Whole(bytes) = &mut partial.body {
            bytes.extend_from_slice(payload);
        }
        Ok(self.complete())
    }

    fn complete(&mut self) -> Option<Incoming> {
        let whole = self.partial.take_if(|it| it.missing == 0)?;
        let Partial { method, header, body, header_bytes, .. } = whole;
        let body_bytes = if let Body::Whole(bytes) = &body { bytes.len() } else { 0 };
        self.held = INCOMING_BYTES + header_bytes + body_bytes;
        Some(Incoming::Content(method, header?, body))
    }
}

/// Returns the first bytes of a connection.
pub(crate) fn protocol_header() -> Vec<u8> {
    written(&AMQPFrame::ProtocolHeader(ProtocolVersion::amqp_0_9_1()))
}

/// Returns a heartbeat frame.
pub(crate) fn heartbeat() -> Vec<u8> {
    written(&AMQPFrame::Heartbeat)
}

/// Returns the frame of a method.
pub(crate) fn method(channel: u16, class: AMQPClass) -> Vec<u8> {
    written(&AMQPFrame::Method(channel, class))
}

/// Returns the frames of a message; `None` if its properties exceed a frame of `frame_max` bytes.
pub(crate) fn message(
    channel: u16,
    frame_max: usize,
    publish: Publish,
    properties: AMQPProperties,
    body: &[u8],
) -> Option<Vec<u8>> {
    let mut all = method(channel, AMQPClass::Basic(Basic::Publish(publish)));
    let header = AMQPContentHeader { class_id: BASIC, body_size: body.len() as u64, properties };
    let header = written(&AMQPFrame::Header(channel, header));
    if header.len() > frame_max {
        return None;
    }
    all.reserve(header.len() + body.len() + AROUND * (1 + body.len() / (frame_max - AROUND)));
    all.extend(header);
    for part in body.chunks(frame_max - AROUND) {
        all.extend(written(&AMQPFrame::Body(channel, part.to_vec())));
    }
    Some(all)
}

fn written(frame: &AMQPFrame) -> Vec<u8> {
    let context = gen_frame(frame)(WriteContext::from(Vec::new()));
    context.expect("memory takes every frame").into_inner().0
}

#[cfg(test)]
mod tests;
