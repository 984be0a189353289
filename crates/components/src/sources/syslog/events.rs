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

use super::Rules;
use super::parse::{Parsed, parse};
use super::times::Calendar;

/// Layout of the events.
pub(super) struct Form {
    /// True if the body is the whole message.
    pub(super) keep_fields: bool,
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
        let parsed = parse(&frame.message, &calendar);
        self.unparsed += u64::from(parsed.is_unparsed);
        let body = if form.keep_fields { &frame.message[..] } else { parsed.rest };
        let numbers = Numbers::of(&parsed);
        let mut headers: Vec<(&str, &str)> = Vec::with_capacity(10);
        let status = match (frame.is_cut, parsed.priority) {
            (true, _) => Some("Incomplete"),
            (false, None) => Some("Invalid"),
            (false, Some(_)) => None,
        };
        let named = [
            ("Priority", numbers.priority.as_deref()),
            ("Facility", numbers.facility.as_deref()),
            ("Severity", numbers.severity.as_deref()),
            ("Version", parsed.version),
            ("timestamp", numbers.timestamp.as_deref()),
            ("host", parsed.host),
            ("flume.syslog.status", status),
        ];
        headers.extend(named.into_iter().filter_map(|(name, value)| Some((name, value?))));
        headers.extend(form.client_header.as_deref().map(|name| (name, &*origin.client)));
        headers.extend(form.port_header.as_deref().map(|name| (name, &*origin.port)));
        self.events.push(body, &headers);
    }
}

/// Converts a datagram to a message, and truncates it to the limit.
pub(super) fn datagram(bytes: &[u8], message_max: usize) -> Frame {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0));
    let message = &bytes[..end.map_or(0, |end| end + 1)];
    let is_cut = message.len() > message_max;
    let message = &message[..message.len().min(message_max)];
    Frame { message: Bytes::copy_from_slice(message), is_cut }
}

/// Text of a message's numbers, for headers.
#[derive(Default)]
struct Numbers {
    priority: Option<String>,
    facility: Option<String>,
    severity: Option<String>,
    timestamp: Option<String>,
}

impl Numbers {
    fn of(parsed: &Parsed<'_>) -> Self {
        Self {
            priority: parsed.priority.map(|priority| priority.to_string()),
            facility: parsed.priority.map(|priority| (priority / 8).to_string()),
            severity: parsed.priority.map(|priority| (priority % 8).to_string()),
            timestamp: parsed.timestamp.map(|millis| millis.to_string()),
        }
    }
}
