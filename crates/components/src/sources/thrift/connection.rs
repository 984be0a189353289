//! One connection: one call after the other, and the answer to each.

use std::sync::Arc;

use pipeline::env::Stream;
use pipeline::{Batch, Classify, Env, ErrorClass, Intake};
use support::log_rate::LogRate;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::Limits;
use super::frame::{self, End, Frame};
use crate::sources::storing::{self, NotStored};
use crate::thrift::{self, Fault, Head, Kind, Malformed, Method, Status};

/// Bytes that are read at a time of what comes in small pieces.
const BUFFER_BYTES: usize = 4 << 10;

/// Messages of more bytes are read in a thread of their own: it takes milliseconds.
const LARGE_BYTES: usize = 256 << 10;

/// What all connections of one run share.
pub(super) struct Shared {
    pub(super) source: Arc<str>,
    pub(super) env: Env,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) stop: CancellationToken,
    pub(super) limits: Limits,
    pub(super) budget: Arc<Semaphore>,
    /// Batches that are being stored: they go on to their end, whatever becomes of their client.
    pub(super) work: TaskTracker,
    /// Lines about connections that were closed for what they sent.
    pub(super) log: LogRate,
}

/// What a call is answered.
enum Answer {
    Status(Status),
    Exception(Fault, String),
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: Box<dyn Stream>, peer: String, shared: Arc<Shared>) {
    let mut stream = BufReader::with_capacity(BUFFER_BYTES, stream);
    let error = loop {
        match shared.call(&mut stream).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => break error,
        }
    };
    let source = &shared.source;
    match error {
        End::Broken(_) | End::Idle { .. } => debug!(%source, peer, %error, "connection closed"),
        End::Slow { .. } | End::Large { .. } | End::Malformed(_) => {
            if let Some(left_out) = shared.log.allow(Instant::now()) {
                warn!(%source, peer, %error, left_out, "connection closed");
            }
        }
    }
}

impl Shared {
    /// Reads and answers the next call; `false` when there is none: the client is done, or the
    /// source stops.
    async fn call(&self, stream: &mut BufReader<Box<dyn Stream>>) -> Result<bool, End> {
        let Limits { idle_timeout, frame_timeout, .. } = self.limits;
        let reading = async {
            let limit = idle_timeout;
            let first = timeout(limit, stream.fill_buf()).await;
            if first.map_err(|_| End::Idle { limit })??.is_empty() {
                return Ok(None);
            }
            let limit = frame_timeout;
            let reading = async {
                let mut first = [0; 4];
                stream.read_exact(&mut first).await?;
                frame::read(stream, first, &self.limits, &self.budget).await
            };
            timeout(limit, reading).await.map_err(|_| End::Slow { limit })?.map(Some)
        };
        let Some(read) = self.stop.run_until_cancelled(reading).await else { return Ok(false) };
        let Some(frame) = read? else { return Ok(false) };
        let head = frame.head.clone();
        let answer = self.answer(frame).await;
        if head.kind == Kind::Oneway {
            return Ok(true);
        }
        let protocol = self.limits.protocol;
        let answer = match answer {
            Answer::Status(status) => thrift::status(protocol, &head, status),
            Answer::Exception(fault, text) => thrift::exception(protocol, &head, fault, &text),
        };
        let limit = frame_timeout;
        let writing = async {
            stream.write_all(&answer).await?;
            stream.flush().await
        };
        timeout(limit, writing).await.map_err(|_| End::Slow { limit })??;
        Ok(true)
    }

    /// Does what a call asks for.
    async fn answer(&self, Frame { head, message }: Frame) -> Answer {
        let Head { name, kind, .. } = head;
        if !matches!(kind, Kind::Call | Kind::Oneway) {
            let text = "the message is an answer, not a call".to_owned();
            return Answer::Exception(Fault::InvalidMessageType, text);
        }
        let Some(method) = Method::of(&name) else {
            let text = format!("Invalid method name: '{name}'");
            return Answer::Exception(Fault::UnknownMethod, text);
        };
        let Some((message, memory)) = message else { return Answer::Status(Status::Failed) };
        match self.batch(method, message).await {
            Ok(batch) if batch.is_empty() => Answer::Status(Status::Ok),
            Ok(batch) => Answer::Status(self.store(batch, memory).await),
            Err(error) => {
                if let Some(left_out) = self.log.allow(Instant::now()) {
                    let source = &self.source;
                    warn!(%source, %error, left_out, "events of a call cannot be read");
                }
                Answer::Exception(Fault::ProtocolError, error.to_string())
            }
        }
    }

    async fn batch(&self, method: Method, message: Vec<u8>) -> Result<Batch, Malformed> {
        let protocol = self.limits.protocol;
        if message.len() < LARGE_BYTES {
            return thrift::batch(protocol, method, &message);
        }
        self.env.offload(move || thrift::batch(protocol, method, &message)).await
    }

    /// Stores a batch in a task of its own, which goes on if the client breaks off.
    async fn store(&self, batch: Batch, memory: OwnedSemaphorePermit) -> Status {
        let (intake, wait_max) = (self.intake.clone(), self.limits.wait_max);
        let (source, stop) = (self.source.clone(), self.stop.clone());
        let storing = self.work.spawn(async move {
            let _memory = memory;
            match storing::store(&*intake, batch, wait_max, &stop).await {
                Ok(()) => Status::Ok,
                Err(NotStored::Full | NotStored::Stopping) => Status::Failed,
                Err(NotStored::Refused(error)) => {
                    warn!(%source, %error, "a call finds no channel that takes it");
                    match error.class() {
                        ErrorClass::Poison => Status::Error,
                        _ => Status::Failed,
                    }
                }
                Err(NotStored::Failed(error)) => {
                    warn!(%source, %error, "events of a call may not be stored");
                    Status::Unknown
                }
            }
        });
        storing.await.unwrap_or(Status::Unknown)
    }
}
