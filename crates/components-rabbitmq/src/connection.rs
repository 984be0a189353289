//! A connection to a broker, with one channel.
//!
//! ```text
//!   handle ──frames──► pump ──► stream        the pump is a task: it sends heartbeats while the
//!      ▲                │                     handle is busy
//!      └──input ◄───────┘
//! ```
//!
//! # Invariants
//!
//! 1. Dropping the handle ends the pump: nothing more is written, and the broker requeues
//!    unacknowledged messages.
//! 2. Decoded and unconsumed input is at most [`HELD_BYTES_MAX`] and one message: at that limit the
//!    stream is not read.

mod greeting;

use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::channel::AMQPMethod as OfChannel;
use amq_protocol::protocol::connection::{AMQPMethod as OfConnection, Close, CloseOk};
use kit::first::first_reachable;
use pipeline::env::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::broker::Target;
use crate::frames::{self, Decoder, Incoming};
use crate::refusal::{RabbitError, closed, of_message};
use greeting::Greeting;

/// Number of the connection's channel.
pub(crate) const CHANNEL: u16 = 1;

/// Class and method of publishing, with which a broker names the cause of a closed channel.
const BASIC_PUBLISH: (u16, u16) = (60, 40);

/// Maximum memory of decoded and unconsumed input.
const HELD_BYTES_MAX: u32 = 32 << 20;

/// Capacity of the queue to the stream.
const WAITING_MAX: usize = 16;

/// Input, with its share of [`HELD_BYTES_MAX`].
type Came = Result<(Incoming, OwnedSemaphorePermit), String>;

/// An open connection.
pub(crate) struct Connection {
    pub(crate) address: Arc<str>,
    /// Maximum size of a frame.
    pub(crate) frame_max: usize,
    outgoing: mpsc::Sender<Vec<u8>>,
    incoming: mpsc::UnboundedReceiver<Came>,
    pump: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Connection {
    /// Connects to the first address that works. Skips bodies over `body_max` bytes.
    ///
    /// # Errors
    /// Fails if none works; returns the last error.
    pub(crate) async fn open(
        target: &Target,
        client_id: &str,
        body_max: u64,
    ) -> Result<Self, RabbitError> {
        let open = |address| Self::open_at(target, address, client_id, body_max);
        let limit = target.timeout;
        let silent = |address| RabbitError::NoAnswer { address, limit };
        first_reachable(&target.addresses, limit, open, silent).await
    }

    async fn open_at(
        target: &Target,
        address: &Arc<str>,
        client_id: &str,
        body_max: u64,
    ) -> Result<Self, RabbitError> {
        let stream = target.dialer.connect(address).await;
        let stream =
            stream.map_err(|source| RabbitError::Connect { address: address.clone(), source })?;
        let mut greeting =
            Greeting { address, stream, decoder: Decoder::new(body_max), step: "a connection" };
        let (frame_max, heartbeat_s) = greeting.run(target, client_id).await?;
        let Greeting { stream, decoder, .. } = greeting;
        let (outgoing, waiting) = mpsc::channel(WAITING_MAX);
        let (came, incoming) = mpsc::unbounded_channel();
        let heartbeat = Duration::from_secs(u64::from(heartbeat_s));
        let pump = tokio::spawn(pump(stream, decoder, waiting, came, heartbeat));
        Ok(Self { address: address.clone(), frame_max, outgoing, incoming, pump })
    }

    /// Returns true if the connection is open, as far as this side knows.
    pub(crate) fn is_open(&self) -> bool {
        !self.outgoing.is_closed()
    }

    /// Returns true if there is no unconsumed input, such as a refusal.
    pub(crate) fn is_quiet(&self) -> bool {
        self.incoming.is_empty()
    }

    /// Sends frames.
    ///
    /// # Errors
    /// Fails if the connection has ended.
    pub(crate) async fn send(&mut self, frames: Vec<u8>) -> Result<(), RabbitError> {
        match self.outgoing.send(frames).await {
            Ok(()) => Ok(()),
            // The last input contains the reason.
            Err(_) => loop {
                self.next("it").await?;
            },
        }
    }

    /// Sends a method to the channel.
    ///
    /// # Errors
    /// Fails if the connection has ended.
    pub(crate) async fn tell(&mut self, class: AMQPClass) -> Result<(), RabbitError> {
        self.send(frames::method(CHANNEL, class)).await
    }

    /// Sends a method, and waits for the reply; only before messages arrive. `what` describes the
    /// request.
    ///
    /// # Errors
    /// Fails if the broker refuses, or the connection has ended.
    pub(crate) async fn ask(
        &mut self,
        class: AMQPClass,
        what: &str,
        limit: Duration,
    ) -> Result<AMQPClass, RabbitError> {
        self.tell(class).await?;
        let answer = timeout(limit, self.next(what)).await;
        match answer {
            Ok(Ok(Incoming::Method(_, class))) => Ok(class),
            Ok(Ok(Incoming::Content(..))) => {
                Err(self.ended("the broker sent an unexpected message"))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(RabbitError::NoAnswer { address: self.address.clone(), limit }),
        }
    }

    /// Returns the next input: a message, or a method of the channel. Cancel safe. `what` describes
    /// the request in case of a refusal.
    ///
    /// # Errors
    /// Fails if the broker has closed the connection or the channel, or the connection has ended.
    pub(crate) async fn next(&mut self, what: &str) -> Result<Incoming, RabbitError> {
        loop {
            let came = self.incoming.recv().await;
            let (incoming, _room) = match came {
                Some(Ok(came)) => came,
                Some(Err(problem)) => return Err(self.ended(problem)),
                None => return Err(self.ended("the broker closed the connection")),
            };
            match incoming {
                Incoming::Method(_, AMQPClass::Connection(of_connection)) => {
                    self.of_connection(what, of_connection)?;
                }
                Incoming::Method(_, AMQPClass::Channel(OfChannel::Close(close))) => {
                    let (code, text) = (close.reply_code, close.reply_text.as_str());
                    let is_publish = (close.class_id, close.method_id) == BASIC_PUBLISH;
                    let of_message =
                        is_publish.then(|| of_message(&self.address, code, text)).flatten();
                    let of_channel = || closed(&self.address, what, code, text);
                    return Err(of_message.unwrap_or_else(of_channel));
                }
                // RabbitMQ does not use channel flow: it applies backpressure to the stream.
                Incoming::Method(_, AMQPClass::Channel(OfChannel::Flow(_))) => {}
                other => return Ok(other),
            }
        }
    }

    fn of_connection(&self, what: &str, method: OfConnection) -> Result<(), RabbitError> {
        match method {
            OfConnection::Close(close) => {
                // The connection ends, whether this is sent or not.
                let answer = AMQPClass::Connection(OfConnection::CloseOk(CloseOk {}));
                let _full = self.outgoing.try_send(frames::method(0, answer));
                Err(closed(&self.address, what, close.reply_code, close.reply_text.as_str()))
            }
            // The broker waits for this side to close the stream.
            OfConnection::CloseOk(_) => Err(self.ended("the broker closed the connection")),
            OfConnection::Blocked(blocked) => {
                warn!(
                    broker = %self.address, reason = %blocked.reason,
                    "the broker is low on memory or disk space and accepts no messages; sinks wait \
                     and resume automatically; free some, or add more"
                );
                Ok(())
            }
            OfConnection::Unblocked(_) => {
                info!(broker = %self.address, "the broker accepts messages again");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Sends everything that is queued and closes the connection; waits for `limit` at most.
    pub(crate) async fn close(mut self, limit: Duration) {
        let close =
            Close { reply_code: 200, reply_text: "stopped".into(), class_id: 0, method_id: 0 };
        let _late = timeout(limit, async {
            let close = AMQPClass::Connection(OfConnection::Close(close));
            self.send(frames::method(0, close)).await?;
            while self.next("the end").await.is_ok() {}
            Ok::<(), RabbitError>(())
        })
        .await;
    }

    /// Creates an error of this connection.
    pub(crate) fn ended(&self, problem: impl Into<String>) -> RabbitError {
        RabbitError::Ended { address: self.address.clone(), problem: problem.into() }
    }
}

/// Moves frames until one side ends.
async fn pump(
    stream: Box<dyn Stream>,
    decoder: Decoder,
    outgoing: mpsc::Receiver<Vec<u8>>,
    came: mpsc::UnboundedSender<Came>,
    heartbeat: Duration,
) {
    let (read, write) = tokio::io::split(stream);
    let problem = tokio::select! {
        problem = reading(read, decoder, &came, heartbeat) => problem,
        problem = writing(write, outgoing, heartbeat) => problem,
    };
    // The handle may be gone.
    let _gone = came.send(Err(problem));
}

/// Reads until the connection ends; returns the reason.
async fn reading(
    mut stream: ReadHalf<Box<dyn Stream>>,
    mut decoder: Decoder,
    came: &mpsc::UnboundedSender<Came>,
    heartbeat: Duration,
) -> String {
    let held = Arc::new(Semaphore::new(HELD_BYTES_MAX as usize));
    loop {
        loop {
            let incoming = match decoder.next() {
                Ok(Some(incoming)) => incoming,
                Ok(None) => break,
                Err(problem) => return problem,
            };
            let bytes = u32::try_from(decoder.held).unwrap_or(u32::MAX).min(HELD_BYTES_MAX);
            let room = held.clone().acquire_many_owned(bytes).await;
            let room = room.expect("it is not closed");
            if came.send(Ok((incoming, room))).is_err() {
                return "this client closed the connection".into();
            }
        }
        // The broker sends something within half of it. The protocol requires waiting twice as
        // long.
        match timeout(2 * heartbeat, stream.read_buf(&mut decoder.buffer)).await {
            Ok(Ok(0)) => return "the broker closed the connection".into(),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no data for {:?}, not even a heartbeat", 2 * heartbeat),
        }
    }
}

/// Writes until the connection ends; returns the reason.
async fn writing(
    mut stream: WriteHalf<Box<dyn Stream>>,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
    heartbeat: Duration,
) -> String {
    loop {
        let written = async {
            match timeout(heartbeat / 2, outgoing.recv()).await {
                Ok(Some(frames)) => stream.write_all(&frames).await?,
                Ok(None) => return Ok(false),
                Err(_) => stream.write_all(&frames::heartbeat()).await?,
            }
            while let Ok(frames) = outgoing.try_recv() {
                stream.write_all(&frames).await?;
            }
            stream.flush().await?;
            Ok::<_, std::io::Error>(true)
        };
        match written.await {
            Ok(true) => {}
            Ok(false) => return "this client closed the connection".into(),
            Err(error) => return error.to_string(),
        }
    }
}
