//! A simulated edge with a handwritten protocol, so that thousands fit into a process.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pipeline::{Batch, Epoch, Identity, Origin, Sequence};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;
use wire::v1::from_receiver::Message as Answer;
use wire::v1::from_sender::Message as Said;
use wire::v1::{FromReceiver, FromSender, Hello};
use wire::{Packing, keys, pack};

use super::edges::Phase;

/// Time between two batches of an edge.
const PERIOD: Duration = Duration::from_secs(1);
/// Lines per batch.
const LINES: usize = 10;

/// How an edge behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Manner {
    /// As an edge does.
    #[value(skip)]
    Polite,
    /// Sends without end and reads nothing.
    Deaf,
    /// Says hello and then nothing.
    Silent,
    /// Breaks off, again and again.
    Reset,
    /// Sends what is larger than allowed.
    Oversized,
}

impl Manner {
    /// Of a thousand edges the first `rude` ones misbehave, in turn in each way or all like `one`.
    pub(super) fn for_number(number: u32, rude: u32, one: Option<Self>) -> Self {
        if number % 1_000 >= rude {
            return Self::Polite;
        }
        if let Some(manner) = one {
            return manner;
        }
        [Self::Deaf, Self::Silent, Self::Reset, Self::Oversized][(number % 4) as usize]
    }
}

/// A configured edge.
pub(super) struct Edge {
    pub(super) number: u32,
    pub(super) to: String,
    pub(super) connecting: Arc<Semaphore>,
    pub(super) connected: Arc<AtomicU32>,
    pub(super) phases: watch::Receiver<Phase>,
}

/// Measurements of an edge.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// Time from each batch of the measured phase to its acknowledgement.
    pub(super) millis: Vec<f64>,
    /// Its connection ended, or failed.
    pub(super) broken: bool,
}

/// Both directions of a connection.
struct Talk {
    outbox: mpsc::Sender<FromSender>,
    answers: Streaming<FromReceiver>,
}

impl Edge {
    /// Connects and puts a batch per second until the end.
    pub(super) async fn live(mut self) -> Life {
        let mut life = Life::default();
        let talk = self.connect().await;
        self.connected.fetch_add(1, Ordering::Relaxed);
        let Some(mut talk) = talk else { return Life { broken: true, ..life } };
        // Spread over the second, the same way in each run.
        tokio::time::sleep(PERIOD.mul_f64(f64::from(self.number * 7_919 % 1_000) / 1e3)).await;
        let mut ticks = tokio::time::interval(PERIOD);
        for sequence in 1.. {
            tokio::select! {
                biased;
                over = self.phases.wait_for(|phase| *phase == Phase::Over) => {
                    drop(over);
                    return life;
                }
                _ = ticks.tick() => {}
            }
            let measured = *self.phases.borrow() == Phase::Measured;
            let began = Instant::now();
            if !self.put(&mut talk, sequence).await {
                // A connection that ends with the run is not broken.
                life.broken = *self.phases.borrow() != Phase::Over;
                return life;
            }
            if measured {
                life.millis.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
        life
    }

    /// Misbehaves forever.
    pub(super) async fn misbehave(self, manner: Manner) {
        self.connected.fetch_add(1, Ordering::Relaxed);
        let mut sequence = 0;
        loop {
            if let Some(mut talk) = self.connect().await {
                match manner {
                    Manner::Silent => std::future::pending().await,
                    Manner::Reset => tokio::time::sleep(PERIOD / 4).await,
                    Manner::Deaf => {
                        while talk.outbox.send(self.message(sequence, LINES)).await.is_ok() {
                            sequence += 1;
                        }
                    }
                    Manner::Oversized | Manner::Polite => {
                        let _ = talk.outbox.send(self.oversized()).await;
                        let _ = talk.answers.message().await;
                        tokio::time::sleep(PERIOD).await;
                    }
                }
            }
            tokio::time::sleep(PERIOD / 4).await;
        }
    }

    /// Connects, sends the hello, and waits for the welcome.
    async fn connect(&self) -> Option<Talk> {
        let _turn = self.connecting.acquire().await.ok()?;
        let endpoint = Endpoint::from_shared(format!("http://{}", self.to)).ok()?;
        let channel = endpoint.connect().await.ok()?;
        let (outbox, messages) = mpsc::channel(4);
        let hello = Hello {
            agent: format!("edge-{}", self.number),
            features: Vec::new(),
            keys: keys::encode(&[].into_iter().collect()),
            ..Hello::default()
        };
        outbox.send(FromSender { message: Some(Said::Hello(hello)) }).await.ok()?;
        let said = ReceiverStream::new(messages);
        let mut answers = wire::exchange(channel, None, said).await.ok()?;
        loop {
            match answers.message().await.ok()??.message? {
                Answer::Welcome(_) => return Some(Talk { outbox, answers }),
                _ => continue,
            }
        }
    }

    /// Puts a batch and waits until it is stored; `false` when the connection ends.
    async fn put(&self, talk: &mut Talk, sequence: u64) -> bool {
        if talk.outbox.send(self.message(sequence, LINES)).await.is_err() {
            return false;
        }
        loop {
            let Ok(Some(answer)) = talk.answers.message().await else { return false };
            match answer.message {
                Some(Answer::Stored(stored)) => {
                    let keys = keys::decode(stored.keys).unwrap_or_default();
                    if keys.contains(self.identity(sequence)) {
                        return true;
                    }
                }
                Some(Answer::Refused(_)) | None => return false,
                Some(_) => {}
            }
        }
    }

    /// Returns a message of twenty million bytes, above the default limit of 16 MiB. Built once,
    /// because building it needs CPU time that the others need.
    fn oversized(&self) -> FromSender {
        static LARGE: OnceLock<FromSender> = OnceLock::new();
        LARGE.get_or_init(|| self.message(0, 250_000)).clone()
    }

    fn identity(&self, sequence: u64) -> Identity {
        let mut origin = [7; 16];
        origin[..4].copy_from_slice(&self.number.to_be_bytes());
        Identity { origin: Origin(origin), epoch: Epoch(1), sequence: Sequence(sequence) }
    }

    fn message(&self, sequence: u64, lines: usize) -> FromSender {
        let line =
            b"2026-11-20T12:00:00Z INFO one line of a service that has something to say...\n";
        let lengths = vec![line.len() as u32 - 1; lines];
        let batch = Batch::of_lines(Bytes::from(line.repeat(lines)), &lengths);
        let put = pack(self.identity(sequence), &batch, Packing::Plain);
        FromSender { message: Some(Said::Put(put)) }
    }
}
