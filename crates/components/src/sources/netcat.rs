//! `netcat`: each line of a TCP connection is an event, acknowledged with `OK` when it is stored.
//!
//! A line ends with LF or CR LF, and its bytes are passed on unchanged, or converted to UTF-8 with
//! `charset`. The last line needs no end if the client closes its connection in order.
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

mod connection;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use formats::charset::Charset;
use kit::gathered;
use kit::multiline::{Joining, Multiline};
use kit::serve::{Connected, Connections, Ports, Preset, Put, Serve, Served};
use pipeline::component::Choice;
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError, Component, Framing, Guarantee, Source};
use schemars::JsonSchema;
use serde::Deserialize;

use connection::Connection;

/// Read size.
const READ_BYTES: usize = 16 << 10;
/// Upper bound for the settings of line and event size.
const EVENT_MAX: ByteSize = ByteSize::mib(16);

/// Settings of the `netcat` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address to listen on: `host:port`. Port 0 selects a free port.
    listen: String,
    /// Whether each event is answered by `OK` when it is stored.
    #[serde(default = "pipeline::units::yes")]
    ack_every_event: bool,
    /// Framing of events in the stream: `lines` or `length_prefixed`.
    #[serde(default = "default_framing")]
    framing: Choice<dyn Framing>,
    /// Charset of the stream and of the replies, such as `utf-16le` or `gbk`. Bodies become UTF-8.
    /// Invalid text ends its connection. Default: bodies keep their bytes.
    #[serde(default)]
    charset: Option<String>,
    /// Rules that join lines to one event, such as a message and its stack trace. Without them each
    /// line is an event.
    #[serde(default)]
    multiline: Option<Multiline>,
    /// Length limit of a line. Flume's limit is 512 characters, including the line end.
    #[serde(default = "pipeline::units::kib::<64>")]
    line_max: ByteSize,
    /// Header for the address of the client's host. Default: none.
    #[serde(default)]
    client_header: Option<String>,
    /// Limit of events in a batch.
    #[serde(default = "pipeline::units::number::<1000>")]
    batch_events: usize,
    #[serde(rename = "..")]
    #[schemars(flatten)]
    connections: Connections<Shared>,
    /// Idle timeout of a connection. Default: no limit.
    #[serde(default)]
    idle_timeout: Option<Period>,
}

/// Descriptions of the shared settings.
#[derive(Debug)]
enum Shared {}

impl Preset for Shared {
    const TEXTS: &[(&str, &str)] = &[(
        "tenants",
        "Limits for each client: shares, connections, rates, sizes. Events above a rate wait \
         unread, a connection above the limit is closed, and a line above its size is handled as \
         one over `line_max`.",
    )];
}

fn default_framing() -> Choice<dyn Framing> {
    Choice::from_kind("lines")
}

impl Component for Config {
    const KIND: &'static str = "netcat";
    const ANOMALIES: &[&str] = &[
        "event_divided",
        "framing_lost",
        "invalid_text",
        "line_cut",
        "line_too_long",
        "lines_refused",
        "tls_failed",
    ];
    const EXAMPLE: &str = r#"listen = "127.0.0.1:4141""#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        if self.line_max.0 == 0 || self.line_max > EVENT_MAX {
            let problem = format!("must be from 1B to {EVENT_MAX}");
            return Err(BuildError::invalid("line_max", problem));
        }
        let positive = [
            ("batch_events", self.batch_events as u64),
            ("idle_timeout", self.idle_timeout.map_or(1, |it| it.0.as_nanos().min(1) as u64)),
        ];
        if let Some((setting, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(BuildError::invalid(*setting, "must be greater than 0"));
        }
        if let Some(name) = &self.client_header {
            formats::decoders::check_names(std::iter::once(name.as_str()))
                .map_err(|error| BuildError::invalid("client_header", error))?;
        }
        let joining = self.multiline.map(|it| it.joining(EVENT_MAX).map(Arc::new)).transpose()?;
        if joining.is_some() && self.framing.kind() != "lines" {
            let problem = "has an effect only with the framing `lines`; set it, or remove this";
            return Err(BuildError::invalid("multiline", problem));
        }
        let charset = self.charset.as_deref().map(Charset::named).transpose();
        let charset = charset.map_err(|problem| BuildError::invalid("charset", problem))?;
        let limits = gathered::limits(("line_max", self.line_max), &self.connections);
        let listen = [("listen", &*self.listen)];
        let netcat = Netcat {
            ack_every_event: self.ack_every_event,
            charset: charset.filter(|charset| !charset.is_utf8()),
            framing: self.framing.build("framing", cx)?.into(),
            joining,
            line_max: self.line_max,
            client_header: self.client_header,
            batch_events: self.batch_events,
            idle_timeout: self.idle_timeout.map(|limit| limit.0),
        };
        Ok(Box::new(Served::new(Ports::new(&listen, self.connections, limits, &[], cx)?, netcat)))
    }
}

struct Netcat {
    ack_every_event: bool,
    /// Charset of the streams, if they are converted.
    charset: Option<Charset>,
    framing: Arc<dyn Framing>,
    /// Rule for joining lines.
    joining: Option<Arc<Joining>>,
    line_max: ByteSize,
    client_header: Option<String>,
    batch_events: usize,
    idle_timeout: Option<Duration>,
}

impl Serve for Netcat {
    type End = io::Error;

    fn guarantee(&self) -> Guarantee {
        // A client resends unacknowledged lines; without replies it cannot know them.
        match self.ack_every_event {
            true => Guarantee::AtLeastOnce,
            false => Guarantee::BestEffort,
        }
    }

    async fn serve(&self, connected: Connected, put: &Arc<Put>) -> io::Result<()> {
        Connection::new(connected, self, put).serve().await
    }
}

#[cfg(test)]
mod tests;
