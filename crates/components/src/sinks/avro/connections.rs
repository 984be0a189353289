//! Connections to one Avro source, kept open between batches.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use formats::avro::around;
use formats::avro::caller::{Caller, Reply};
use formats::avro::coding::Coding;
use formats::avro::frame::{self, Deframer};
use futures::FutureExt;
use pipeline::env::Stream;
use tls::Dialer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::AvroError;

/// Maximum size of a reply: one with the protocol of the server has some thousand bytes.
const ANSWER_MAX: usize = 1 << 20;

/// Read and decompression size.
const READ_BYTES: usize = 4 << 10;

/// An empty Avro array.
const NO_EVENTS: &[u8] = &[0];

/// Connections to one address.
pub(super) struct Connections {
    pub(super) dialer: Dialer,
    pub(super) address: Arc<str>,
    /// Compression level of zlib; `None` without compression.
    pub(super) deflate: Option<u32>,
    /// The same for zlib outside of TLS.
    pub(super) deflate_around: Option<u32>,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) reconnect_after: Option<Duration>,
    pub(super) idle_max: usize,
    pub(super) idle: Mutex<Vec<Connection>>,
}

/// One connection; closed when dropped.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    coding: Coding,
    coded: BytesMut,
    plain: BytesMut,
    deframer: Deframer,
    caller: Caller,
    serial: u32,
    since: Instant,
}

impl Connections {
    /// Returns an idle connection, or opens one.
    ///
    /// # Errors
    /// Fails if the server cannot be reached in time.
    pub(super) async fn take(&self) -> Result<Connection, AvroError> {
        while let Some(mut connection) = { self.idle().pop() } {
            // A server sends nothing on its own: any input is the end of the connection.
            let ended = connection.stream.read_buf(&mut connection.coded).now_or_never();
            if ended.is_none() {
                return Ok(connection);
            }
        }
        let failed = |source| AvroError::Connect { address: self.address.clone(), source };
        let limit = self.connect_timeout;
        let connected =
            self.dialer.connect_around(&self.address, |stream| match self.deflate_around {
                Some(level) => around::deflate(stream, level),
                None => stream,
            });
        let stream = match timeout(limit, connected).await {
            Ok(stream) => stream.map_err(failed)?,
            Err(_) => {
                let problem = format!("no connection within {limit:?} (`connect_timeout`)");
                return Err(failed(io::Error::new(io::ErrorKind::TimedOut, problem)));
            }
        };
        Ok(Connection {
            stream,
            coding: Coding::of_client(self.deflate.is_some(), self.deflate.unwrap_or_default()),
            coded: BytesMut::new(),
            plain: BytesMut::new(),
            deframer: Deframer::new(ANSWER_MAX),
            caller: Caller::default(),
            serial: 0,
            since: Instant::now(),
        })
    }

    /// Opens a connection, and waits for the reply to a call without events.
    ///
    /// # Errors
    /// See [`Connections::take`] and [`Connections::call`].
    pub(super) async fn probe(&self) -> Result<String, AvroError> {
        let mut connection = self.take().await?;
        // Any reply proves that it is an Avro source.
        self.call(&mut connection, NO_EVENTS).await?;
        Ok(self.dialer.connected_text(&self.address))
    }

    /// Keeps a connection after a reply.
    pub(super) fn keep(&self, connection: Connection) {
        if self.reconnect_after.is_some_and(|limit| connection.since.elapsed() >= limit) {
            return;
        }
        let mut idle = self.idle();
        if idle.len() < self.idle_max {
            idle.push(connection);
        }
    }

    /// Sends events as an `appendBatch` and reads the reply.
    ///
    /// # Errors
    /// Fails if no reply arrives in time, or if the reply is in another protocol.
    pub(super) async fn call(
        &self,
        connection: &mut Connection,
        events: &[u8],
    ) -> Result<Reply, AvroError> {
        let limit = self.timeout;
        let address = || self.address.clone();
        for _ in 0..2 {
            let answered = timeout(limit, connection.exchange(events)).await;
            let payload = answered
                .map_err(|_| AvroError::TimedOut { address: address(), limit })?
                .map_err(|source| AvroError::Broken { address: address(), source })?;
            let reply = connection.caller.answer(&payload);
            match reply.map_err(|source| AvroError::Answer { address: address(), source })? {
                Reply::Again => {}
                reply => return Ok(reply),
            }
        }
        Ok(Reply::Again)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        // The list is consistent between calls.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Sends a call and waits for the reply with its number.
    async fn exchange(&mut self, events: &[u8]) -> io::Result<bytes::Bytes> {
        self.serial = self.serial.wrapping_add(1);
        let frame = frame::write(self.serial, &[&self.caller.begin(), events]);
        let coded = self.coding.encode(frame)?;
        self.stream.write_all(&coded).await?;
        self.stream.flush().await?;
        loop {
            loop {
                let is_moved = self.coding.decode(&mut self.coded, &mut self.plain, READ_BYTES)?;
                if let Some(frame) =
                    self.deframer.next(&mut self.plain).map_err(io::Error::other)?
                {
                    if frame.serial == self.serial {
                        return Ok(frame.payload);
                    }
                    // A connection has one call at a time, so no other reply can be in flight.
                    let (found, called) = (frame.serial, self.serial);
                    let problem = format!(
                        "the server answered call {found} instead of call {called}; check that \
                         `address` is an Avro source"
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
                }
                if !is_moved {
                    break;
                }
            }
            self.coded.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.coded).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
