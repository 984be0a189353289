//! `netcat_udp`: each line of a datagram is an event. Flume takes the first line alone.
//!
//! UDP has no answers, so nothing is promised. While a channel is full, datagrams wait in a queue,
//! and those that it has no room for are counted as `datagrams_dropped`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use metrics::Metrics;
use pipeline::env::Datagrams;
use pipeline::{
    BuildContext, BuildError, Component, Env, GivesAgain, Guarantee, Resource, Source,
    SourceContext, SourceError,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tracing::info;

use super::datagrams;
use super::gathered::{Destination, Gathered};
use super::listening::{self, DRAIN};

/// Settings of the `netcat_udp` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address to receive datagrams on, `host:port`.
    listen: String,
    /// Header that gets the address of the sender's host. None unless set.
    #[serde(default)]
    client_header: Option<String>,
    /// Events of a batch at most.
    #[serde(default = "default_batch_events")]
    batch_events: usize,
    /// Datagrams that wait for room in the channels.
    #[serde(default = "default_queue_max")]
    queue_max: usize,
}

fn default_batch_events() -> usize {
    1000
}

fn default_queue_max() -> usize {
    10_000
}

impl Component for Config {
    const KIND: &'static str = "netcat_udp";
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        listening::check_address("listen", &self.listen)?;
        let remedy = "UDP has no TLS: take the source `netcat` with the table `tls`";
        cx.plain_text.speaks("listen", &self.listen, remedy);
        let positive = [("batch_events", self.batch_events), ("queue_max", self.queue_max)];
        if let Some((setting, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(BuildError::invalid(*setting, "must not be 0"));
        }
        if let Some(name) = &self.client_header {
            crate::decoders::check_names(std::iter::once(name.as_str()))
                .map_err(|error| BuildError::invalid("client_header", error))?;
        }
        Ok(Box::new(NetcatUdp {
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            settings: self,
            socket: None,
        }))
    }
}

struct NetcatUdp {
    name: Arc<str>,
    env: Env,
    metrics: Metrics,
    settings: Config,
    /// Between opening and running.
    socket: Option<Box<dyn Datagrams>>,
}

/// A datagram, and the host of its sender.
type Received = (Bytes, String);

#[async_trait]
impl Source for NetcatUdp {
    fn guarantee(&self) -> Guarantee {
        Guarantee::BestEffort
    }

    fn gives_again(&self) -> GivesAgain {
        GivesAgain::Nothing
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Datagrams { setting: "listen", address: self.settings.listen.clone() }]
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        let socket = datagrams::bind(&*self.env.net, &self.settings.listen).await?;
        info!(source = %self.name, address = socket.local_address(), "listening");
        self.socket = Some(socket);
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let socket = self.socket.take().expect("a source is opened before it runs");
        let (name, metrics) = (self.name.clone(), self.metrics.clone());
        let to = Destination::new(name, metrics, cx.intake, self.settings.batch_events);
        let (queue, received) = mpsc::channel(self.settings.queue_max);
        let receive = async {
            let queue = queue;
            let take = |bytes: &[u8], sender: &str| {
                let datagram = (Bytes::copy_from_slice(bytes), listening::host(sender).to_owned());
                match queue.try_send(datagram) {
                    Ok(()) => true,
                    Err(TrySendError::Full(_)) => {
                        to.count("datagrams_dropped", 1);
                        true
                    }
                    Err(TrySendError::Closed(_)) => false,
                }
            };
            datagrams::receive(&*socket, &self.name, &cx.stop, take).await;
        };
        tokio::join!(receive, self.store(received, &to));
        to.finish(DRAIN).await;
        Ok(())
    }
}

impl NetcatUdp {
    async fn store(&self, mut received: mpsc::Receiver<Received>, to: &Destination) {
        let mut gathered = Gathered::default();
        while let Some(datagram) = received.recv().await {
            self.add(&datagram, &mut gathered, to).await;
            while let Ok(datagram) = received.try_recv() {
                self.add(&datagram, &mut gathered, to).await;
            }
            gathered.store_or_lose(to, None, "lines_refused").await;
        }
    }

    async fn add(&self, (bytes, client): &Received, gathered: &mut Gathered, to: &Destination) {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let client = self.settings.client_header.as_deref().map(|name| (name, &**client));
        for line in bytes.split(|byte| *byte == b'\n') {
            if gathered.is_full(line.len(), to) {
                gathered.store_or_lose(to, None, "lines_refused").await;
            }
            gathered.push(line.strip_suffix(b"\r").unwrap_or(line), client.as_slice());
        }
    }
}
