//! The client's side of a connection: handshake, calls, replies.

use super::call::Status;
use super::datum::{Reader, put_bytes, put_long};
use super::{HASH, Malformed, PROTOCOL};

/// One connection.
#[derive(Debug)]
pub struct Caller {
    is_established: bool,
    sends_protocol: bool,
    /// Last known hash of the server's protocol.
    server: [u8; 16],
}

/// Reply of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Result for the events.
    Status(Status),
    /// The server's error text.
    Error(String),
    /// The server asks for the protocol: send the call again.
    Again,
}

impl Default for Caller {
    fn default() -> Self {
        Self { is_established: false, sends_protocol: false, server: HASH }
    }
}

impl Caller {
    /// Returns the bytes before the events of an `appendBatch`.
    pub fn begin(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.is_established {
            bytes.extend(HASH);
            put_long(&mut bytes, i64::from(self.sends_protocol));
            if self.sends_protocol {
                put_bytes(&mut bytes, PROTOCOL.as_bytes());
            }
            bytes.extend(self.server);
            // No metadata of the handshake.
            bytes.push(0);
        }
        // No metadata of the call.
        bytes.push(0);
        put_bytes(&mut bytes, b"appendBatch");
        bytes
    }

    /// Reads the reply.
    ///
    /// # Errors
    /// Fails if it is damaged, or the server rejects this protocol.
    pub fn answer(&mut self, payload: &[u8]) -> Result<Reply, Malformed> {
        let mut reader = Reader::new(payload);
        if !self.is_established && !self.handshake(&mut reader)? {
            return Ok(Reply::Again);
        }
        reader.skip_metadata()?;
        if reader.boolean()? {
            // The union of errors has one branch: a string.
            reader.branch(1)?;
            return Ok(Reply::Error(reader.text()?.to_owned()));
        }
        Ok(Reply::Status(match reader.branch(3)? {
            0 => Status::Ok,
            1 => Status::Failed,
            _ => Status::Unknown,
        }))
    }

    /// Reads the handshake; returns true if the server accepts it.
    fn handshake(&mut self, reader: &mut Reader<'_>) -> Result<bool, Malformed> {
        let is_taken = reader.branch(3)? < 2;
        if reader.branch(2)? == 1 {
            reader.text()?;
        }
        if reader.branch(2)? == 1 {
            self.server = reader.take(HASH.len())?.try_into().map_err(|_| Malformed::Short)?;
        }
        if reader.branch(2)? == 1 {
            reader.skip_metadata()?;
        }
        if !is_taken && std::mem::replace(&mut self.sends_protocol, true) {
            return Err(Malformed::Protocol);
        }
        self.is_established = is_taken;
        Ok(is_taken)
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::{Session, Step};
    use super::*;

    /// Sends a call to our server; returns the reply.
    fn call(caller: &mut Caller, session: &mut Session, status: Status) -> Reply {
        let message = [caller.begin(), vec![0]].concat();
        let answer = match session.read(&message) {
            Step::Append { answer, events } => {
                assert_eq!((events.bytes, events.is_batch), (&[0][..], true));
                answer.status(status)
            }
            Step::Answer(answer) => answer,
            Step::Refuse(malformed) => panic!("{malformed}"),
        };
        caller.answer(&answer).unwrap()
    }

    #[test]
    fn the_handshake_is_sent_once_and_every_status_is_read() {
        let (mut caller, mut session) = (Caller::default(), Session::default());
        for status in [Status::Ok, Status::Failed, Status::Unknown, Status::Ok] {
            assert_eq!(call(&mut caller, &mut session, status), Reply::Status(status));
        }
        assert_eq!(caller.begin().len(), 1 + 12, "later calls have no handshake");
    }

    #[test]
    fn sends_the_protocol_once_on_request() {
        let mut caller = Caller::default();
        let none = [&[4, 0, 2][..], &[9; 16], &[0]].concat();
        assert_eq!(caller.answer(&none), Ok(Reply::Again));
        let begin = caller.begin();
        assert!(begin.windows(PROTOCOL.len()).any(|window| window == PROTOCOL.as_bytes()));
        assert!(begin.windows(16).any(|window| window == [9; 16]), "the server's hash");
        let mut other = Caller { server: [9; 16], ..Caller::default() };
        let reply = call(&mut other, &mut Session::default(), Status::Ok);
        assert_eq!(reply, Reply::Status(Status::Ok));
        assert_eq!(other.server, HASH);
        assert_eq!(caller.answer(&none), Err(Malformed::Protocol));
    }

    #[test]
    fn an_error_and_a_damaged_answer_are_told_apart() {
        let mut caller = Caller { is_established: true, ..Caller::default() };
        assert_eq!(caller.answer(&[0, 1, 0, 4, b'n', b'o']), Ok(Reply::Error("no".into())));
        for damaged in [&[][..], &[0], &[0, 2], &[0, 0, 6], &[0, 1, 2, 0], &[0, 1, 0, 4, b'n']] {
            assert!(caller.answer(damaged).is_err(), "{damaged:?}");
        }
    }
}
