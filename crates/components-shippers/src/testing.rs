//! Helpers for tests of the sources: a source as a configuration builds it, on loopback, with an
//! intake that records its batches or has no room.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use metrics::{Metrics, SourceReason};
use pipeline::env::Stream;
use pipeline::testkit::{build, plain_context};
use pipeline::{
    Batch, BatchSize, BuildContext, Component, Intake, IntakeError, Permit, Source, SourceError,
    Unreserved,
};
use serde_json::{Value, json};
use support::loopback::free_address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Records its batches; without room it waits for ever.
#[derive(Default)]
pub(crate) struct Kept {
    batches: Mutex<Vec<Batch>>,
    pub(crate) is_full: AtomicBool,
    /// True if batches are not stored yet.
    pub(crate) is_slow: AtomicBool,
}

#[async_trait]
impl Intake for Kept {
    async fn accept(&self, batch: Batch) -> Result<(), IntakeError> {
        while self.is_slow.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(5)).await;
        }
        self.batches.lock().unwrap().push(batch);
        Ok(())
    }

    async fn reserve(&self, _size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
        if self.is_full.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(Box::new(Unreserved(self)))
    }

    fn batch_bytes_max(&self) -> Option<u64> {
        Some(8 << 20)
    }
}

/// A running source named `in`.
pub(crate) struct Running {
    address: String,
    metrics: Metrics,
    pub(crate) kept: Arc<Kept>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), SourceError>>,
}

impl Running {
    pub(crate) async fn start<C: Component<Role = dyn Source>>(mut settings: Value) -> Self {
        let address = free_address().to_string();
        settings["listen"] = json!(address);
        let cx = BuildContext::alone("in", Path::new("unused"), env::real());
        let metrics = cx.metrics.clone();
        let mut source = build::<C>(&settings, &cx).unwrap();
        let (kept, stop) = (Arc::new(Kept::default()), CancellationToken::new());
        let cx = plain_context(kept.clone(), stop.clone());
        source.open(&cx).await.unwrap();
        let running = tokio::spawn(async move { source.run(cx).await });
        Self { address, metrics, kept, stop, running }
    }

    pub(crate) async fn connect(&self) -> Peer {
        Peer { stream: env::real().net.connect(&self.address).await.unwrap() }
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        let batches = self.kept.batches.lock().unwrap();
        let events = batches.iter().flat_map(|batch| batch.iter());
        events.map(|event| String::from_utf8_lossy(event.body()).into_owned()).collect()
    }

    /// Returns the counter of this reason.
    pub(crate) fn counted(&self, reason: &'static str) -> u64 {
        let label = SourceReason { source: "in".into(), reason };
        self.metrics.source_anomalies.get_or_create(&label).get()
    }

    /// Waits until the reason was counted once.
    pub(crate) async fn until_counted(&self, reason: &'static str) {
        for _ in 0..1000 {
            if self.counted(reason) > 0 {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{reason} is never counted");
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

/// A client.
pub(crate) struct Peer {
    stream: Box<dyn Stream>,
}

impl Peer {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Returns the next `bytes` bytes.
    pub(crate) async fn receive(&mut self, bytes: usize) -> Vec<u8> {
        let mut received = vec![0; bytes];
        let reading = timeout(Duration::from_secs(60), self.stream.read_exact(&mut received));
        reading.await.expect("an answer comes").expect("there is an answer");
        received
    }

    /// Returns true if nothing arrives for a while.
    pub(crate) async fn hears_nothing(&mut self) -> bool {
        timeout(Duration::from_millis(300), self.stream.read(&mut [0; 1])).await.is_err()
    }

    /// Returns true if the source closes the connection without a reply.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.stream.read(&mut [0; 1]).await.unwrap_or(0) == 0
    }
}
