//! One connection: handles calls one after the other, with a reply to each.

use std::sync::Arc;

use bytes::Bytes;
use formats::thrift::{self, Fault, Head, Kind, Method, Status};
use futures::FutureExt;
use kit::decoding::Undecoded;
use kit::repeats::Call;
use kit::serve::{Connected, Put, Stored};
use kit::tenants::{Client, Memory};
use pipeline::env::Stream;
use pipeline::{Batch, BatchBuilder};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::Thrift;
use super::frame::{self, End, Frame};

/// Read size for small pieces.
const BUFFER_BYTES: usize = 4 << 10;

/// Reply to a call.
enum Answer {
    Status(Status),
    Exception(Fault, String),
}

/// A connection.
pub(super) struct Connection<'a> {
    thrift: &'a Thrift,
    put: &'a Arc<Put>,
    host: Arc<str>,
    client: Client,
    stream: BufReader<Box<dyn Stream>>,
    /// True at the end of input: the client has closed its side, or the connection broke.
    is_over: bool,
}

impl<'a> Connection<'a> {
    /// Creates the state of an accepted connection.
    pub(super) fn new(connected: Connected, thrift: &'a Thrift, put: &'a Arc<Put>) -> Self {
        let Connected { stream, client, host, .. } = connected;
        let stream = BufReader::with_capacity(BUFFER_BYTES, stream);
        Self { thrift, put, host, client, stream, is_over: false }
    }

    /// Reads the next call and replies; returns `false` when the client has finished or the source
    /// stops.
    pub(super) async fn call(&mut self) -> Result<bool, End> {
        let Some(read) = self.put.stop.run_until_cancelled(self.frame()).await else {
            return Ok(false);
        };
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
            self.put.answered(call, &self.host, written.is_ok() && !self.is_over).await;
        }
        written.map(|()| !self.is_over)
    }

    /// Returns the next frame; `None` at the end of input.
    async fn frame(&mut self) -> Result<Option<Frame>, End> {
        let limit = self.thrift.idle_timeout;
        let first = timeout(limit, self.stream.fill_buf()).await;
        if first.map_err(|_| End::Idle { limit })??.is_empty() {
            return Ok(None);
        }
        let limit = self.thrift.frame_timeout;
        let member = self.client.member();
        member.check()?;
        let reading = async {
            let mut first = [0; 4];
            self.stream.read_exact(&mut first).await?;
            frame::read(&mut self.stream, first, self.thrift, (self.put, member)).await
        };
        timeout(limit, reading).await.map_err(|_| End::Slow { limit })?.map(Some)
    }

    async fn write(&mut self, head: &Head, answer: Answer) -> Result<(), End> {
        let protocol = self.thrift.protocol;
        let answer = match answer {
            Answer::Status(status) => thrift::status(protocol, head, status),
            Answer::Exception(fault, text) => thrift::exception(protocol, head, fault, &text),
        };
        let limit = self.thrift.frame_timeout;
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
            let text =
                "the Thrift message is a response, not a request; correct the client".to_owned();
            return (Answer::Exception(Fault::InvalidMessageType, text), None);
        }
        let Some(method) = Method::of(&name) else {
            let text = format!("Invalid method name: '{name}'");
            return (Answer::Exception(Fault::UnknownMethod, text), None);
        };
        let Some((message, memory)) = message else {
            return (Answer::Status(Status::Failed), None);
        };
        let (protocol, member) = (self.thrift.protocol, self.client.member());
        let (size, message, mut memory) = (message.len(), Bytes::from(message), Some(memory));
        let read = move |events: &mut BatchBuilder| {
            thrift::read_events(protocol, method, &message, events)
        };
        let batch = match self.put.decode(member, (size, &mut memory), read).await {
            Ok(((), batch)) => batch,
            Err(Undecoded::NoMemory) => return (Answer::Status(Status::Failed), None),
            Err(error) => {
                if let Some(left_out) = self.put.may_log() {
                    let source = &self.put.source;
                    warn!(
                        %source, %error, left_out,
                        "cannot read the events of a Thrift request; the client gets an exception, \
                         and no event of the request is stored"
                    );
                }
                return (Answer::Exception(Fault::ProtocolError, error.to_string()), None);
            }
        };
        member.count(batch.len() as u64, batch.size().bytes, Instant::now());
        // A client never resends a call that has no reply.
        let (call, rest, memory) = match kind {
            Kind::Call => {
                let (calls, work) = (&self.thrift.calls, (batch, memory));
                let (call, memory) = self.put.begin(calls, &self.host, work).await;
                let rest = call.rest();
                (Some(call), rest, memory)
            }
            _ => (None, Some(batch), memory),
        };
        let rest = rest.filter(|rest| !rest.is_empty());
        let status = match rest {
            Some(rest) => self.store(rest, memory).await,
            None => Status::Ok,
        };
        (Answer::Status(status), call.filter(|_| status == Status::Ok))
    }

    /// Stores a batch, and watches for a disconnection. That is not noticed behind data that the
    /// client sends before it has the reply.
    async fn store(&mut self, batch: Batch, memory: Option<Memory>) -> Status {
        let storing = self.put.store(batch, memory, self.client.member());
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
            Stored::Unknown(_) => Status::Unknown,
            Stored::Never(problem) => {
                // The client resends it for ever, and makes no progress.
                warn!(
                    source = %self.put.source, problem,
                    "rejected a request that no channel can ever store; the client may resend it \
                     endlessly: enlarge the channel, or send smaller batches"
                );
                Status::Error
            }
        }
    }
}
