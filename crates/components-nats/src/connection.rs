//! A connection to a server, with one subscription to its inbox.
//!
//! ```text
//!   handle ──bytes──► pump ──► stream         the pump is a task: it replies to the server's PING
//!      ▲               │                      while the handle is busy
//!      └──messages ◄───┘
//!
//!   _INBOX.RANDOM.7     subject of the reply to request number 7
//!
//! # Invariants
//!
//! 1. Dropping the handle ends the pump: nothing more is written.
//! 2. Unprocessed input is bounded by the requests: everything else that arrives is small. So input
//!    never waits, and output never waits for input.

mod greeting;

use std::sync::Arc;
use std::time::Duration;

use kit::first::first_reachable;
use pipeline::env::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::protocol::{self, Decoder, Incoming, Info, Message};
use crate::refusal::{NatsError, said};
use crate::server::Target;
use greeting::{Greeted, Greeting};

/// Read size.
const READ_BYTES: usize = 16 << 10;

/// Capacity of the queue to the stream.
const WAITING_MAX: usize = 16;

/// Input; an error is the reason why the connection has ended.
type Came = Result<Incoming, String>;

/// An open connection.
pub(crate) struct Connection {
    pub(crate) address: Arc<str>,
    /// The server's `INFO`.
    pub(crate) info: Info,
    /// Advice for a rejected login.
    remedy: String,
    inbox: String,
    /// Number of the next request.
    next: u64,
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
    /// Connects to the first address that works.
    ///
    /// # Errors
    /// Fails if none works; returns the last error.
    pub(crate) async fn open(target: &Target, client_id: &str) -> Result<Self, NatsError> {
        let open = |address| Self::open_at(target, address, client_id);
        let limit = target.timeout;
        let what = "a connection";
        let silent = |address| NatsError::NoAnswer { address, what: what.into(), limit };
        first_reachable(&target.addresses, limit, open, silent).await
    }

    async fn open_at(
        target: &Target,
        address: &Arc<str>,
        client_id: &str,
    ) -> Result<Self, NatsError> {
        let stream = target.env.net.connect(address).await;
        let stream =
            stream.map_err(|source| NatsError::Connect { address: address.clone(), source })?;
        let inbox = format!("_INBOX.{:032x}", u128::from_be_bytes(target.env.entropy.bytes16()));
        let greeting = Greeting { address, stream, decoder: Decoder::default() };
        let greeted = greeting.run(target, client_id, &inbox).await?;
        let Greeted { info, stream, decoder, remedy } = greeted;
        let (outgoing, waiting) = mpsc::channel(WAITING_MAX);
        let (came, incoming) = mpsc::unbounded_channel();
        // The pump itself sends replies, and must not wait for itself.
        let pump = pump(stream, decoder, waiting, came, target.heartbeat);
        let (address, pump) = (address.clone(), tokio::spawn(pump));
        Ok(Self { address, info, remedy, inbox, next: 0, outgoing, incoming, pump })
    }

    /// Returns true if the connection is open, as far as this side knows.
    pub(crate) fn is_open(&self) -> bool {
        !self.outgoing.is_closed()
    }

    /// Returns the subject for the reply to the next request, and its number.
    pub(crate) fn inbox(&mut self) -> (String, u64) {
        self.next += 1;
        (format!("{}.{}", self.inbox, self.next), self.next)
    }

    /// Returns the number of the request that a message replies to; `None` for a message of a
    /// stream.
    pub(crate) fn answers(&self, message: &Message) -> Option<u64> {
        message.subject.strip_prefix(&*self.inbox)?.strip_prefix('.')?.parse().ok()
    }

    /// Sends operations.
    ///
    /// # Errors
    /// Fails if the connection has ended.
    pub(crate) async fn send(&mut self, operations: Vec<u8>) -> Result<(), NatsError> {
        match self.outgoing.send(operations).await {
            Ok(()) => Ok(()),
            // The last input contains the reason.
            Err(_) => loop {
                self.next().await?;
            },
        }
    }

    /// Sends a request, and waits for the reply. Drops other messages, so do not call it while
    /// messages are expected. `what` describes the request.
    ///
    /// # Errors
    /// Fails without a reply, or if the connection has ended.
    pub(crate) async fn ask(
        &mut self,
        subject: &str,
        body: &[u8],
        (what, limit): (&str, Duration),
    ) -> Result<Message, NatsError> {
        let (inbox, number) = self.inbox();
        let mut out = Vec::new();
        protocol::publish(&mut out, subject, Some(&inbox), (b"", body));
        self.send(out).await?;
        let answer = timeout(limit, async {
            loop {
                let message = self.next().await?;
                if self.answers(&message) == Some(number) {
                    return Ok(message);
                }
            }
        });
        let answer = answer.await;
        answer.unwrap_or_else(|_| {
            let (address, what) = (self.address.clone(), what.to_owned());
            Err(NatsError::NoAnswer { address, what, limit })
        })
    }

    /// Returns the next message. Cancel safe.
    ///
    /// # Errors
    /// Fails if the server refuses something, or the connection has ended.
    pub(crate) async fn next(&mut self) -> Result<Message, NatsError> {
        loop {
            match self.incoming.recv().await {
                Some(Ok(Incoming::Message(message))) => return Ok(message),
                Some(Ok(Incoming::Error(words))) => {
                    return Err(match said(&self.address, &words, &self.remedy) {
                        // Earlier messages may have been stored.
                        NatsError::Login { problem, remedy, .. } => {
                            self.ended(format!("the server rejects the login: {problem}; {remedy}"))
                        }
                        error => error,
                    });
                }
                Some(Ok(Incoming::Info(_) | Incoming::Ping | Incoming::Pong)) => {}
                Some(Err(problem)) => return Err(self.ended(problem)),
                None => return Err(self.ended("the server closed the connection")),
            }
        }
    }

    /// Creates an error of this connection.
    pub(crate) fn ended(&self, problem: impl Into<String>) -> NatsError {
        NatsError::Ended { address: self.address.clone(), problem: problem.into() }
    }
}

/// Moves operations until one side ends.
async fn pump(
    stream: Box<dyn Stream>,
    decoder: Decoder,
    outgoing: mpsc::Receiver<Vec<u8>>,
    came: mpsc::UnboundedSender<Came>,
    heartbeat: Duration,
) {
    let (read, write) = tokio::io::split(stream);
    let (asked, pings) = mpsc::unbounded_channel();
    let problem = tokio::select! {
        problem = reading(read, decoder, (&came, asked), heartbeat) => problem,
        problem = writing(write, (outgoing, pings), heartbeat) => problem,
    };
    // The handle may be gone.
    let _gone = came.send(Err(problem));
}

/// Reads until the connection ends; returns the reason. Passes the server's PING to `asked`.
async fn reading(
    mut stream: ReadHalf<Box<dyn Stream>>,
    mut decoder: Decoder,
    (came, asked): (&mpsc::UnboundedSender<Came>, mpsc::UnboundedSender<()>),
    heartbeat: Duration,
) -> String {
    loop {
        loop {
            match decoder.next() {
                Ok(Some(Incoming::Ping)) => {
                    // The other half of the pump lives as long as this one.
                    let _ended = asked.send(());
                }
                Ok(Some(Incoming::Pong)) => {}
                Ok(Some(incoming)) => {
                    if came.send(Ok(incoming)).is_err() {
                        return "this client closed the connection".into();
                    }
                }
                Ok(None) => break,
                Err(problem) => return problem,
            }
        }
        decoder.buffer.reserve(READ_BYTES);
        // The server replies to the PING that `writing` sends.
        match timeout(2 * heartbeat, stream.read_buf(&mut decoder.buffer)).await {
            Ok(Ok(0)) => return "the server closed the connection".into(),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no data for {:?}, not even a heartbeat", 2 * heartbeat),
        }
    }
}

/// Writes until the connection ends; returns the reason.
async fn writing(
    mut stream: WriteHalf<Box<dyn Stream>>,
    (mut outgoing, mut pings): (mpsc::Receiver<Vec<u8>>, mpsc::UnboundedReceiver<()>),
    heartbeat: Duration,
) -> String {
    let mut beat = interval(heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let operations = tokio::select! {
            operations = outgoing.recv() => match operations {
                Some(operations) => operations,
                None => return "this client closed the connection".into(),
            },
            Some(()) = pings.recv() => b"PONG\r\n".to_vec(),
            _ = beat.tick() => b"PING\r\n".to_vec(),
        };
        let written = async {
            stream.write_all(&operations).await?;
            while let Ok(operations) = outgoing.try_recv() {
                stream.write_all(&operations).await?;
            }
            stream.flush().await
        };
        if let Err(error) = written.await {
            return error.to_string();
        }
    }
}
