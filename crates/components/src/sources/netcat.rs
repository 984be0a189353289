//! `netcat`: each line of a TCP connection is an event, acknowledged with `OK` when it is stored.
//!
//! A line ends with LF or CR LF, and its bytes are passed on unchanged. The last line needs no end
//! if the client closes its connection in order.
//!
//! With `ack_every_event` each line gets a reply, in order: `OK`, or `FAILED: ` and the reason. A
//! client that resends unacknowledged lines loses nothing and may create duplicates. A line over
//! `line_max` gets `FAILED`, and its connection is closed, as in Flume. Without replies delivery is
//! best effort, and such a line is cut and marked.
//!
//! With `multiline` the source joins lines and acknowledges each event once. An event that a stop
//! or a broken connection interrupts is not stored and not acknowledged: the client resends all of
//! it. Without replies the received part is stored.
//!
//! While a channel is full, the source does not read from connections, which slows the clients
//! down. A connection uses at most the memory of its longest line, its longest event and a batch.
//! The source does not read from a tenant over its rate. It closes an excess connection, and
//! handles a line over the tenant's limit like one over `line_max`.
//! as one over `line_max` is.

mod connection;

use std::sync::Arc;

use async_trait::async_trait;
use metrics::Metrics;
use peers::TenantBoard;
use pipeline::component::Choice;
use pipeline::env::Listener;
use pipeline::units::{ByteSize, Period};
use pipeline::{
    BuildContext, BuildError, Component, Env, Framing, Guarantee, ResendMode, Resource, Source,
    SourceContext, SourceError,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ServerTls;
use tracing::{debug, info};

use connection::Connection;
use kit::gathered::{self, Destination, Gathered};
use kit::listening::{self, DRAIN, Guard};
use kit::multiline::stream::EventStream;
use kit::multiline::{Joining, Multiline};
use kit::tenants::{Client, Sharing, Tenants};

/// Read size.
const READ_BYTES: usize = 16 << 10;
/// Upper bound for the settings of line and event size.
const EVENT_MAX: ByteSize = ByteSize::mib(16);

/// Settings of the `netcat` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address to listen on, `host:port`.
    listen: String,
    /// Whether each event is answered by `OK` when it is stored.
    #[serde(default = "default_ack_every_event")]
    ack_every_event: bool,
    /// Framing of events in the stream: `lines` or `length_prefixed`.
    #[serde(default = "default_framing")]
    framing: Choice<dyn Framing>,
    /// Rules that join lines to one event, such as a message and its stack trace. Without them each
    /// line is an event.
    #[serde(default)]
    multiline: Option<Multiline>,
    /// Length limit of a line. Flume's limit is 512 characters, including the line end.
    #[serde(default = "default_line_max")]
    line_max: ByteSize,
    /// Header for the address of the client's host. Default: none.
    #[serde(default)]
    client_header: Option<String>,
    /// Limit of events in a batch.
    #[serde(default = "default_batch_events")]
    batch_events: usize,
    /// Connection limit. Further connections wait to be accepted.
    #[serde(default = "default_connections_max")]
    connections_max: u32,
    /// Idle timeout of a connection. Default: no limit.
    #[serde(default)]
    idle_timeout: Option<Period>,
    /// TLS of the connections; clients must use it.
    #[serde(default)]
    tls: Option<ServerTls>,
    /// Limits for each client: shares, connections, rates, sizes. Events above a rate wait unread,
    /// a connection above the limit is closed, and a line above its size is handled as one over
    /// `line_max`.
    #[serde(default)]
    tenants: Tenants,
}

fn default_ack_every_event() -> bool {
    true
}

fn default_framing() -> Choice<dyn Framing> {
    Choice::from_kind("lines")
}

fn default_line_max() -> ByteSize {
    ByteSize(64 << 10)
}

fn default_batch_events() -> usize {
    1000
}

fn default_connections_max() -> u32 {
    1024
}

impl Component for Config {
    const KIND: &'static str = "netcat";
    const ANOMALIES: &[&str] = &[
        "event_divided",
        "framing_lost",
        "line_cut",
        "line_too_long",
        "lines_refused",
        "tls_failed",
    ];
    const EXAMPLE: &str = r#"listen = "127.0.0.1:4141""#;
    type Role = dyn Source;

    fn build(mut self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        listening::check_address("listen", &self.listen)?;
        if self.line_max.0 == 0 || self.line_max > EVENT_MAX {
            let problem = format!("must be from 1B to {EVENT_MAX}");
            return Err(BuildError::invalid("line_max", problem));
        }
        let positive = [
            ("batch_events", self.batch_events as u64),
            ("connections_max", self.connections_max.into()),
            ("idle_timeout", self.idle_timeout.map_or(1, |it| it.0.as_nanos().min(1) as u64)),
        ];
        if let Some((setting, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(BuildError::invalid(*setting, "must not be 0"));
        }
        self.tenants.check(("line_max", self.line_max))?;
        if let Some(name) = &self.client_header {
            formats::decoders::check_names(std::iter::once(name.as_str()))
                .map_err(|error| BuildError::invalid("client_header", error))?;
        }
        let joining =
            self.multiline.take().map(|it| it.joining(EVENT_MAX).map(Arc::new)).transpose()?;
        if joining.is_some() && self.framing.kind() != "lines" {
            let problem = "it joins lines; leave it out, or take the framing `lines`";
            return Err(BuildError::invalid("multiline", problem));
        }
        Ok(Box::new(Netcat {
            joining,
            guard: Guard::new(self.tls.take(), &[("listen", &self.listen)], cx, &[])?,
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            framing: self.framing.build("framing", cx)?.into(),
            board: cx.get(),
            settings: Arc::new(self),
            listener: None,
        }))
    }
}

struct Netcat {
    name: Arc<str>,
    env: Env,
    metrics: Metrics,
    framing: Arc<dyn Framing>,
    /// Rule for joining lines.
    joining: Option<Arc<Joining>>,
    settings: Arc<Config>,
    guard: Option<Guard>,
    board: TenantBoard,
    /// Present between opening and running.
    listener: Option<Box<dyn Listener>>,
}

#[async_trait]
impl Source for Netcat {
    fn guarantee(&self) -> Guarantee {
        // A client resends unacknowledged lines; without replies it cannot know them.
        match self.settings.ack_every_event {
            true => Guarantee::AtLeastOnce,
            false => Guarantee::BestEffort,
        }
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::Nothing
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Listen { setting: "listen", address: self.settings.listen.clone() }]
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        let listener =
            listening::listen(&*self.env.net, &self.settings.listen, self.guard.as_ref()).await?;
        info!(source = %self.name, address = listener.local_address(), "listening");
        self.listener = Some(listener);
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let listener = self.listener.take().expect("a source is opened before it runs");
        let (name, metrics) = (self.name.clone(), self.metrics.clone());
        // Maximum for all connections together: a batch and a line each.
        let held = gathered::BATCH_BYTES as u64 + self.settings.line_max.0;
        let held = held * u64::from(self.settings.connections_max);
        let sharing = Sharing::new((&name, &metrics), &self.settings.tenants, held, &self.board);
        let to = Destination::new(name, metrics, cx.intake, self.settings.batch_events);
        let allowed = (self.settings.connections_max as usize, self.guard.as_ref());
        listening::serve(listener, &self.name, allowed, &cx.stop, |stream, peer| {
            let address = peer.address.clone();
            let connection = Connection {
                peer: address.clone(),
                client: Client::new(sharing.clone(), peer),
                events: EventStream::new(
                    &*self.framing,
                    self.settings.line_max.0 as usize,
                    self.joining.clone(),
                ),
                settings: self.settings.clone(),
                to: to.clone(),
                stop: cx.stop.clone(),
                gathered: Gathered::default(),
                stream,
            };
            async move {
                let source = connection.to.source.clone();
                if let Err(error) = connection.serve().await {
                    debug!(%source, peer = %address, %error, "a connection broke");
                }
            }
        })
        .await;
        to.finish(DRAIN).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
