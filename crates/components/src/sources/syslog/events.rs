//! Converts messages to events and batches.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use kit::gathered::{Destination, Gathered};
use kit::listening;
use kit::tenants::{Client, Member};
use pipeline::Frame;
use pipeline::env::unix_millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Rules;
use super::body::{Keep, body};
use super::flume;
use super::parse::parse;
use super::times::Calendar;

/// Which messages are understood, and how their headers are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Layout {
    /// RFC 3164, RFC 5424 and the formats of devices; headers `Priority` and `Version`.
    #[default]
    Standard,
    /// As Flume's `syslogtcp` and `syslogudp`: RFC 3164 and RFC 5424; headers `priority` and
    /// `version`. Any other message is stored whole.
    Flume,
}

/// Layout of the events.
pub(super) struct Form {
    pub(super) layout: Layout,
    /// What the body keeps in front of the text.
    pub(super) keep_fields: Keep,
    /// Name of the header with the sender's address.
    pub(super) client_header: Option<String>,
    /// Name of the header with the port.
    pub(super) port_header: Option<String>,
    /// Zone of times without one.
    pub(super) zone: TimeZone,
}

/// Source address of messages.
pub(super) struct Origin {
    /// Address of the sender's host.
    pub(super) client: String,
    /// Local port.
    pub(super) port: String,
}

impl Origin {
    /// Creates it from a remote and a local address, both `host:port`.
    pub(super) fn new(peer: &str, local: &str) -> Self {
        let port = local.rsplit_once(':').map_or("", |(_, port)| port);
        Self { client: listening::host(peer).to_owned(), port: port.to_owned() }
    }
}

/// Messages of the next batch.
#[derive(Default)]
pub(super) struct Messages {
    events: Gathered,
    /// Number of messages in an unknown format.
    unparsed: u64,
    /// Connection of the messages; `None` for datagrams.
    client: Option<Client>,
}

impl Messages {
    /// Creates an empty batch for this connection.
    pub(super) fn of(client: Client) -> Self {
        Self { client: Some(client), ..Self::default() }
    }

    /// Returns the tenant of the connection, after the first read.
    pub(super) fn member(&self) -> Option<&Arc<Member>> {
        self.client.as_ref().map(Client::member)
    }

    /// Adds a message; stores the batch first if the message does not fit.
    pub(super) async fn push(
        &mut self,
        frame: &Frame,
        origin: &Origin,
        (rules, to): (&Rules, &Destination),
    ) {
        if self.events.is_full(frame.message.len(), to) {
            self.store(to).await;
        }
        self.add(frame, origin, rules);
    }

    /// Stores the batch, if it has messages, and waits for that. A batch that a channel rejects is
    /// lost, counted, and logged.
    pub(super) async fn store(&mut self, to: &Destination) {
        let unparsed = std::mem::take(&mut self.unparsed);
        if unparsed > 0 {
            to.count("message_unparsed", unparsed);
        }
        self.events.store_or_lose(to, self.client.as_ref(), "messages_refused").await;
    }

    fn add(&mut self, frame: &Frame, origin: &Origin, Rules { clock, form, .. }: &Rules) {
        let now = unix_millis(clock.now());
        let now = i64::try_from(now).ok().and_then(|now| Timestamp::from_millisecond(now).ok());
        let calendar = Calendar { zone: form.zone.clone(), now: now.unwrap_or_default() };
        let fields = match form.layout {
            Layout::Standard => Fields::standard(frame, &calendar),
            // Flume skips empty lines.
            Layout::Flume if frame.message.is_empty() => return,
            Layout::Flume => flume::fields(frame, &calendar),
        };
        self.unparsed += u64::from(fields.is_unparsed);
        let body = body(&form.keep_fields, form.layout, &fields, &frame.message);
        let timestamp = fields.timestamp.map(|millis| millis.to_string());
        let (priority, version) = match form.layout {
            Layout::Standard => ("Priority", "Version"),
            Layout::Flume => ("priority", "version"),
        };
        let mut headers: Vec<(&str, &str)> = Vec::with_capacity(10);
        let named = [
            (priority, fields.priority.as_deref()),
            ("Facility", fields.facility.as_deref()),
            ("Severity", fields.severity.as_deref()),
            (version, fields.version),
            ("timestamp", timestamp.as_deref()),
            ("host", fields.host),
            ("flume.syslog.status", fields.status),
        ];
        headers.extend(named.into_iter().filter_map(|(name, value)| Some((name, value?))));
        headers.extend(form.client_header.as_deref().map(|name| (name, &*origin.client)));
        headers.extend(form.port_header.as_deref().map(|name| (name, &*origin.port)));
        self.events.push(&body, &headers);
    }
}

/// Converts a datagram to a message, and truncates it to the limit.
pub(super) fn datagram(bytes: &[u8], message_max: usize, layout: Layout) -> Frame {
    let is_end = |byte: &u8| match layout {
        Layout::Standard => matches!(byte, b'\n' | b'\r' | 0),
        Layout::Flume => *byte == b'\n',
    };
    let end = bytes.iter().rposition(|byte| !is_end(byte));
    let message = &bytes[..end.map_or(0, |end| end + 1)];
    let is_cut = message.len() > message_max;
    let message = &message[..message.len().min(message_max)];
    Frame { message: Bytes::copy_from_slice(message), is_cut }
}

/// Content of the headers and the body of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    pub(super) priority: Option<String>,
    pub(super) facility: Option<String>,
    pub(super) severity: Option<String>,
    pub(super) version: Option<&'a str>,
    pub(super) timestamp: Option<i64>,
    /// The time as it was sent.
    pub(super) time: Option<&'a [u8]>,
    pub(super) host: Option<&'a str>,
    pub(super) status: Option<&'static str>,
    /// The text after the other fields.
    pub(super) body: &'a [u8],
    /// True if the format is unknown.
    pub(super) is_unparsed: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn standard(frame: &'a Frame, calendar: &Calendar) -> Self {
        let parsed = parse(&frame.message, calendar);
        let status = match (frame.is_cut, parsed.priority) {
            (true, _) => Some("Incomplete"),
            (false, None) => Some("Invalid"),
            (false, Some(_)) => None,
        };
        Self {
            priority: parsed.priority.map(|priority| priority.to_string()),
            facility: parsed.priority.map(|priority| (priority / 8).to_string()),
            severity: parsed.priority.map(|priority| (priority % 8).to_string()),
            version: parsed.version,
            timestamp: parsed.timestamp,
            time: parsed.time,
            host: parsed.host,
            status,
            body: parsed.rest,
            is_unparsed: parsed.is_unparsed,
        }
    }
}
