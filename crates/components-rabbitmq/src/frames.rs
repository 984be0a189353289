//! Frames of AMQP 0.9.1: bytes ↔ methods and messages, without a network.
//!
//! ```text
//!   frame    type 1 │ channel 2 │ length 4 │ payload │ 0xCE
//!   message  method (deliver, return) ─ header: length of the body, properties ─ body, body, …
//! ```
//!
//! # Invariants
//!
//! 1. A frame over the agreed length ends the connection: its bytes are not waited for.
//! 2. Of a body over the limit no byte is kept, and the message behind it is read all the same.
//! 3. Properties that cannot be read concern their message alone: its length stands before them.

use amq_protocol::frame::parsing::parse_content_header;
use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, ProtocolVersion, WriteContext, gen_frame};
use amq_protocol::protocol::basic::{AMQPMethod as Basic, AMQPProperties, Publish};
use amq_protocol::protocol::{AMQPClass, parse_class};
use bytes::{Buf, BytesMut};

/// Bytes around the payload of a frame.
const AROUND: usize = 8;

/// Bytes of a frame's payload at most, in both directions, unless the broker takes less.
pub(crate) const FRAME_BYTES_MAX: usize = 128 << 10;

/// Class of methods that have content.
const BASIC: u16 = 60;

/// Bytes before the properties in the header of a message: class, weight, length of the body.
const HEADER_BYTES: usize = 12;

/// The body of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Whole(Vec<u8>),
    /// It has so many bytes, which are over the limit and were not kept.
    Skipped(u64),
}

/// What came.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    /// A method without content.
    Method(u16, AMQPClass),
    /// A method with a message; properties that cannot be read are said.
    Content(Basic, Result<Box<AMQPProperties>, String>, Body),
}

/// A message whose body is not complete.
struct Partial {
    method: Basic,
    /// Once the header is there.
    header: Option<Result<Box<AMQPProperties>, String>>,
    body: Body,
    /// Bytes of the body that are still to come.
    missing: u64,
}

/// Takes frames out of bytes.
pub(crate) struct Decoder {
    /// What was read and is not taken out yet.
    pub(crate) buffer: BytesMut,
    body_max: u64,
    partial: Option<Partial>,
}

impl Decoder {
    /// Keeps bodies up to `body_max` bytes.
    pub(crate) fn new(body_max: u64) -> Self {
        Self { buffer: BytesMut::new(), body_max, partial: None }
    }

    /// The next that is complete. Heartbeats are passed over.
    ///
    /// # Errors
    /// The other side does not speak AMQP 0.9.1; what it does.
    pub(crate) fn next(&mut self) -> Result<Option<Incoming>, String> {
        loop {
            if self.buffer.starts_with(b"AMQP") {
                return Err("it speaks another version of AMQP; for AMQP 1.0 there are the \
                            components `amqp`"
                    .into());
            }
            let Some(head) = self.buffer.first_chunk::<7>() else { return Ok(None) };
            let (kind, channel) = (head[0], u16::from_be_bytes([head[1], head[2]]));
            let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            if !matches!(kind, 1 | 2 | 3 | 8) {
                return Err("it does not speak AMQP 0.9.1".into());
            }
            if length > FRAME_BYTES_MAX {
                return Err(format!("a frame of {length} bytes is over the agreed length"));
            }
            if self.buffer.len() < AROUND + length {
                self.buffer.reserve(AROUND + length - self.buffer.len());
                return Ok(None);
            }
            let frame = self.buffer.split_to(AROUND + length);
            if frame[AROUND + length - 1] != 0xCE {
                return Err("a frame does not end where it says".into());
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
            return Err("a method comes within a message".into());
        }
        let (_, class) =
            parse_class(payload).map_err(|error| format!("a method cannot be read: {error}"))?;
        match class {
            AMQPClass::Basic(method @ (Basic::Deliver(_) | Basic::Return(_))) => {
                let body = Body::Whole(Vec::new());
                self.partial = Some(Partial { method, header: None, body, missing: 0 });
                Ok(None)
            }
            class => Ok(Some(Incoming::Method(channel, class))),
        }
    }

    fn header(&mut self, payload: &[u8]) -> Result<Option<Incoming>, String> {
        let Some(partial) = self.partial.as_mut().filter(|it| it.header.is_none()) else {
            return Err("the header of a message comes without its method".into());
        };
        let mut fixed = payload;
        if fixed.len() < HEADER_BYTES {
            return Err("the header of a message is cut off".into());
        }
        let (_class, _weight, length) = (fixed.get_u16(), fixed.get_u16(), fixed.get_u64());
        partial.missing = length;
        if length > self.body_max {
            partial.body = Body::Skipped(length);
        }
        partial.header = Some(match parse_content_header(payload) {
            Ok((_, header)) => Ok(Box::new(header.properties)),
            Err(error) => Err(format!("its properties cannot be read: {error}")),
        });
        Ok(self.complete())
    }

    fn body(&mut self, payload: &[u8]) -> Result<Option<Incoming>, String> {
        let Some(partial) = self.partial.as_mut().filter(|it| it.header.is_some()) else {
            return Err("the body of a message comes without its header".into());
        };
        let left = partial.missing.checked_sub(payload.len() as u64);
        partial.missing = left.ok_or("the body of a message is longer than its header says")?;
        if let Body::Whole(bytes) = &mut partial.body {
            bytes.extend_from_slice(payload);
        }
        Ok(self.complete())
    }

    fn complete(&mut self) -> Option<Incoming> {
        let Partial { method, header, body, .. } = self.partial.take_if(|it| it.missing == 0)?;
        Some(Incoming::Content(method, header?, body))
    }
}

/// The first bytes of a connection.
pub(crate) fn protocol_header() -> Vec<u8> {
    written(&AMQPFrame::ProtocolHeader(ProtocolVersion::amqp_0_9_1()))
}

/// The frame that says that this side is there.
pub(crate) fn heartbeat() -> Vec<u8> {
    written(&AMQPFrame::Heartbeat)
}

/// The frame of a method.
pub(crate) fn method(channel: u16, class: AMQPClass) -> Vec<u8> {
    written(&AMQPFrame::Method(channel, class))
}

/// The frames of a message; `None` if its properties do not fit into one of `frame_max` bytes.
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
mod tests {
    use amq_protocol::protocol::basic::Deliver;

    use super::*;

    /// A delivery, as a broker sends it.
    fn delivery(tag: u64, properties: AMQPProperties, body: &[u8]) -> Vec<u8> {
        let deliver = Deliver {
            consumer_tag: "c".into(),
            delivery_tag: tag,
            redelivered: false,
            exchange: "e".into(),
            routing_key: "k".into(),
        };
        let publish = Publish {
            exchange: "e".into(),
            routing_key: "k".into(),
            mandatory: false,
            immediate: false,
        };
        let sent = message(1, 4096, publish.clone(), properties, body).unwrap();
        let own = method(1, AMQPClass::Basic(Basic::Publish(publish)));
        let mut all = method(1, AMQPClass::Basic(Basic::Deliver(deliver)));
        all.extend(&sent[own.len()..]);
        all
    }

    fn tag_of(incoming: &Incoming) -> u64 {
        let Incoming::Content(Basic::Deliver(deliver), ..) = incoming else {
            panic!("{incoming:?}")
        };
        deliver.delivery_tag
    }

    #[test]
    fn a_message_is_whole_however_its_bytes_come() {
        let body: Vec<u8> = (0..10_000u32).flat_map(u32::to_be_bytes).collect();
        let named = AMQPProperties::default().with_message_id("id".into());
        let mut bytes = heartbeat();
        bytes.extend(delivery(1, named.clone(), &body));
        bytes.extend(delivery(2, AMQPProperties::default(), b""));
        for step in [1, 7, 1000, bytes.len()] {
            let mut decoder = Decoder::new(1 << 20);
            let mut found = Vec::new();
            for part in bytes.chunks(step) {
                decoder.buffer.extend_from_slice(part);
                while let Some(incoming) = decoder.next().unwrap() {
                    found.push(incoming);
                }
            }
            assert_eq!(found.iter().map(tag_of).collect::<Vec<_>>(), [1, 2]);
            let Incoming::Content(_, Ok(properties), whole) = &found[0] else { panic!() };
            assert_eq!((&**properties, whole), (&named, &Body::Whole(body.clone())));
        }
    }

    #[test]
    fn a_body_over_the_limit_is_not_kept_and_the_next_message_comes() {
        let mut decoder = Decoder::new(9_999);
        let large = delivery(1, AMQPProperties::default(), &[0; 10_000]);
        decoder.buffer.extend_from_slice(&large);
        decoder.buffer.extend_from_slice(&delivery(2, AMQPProperties::default(), b"b"));
        let first = decoder.next().unwrap().unwrap();
        assert!(matches!(first, Incoming::Content(_, Ok(_), Body::Skipped(10_000))), "{first:?}");
        assert_eq!(tag_of(&decoder.next().unwrap().unwrap()), 2);
    }

    #[test]
    fn properties_that_cannot_be_read_concern_their_message_alone() {
        let named = AMQPProperties::default().with_message_id("abcdef".into());
        let mut bytes = delivery(1, named, b"body");
        let at = bytes.windows(6).position(|it| it == b"abcdef").unwrap();
        bytes[at] = 0xff;
        let mut decoder = Decoder::new(100);
        decoder.buffer.extend_from_slice(&bytes);
        decoder.buffer.extend_from_slice(&delivery(2, AMQPProperties::default(), b""));
        let first = decoder.next().unwrap().unwrap();
        let Incoming::Content(_, Err(problem), Body::Whole(body)) = &first else {
            panic!("{first:?}")
        };
        assert!(problem.contains("cannot be read") && body == b"body", "{problem}");
        assert_eq!(tag_of(&decoder.next().unwrap().unwrap()), 2);
    }

    #[test]
    fn what_is_no_amqp_0_9_1_is_refused_at_once() {
        for (bytes, cause) in [
            (b"AMQP\0\x01\0\0".as_slice(), "AMQP 1.0"),
            (b"HTTP/1.1 400", "does not speak"),
            (b"\x01\0\x01\xff\xff\xff\xff", "over the agreed length"),
            (b"\x08\0\0\0\0\0\0\0", "does not end"),
            (b"\x03\0\x01\0\0\0\x01a\xce", "without its header"),
            (b"\x02\0\x01\0\0\0\x01a\xce", "without its method"),
        ] {
            let mut decoder = Decoder::new(100);
            decoder.buffer.extend_from_slice(bytes);
            let error = decoder.next().unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
    }

    #[test]
    fn properties_that_do_not_fit_into_a_frame_are_not_sent() {
        let publish = Publish {
            exchange: "".into(),
            routing_key: "k".into(),
            mandatory: true,
            immediate: false,
        };
        let mut table = amq_protocol::types::FieldTable::default();
        let value = amq_protocol::types::AMQPValue::LongString(vec![b'a'; 5000].into());
        table.insert("h".into(), value);
        let properties = AMQPProperties::default().with_headers(table);
        assert_eq!(message(1, 4096, publish.clone(), properties.clone(), b""), None);
        assert!(message(1, 8192, publish, properties, b"").is_some());
    }
}
