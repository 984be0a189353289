//! One connection: handles calls in order.

mod alarm;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use formats::avro::Malformed;
use formats::avro::call::{Answer, Session, Status, Step};
use formats::avro::coding::{Coding, is_zlib};
use formats::avro::events::{self, Events};
use formats::avro::frame::{self, Deframer, Frame, TooLarge};
use kit::decoding::Undecoded;
use kit::serve::{Connected, NoRoom, Put, Stored, read_ahead};
use kit::storing::units;
use kit::tenants::{Client, Memory, Over};
use pipeline::env::Stream;
use pipeline::{Batch, BatchBuilder};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::{debug, warn};

use super::{Avro, Compression};
use alarm::Alarm;

/// Read size and decompression size. A connection may use this much for each without a part of the
/// budget.
const READ_BYTES: usize = 32 << 10;

/// The first byte of a TLS record.
const TLS: u8 = 0x16;

/// Reason why a connection ended before its client closed it.
#[derive(Debug, Error)]
pub(super) enum Ended {
    #[error("lost the connection to the client, which resends unacknowledged events")]
    Broken(#[from] io::Error),
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(
        "receiving a request from the client or sending its response took more than {0:?} \
         (`request_timeout`); check the network and the client, or raise the limit"
    )]
    Slow(Duration),
    #[error("no request from the client for {0:?} (`idle_timeout`), so its connection is closed")]
    Idle(Duration),
    #[error(
        "other connections use all of the memory of this source, so the client has to retry later; \
         if this lasts, raise `in_flight_max`"
    )]
    Memory,
    #[error(transparent)]
    Tenant(#[from] Over),
    #[error(
        "the client uses TLS, but this source has no table `tls`: set it here, or disable TLS at \
         the client"
    )]
    Tls,
}

/// A connection.
pub(super) struct Connection<'a> {
    avro: &'a Avro,
    put: &'a Arc<Put>,
    host: Arc<str>,
    client: Client,
    stream: Box<dyn Stream>,
    /// Bytes before decompression.
    coded: BytesMut,
    plain: BytesMut,
    /// `None` before the first byte.
    coding: Option<Coding>,
    deframer: Deframer,
    session: Session,
    /// True after the first call.
    has_called: bool,
    /// Part of the budget, for the incoming call.
    memory: Option<Memory>,
    alarm: Alarm,
    /// Resolves when the source stops.
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    /// True at the end of input: the client has closed its side, or the connection broke.
    is_over: bool,
}

impl<'a> Connection<'a> {
    /// Creates the state of an accepted connection.
    pub(super) fn new(connected: Connected, avro: &'a Avro, put: &'a Arc<Put>) -> Self {
        let Connected { stream, client, host, .. } = connected;
        let coding = match avro.compression {
            Compression::Auto => None,
            Compression::None => Some(Coding::of_server(false)),
            Compression::Deflate => Some(Coding::of_server(true)),
        };
        Self {
            avro,
            put,
            host,
            client,
            stream,
            coded: BytesMut::new(),
            plain: BytesMut::new(),
            coding,
            deframer: Deframer::new(avro.request_max),
            session: Session::default(),
            has_called: false,
            memory: None,
            alarm: Alarm::new(avro.request_timeout),
            stopped: Box::pin(put.stop.clone().cancelled_owned()),
            is_over: false,
        }
    }

    /// Serves the connection until it ends or the source stops.
    ///
    /// # Errors
    /// Returns the reason if neither the client nor a stop ended it.
    pub(super) async fn serve(mut self) -> Result<(), Ended> {
        while let Some(frame) = self.frame().await? {
            self.answer(frame).await?;
        }
        Ok(())
    }

    /// Returns the next call; `None` at the end.
    async fn frame(&mut self) -> Result<Option<Frame>, Ended> {
        let mut begun: Option<Instant> = None;
        loop {
            if let Some(frame) = self.decoded().await? {
                return Ok(Some(frame));
            }
            if self.is_over {
                return Ok(None);
            }
            let is_within = self.deframer.is_within() || !self.plain.is_empty();
            let now = Instant::now();
            // Before the first call a shorter limit applies than between two calls.
            let limit = if is_within || !self.has_called {
                Ended::Slow(self.avro.request_timeout)
            } else {
                Ended::Idle(self.avro.idle_timeout)
            };
            let deadline = match limit {
                Ended::Idle(limit) => now + limit,
                _ => *begun.get_or_insert(now) + self.avro.request_timeout,
            };
            if self.put.stop.is_cancelled() {
                // Do not wait for the rest of a call: its client has no reply yet.
                return Ok(None);
            }
            self.coded.reserve(READ_BYTES);
            let read = tokio::select! {
                biased;
                read = self.alarm.until(deadline, self.stream.read_buf(&mut self.coded)) => read,
                () = &mut self.stopped => return Ok(None),
            };
            match read {
                Some(Ok(0)) => self.is_over = true,
                Some(read) => drop(read?),
                None => return Err(limit),
            }
        }
    }

    /// Returns the next call in the buffered input.
    async fn decoded(&mut self) -> Result<Option<Frame>, Ended> {
        let Some(&first) = self.coded.first().or(self.plain.first()) else { return Ok(None) };
        if self.coding.is_none() && first == TLS {
            return Err(Ended::Tls);
        }
        loop {
            // Serve complete calls before decoding later bytes, which may be damaged.
            if let Some(frame) = self.deframer.next(&mut self.plain)? {
                if self.plain.is_empty() {
                    // Even an empty slice would prevent the next read from reusing the buffer.
                    self.plain = BytesMut::new();
                }
                return Ok(Some(frame));
            }
            self.hold().await?;
            let coding = self.coding.get_or_insert_with(|| Coding::of_server(is_zlib(first)));
            if !coding.decode(&mut self.coded, &mut self.plain, READ_BYTES)? {
                return Ok(None);
            }
        }
    }

    /// Reserves memory for the received part of a call, and for the next step.
    async fn hold(&mut self) -> Result<(), Ended> {
        let member = self.client.member();
        member.check()?;
        self.fits(self.deframer.held())?;
        let held = self.memory.as_ref().map_or(0, Memory::units);
        let beyond = self.deframer.held().div_ceil(READ_BYTES).saturating_sub(1) * READ_BYTES;
        let needed = units(beyond as u64);
        if beyond == 0 || needed <= held {
            return Ok(());
        }
        let more = self.put.memory(member, u64::from(needed - held) << 10).await;
        let more = more.ok_or(Ended::Memory)?;
        match &mut self.memory {
            Some(memory) => memory.merge(more),
            None => self.memory = Some(more),
        }
        Ok(())
    }

    /// Checks that a call of `bytes` bytes is within the tenant's own limit.
    fn fits(&self, bytes: usize) -> Result<(), Ended> {
        let member = self.client.member();
        let largest = self.avro.request_max as u64;
        if bytes as u64 <= member.message_max(largest) {
            return Ok(());
        }
        member.too_large().map_or(Ok(()), |over| Err(over.into()))
    }

    /// Handles a call and replies.
    async fn answer(&mut self, Frame { serial, payload }: Frame) -> Result<(), Ended> {
        let mut memory = self.memory.take();
        self.has_called = true;
        let bytes = payload.len();
        self.fits(bytes)?;
        match self.session.read(&payload) {
            Step::Append { answer, events } => {
                let (is_batch, begin) = (events.is_batch, bytes - events.bytes.len());
                // Bytes that are read while the batch is being stored use the same memory.
                let read = move |batch: &mut BatchBuilder| {
                    events::read(Events { bytes: &payload[begin..], is_batch }, batch)
                };
                let member = self.client.member();
                let read = self.put.decode(member, (bytes, &mut memory), read).await;
                let read = (read.map(|((), batch)| batch), bytes as u64);
                self.append(serial, answer, read, memory).await
            }
            Step::Answer(answer) => self.write(serial, &answer).await,
            Step::Refuse(malformed) => Err(malformed.into()),
        }
    }

    /// Stores the events of a call and replies.
    async fn append(
        &mut self,
        serial: u32,
        answer: Answer,
        (batch, bytes): (Result<Batch, Undecoded<Malformed>>, u64),
        memory: Option<Memory>,
    ) -> Result<(), Ended> {
        let over = self.client.member().ask(Instant::now()).err();
        let (stored, call) = match (batch, over) {
            (Ok(batch), Some(over)) => {
                // A client that waits uses no memory.
                drop((batch, memory));
                (self.pause(over).await, None)
            }
            (Ok(batch), None) => {
                let member = self.client.member();
                member.charge(bytes, Instant::now());
                member.count(batch.len() as u64, batch.size().bytes, Instant::now());
                let work = (batch, memory);
                let (call, memory) = self.put.begin(&self.avro.calls, &self.host, work).await;
                let stored = match call.rest() {
                    Some(batch) => self.store(batch, memory).await,
                    None => Stored::All,
                };
                (stored, Some(call))
            }
            (Err(Undecoded::NoMemory), _) => (Stored::Nothing(NoRoom::Memory), None),
            (Err(error), _) => (Stored::Never(error.to_string()), None),
        };
        let is_stored = stored == Stored::All;
        let answer = self.answer_of(stored, answer);
        // If the client has disconnected, a reply would be lost.
        let written =
            if self.is_over { Ok(false) } else { self.write(serial, &answer).await.map(|()| true) };
        if let Some(call) = call.filter(|_| is_stored) {
            self.put.answered(call, &self.host, matches!(written, Ok(true))).await;
        }
        written.map(|_| ())
    }

    /// Delays a client that exceeds its rate: until it may retry, or for the maximum wait of a
    /// call.
    async fn pause(&mut self, over: Over) -> Stored {
        let wait = over.retry_after().unwrap_or_default().min(self.put.wait_max);
        let _ = self.put.stop.run_until_cancelled(sleep(wait)).await;
        Stored::Nothing(NoRoom::Refused(over.to_string()))
    }

    /// Stores a batch, and watches for a disconnection.
    async fn store(&mut self, batch: Batch, memory: Option<Memory>) -> Stored {
        let storing = self.put.store(batch, memory, self.client.member());
        // Further calls of the client are read ahead up to a limit.
        let ahead = (&mut self.coded, READ_BYTES);
        read_ahead(storing, &mut self.stream, ahead, &mut self.is_over).await
    }

    fn answer_of(&self, stored: Stored, answer: Answer) -> Vec<u8> {
        let source = &self.put.source;
        match stored {
            Stored::All => answer.status(Status::Ok),
            Stored::Nothing(problem) => {
                debug!(%source, host = %self.host, %problem, "a call is answered FAILED");
                self.put.count("call_failed", 1);
                answer.status(Status::Failed)
            }
            Stored::Unknown(_) => {
                self.put.count("call_unknown", 1);
                answer.status(Status::Unknown)
            }
            Stored::Never(problem) => {
                // The client resends it for ever, and makes no progress.
                warn!(
                    %source, host = %self.host, problem,
                    "rejected a request that no channel can ever store; the client may resend it \
                     endlessly: enlarge the channel, or send smaller batches"
                );
                self.put.count("call_malformed", 1);
                answer.error(&problem)
            }
        }
    }

    async fn write(&mut self, serial: u32, answer: &[u8]) -> Result<(), Ended> {
        let frame = frame::write(serial, &[answer]);
        let coding = self.coding.as_mut().expect("a call was read");
        let coded = coding.encode(frame)?;
        let limit = self.avro.request_timeout;
        // With TLS, a reply has been sent only once it is flushed.
        let written = timeout(limit, async {
            self.stream.write_all(&coded).await?;
            self.stream.flush().await
        });
        Ok(written.await.map_err(|_| Ended::Slow(limit))??)
    }
}
