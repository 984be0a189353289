//! The server's side of a connection: handshake, calls, replies.
//!
//! Only the first call has a handshake. The server asks an unknown client for its protocol (another
//! release has other comments in its protocol, and so another hash); the client resends the call
//! with it.

use serde_json::Value;

use super::datum::{Reader, put_bytes, put_long};
use super::events::Events;
use super::{HASH, Malformed, PROTOCOL};

/// Maximum size of a client's protocol.
const PROTOCOL_MAX: usize = 64 << 10;

/// Status of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The events are stored.
    Ok,
    /// The events are not stored, and never will be.
    Failed,
    /// They may be stored or not.
    Unknown,
}

/// One connection.
#[derive(Debug, Default)]
pub struct Session {
    is_established: bool,
}

/// Reaction to a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Store these events.
    Append {
        /// The beginning of the reply.
        answer: Answer,
        /// The undecoded events.
        events: Events<'a>,
    },
    /// Send this reply, to a handshake or to an invalid call.
    Answer(Vec<u8>),
    /// Close the connection.
    Refuse(Malformed),
}

/// The beginning of a reply: the handshake, if there is one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Answer(Vec<u8>);

impl Answer {
    /// Completes the reply with this status.
    pub fn status(self, status: Status) -> Vec<u8> {
        let Self(mut bytes) = self;
        // No metadata, no error.
        bytes.extend([0, 0]);
        put_long(&mut bytes, status as i64);
        bytes
    }

    /// Completes the reply with an error, which clients log.
    pub fn error(self, text: &str) -> Vec<u8> {
        let Self(mut bytes) = self;
        // No metadata; an error, with the first branch of the union: a string.
        bytes.extend([0, 1, 0]);
        put_bytes(&mut bytes, text.as_bytes());
        bytes
    }
}

impl Session {
    /// Reads a message.
    pub fn read<'a>(&mut self, payload: &'a [u8]) -> Step<'a> {
        let mut reader = Reader::new(payload);
        let mut answer = Answer::default();
        if !self.is_established {
            match handshake(&mut reader) {
                Ok((bytes, is_established)) => {
                    self.is_established = is_established;
                    answer = Answer(bytes);
                }
                Err(malformed) => return Step::Refuse(malformed),
            }
            if !self.is_established {
                return Step::Answer(answer.0);
            }
        }
        match call(&mut reader) {
            Ok(None) => Step::Answer(answer.0),
            Ok(Some(is_batch)) => {
                Step::Append { answer, events: Events { bytes: reader.rest(), is_batch } }
            }
            Err(malformed) => Step::Answer(answer.error(&malformed.to_string())),
        }
    }
}

/// Reads the metadata and the name of a call; returns whether it is a batch; `None` for a mere
/// handshake.
fn call(reader: &mut Reader<'_>) -> Result<Option<bool>, Malformed> {
    reader.skip_metadata()?;
    match reader.text()? {
        "" => Ok(None),
        "append" => Ok(Some(false)),
        "appendBatch" => Ok(Some(true)),
        _ => Err(Malformed::Message),
    }
}

/// Replies to a handshake; returns whether it establishes the connection.
fn handshake(reader: &mut Reader<'_>) -> Result<(Vec<u8>, bool), Malformed> {
    /// Symbols of the match enum.
    const BOTH: i64 = 0;
    const CLIENT: i64 = 1;
    const NONE: i64 = 2;
    let client = reader.take(HASH.len())?;
    let protocol = match reader.branch(2)? {
        0 => None,
        _ => Some(reader.text()?),
    };
    let server = reader.take(HASH.len())?;
    if reader.branch(2)? == 1 {
        reader.skip_metadata()?;
    }
    let is_known = client == HASH
        || match protocol {
            Some(protocol) if is_compatible(protocol) => true,
            Some(_) => return Err(Malformed::Protocol),
            None => false,
        };
    let knows_us = server == HASH;
    let mut answer = Vec::new();
    put_long(
        &mut answer,
        if !is_known {
            NONE
        } else if knows_us {
            BOTH
        } else {
            CLIENT
        },
    );
    if is_known && knows_us {
        // Neither protocol nor hash.
        answer.extend([0, 0]);
    } else {
        put_long(&mut answer, 1);
        put_bytes(&mut answer, PROTOCOL.as_bytes());
        put_long(&mut answer, 1);
        answer.extend(HASH);
    }
    // No metadata.
    answer.push(0);
    Ok((answer, is_known))
}

/// Returns true if this protocol encodes events like Flume's: the order of fields and symbols
/// matters, names of types and comments do not.
fn is_compatible(protocol: &str) -> bool {
    let Some(Value::Object(protocol)) =
        (protocol.len() <= PROTOCOL_MAX).then(|| serde_json::from_str(protocol).ok()).flatten()
    else {
        return false;
    };
    let names = |list: &Value, of: fn(&Value) -> &Value| -> Vec<String> {
        let all = list.as_array().into_iter().flatten();
        all.filter_map(|entry| of(entry).as_str().map(str::to_owned)).collect()
    };
    let types = protocol.get("types").and_then(Value::as_array);
    let fits = |definition: &Value| match definition["type"].as_str() {
        Some("record") => {
            names(&definition["fields"], |field| &field["name"]) == ["headers", "body"]
        }
        Some("enum") => names(&definition["symbols"], |it| it) == ["OK", "FAILED", "UNKNOWN"],
        _ => true,
    };
    types.is_some_and(|types| !types.is_empty() && types.iter().all(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .bytes()
            .filter_map(|digit| char::from(digit).to_digit(16))
            .map(|d| d as u8)
            .collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// Returns the first append of Flume 1.11: the handshake, the call, one event.
    fn first() -> Vec<u8> {
        hex("86aadae2c45474c0fe93ffd0f2350a65 00 86aadae2c45474c0fe93ffd0f2350a65 02 00 \
             00 0c617070656e64 02026b02760004 6869")
    }

    /// Returns a handshake with these hashes and this protocol, and a call without a name.
    fn handshake_of(client: [u8; 16], protocol: Option<&str>, server: [u8; 16]) -> Vec<u8> {
        let mut bytes = client.to_vec();
        put_long(&mut bytes, i64::from(protocol.is_some()));
        if let Some(protocol) = protocol {
            put_bytes(&mut bytes, protocol.as_bytes());
        }
        bytes.extend(server);
        bytes.extend([0, 0, 0]);
        bytes
    }

    /// Returns the reply that contains this server's protocol.
    fn with_protocol(symbol: u8) -> Vec<u8> {
        let mut bytes = vec![symbol, 2];
        put_bytes(&mut bytes, PROTOCOL.as_bytes());
        bytes.push(2);
        bytes.extend(HASH);
        bytes.push(0);
        bytes
    }

    #[test]
    fn answers_the_handshake_only_in_the_first_reply() {
        let mut session = Session::default();
        let first = first();
        let Step::Append { answer, events } = session.read(&first) else { panic!("an append") };
        assert!(!events.is_batch && events.bytes == hex("02026b02760004 6869"));
        assert_eq!(answer.status(Status::Ok), hex("00000000 000000"));
        let second = hex("00 16617070656e644261746368 04 02026b027600 0241 00 0242 00");
        let Step::Append { answer, events } = session.read(&second) else { panic!("a batch") };
        assert!(events.is_batch);
        assert_eq!(answer.clone().status(Status::Ok), [0, 0, 0]);
        assert_eq!(answer.clone().status(Status::Failed), [0, 0, 2]);
        assert_eq!(answer.clone().status(Status::Unknown), [0, 0, 4]);
        assert_eq!(answer.error("no"), [0, 1, 0, 4, b'n', b'o']);
    }

    #[test]
    fn an_unknown_client_is_asked_for_its_protocol_once() {
        let (mut session, other) = (Session::default(), [7; 16]);
        let without = handshake_of(other, None, HASH);
        assert_eq!(session.read(&without), Step::Answer(with_protocol(4)));
        let commented = PROTOCOL.replace("Licensed to", "Another comment of");
        let with = handshake_of(other, Some(&commented), HASH);
        assert_eq!(session.read(&with), Step::Answer(vec![0, 0, 0, 0]));
        assert!(matches!(
            session.read(&[0, 12, b'a', b'p', b'p', b'e', b'n', b'd']),
            Step::Append { .. }
        ));
    }

    #[test]
    fn a_client_that_takes_the_server_for_another_one_gets_its_protocol() {
        let mut session = Session::default();
        let call = handshake_of(HASH, None, [9; 16]);
        assert_eq!(session.read(&call), Step::Answer(with_protocol(2)));
        assert!(session.is_established);
    }

    #[test]
    fn a_protocol_with_another_encoding_is_refused() {
        let swapped = PROTOCOL.replace("\"OK\",\"FAILED\"", "\"FAILED\",\"OK\"");
        for protocol in ["", "{}", "[1]", "{\"types\":[]}", &swapped] {
            let call = handshake_of([7; 16], Some(protocol), HASH);
            let step = Session::default().read(&call) == Step::Refuse(Malformed::Protocol);
            assert!(step, "{protocol}");
        }
    }

    #[test]
    fn answers_an_unknown_message_with_an_error_and_continues() {
        let mut session = Session { is_established: true };
        let Step::Answer(answer) = session.read(&[0, 4, b'n', b'o']) else { panic!("an answer") };
        assert_eq!(answer[..3], [0, 1, 0]);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains("`append` and `appendBatch`"), "{text}");
        assert!(matches!(session.read(&[1]), Step::Answer(_)), "damaged metadata");
        assert!(matches!(Session::default().read(&first()[..20]), Step::Refuse(Malformed::Short)));
    }
}
