//! Connections to one source, kept open between calls.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use formats::thrift::{self, Answer, Events, Protocol};
use futures::FutureExt;
use pipeline::env::Stream;
use tls::Dialer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::ThriftError;

/// Maximum size of a reply: a status, or an exception with its text.
const ANSWER_BYTES_MAX: u32 = 64 << 10;

/// Connections to one source.
pub(super) struct Connections {
    pub(super) dialer: Dialer,
    pub(super) address: Arc<str>,
    pub(super) protocol: Protocol,
    pub(super) connect_timeout: Duration,
    pub(super) reconnect_after: Option<Duration>,
    /// Maximum number of idle connections.
    pub(super) idle_max: usize,
    pub(super) idle: Mutex<Vec<Connection>>,
}

/// An open connection.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    since: Instant,
    /// Sequence number of its last call.
    sequence: i32,
}

impl Connections {
    /// Calls `appendBatch` with these events, and reads the reply. Replaces a connection that the
    /// server closed while it was idle. Does not retry after a connection broke during a call: the
    /// events may have been stored.
    pub(super) async fn call(&self, events: &mut Events) -> Result<Answer, ThriftError> {
        let mut connection = self.connection().await?;
        connection.sequence = connection.sequence.wrapping_add(1);
        let sequence = connection.sequence;
        let broken = |source| ThriftError::Broken { address: self.address.clone(), source };
        let call = events.call(sequence);
        let message = connection.exchange(call).await.map_err(broken)?;
        let malformed = |source| ThriftError::Malformed { address: self.address.clone(), source };
        let answer = thrift::answer(self.protocol, sequence, &message).map_err(malformed)?;
        self.keep(connection);
        Ok(answer)
    }

    /// Opens a connection, and waits for the reply to a call without events.
    ///
    /// # Errors
    /// Fails if the connection fails, or the reply is in another protocol.
    pub(super) async fn probe(&self) -> Result<String, ThriftError> {
        // Any reply proves that it is a Thrift source.
        self.call(&mut Events::new(self.protocol)).await?;
        Ok(self.dialer.connected_text(&self.address))
    }

    async fn connection(&self) -> Result<Connection, ThriftError> {
        loop {
            let idle = self.idle().pop();
            let Some(mut connection) = idle else { break };
            if self.may_be_used(&connection) && connection.is_quiet() {
                return Ok(connection);
            }
        }
        let failed = |source| ThriftError::Connect { address: self.address.clone(), source };
        let stream = match timeout(self.connect_timeout, self.dialer.connect(&self.address)).await {
            Ok(connected) => connected.map_err(failed)?,
            Err(_) => {
                let text = format!("no connection within {:?}", self.connect_timeout);
                return Err(failed(io::Error::new(io::ErrorKind::TimedOut, text)));
            }
        };
        Ok(Connection { stream, since: Instant::now(), sequence: 0 })
    }

    fn may_be_used(&self, connection: &Connection) -> bool {
        self.reconnect_after.is_none_or(|limit| connection.since.elapsed() < limit)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < self.idle_max {
            idle.push(connection);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        // The list is consistent between calls.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Returns true if nothing has arrived since the last reply: neither bytes nor the end.
    fn is_quiet(&mut self) -> bool {
        self.stream.read(&mut [0; 1]).now_or_never().is_none()
    }

    /// Sends a call; returns the message of its reply.
    async fn exchange(&mut self, call: Vec<u8>) -> io::Result<Vec<u8>> {
        self.stream.write_all(&call).await?;
        self.stream.flush().await?;
        drop(call);
        let bytes = self.stream.read_u32().await?;
        if bytes > ANSWER_BYTES_MAX {
            let text = format!(
                "a response of {bytes} bytes exceeds the limit of {ANSWER_BYTES_MAX}; check that a \
                 Flume Thrift source listens there"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut message = vec![0; bytes as usize];
        self.stream.read_exact(&mut message).await?;
        Ok(message)
    }
}
