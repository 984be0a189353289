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

mod datagrams;
mod events;
mod flume;
mod parse;
mod stream;
mod times;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use jiff::tz::{Offset, TimeZone};
use metrics::Metrics;
use peers::TenantBoard;
use pipeline::component::Choice;
use pipeline::env::{Clock, Listener};
use pipeline::units::ByteSize;
use pipeline::{
    BuildContext, BuildError, Component, Env, Framing, GivesAgain, Guarantee, Resource, Source,
    SourceContext, SourceError,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ServerTls;
use tokio_util::sync::CancellationToken;
use tracing::info;

use events::{Form, Layout};
use kit::datagrams::Socket;
use kit::gathered::{self, Destination};
use kit::listening::{self, DRAIN, Guard};
use kit::tenants::{Sharing, Tenants};

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
    #[serde(default = "defaults::message_max")]
    message_max: ByteSize,
    /// Which messages are understood, and how their headers are named.
    #[serde(default)]
    layout: Layout,
    /// Whether the body keeps priority, version, time and host. Otherwise it contains only the text
    /// after them.
    #[serde(default)]
    keep_fields: bool,
    /// Header for the address of the sender's host. Default: none.
    #[serde(default)]
    client_header: Option<String>,
    /// Header for the port on which the message arrived. Default: none.
    #[serde(default)]
    port_header: Option<String>,
    /// UTC offset of times without a zone: `"+02:00"`.
    #[serde(default = "defaults::offset")]
    offset: String,
    /// Limit of events in a batch.
    #[serde(default = "defaults::batch_events")]
    batch_events: usize,
    /// TCP connection limit of each address. Further connections wait to be accepted.
    #[serde(default = "defaults::connections_max")]
    connections_max: u32,
    /// Size limit of the datagrams that wait for room in the channels, for each address. Each
    /// datagram counts 256 bytes in addition.
    #[serde(default = "kit::datagrams::default_queue_max")]
    queue_max: ByteSize,
    /// Receive buffer of each UDP socket, for bursts. Default: 8 MiB. The kernel limits it to
    /// `net.core.rmem_max`.
    #[serde(default)]
    receive_buffer: Option<ByteSize>,
    /// TLS (RFC 5425) of all `tcp://` addresses; senders must use it.
    #[serde(default)]
    tls: Option<ServerTls>,
    /// Limits for each sender over TCP: shares, connections, rates, sizes. Messages above a rate
    /// wait unread, a connection above the limit is closed, and a message above its size is cut.
    #[serde(default)]
    tenants: Tenants,
}

mod defaults {
    use pipeline::Framing;
    use pipeline::component::Choice;
    use pipeline::units::ByteSize;

    pub(super) fn framing() -> Choice<dyn Framing> {
        Choice::of("syslog")
    }

    pub(super) fn message_max() -> ByteSize {
        ByteSize(64 << 10)
    }

    pub(super) fn offset() -> String {
        "+00:00".to_owned()
    }

    pub(super) fn batch_events() -> usize {
        1000
    }

    pub(super) fn connections_max() -> u32 {
        1024
    }
}

/// Advice to use TLS.
const UDP_REMEDY: &str = "UDP has no TLS: take `tcp://` with the table `tls`";

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
            let problem = "name at least one address, such as \"udp://0.0.0.0:514\"";
            return Err(BuildError::invalid("listen", problem));
        }
        if self.tls.is_some() && addresses.iter().all(|(transport, _)| *transport != Transport::Tcp)
        {
            let problem = "TLS is spoken over TCP; name an address such as \"tcp://0.0.0.0:6514\"";
            return Err(BuildError::invalid("tls", problem));
        }
        self.check_limits()?;
        kit::datagrams::check(self.queue_max, self.receive_buffer)?;
        self.tenants.check(("message_max", self.message_max))?;
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
            zone: zone(&self.offset)?,
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
        let guard = match over_tcp.is_empty() {
            true => None,
            false => Guard::new(self.tls, &over_tcp, cx, &[])?,
        };
        Ok(Box::new(Syslog {
            guard,
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            addresses,
            framing: self.framing.build("framing", cx)?.into(),
            form: Arc::new(form),
            limits: Limits {
                message_max: self.message_max.0 as usize,
                batch_events: self.batch_events,
                connections_max: self.connections_max as usize,
                queue_max: self.queue_max,
                receive_buffer: self.receive_buffer,
            },
            tenants: self.tenants,
            board: cx.get(),
            opened: None,
        }))
    }
}

impl Config {
    fn check_limits(&self) -> Result<(), BuildError> {
        let positive = [
            ("batch_events", self.batch_events as u64),
            ("connections_max", self.connections_max.into()),
            ("message_max", self.message_max.0),
        ];
        if let Some((setting, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(BuildError::invalid(*setting, "must not be 0"));
        }
        if self.message_max > ByteSize::mib(16) {
            return Err(BuildError::invalid("message_max", "at most 16MiB"));
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
            let problem =
                format!("`{text}` names no transport; write for example \"tcp://{text}\"");
            return Err(BuildError::invalid(setting, problem));
        }
    };
    listening::check_address(&setting, address)?;
    Ok((transport, address.to_owned()))
}

fn zone(offset: &str) -> Result<TimeZone, BuildError> {
    let invalid = || BuildError::invalid("offset", "write for example \"+02:00\" or \"-07:00\"");
    let (sign, rest) = offset.split_at_checked(1).ok_or_else(invalid)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return Err(invalid()),
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(invalid)?;
    let number = |text: &str, max: i32| {
        let number: Option<i32> = text.parse().ok().filter(|_| text.len() == 2);
        number.filter(|number| (0..=max).contains(number)).ok_or_else(invalid)
    };
    let seconds = sign * (number(hours, 23)? * 3_600 + number(minutes, 59)? * 60);
    Ok(TimeZone::fixed(Offset::from_seconds(seconds).map_err(|_| invalid())?))
}

/// Limits of messages and batches.
#[derive(Debug, Clone, Copy)]
struct Limits {
    message_max: usize,
    batch_events: usize,
    connections_max: usize,
    queue_max: ByteSize,
    receive_buffer: Option<ByteSize>,
}

struct Syslog {
    name: Arc<str>,
    env: Env,
    metrics: Metrics,
    addresses: Vec<(Transport, String)>,
    framing: Arc<dyn Framing>,
    form: Arc<Form>,
    limits: Limits,
    guard: Option<Guard>,
    tenants: Tenants,
    board: TenantBoard,
    /// Present between opening and running.
    opened: Option<Opened>,
}

/// The ports of one run.
#[derive(Default)]
struct Opened {
    streams: Vec<Box<dyn Listener>>,
    sockets: Vec<Socket>,
}

/// State that the addresses of one run share.
#[derive(Clone)]
struct Shared {
    clock: Arc<dyn Clock>,
    framing: Arc<dyn Framing>,
    form: Arc<Form>,
    limits: Limits,
    guard: Option<Guard>,
    stop: CancellationToken,
    /// Turns for memory and channels, for messages over TCP.
    sharing: Arc<Sharing>,
    to: Destination,
}

#[async_trait]
impl Source for Syslog {
    fn guarantee(&self) -> Guarantee {
        // The protocol has no replies: messages in flight are lost when either side fails.
        Guarantee::BestEffort
    }

    fn gives_again(&self) -> GivesAgain {
        GivesAgain::Nothing
    }

    fn resources(&self) -> Vec<Resource> {
        let resource = |(transport, address): &(Transport, String)| match transport {
            Transport::Tcp => Resource::Listen { setting: "listen", address: address.clone() },
            Transport::Udp => Resource::Datagrams { setting: "listen", address: address.clone() },
        };
        self.addresses.iter().map(resource).collect()
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        // Open every port before the first message is received.
        let Opened { mut streams, mut sockets } = Opened::default();
        for (transport, address) in &self.addresses {
            let local = match transport {
                Transport::Tcp => {
                    let tls = self.guard.as_ref();
                    streams.push(listening::listen(&*self.env.net, address, tls).await?);
                    streams.last().map(|listener| listener.local_address())
                }
                Transport::Udp => {
                    let (net, buffer) = (&*self.env.net, self.limits.receive_buffer);
                    sockets.push(kit::datagrams::bind(net, address, &self.name, buffer).await?);
                    sockets.last().map(|socket| socket.local_address())
                }
            };
            info!(source = %self.name, address = local, ?transport, "listening");
        }
        self.opened = Some(Opened { streams, sockets });
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let Opened { streams, sockets } =
            self.opened.take().expect("a source is opened before it runs");
        let batch_events = self.limits.batch_events;
        // Maximum for all connections together: a batch and a message each.
        let held = (gathered::BATCH_BYTES + self.limits.message_max) as u64;
        let held = held * self.limits.connections_max as u64;
        let of = (&self.name, &self.metrics);
        let shared = Shared {
            sharing: Sharing::new(of, &self.tenants, held, &self.board),
            clock: self.env.clock.clone(),
            framing: self.framing.clone(),
            form: self.form.clone(),
            limits: self.limits,
            guard: self.guard.clone(),
            stop: cx.stop,
            to: Destination::new(self.name.clone(), self.metrics.clone(), cx.intake, batch_events),
        };
        let streams = streams.into_iter().map(|listener| stream::serve(listener, shared.clone()));
        let sockets = sockets.into_iter().map(|socket| datagrams::serve(socket, shared.clone()));
        tokio::join!(join_all(streams), join_all(sockets));
        shared.to.finish(DRAIN).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
