//! Messages as events, gathered into batches.

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use metrics::SourceReason;
use peers::limits::Cut;
use pipeline::Frame;
use pipeline::env::unix_millis;
use pipeline::{Batch, BatchBuilder};
use tracing::warn;

use super::Shared;
use super::parse::{Calendar, Parsed, parse};

/// Bytes of bodies from which on a batch is full.
const BATCH_BYTES: usize = 256 << 10;

/// Which of its parts an event shows, and where.
pub(super) struct Form {
    /// Whether the body is the whole message.
    pub(super) keep_fields: bool,
    /// Header of the sender's address.
    pub(super) client_header: Option<String>,
    /// Header of the port.
    pub(super) port_header: Option<String>,
    /// Zone of times that name none.
    pub(super) zone: TimeZone,
}

/// Where messages come from.
pub(super) struct Origin {
    /// Address of the sender's host.
    pub(super) client: String,
    /// Port that is listened on.
    pub(super) port: String,
}

impl Origin {
    /// Of a sender's and an own address, both `host:port`.
    pub(super) fn new(peer: &str, local: &str) -> Self {
        let host = peer.rsplit_once(':').map_or(peer, |(host, _)| host);
        let port = local.rsplit_once(':').map_or("", |(_, port)| port);
        Self { client: host.trim_matches(['[', ']']).to_owned(), port: port.to_owned() }
    }
}

/// Events that become one batch.
#[derive(Default)]
pub(super) struct Gathered {
    events: BatchBuilder,
}

impl Gathered {
    /// Adds a message.
    pub(super) fn push(&mut self, frame: &Frame, origin: &Origin, shared: &Shared) {
        let now = unix_millis(shared.clock.now());
        let now = i64::try_from(now).ok().and_then(|now| Timestamp::from_millisecond(now).ok());
        let form = &shared.form;
        let calendar = Calendar { zone: form.zone.clone(), now: now.unwrap_or_default() };
        let parsed = parse(&frame.message, &calendar);
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

    /// Whether the next message, of so many bytes, belongs into another batch.
    pub(super) fn is_full(&self, next_bytes: usize, shared: &Shared) -> bool {
        /// Overhead of an event, with its headers, in that of a plain one.
        const HEADERS: u64 = 4;
        let (events, bytes) = (self.events.len(), self.events.body_bytes());
        let is_over = |limit: u64| {
            let cut = Cut::within(limit);
            let is_too_long = (bytes + next_bytes) as u64 > cut.body_bytes;
            events > 0 && (is_too_long || events as u64 >= cut.events / HEADERS)
        };
        events >= shared.limits.batch_events
            || bytes >= BATCH_BYTES
            || shared.cx.intake.batch_bytes_max().is_some_and(is_over)
    }

    /// Stores what was gathered, if that is anything, and waits for it. A batch that a channel
    /// refuses is lost, counted, and said.
    pub(super) async fn store(&mut self, shared: &Shared) {
        if self.events.is_empty() {
            return;
        }
        let batch: Batch = std::mem::take(&mut self.events).finish();
        let (events, intake) = (batch.len() as u64, shared.cx.intake.clone());
        let stored = shared.work.spawn(async move { intake.accept(batch).await }).await;
        if let Ok(Err(error)) = stored {
            warn!(
                source = %shared.name, events, %error,
                "messages are lost: a channel refused them",
            );
            count(shared, "messages_refused", events);
        }
    }
}

/// Counts what was lost or odd.
pub(super) fn count(shared: &Shared, reason: &'static str, times: u64) {
    let label = SourceReason { source: shared.name.to_string(), reason };
    shared.metrics.source_anomalies.get_or_create(&label).inc_by(times);
}

/// A datagram as a message: cut where it is longer than allowed.
pub(super) fn datagram(bytes: &[u8], message_max: usize) -> Frame {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0));
    let message = &bytes[..end.map_or(0, |end| end + 1)];
    let is_cut = message.len() > message_max;
    let message = &message[..message.len().min(message_max)];
    Frame { message: Bytes::copy_from_slice(message), is_cut }
}

/// The numbers of a message as headers show them.
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
