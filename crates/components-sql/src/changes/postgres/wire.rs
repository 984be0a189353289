//! A replication connection: startup, login, simple commands, and the stream of a slot.
//!
//! ```text
//!   startup (replication = database) ──► login ──► commands, each answered by rows
//!                                                      │ START_REPLICATION
//!                                                      ▼
//!                              frames of the slot ◄──► position of stored changes
//! ```
//!
//! `tokio-postgres` has no replication connections (docs/adr/0060). A message is a tag, a length of
//! four bytes that includes itself, and the content.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pipeline::env::Stream;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::super::change::Lsn;
use super::pgoutput::Frame;
use crate::connection::LOGIN_BYTES_MAX;
use crate::database::Target;
use crate::error::SqlError;

/// Maximum message size: the server's limit of a value, and some overhead.
const MESSAGE_MAX: usize = (1 << 30) + (1 << 20);
/// Microseconds from 1970 to 2000, the epoch of PostgreSQL.
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Rows returned by a command, as texts.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// The connection.
pub(super) struct Replication {
    stream: Box<dyn Stream>,
    input: BytesMut,
    /// Maximum message size: small before the end of the login.
    message_max: usize,
    target: Target,
}

/// A message of the server.
struct Message {
    tag: u8,
    body: Bytes,
}

impl Replication {
    /// Connects, and logs in.
    ///
    /// # Errors
    /// The connection fails, or the server rejects it.
    pub(super) async fn open(target: &Target) -> Result<Self, SqlError> {
        let (address, limit) = (&target.address, target.connect_timeout);
        let opening = async {
            let at = |source| SqlError::Connect { address: address.clone(), source };
            let mut stream = target.env.net.connect(address).await.map_err(at)?;
            if let Some(tls) = &target.tls {
                let mut ask = BytesMut::new();
                frontend::ssl_request(&mut ask);
                stream.write_all(&ask).await.map_err(at)?;
                if stream.read_u8().await.map_err(at)? != b'S' {
                    return Err(at(io::Error::other(
                        "the server does not support TLS; set `ssl = on` there, or remove \
                         `database.tls`",
                    )));
                }
                stream = tls.wrap(stream, address).await.map_err(at)?;
            }
            let mut opened = Self {
                stream,
                input: BytesMut::new(),
                message_max: LOGIN_BYTES_MAX as usize,
                target: target.clone(),
            };
            opened.log_in().await?;
            opened.message_max = MESSAGE_MAX;
            Ok(opened)
        };
        let silent = |_| Err(SqlError::Silent { address: address.clone(), limit });
        timeout(limit, opening).await.unwrap_or_else(silent)
    }

    async fn log_in(&mut self) -> Result<(), SqlError> {
        let login = self.target.login.clone();
        let (user, password) = login.unwrap_or_default();
        let password = password.as_ref().map_or("", |password| password.expose()).as_bytes();
        let name = self.target.name.clone();
        // The same formats as on the other connections.
        let parameters = [
            ("user", &*user),
            ("database", &name),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", "aqueduct"),
            ("TimeZone", "UTC"),
            ("DateStyle", "ISO"),
            ("IntervalStyle", "iso_8601"),
            ("extra_float_digits", "1"),
            ("bytea_output", "hex"),
        ];
        self.send(|out| frontend::startup_message(parameters, out)).await?;
        let mut scram = None;
        loop {
            let Message { tag, mut body } = self.answer().await?;
            match tag {
                b'R' if body.len() >= 4 => match body.get_u32() {
                    0 => {}
                    3 => self.send(|out| frontend::password_message(password, out)).await?,
                    5 if body.len() >= 4 => {
                        let mut salt = [0; 4];
                        body.copy_to_slice(&mut salt);
                        let hash = md5_hash(user.as_bytes(), password, salt);
                        self.send(|out| frontend::password_message(hash.as_bytes(), out)).await?;
                    }
                    10 => {
                        let binding = sasl::ChannelBinding::unsupported();
                        let begun = sasl::ScramSha256::new(password, binding);
                        let name = "SCRAM-SHA-256";
                        self.send(|out| {
                            frontend::sasl_initial_response(name, begun.message(), out)
                        })
                        .await?;
                        scram = Some(begun);
                    }
                    11 => {
                        let scram = scram.as_mut().ok_or_else(|| self.odd("a login"))?;
                        scram.update(&body).map_err(|error| self.broken(&error))?;
                        self.send(|out| frontend::sasl_response(scram.message(), out)).await?;
                    }
                    12 => {
                        let scram = scram.as_mut().ok_or_else(|| self.odd("a login"))?;
                        scram.finish(&body).map_err(|error| self.broken(&error))?;
                    }
                    other => {
                        let problem = format!(
                            "{} requires the unsupported login method {other}; use `scram-sha-256` \
                             in `pg_hba.conf`",
                            self.target.address
                        );
                        return Err(SqlError::Misfit { problem });
                    }
                },
                b'Z' => return Ok(()),
                // Settings of the server, and the key to cancel a command.
                _ => {}
            }
        }
    }

    /// Runs a command and returns its rows, if any.
    ///
    /// # Errors
    /// The server rejects it, or times out.
    pub(super) async fn command(&mut self, text: &str) -> Result<Rows, SqlError> {
        let limit = self.target.statement_timeout;
        let address = self.target.address.clone();
        let running = async {
            self.send(|out| frontend::query(text, out)).await?;
            let mut rows = Rows::new();
            loop {
                let message = self.answer().await?;
                match message.tag {
                    b'D' => rows.push(self.row(message.body)?),
                    b'Z' => return Ok(rows),
                    _ => {}
                }
            }
        };
        let silent = |_| Err(SqlError::Silent { address, limit });
        timeout(limit, running).await.unwrap_or_else(silent)
    }

    /// Starts the stream of a slot.
    ///
    /// # Errors
    /// The server rejects it.
    pub(super) async fn start(&mut self, text: &str) -> Result<(), SqlError> {
        self.send(|out| frontend::query(text, out)).await?;
        while self.answer().await?.tag != b'W' {}
        Ok(())
    }

    /// Returns the next frame of the stream. Cancel-safe.
    ///
    /// # Errors
    /// The server has ended the stream, or the connection broke.
    pub(super) async fn frame(&mut self) -> Result<Frame, SqlError> {
        loop {
            let message = self.answer().await?;
            match message.tag {
                b'd' => {
                    let frame = Frame::read(message.body);
                    return frame.map_err(|problem| SqlError::Misfit {
                        problem: format!("{}: {problem}", self.target.address),
                    });
                }
                b'c' | b'Z' => return Err(self.odd("the end of the stream")),
                _ => {}
            }
        }
    }

    /// Returns whether a complete message is buffered.
    pub(super) fn has_more(&self) -> bool {
        self.length().is_ok_and(|length| length.is_some())
    }

    /// Confirms the position of stored changes.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn confirm(&mut self, stored: Lsn, asks: bool) -> Result<(), SqlError> {
        let now = pipeline::env::unix_millis(self.target.env.clock.now()) as i64 * 1000;
        let mut status = BytesMut::with_capacity(34);
        status.put_u8(b'r');
        // Written, flushed and applied.
        (0..3).for_each(|_| status.put_u64(stored.0));
        status.put_i64(now - EPOCH_MICROS);
        status.put_u8(asks.into());
        self.send(|out| frontend::CopyData::new(status.freeze()).map(|it| it.write(out))).await
    }

    async fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), SqlError> {
        let mut out = BytesMut::new();
        write(&mut out).map_err(|error| self.broken(&error))?;
        let sending = async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        };
        let limit = self.target.connect_timeout;
        match timeout(limit, sending).await {
            Ok(sent) => sent.map_err(|error| self.broken(&error)),
            Err(_) => Err(SqlError::Silent { address: self.target.address.clone(), limit }),
        }
    }

    /// Returns the next message that is not an error.
    async fn answer(&mut self) -> Result<Message, SqlError> {
        loop {
            if let Some(length) = self.length()? {
                let mut whole = self.input.split_to(length).freeze();
                let tag = whole.get_u8();
                whole.advance(4);
                return match tag {
                    b'E' => Err(refused(&self.target.address, &whole)),
                    _ => Ok(Message { tag, body: whole }),
                };
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => return Err(self.odd("the end of the connection")),
                Ok(_) => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    /// Returns the length of the first buffered message; `None` while it is incomplete.
    fn length(&self) -> Result<Option<usize>, SqlError> {
        let Some(length) = self.input.get(1..5).and_then(|it| it.try_into().ok()) else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(length) as usize;
        if !(4..=self.message_max).contains(&length) {
            return Err(self.odd("a message of invalid length"));
        }
        Ok(Some(length + 1).filter(|length| *length <= self.input.len()))
    }

    fn row(&self, mut body: Bytes) -> Result<Vec<Option<String>>, SqlError> {
        let mut read = || -> Result<_, bytes::TryGetError> {
            let mut row = Vec::new();
            for _ in 0..body.try_get_u16()? {
                let length = body.try_get_i32()?;
                row.push(match usize::try_from(length) {
                    Ok(length) if length <= body.len() => {
                        Some(String::from_utf8_lossy(&body.split_to(length)).into_owned())
                    }
                    _ => None,
                });
            }
            Ok(row)
        };
        read().map_err(|_| self.odd("a truncated row"))
    }

    fn broken(&self, error: &io::Error) -> SqlError {
        SqlError::Broken { address: self.target.address.clone(), problem: error.to_string() }
    }

    fn odd(&self, what: &str) -> SqlError {
        let problem = format!(
            "received {what}; reconnecting; if this repeats, see the log of the database, and \
             check proxies in between"
        );
        SqlError::Broken { address: self.target.address.clone(), problem }
    }
}

/// Parses an error of the server: fields of a letter and a NUL-terminated text.
fn refused(address: &Arc<str>, body: &[u8]) -> SqlError {
    let (mut code, mut problem, mut detail) = (String::new(), String::new(), String::new());
    for field in body.split(|byte| *byte == 0) {
        let Some((kind, text)) = field.split_first() else { continue };
        let text = String::from_utf8_lossy(text).into_owned();
        match kind {
            b'C' => code = text,
            b'M' => problem = text,
            b'D' => detail = format!(" ({text})"),
            _ => {}
        }
    }
    SqlError::of_state(address, code, problem + &detail)
}

#[cfg(test)]
mod tests {
    use pipeline::{Classify, ErrorClass};

    use super::*;
    use crate::connection::Via;
    use crate::testing::{UNREAD_BYTES_MAX, flood};

    #[tokio::test]
    async fn a_long_message_before_the_login_closes_the_connection() {
        let (target, flooding) = flood(Via::Postgres, b"R\x3f\xff\xff\xff").await;
        let error = Replication::open(&target).await.err().expect("it is not a database");
        assert!(error.to_string().contains("invalid length"), "{error}");
        let sent = flooding.await.unwrap();
        assert!(sent < UNREAD_BYTES_MAX, "{sent} bytes were read");
    }

    #[test]
    fn an_error_of_the_server_has_its_code_and_its_class() {
        let body = b"SFATAL\0VFATAL\0C42501\0Mno right\0Dneeds REPLICATION\0\0";
        let error = refused(&"db:5432".into(), body);
        let said = error.to_string();
        assert!(
            said.starts_with("db:5432 returned error 42501: no right (needs REPLICATION)"),
            "{said}"
        );
        assert_eq!(error.class(), ErrorClass::Blocked);
        let error = refused(&"db:5432".into(), b"C57P01\0Mshut down\0\0");
        assert_eq!(error.class(), ErrorClass::Transient);
    }
}
