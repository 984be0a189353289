//! Helpers for tests of the sources: a source as a configuration builds it, on loopback, with an
//! intake that records its batches or has no room.

use std::sync::Arc;
use std::time::Duration;

use kit::testkit::kept::Kept;
use kit::testkit::running;
use pipeline::env::Stream;
use pipeline::{Component, Source};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

/// A running source named `in`.
pub(crate) struct Running {
    source: running::Running,
    pub(crate) kept: Arc<Kept>,
}

impl Running {
    pub(crate) async fn start<C: Component<Role = dyn Source>>(settings: Value) -> Self {
        let kept = Arc::new(Kept::new(8 << 20));
        Self { source: running::Running::start::<C>(settings, kept.clone()).await, kept }
    }

    pub(crate) async fn connect(&self) -> Peer {
        Peer { stream: self.source.connect().await }
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.kept.bodies()
    }

    /// Returns the counter of this reason.
    pub(crate) fn counted(&self, reason: &'static str) -> u64 {
        self.source.counted(reason)
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
        self.source.stop().await;
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
