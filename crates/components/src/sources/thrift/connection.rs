//! One connection: handles calls one after the other, with a reply to each.

use std::sync::Arc;

use bytes::Bytes;
use formats::thrift::{self, Fault, Head, Kind, Method, Status};
use futures::FutureExt;
use kit::decoding::{Decoding, Undecoded};
use kit::listening;
use kit::put::{Stored, Storing};
use kit::repeats::{Call, Calls};
use kit::tenants::{Client, Memory, Peer, Sharing};
use metrics::Metrics;
use pipeline::env::Stream;
use pipeline::{Batch, BatchBuilder, Env};
use support::log_rate::LogRate;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::Limits;
use super::frame::{self, End, Frame};

/// Read size for small pieces.
const BUFFER_BYTES: usize = 4 << 10;

/// State that all connections of one run share.
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) metrics: Metrics,
    pub(super) limits: Limits,
    /// Memory, and turns for memory and channels.
    pub(super) sharing: Arc<Sharing>,
    pub(super) calls: Calls,
    pub(super) storing: Arc<Storing>,
    /// Rate limit of log lines about connections that were closed because of their input.
    pub(super) log: LogRate,
}

/// Reply to a call.
enum Answer {
    Status(Status),
    Exception(Fault, String),
}

/// A connection.
pub(super) struct Connection<'a> {
    shared: &'a Shared,
    host: Arc<str>,
    client: Client,
    stream: BufReader<Box<dyn Stream>>,
    /// True at the end of input: the client has closed its side, or the connection broke.
    is_over: bool,
}

impl<'a> Connection<'a> {
    /// Creates the state of an accepted connection.
    pub(super) fn new(stream: Box<dyn Stream>, peer: Peer, shared: &'a Shared) -> Self {
        let stream = BufReader::with_capacity(BUFFER_BYTES, stream);
        let host = listening::host(&peer.address).into();
        let client = Client::new(shared.sharing.clone(), peer);
        Self { shared, host, client, stream, is_over: false }
    }

    /// Serves the connection until it ends or the source stops.
    pub(super) async fn serve(mut self, peer: &str) {
        let error = loop {
            match self.call().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => break error,
            }
        };
        let source = &self.shared.storing.source;
        match error {
            End::Broken(_) | End::Idle { .. } | End::Tenant(_) => {
                debug!(%source, peer, %error, "connection closed");
            }
            End::Slow { .. } | End::Large { .. } | End::Malformed(_) => {
                if let Some(left_out) = self.shared.log.allow(Instant::now()) {
                    warn!(%source, peer, %error, left_out, "connection closed");
                }
            }
        }
    }

    /// Reads the next call and replies; returns `false` when the client has finished or the source
    /// stops.
    async fn call(&mut self) -> Result<bool, End> {
        let stop = &self.shared.storing.stop;
        let Some(read) = stop.run_until_cancelled(self.frame()).await else { return Ok(false) };
        let Some(frame) = read? else { return Ok(false) };
        let head = frame.head.clone();
        let (answer, stored) = self.answer(frame).await;
        // If the client has disconnected, a reply would be lost.
        let written = match head.kind {
            Kind::Oneway => Ok(()),
            _ if self.is_over => Ok(()),
            _ => self.write(&head, answer).await,
        };
        if let Some(call) = stored {
            let events = call.stored(written.is_ok() && !self.is_over);
            if events > 0 {
                self.shared.count_repeated(events as u64);
                let source = &self.shared.storing.source;
                debug!(%source, host = %self.host, events,
                    "events that were sent again are not stored twice");
            }
        }
        written.map(|()| !self.is_over)
    }

    /// Returns the next frame; `None` at the end of input.
    async fn frame(&mut self) -> Result<Option<Frame>, End> {
        let Limits { idle_timeout, frame_timeout, .. } = self.shared.limits;
        let limit = idle_timeout;
        let first = timeout(limit, self.stream.fill_buf()).await;
        if first.map_err(|_| End::Idle { limit })??.is_empty() {
            return Ok(None);
        }
        let limit = frame_timeout;
        let (shared, member) = (self.shared, self.client.member());
        member.check()?;
        let reading = async {
            let mut first = [0; 4];
            self.stream.read_exact(&mut first).await?;
            frame::read(&mut self.stream, first, &shared.limits, (&shared.sharing, member)).await
        };
        timeout(limit, reading).await.map_err(|_| End::Slow { limit })?.map(Some)
    }

    async fn write(&mut self, head: &Head, answer: Answer) -> Result<(), End> {
        let protocol = self.shared.limits.protocol;
        let answer = match answer {
            Answer::Status(status) => thrift::status(protocol, head, status),
            Answer::Exception(fault, text) => thrift::exception(protocol, head, fault, &text),
        };
        let limit = self.shared.limits.frame_timeout;
        let writing = async {
            self.stream.write_all(&answer).await?;
            self.stream.flush().await
        };
        Ok(timeout(limit, writing).await.map_err(|_| End::Slow { limit })??)
    }

    /// Executes a call. The returned `Call` is present if its events are stored and it gets a
    /// reply.
    async fn answer(&mut self, Frame { head, message }: Frame) -> (Answer, Option<Call>) {
        let Head { name, kind, .. } = head;
        if !matches!(kind, Kind::Call | Kind::Oneway) {
            let text = "the message is an answer, not a call".to_owned();
            return (Answer::Exception(Fault::InvalidMessageType, text), None);
        }
        let Some(method) = Method::of(&name) else {
            let text = format!("Invalid method name: '{name}'");
            return (Answer::Exception(Fault::UnknownMethod, text), None);
        };
        let Some((message, memory)) = message else {
            return (Answer::Status(Status::Failed), None);
        };
        let (env, sharing, member) =
            (&self.shared.env, &*self.shared.sharing, self.client.member());
        let Limits { protocol, wait_max, .. } = self.shared.limits;
        let decoding = Decoding { env, sharing, member, wait_max };
        let (size, message, mut memory) = (message.len(), Bytes::from(message), Some(memory));
        let read = move |events: &mut BatchBuilder| {
            thrift::read_events(protocol, method, &message, events)
        };
        let batch = match decoding.decode(size, &mut memory, read).await {
            Ok(((), batch)) => batch,
            Err(Undecoded::NoMemory) => return (Answer::Status(Status::Failed), None),
            Err(error) => {
                if let Some(left_out) = self.shared.log.allow(Instant::now()) {
                    let source = &self.shared.storing.source;
                    warn!(%source, %error, left_out, "events of a call cannot be read");
                }
                return (Answer::Exception(Fault::ProtocolError, error.to_string()), None);
            }
        };
        let member = self.client.member();
        member.count(batch.len() as u64, batch.size().bytes, Instant::now());
        // A client never resends a call that has no reply.
        let call = (kind == Kind::Call).then(|| self.shared.calls.begin(&self.host, batch.clone()));
        let rest = call.as_ref().map_or(Some(batch), Call::rest).filter(|rest| !rest.is_empty());
        let status = match rest {
            Some(rest) => self.store(rest, memory).await,
            None => Status::Ok,
        };
        (Answer::Status(status), call.filter(|_| status == Status::Ok))
    }

    /// Stores a batch, and watches for a disconnection. That is not noticed behind data that the
    /// client sends before it has the reply.
    async fn store(&mut self, batch: Batch, memory: Option<Memory>) -> Status {
        let turn = self.shared.sharing.channel_turn(self.client.member(), batch.size().bytes);
        let storing = self.shared.storing.store(batch, memory, turn);
        let mut storing = std::pin::pin!(storing);
        let stored = loop {
            let may_read = !self.is_over && self.stream.buffer().is_empty();
            tokio::select! {
                biased;
                stored = &mut storing => break stored,
                read = self.stream.fill_buf(), if may_read => {
                    self.is_over = !matches!(read, Ok([_, ..]));
                }
            }
        };
        if !self.is_over
            && self.stream.buffer().is_empty()
            && let Some(read) = self.stream.fill_buf().now_or_never()
        {
            self.is_over = !matches!(read, Ok([_, ..]));
        }
        match stored {
            Stored::All => Status::Ok,
            Stored::Nothing(_) => Status::Failed,
            Stored::Unknown => Status::Unknown,
            Stored::Never(problem) => {
                // The client resends it for ever, and makes no progress.
                warn!(source = %self.shared.storing.source, problem, "a call can never be stored");
                Status::Error
            }
        }
    }
}

impl Shared {
    fn count_repeated(&self, events: u64) {
        self.metrics.count_anomaly(&self.storing.source, "repeated_events", events);
    }
}
