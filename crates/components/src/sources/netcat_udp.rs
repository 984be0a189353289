//! `netcat_udp`: each line of a datagram is an event. Flume uses the first line only.
//!
//! UDP has no replies, so delivery is best effort. While a channel is full, datagrams wait in a
//! queue. If the queue or the receive buffer of the socket is full, they are lost and counted.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kit::datagrams::{self, Queue, Socket};
use kit::gathered::{Destination, Gathered};
use kit::listening::{self, DRAIN};
use metrics::Metrics;
use pipeline::units::ByteSize;
use pipeline::{
    BuildContext, BuildError, Component, Env, Guarantee, ResendMode, Resource, Source,
    SourceContext, SourceError,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tracing::info;

/// Settings of the `netcat_udp` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address to receive datagrams on, `host:port`.
    listen: String,
    /// Header for the address of the sender's host. Default: none.
    #[serde(default)]
    client_header: Option<String>,
    /// Limit of events in a batch.
    #[serde(default = "pipeline::units::number::<1000>")]
    batch_events: usize,
    /// Size limit of the datagrams that wait for room in the channels. Each datagram counts 256
    /// bytes in addition.
    #[serde(default = "datagrams::default_queue_max")]
    queue_max: ByteSize,
    /// Receive buffer of the socket, for bursts. Default: 8 MiB. The kernel limits it to
    /// `net.core.rmem_max`.
    #[serde(default)]
    receive_buffer: Option<ByteSize>,
}

impl Component for Config {
    const KIND: &'static str = "netcat_udp";
    const ANOMALIES: &[&str] = &["datagrams_dropped", "lines_refused", "receive_buffer_full"];
    const EXAMPLE: &str = r#"listen = "127.0.0.1:4141""#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        listening::check_address("listen", &self.listen)?;
        let remedy = "UDP has no TLS: use the source `netcat` with the table `tls`";
        cx.plain_text.speaks("listen", &self.listen, remedy);
        if self.batch_events == 0 {
            return Err(BuildError::invalid("batch_events", "must be at least 1"));
        }
        datagrams::check(self.queue_max, self.receive_buffer)?;
        if let Some(name) = &self.client_header {
            formats::decoders::check_names(std::iter::once(name.as_str()))
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
    /// Present between opening and running.
    socket: Option<Socket>,
}

/// A datagram, and the host of its sender.
type Received = (Bytes, String);

#[async_trait]
impl Source for NetcatUdp {
    fn guarantee(&self) -> Guarantee {
        Guarantee::BestEffort
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::Nothing
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Datagrams { setting: "listen", address: self.settings.listen.clone() }]
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        let Config { listen, receive_buffer, .. } = &self.settings;
        let socket = datagrams::bind(&*self.env.net, listen, &self.name, *receive_buffer).await?;
        info!(source = %self.name, address = socket.local_address(), "listening");
        self.socket = Some(socket);
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let socket = self.socket.take().expect("a source is opened before it runs");
        let (name, metrics) = (self.name.clone(), self.metrics.clone());
        let to = Destination::new(name, metrics, cx.intake, self.settings.batch_events);
        let read = |bytes: &[u8], sender: &str| {
            Some((Bytes::copy_from_slice(bytes), listening::host(sender).to_owned()))
        };
        let mut queue = socket.receive(&to, self.settings.queue_max, &cx.stop, read);
        self.store(&mut queue, &to).await;
        to.finish(DRAIN).await;
        Ok(())
    }
}

impl NetcatUdp {
    async fn store(&self, queue: &mut Queue<Received>, to: &Destination) {
        let mut gathered = Gathered::default();
        while let Some(datagram) = queue.next().await {
            self.add(&datagram, &mut gathered, to).await;
            while let Some(datagram) = queue.try_next() {
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
