//! Helpers for tests of listening sources: a source as a configuration builds it, on loopback,
//! which runs until the test stops it.

use std::path::Path;
use std::sync::Arc;

use metrics::{Metrics, SourceReason};
use pipeline::env::Stream;
use pipeline::testkit::{build, plain_context};
use pipeline::{Component, Intake, Source, SourceError};
use serde_json::{Value, json};
use support::loopback::free_address;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::channels::Channels;
use super::narrow::Narrow;

/// A running source named `in`.
pub struct Running {
    /// Its address.
    pub address: String,
    metrics: Metrics,
    stop: CancellationToken,
    running: JoinHandle<Result<(), SourceError>>,
}

impl Running {
    /// Starts a source with these settings and a free address as `listen`.
    pub async fn start<C>(settings: Value, intake: Arc<dyn Intake>) -> Self
    where
        C: Component<Role = dyn Source>,
    {
        let address = free_address().to_string();
        let listen = json!(address);
        Self::start_at::<C>(address, settings, listen, intake).await
    }

    /// Starts a source with these settings over a channel without room.
    pub async fn without_room<C>(settings: Value) -> (Arc<Channels>, Arc<Narrow>, Self)
    where
        C: Component<Role = dyn Source>,
    {
        let channels = Arc::new(Channels::new(1));
        let narrow = Arc::new(Narrow::new(channels.clone(), 0));
        let running = Self::start::<C>(settings, narrow.clone()).await;
        (channels, narrow, running)
    }

    /// Starts a source with these settings and this `listen`; `address` is the address to connect
    /// to.
    pub async fn start_at<C>(
        address: String,
        mut settings: Value,
        listen: Value,
        intake: Arc<dyn Intake>,
    ) -> Self
    where
        C: Component<Role = dyn Source>,
    {
        settings["listen"] = listen;
        let cx = formats::alone("in", Path::new("unused"), env::real());
        let metrics = cx.metrics.clone();
        let mut source = build::<C>(&settings, &cx).unwrap();
        let stop = CancellationToken::new();
        let cx = plain_context(intake, stop.clone());
        source.open(&cx).await.unwrap();
        let running = tokio::spawn(async move { source.run(cx).await });
        Self { address, metrics, stop, running }
    }

    /// Connects to the source.
    pub async fn connect(&self) -> Box<dyn Stream> {
        env::real().net.connect(&self.address).await.unwrap()
    }

    /// Returns the counter of this reason.
    pub fn counted(&self, reason: &'static str) -> u64 {
        let label = SourceReason { source: "in".into(), reason };
        self.metrics.source_anomalies.get_or_create(&label).get()
    }

    /// Requests a stop.
    pub fn cancel(&self) {
        self.stop.cancel();
    }

    /// Stops the source, and waits for its end.
    pub async fn stop(self) {
        self.cancel();
        self.running.await.unwrap().unwrap();
    }
}
