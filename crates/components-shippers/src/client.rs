//! Stream of a client: its received bytes, their memory, and storing while the client waits.
//!
//! A message of up to [`STEP_BYTES`] needs no shared memory: there are at most as many as
//! connections. A larger message reserves, before more of it is read, memory for the largest
//! message of its tenant. It does so once, so no two messages can deadlock.
//!
//! The tenant is known with the first byte, after the handshake. Data over its rate waits unread.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kit::decoding::Undecoded;
use kit::serve::{Connected, Put, Report, Stored, read_ahead};
use kit::tenants::{self, Over};
use pipeline::env::Stream;
use pipeline::{Batch, BatchBuilder};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// Read size, and size of a message that needs no shared memory.
pub(crate) const STEP_BYTES: usize = 64 << 10;

/// How long a batch waits for room until the source checks the client and waits again.
pub(crate) const ROUND: Duration = Duration::from_secs(5);

/// Limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Maximum size of a message, before and after decompression.
    pub(crate) message_max: usize,
    /// Timeout for receiving a message, and for sending a response.
    pub(crate) message_timeout: Duration,
    /// How long a connection may be open without a message.
    pub(crate) idle_timeout: Duration,
}

/// Reason why a connection ends.
#[derive(Debug, Error)]
pub(crate) enum End {
    /// The connection broke, or ended within a message.
    #[error("lost the connection to the client, which resends unacknowledged events")]
    Broken(#[from] io::Error),
    /// The connection was idle.
    #[error("no data from the client for {0:?} (`idle_timeout`), so its connection is closed")]
    Idle(Duration),
    /// A message or a reply took too long.
    #[error(
        "receiving a message or sending its response took more than {0:?} (`message_timeout`); \
         check the network and the client, or raise the limit"
    )]
    Slow(Duration),
    /// A message is too large.
    #[error(
        "a message of the client has {announced} bytes, over the limit of {max} (`message_max`): \
         raise it, or let the client send smaller messages"
    )]
    Large { announced: u64, max: usize },
    /// The bytes are not a valid message.
    #[error(
        "cannot read a message of the client: {0}; check the client, and that it uses the protocol \
         of this source"
    )]
    Malformed(String),
    /// The client is not permitted to send.
    #[error("{0}")]
    Refused(String),
    /// The message was not stored: the source stops, or the client has disconnected.
    #[error("cannot store a message of the client, which has to resend it: {0}")]
    NotStored(String),
    /// The tenant exceeds a limit.
    #[error(transparent)]
    Tenant(#[from] Over),
}

impl End {
    /// How to report it.
    pub(crate) fn report(&self) -> Report {
        match self {
            Self::Broken(_) | Self::Idle(_) | Self::NotStored(_) | Self::Tenant(_) => {
                Report::default()
            }
            Self::Slow(_) | Self::Large { .. } | Self::Malformed(_) | Self::Refused(_) => {
                Report { anomaly: Some("message_refused"), is_warning: true }
            }
        }
    }
}

/// Shared memory that one message has reserved.
#[derive(Default)]
pub(crate) struct Memory {
    place: Option<tenants::Memory>,
}

/// A client.
pub(crate) struct Client {
    pub(crate) put: Arc<Put>,
    /// Its host.
    pub(crate) host: Arc<str>,
    stream: Box<dyn Stream>,
    tenant: tenants::Client,
    /// Received bytes that were not consumed yet.
    pub(crate) buffer: BytesMut,
    limits: Limits,
    /// True at the end of input: the client has closed its side, or the connection broke.
    pub(crate) is_over: bool,
    /// Time by which the message must be complete.
    deadline: Instant,
}

impl Client {
    pub(crate) fn new(connected: Connected, limits: Limits, put: &Arc<Put>) -> Self {
        let Connected { stream, client: tenant, host, .. } = connected;
        let (deadline, buffer) = (Instant::now() + limits.message_timeout, BytesMut::new());
        let put = put.clone();
        Self { put, host, stream, tenant, buffer, limits, is_over: false, deadline }
    }

    /// Returns the tenant's limit for a message, before and after decompression.
    pub(crate) fn message_max(&self) -> usize {
        self.tenant.member().message_max(self.limits.message_max as u64) as usize
    }

    /// Returns the error for a message of `announced` bytes over that limit.
    pub(crate) fn too_large(&self, announced: u64) -> End {
        let own = self.tenant.member().too_large().map(End::Tenant);
        own.unwrap_or(End::Large { announced, max: self.limits.message_max })
    }

    /// Counts these events for its tenant.
    pub(crate) fn gave(&self, batch: &Batch) {
        let (bytes, now) = (batch.size().bytes, Instant::now());
        let member = self.tenant.member();
        member.charge(bytes, now);
        member.count(batch.len() as u64, bytes, now);
    }

    /// Waits for the first byte of a message; returns `false` at the end of input.
    pub(crate) async fn begins(&mut self) -> Result<bool, End> {
        self.tenant.pass().await;
        if self.buffer.is_empty() {
            let limit = self.limits.idle_timeout;
            let read = timeout(limit, self.stream.read_buf(&mut self.buffer)).await;
            if read.map_err(|_| End::Idle(limit))?? == 0 {
                return Ok(false);
            }
        }
        self.tenant.member().check()?;
        self.deadline = Instant::now() + self.limits.message_timeout;
        Ok(true)
    }

    /// Reads until the buffer has `bytes` bytes.
    pub(crate) async fn fill(&mut self, bytes: usize, memory: &mut Memory) -> Result<(), End> {
        while self.buffer.len() < bytes {
            self.more(memory).await?;
        }
        Ok(())
    }

    /// Reads more of the message, at least one byte.
    pub(crate) async fn more(&mut self, memory: &mut Memory) -> Result<(), End> {
        self.cover(self.buffer.len(), memory).await;
        self.buffer.reserve(STEP_BYTES / 4);
        let read = timeout_at(self.deadline, self.stream.read_buf(&mut self.buffer)).await;
        match read.map_err(|_| End::Slow(self.limits.message_timeout))?? {
            0 => Err(End::Broken(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }

    /// Reserves memory for a message of which `bytes` bytes are needed. The wait extends the
    /// client's time limit.
    pub(crate) async fn cover(&mut self, bytes: usize, memory: &mut Memory) {
        if bytes <= STEP_BYTES || memory.place.is_some() {
            return;
        }
        let began = Instant::now();
        let (member, largest) = (self.tenant.member(), self.message_max() as u64);
        memory.place = Some(self.tenant.sharing().memory(member, largest).await);
        self.deadline += began.elapsed();
    }

    /// Reserves memory for a compressed message, which may expand to any size.
    pub(crate) async fn cover_compressed(&mut self, memory: &mut Memory) {
        self.cover(STEP_BYTES + 1, memory).await;
    }

    /// Decodes a message of `size` bytes within its memory, or on all of the shared memory.
    ///
    /// # Errors
    /// Fails if it does not yield a batch; the connection ends.
    pub(crate) async fn decode<T: Send + 'static>(
        &mut self,
        (size, memory): (usize, &mut Memory),
        read: impl Fn(&mut BatchBuilder) -> Result<T, String> + Clone + Send + 'static,
    ) -> Result<(T, Batch), End> {
        let (member, memory) = (self.tenant.member(), &mut memory.place);
        let decoded = self.put.decode(member, (size, memory), read).await;
        decoded.map_err(|error| {
            match error {
            Undecoded::Malformed(problem) => End::Malformed(problem),
            Undecoded::Excess(excess) => End::Malformed(excess.to_string()),
            Undecoded::NoMemory => End::NotStored(
                "other messages use all of the memory of this source (`in_flight_max`); retry later"
                    .into(),
            ),
        }
        })
    }

    /// Sends bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let limit = self.limits.message_timeout;
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        Ok(timeout(limit, writing).await.map_err(|_| End::Slow(limit))??)
    }

    /// Stores a batch, and waits for room until the source stops. In each round a client that waits
    /// for a reply gets `busy`; if it has disconnected, nothing is stored, because it resends the
    /// batch. A disconnection is not noticed behind data that the client sends before it has the
    /// reply.
    pub(crate) async fn store(
        &mut self,
        batch: Batch,
        memory: Memory,
        busy: Option<&[u8]>,
    ) -> Result<(), End> {
        let place = memory.place.map(|mut place| {
            // Release the memory that the message used in addition to its batch.
            place.keep(batch.size().bytes);
            Arc::new(place)
        });
        loop {
            let next = Instant::now() + ROUND;
            let storing = self.put.store(batch.clone(), place.clone(), self.tenant.member());
            let ahead = (&mut self.buffer, STEP_BYTES);
            let problem =
                match read_ahead(storing, &mut self.stream, ahead, &mut self.is_over).await {
                    Stored::All => return Ok(()),
                    Stored::Nothing(problem) => problem.to_string(),
                    Stored::Never(problem) | Stored::Unknown(problem) => {
                        return Err(End::NotStored(problem));
                    }
                };
            let is_stopping = self.put.stop.run_until_cancelled(sleep_until(next)).await.is_none();
            if is_stopping || (self.is_over && busy.is_some()) {
                return Err(End::NotStored(problem));
            }
            if let Some(busy) = busy {
                self.write(busy).await?;
            }
        }
    }
}
