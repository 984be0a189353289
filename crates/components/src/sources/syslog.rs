//! `syslog`: messages over TCP and UDP, RFC 3164 and RFC 5424, on any number of ports.
//!
//! ```text
//!   TCP ─► framing ─┐
//!   UDP ────────────┴─► parse ─► headers, body ─► batch ─► Intake
//! ```
//!
//! The headers are `Priority`, `Facility`, `Severity`, `Version` (RFC 5424), `timestamp`
//! (milliseconds since 1970) and `host`, if the message has them. With `layout = "flume"` they are
//! those of Flume's `syslogtcp`, with `priority` and `version`. `flume.syslog.status` is
//! `Invalid` for a message in another format, and `Incomplete` for one that exceeds `message_max`.
//!
//! The protocol has no replies, so delivery is best effort: messages that are sent and not stored
//! are lost if either side fails. While a channel is full, the source does not read from TCP
//! connections, which slows their senders down. Datagrams wait in a queue; if the queue or the
//! receive buffer of the socket is full, they are lost and counted.

mod body;
mod datagrams;
mod events;
mod flume;
mod parse;
mod stream;
mod times;

use std::sync::Arc;

use async_trait::async_trait;
use formats::dates;
use futures::future::join_all;
use kit::datagrams::Socket;
use kit::gathered::{self, Destination};
use kit::listening::{self, DRAIN};
use kit::serve::{Connections, Ports, Preset, Served};
use metrics::Metrics;
use pipeline::component::Choice;
use pipeline::env::Clock;
use pipeline::units::ByteSize;
use pipeline::{
    BuildContext, BuildError, Component, Env, Framing, Guarantee, ResendMode, Resource, Source,
    SourceContext, SourceError,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tracing::info;

use body::Keep;
use events::{Form, Layout};
use stream::Streams;

/// Settings of the `syslog` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses to listen on: `tcp://host:port` or `udp://host:port`, any number of them.
    listen: Vec<String>,
    /// Framing of messages in a TCP stream: `syslog` (both framings of RFC 6587), `lines` or
    /// `length_prefixed`.
    #[serde(default = "defaults::framing")]
    framing: Choice<dyn Framing>,
    /// Size limit of a message; a longer one is cut and marked. Flume's limit is 2,500 bytes.
    #[serde(default = "pipeline::units::kib::<64>")]
    message_max: ByteSize,
    /// Which messages are understood, and how their headers are named.
    #[serde(default)]
    layout: Layout,
    /// What the body keeps in front of the text: `true` is the whole message, `false` nothing. A
    /// list keeps some of `priority`, `version`, `timestamp` and `hostname`.
    #[serde(default)]
    keep_fields: Keep,
    /// Header for the address of the sender's host. Default: none.
    #[serde(default)]
    client_header: Option<String>,
    /// Header for the port on which the message arrived. Default: none.
    #[serde(default)]
    port_header: Option<String>,
    /// Zone of times without one: a UTC offset such as `+02:00`, or a name such as
    /// `Europe/Berlin`.
    #[serde(default = "defaults::offset")]
    offset: String,
    /// Limit of events in a batch.
    #[serde(default = "pipeline::units::number::<1000>")]
    batch_events: usize,
    #[serde(rename = "..")]
    #[schemars(flatten)]
    connections: Connections<Shared>,
    /// Size limit of the datagrams that wait for room in the channels, for each address. Each
    /// datagram counts 256 bytes in addition.
    #[serde(default = "kit::datagrams::default_queue_max")]
    queue_max: ByteSize,
    /// Receive buffer of each UDP socket, for bursts. Default: 8 MiB. The kernel limits it to
    /// `net.core.rmem_max`.
    #[serde(default)]
    receive_buffer: Option<ByteSize>,
}

/// Descriptions of the shared settings.
#[derive(Debug)]
enum Shared {}

impl Preset for Shared {
    const TEXTS: &[(&str, &str)] = &[
        (
            "connections_max",
            "TCP connection limit of each address. Further connections wait to be accepted.",
        ),
        ("tls", "TLS (RFC 5425) of all `tcp://` addresses; senders must use it."),
        (
            "tenants",
            "Limits for each sender over TCP: shares, connections, rates, sizes. Messages above a \
             rate wait unread, a connection above the limit is closed, and a message above its \
             size is cut.",
        ),
    ];
}

mod defaults {
    use pipeline::Framing;
    use pipeline::component::Choice;

    pub(super) fn framing() -> Choice<dyn Framing> {
        Choice::from_kind("syslog")
    }

    pub(super) fn offset() -> String {
        "+00:00".to_owned()
    }
}

/// Advice to use TLS.
const UDP_REMEDY: &str = "UDP has no TLS: use `tcp://` with the table `tls`";

/// Transport of messages on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

impl Component for Config {
    const KIND: &'static str = "syslog";
    const ANOMALIES: &[&str] = &[
        "message_cut",
        "message_unparsed",
        "messages_refused",
        "datagrams_dropped",
        "framing_lost",
        "receive_buffer_full",
        "tenant_connections",
        "tenant_message",
        "tenant_rate",
        "tls_failed",
    ];
    const EXAMPLE: &str = r#"listen = ["udp://127.0.0.1:5140"]"#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let addresses = self.listen.iter().enumerate().map(|(n, address)| transport(n, address));
        let addresses: Vec<_> = addresses.collect::<Result<_, _>>()?;
        if addresses.is_empty() {
            let problem = "must have at least one address; write for example \
                           [\"udp://0.0.0.0:514\"]";
            return Err(BuildError::invalid("listen", problem));
        }
        let has_tls = self.connections.tls.is_some();
        if has_tls && addresses.iter().all(|(transport, _)| *transport != Transport::Tcp) {
            let problem = "has an effect only with TCP; add an address such as \
                           \"tcp://0.0.0.0:6514\", or remove this";
            return Err(BuildError::invalid("tls", problem));
        }
        self.check_limits()?;
        kit::datagrams::check(self.queue_max, self.receive_buffer)?;
        for (setting, name) in
            [("client_header", &self.client_header), ("port_header", &self.port_header)]
        {
            if let Some(name) = name {
                formats::decoders::check_names(std::iter::once(name.as_str()))
                    .map_err(|error| BuildError::invalid(setting, error))?;
            }
        }
        let form = Form {
            layout: self.layout,
            keep_fields: self.keep_fields,
            client_header: self.client_header,
            port_header: self.port_header,
            zone: dates::zone("offset", &self.offset)?,
        };
        let mut over_tcp = Vec::new();
        for (n, (transport, address)) in addresses.iter().enumerate() {
            let setting = format!("listen.{n}");
            match transport {
                Transport::Tcp => over_tcp.push((setting, address)),
                Transport::Udp => cx.plain_text.speaks(&setting, address, UDP_REMEDY),
            }
        }
        let over_tcp: Vec<_> = over_tcp.iter().map(|(it, address)| (&**it, &***address)).collect();
        let limits = gathered::limits(("message_max", self.message_max), &self.connections);
        let ports = Ports::new(&over_tcp, self.connections, limits, &[], cx)?;
        let rules = Arc::new(Rules {
            clock: cx.env.clock.clone(),
            form,
            message_max: self.message_max.0 as usize,
            batch_events: self.batch_events,
        });
        let framing = self.framing.build("framing", cx)?.into();
        let over_udp = |(transport, address): (Transport, String)| {
            (transport == Transport::Udp).then_some(address)
        };
        Ok(Box::new(Syslog {
            streams: Served::new(ports, Streams { framing, rules: rules.clone() }),
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            over_udp: addresses.into_iter().filter_map(over_udp).collect(),
            rules,
            queue_max: self.queue_max,
            receive_buffer: self.receive_buffer,
            sockets: Vec::new(),
        }))
    }
}

impl Config {
    fn check_limits(&self) -> Result<(), BuildError> {
        let positive =
            [("batch_events", self.batch_events as u64), ("message_max", self.message_max.0)];
        if let Some((setting, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(BuildError::invalid(*setting, "must be greater than 0"));
        }
        if self.message_max > ByteSize::mib(16) {
            return Err(BuildError::invalid("message_max", "must be at most 16MiB"));
        }
        Ok(())
    }
}

/// Splits an address into its transport and the rest.
fn transport(index: usize, text: &str) -> Result<(Transport, String), BuildError> {
    let setting = format!("listen.{index}");
    let (transport, address) = match text.split_once("://") {
        Some(("tcp", address)) => (Transport::Tcp, address),
        Some(("udp", address)) => (Transport::Udp, address),
        _ => {
            let problem = format!(
                "`{text}` must start with `tcp://` or `udp://`; write for example \"tcp://{text}\""
            );
            return Err(BuildError::invalid(setting, problem));
        }
    };
    listening::check_address(&setting, address)?;
    Ok((transport, address.to_owned()))
}

/// How messages become batches.
struct Rules {
    clock: Arc<dyn Clock>,
    form: Form,
    message_max: usize,
    batch_events: usize,
}

struct Syslog {
    /// Messages over TCP.
    streams: Served<Streams>,
    name: Arc<str>,
    env: Env,
    metrics: Metrics,
    over_udp: Vec<String>,
    rules: Arc<Rules>,
    queue_max: ByteSize,
    receive_buffer: Option<ByteSize>,
    /// Present between opening and running.
    sockets: Vec<Socket>,
}

#[async_trait]
impl Source for Syslog {
    fn guarantee(&self) -> Guarantee {
        // The protocol has no replies: messages in flight are lost when either side fails.
        Guarantee::BestEffort
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::Nothing
    }

    fn resources(&self) -> Vec<Resource> {
        let datagrams =
            |address: &String| Resource::Datagrams { setting: "listen", address: address.clone() };
        let over_udp = self.over_udp.iter().map(datagrams);
        self.streams.resources().into_iter().chain(over_udp).collect()
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        // Open every port before the first message is received.
        self.sockets.clear();
        let mut sockets = Vec::new();
        for address in &self.over_udp {
            let (net, buffer) = (&*self.env.net, self.receive_buffer);
            let socket = kit::datagrams::bind(net, address, &self.name, buffer).await?;
            info!(source = %self.name, address = %socket.local_address(), "listening (UDP)");
            sockets.push(socket);
        }
        self.streams.open(cx).await?;
        self.sockets = sockets;
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let (name, metrics) = (self.name.clone(), self.metrics.clone());
        let to = Destination::new(name, metrics, cx.intake.clone(), self.rules.batch_events);
        let stop = cx.stop.clone();
        let sockets = std::mem::take(&mut self.sockets).into_iter();
        let received = sockets
            .map(|socket| datagrams::serve(socket, self.queue_max, (&*self.rules, &to), &stop));
        let (ended, _) = tokio::join!(self.streams.run(cx), join_all(received));
        to.finish(DRAIN).await;
        ended
    }
}

#[cfg(test)]
mod tests;
