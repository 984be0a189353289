//! Parses and formats NATS operations. Pure.
//!
//! ```text
//!   server → client   INFO {json}   MSG subject sid [reply] bytes   HMSG … headers bytes
//!                     PING   PONG   +OK   -ERR 'words'
//!   client → server   CONNECT {json}   SUB subject sid   PUB subject [reply] bytes   HPUB …
//!                     PING   PONG
//! ```
//!
//! # Invariants
//!
//! 1. The buffer has at most one incomplete operation: lines and messages have a size limit.
//! 2. No byte is read twice: the cost does not depend on the number of pieces in which bytes
//!    arrive.
//! 3. Memory grows with the bytes that have arrived, not with an announced length.

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;

/// Maximum length of a line: `INFO` lists every server of a cluster.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Maximum size of a message; servers allow no larger limit.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

const END: &[u8] = b"\r\n";

/// The server's `INFO`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Info {
    pub(crate) version: String,
    /// True if messages can have headers.
    pub(crate) headers: bool,
    /// Maximum size of a message's headers and body.
    pub(crate) max_payload: u64,
    pub(crate) tls_required: bool,
    pub(crate) tls_available: bool,
    /// Challenge for the client's signature, if the server accepts NKeys.
    pub(crate) nonce: Option<String>,
}

/// A message of the subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) reply: Option<String>,
    /// The header block; empty without headers.
    pub(crate) headers: Bytes,
    pub(crate) body: Bytes,
}

/// An operation of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Info(Info),
    Message(Message),
    Ping,
    Pong,
    /// The server's error text.
    Error(String),
}

/// Incremental parser.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// Bytes of the incomplete operation.
    pub(crate) buffer: BytesMut,
    /// Number of its bytes without a line end.
    searched: usize,
    /// Line of an incomplete message, which has been removed from the buffer.
    under_way: Option<Shape>,
}

impl Decoder {
    /// Returns true if there is no incomplete operation.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.under_way.is_none()
    }

    /// Returns the next complete operation.
    ///
    /// # Errors
    /// Fails if the input is invalid; returns a description.
    pub(crate) fn next(&mut self) -> Result<Option<Incoming>, String> {
        loop {
            if let Some(shape) = self.under_way.take() {
                return self.message(shape);
            }
            let Some(line) = self.line()? else { return Ok(None) };
            let Ok(line) = std::str::from_utf8(&line) else {
                return Err("the server sent a line that is not UTF-8".into());
            };
            let (name, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let incoming = match &*name.to_ascii_uppercase() {
                "MSG" => return self.message(shape(rest, false)?),
                "HMSG" => return self.message(shape(rest, true)?),
                "INFO" => {
                    let info = serde_json::from_str(rest);
                    Some(Incoming::Info(
                        info.map_err(|it| format!("the `INFO` of the server is invalid: {it}"))?,
                    ))
                }
                "PING" => Some(Incoming::Ping),
                "PONG" => Some(Incoming::Pong),
                "+OK" => None,
                "-ERR" => Some(Incoming::Error(rest.trim().trim_matches('\'').to_owned())),
                _ => return Err("the server does not speak NATS; check `server.urls`".into()),
            };
            if incoming.is_some() {
                return Ok(incoming);
            }
        }
    }

    /// Removes the next line from the buffer, and returns it without its end.
    fn line(&mut self) -> Result<Option<BytesMut>, String> {
        // The first byte of a line end may have arrived before the second one.
        let from = self.searched.saturating_sub(1);
        let Some(found) = self.buffer[from..].windows(END.len()).position(|it| it == END) else {
            self.searched = self.buffer.len();
            return match self.searched {
                0..=LINE_BYTES_MAX => Ok(None),
                _ => Err(format!("the server sent a line of over {LINE_BYTES_MAX} bytes")),
            };
        };
        self.searched = 0;
        let line = self.buffer.split_to(from + found);
        self.buffer.advance(END.len());
        Ok(Some(line))
    }

    /// Removes the message after its line from the buffer.
    fn message(&mut self, shape: Shape) -> Result<Option<Incoming>, String> {
        let whole = shape.bytes + END.len();
        if self.buffer.len() < whole {
            self.under_way = Some(shape);
            return Ok(None);
        }
        let mut payload = self.buffer.split_to(whole).freeze();
        if &payload[shape.bytes..] != END {
            return Err("the server sent a message that does not match its length".into());
        }
        payload.truncate(shape.bytes);
        let headers = payload.split_to(shape.header_bytes);
        let Shape { subject, reply, .. } = shape;
        Ok(Some(Incoming::Message(Message { subject, reply, headers, body: payload })))
    }
}

/// Parsed line of a message.
#[derive(Debug)]
struct Shape {
    subject: String,
    reply: Option<String>,
    header_bytes: usize,
    /// Total size including headers.
    bytes: usize,
}

fn shape(line: &str, has_headers: bool) -> Result<Shape, String> {
    let wrong = || "the server sent an invalid message line".to_owned();
    let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
    let mut number = || words.pop().and_then(|it| it.parse::<usize>().ok()).ok_or_else(wrong);
    let bytes = number()?;
    let header_bytes = if has_headers { number()? } else { 0 };
    if bytes > MESSAGE_BYTES_MAX || header_bytes > bytes {
        return Err(format!(
            "the server sent a message with invalid sizes: {bytes} bytes, {header_bytes} of them \
             headers"
        ));
    }
    let (subject, reply) = match words[..] {
        [subject, _sid] => (subject, None),
        [subject, _sid, reply] => (subject, Some(reply.to_owned())),
        _ => return Err(wrong()),
    };
    Ok(Shape { subject: subject.to_owned(), reply, header_bytes, bytes })
}

/// Adds a message to publish; `headers` is a complete block, or empty.
pub(crate) fn publish(
    out: &mut Vec<u8>,
    subject: &str,
    reply: Option<&str>,
    (headers, body): (&[u8], &[u8]),
) {
    let (operation, total) = (if headers.is_empty() { "PUB" } else { "HPUB" }, headers.len());
    out.extend_from_slice(format!("{operation} {subject} ").as_bytes());
    if let Some(reply) = reply {
        out.extend_from_slice(format!("{reply} ").as_bytes());
    }
    if !headers.is_empty() {
        out.extend_from_slice(format!("{total} ").as_bytes());
    }
    out.extend_from_slice(format!("{}\r\n", total + body.len()).as_bytes());
    out.extend_from_slice(headers);
    out.extend_from_slice(body);
    out.extend_from_slice(END);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], step: usize) -> Result<Vec<Incoming>, String> {
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        for part in bytes.chunks(step) {
            decoder.buffer.extend_from_slice(part);
            while let Some(incoming) = decoder.next()? {
                found.push(incoming);
            }
        }
        assert!(decoder.is_empty(), "what is left is no whole operation");
        Ok(found)
    }

    #[test]
    fn operations_are_the_same_however_their_bytes_are_cut() {
        let bytes = b"INFO {\"version\":\"2.9.10\",\"headers\":true,\"max_payload\":9} \r\n\
            +OK\r\nping\r\nMSG a.b 1 5\r\nab\r\nc\r\n-ERR 'Slow Consumer'\r\n\
            HMSG a 1 $JS.ACK.x 12 13\r\nNATS/1.0\r\n\r\nb\r\nPONG\r\nMSG a 1 0\r\n\r\n";
        let whole = all(bytes, bytes.len()).unwrap();
        for step in 1..bytes.len() {
            assert_eq!(all(bytes, step).unwrap(), whole, "in pieces of {step}");
        }
        let message = |subject: &str, reply: Option<&str>, headers: &'static str, body| {
            let (subject, reply) = (subject.to_owned(), reply.map(str::to_owned));
            let headers = Bytes::from_static(headers.as_bytes());
            Incoming::Message(Message { subject, reply, headers, body: Bytes::from_static(body) })
        };
        let Incoming::Info(info) = &whole[0] else { panic!("{whole:?}") };
        assert_eq!((&*info.version, info.headers, info.max_payload), ("2.9.10", true, 9));
        let expected = [
            Incoming::Ping,
            message("a.b", None, "", b"ab\r\nc"),
            Incoming::Error("Slow Consumer".into()),
            message("a", Some("$JS.ACK.x"), "NATS/1.0\r\n\r\n", b"b"),
            Incoming::Pong,
            message("a", None, "", b""),
        ];
        assert_eq!(whole[1..], expected);
    }

    #[test]
    fn a_message_takes_memory_as_its_bytes_come_and_not_as_its_line_says() {
        let mut decoder = Decoder::default();
        decoder.buffer.extend_from_slice(b"MSG a 1 60000000\r\n");
        let mut come = 0;
        while come < 2 << 20 {
            assert_eq!(decoder.next().unwrap(), None);
            let capacity = decoder.buffer.capacity();
            assert!(capacity <= 2 * come.max(8 << 10), "{capacity} bytes for {come}");
            decoder.buffer.extend_from_slice(&[b'a'; 8 << 10]);
            come += 8 << 10;
        }
    }

    #[test]
    fn malformed_operations_close_the_connection_with_the_cause() {
        for (bytes, cause) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "does not speak NATS"),
            (b"MSG a 1 many\r\n", "invalid message line"),
            (b"MSG a 1\r\n", "invalid message line"),
            (b"HMSG a 1 9 8\r\n", "9 of them headers"),
            (b"MSG a 1 99999999999\r\n", "99999999999 bytes"),
            (b"MSG a 1 1\r\nabc", "not match its length"),
            (b"INFO no\r\n", "`INFO`"),
            (&[b'a'; LINE_BYTES_MAX + 1], "a line of over"),
        ] {
            let error = all(bytes, bytes.len()).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
    }

    #[test]
    fn a_publication_states_its_length() {
        let mut out = Vec::new();
        publish(&mut out, "a.b", None, (b"", b"body"));
        publish(&mut out, "a", Some("in.1"), (b"NATS/1.0\r\n\r\n", b"b"));
        let expected = "PUB a.b 4\r\nbody\r\nHPUB a in.1 12 13\r\nNATS/1.0\r\n\r\nb\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
