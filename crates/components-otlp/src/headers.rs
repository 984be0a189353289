//! What a record of OpenTelemetry is as an event: the names of its headers. The source writes them,
//! the sink reads them.
//!
//! ```text
//!   ResourceLogs ── resource    ─► otlp.resource (JSON)   schema_url ─► otlp.resource_schema
//!     ScopeLogs  ── scope       ─► otlp.scope (JSON)      schema_url ─► otlp.scope_schema
//!       LogRecord ─ body        ─► body of the event      its type   ─► otlp.body
//!                 ─ attributes  ─► otlp.attributes (JSON) the rest   ─► otlp.time, …
//!       Span, Metric            ─► body of the event, as JSON or protobuf
//! ```

/// The signal: `logs`, `traces`, `metrics`.
pub(crate) const SIGNAL: &str = "otlp.signal";
/// The resource, as JSON.
pub(crate) const RESOURCE: &str = "otlp.resource";
/// The URL of the resource's schema.
pub(crate) const RESOURCE_SCHEMA: &str = "otlp.resource_schema";
/// The scope, as JSON.
pub(crate) const SCOPE: &str = "otlp.scope";
/// The URL of the scope's schema.
pub(crate) const SCOPE_SCHEMA: &str = "otlp.scope_schema";
/// What the body of a log record is, unless it is text: see [`body`].
pub(crate) const BODY: &str = "otlp.body";
/// The attributes of a log record, as JSON.
pub(crate) const ATTRIBUTES: &str = "otlp.attributes";
/// How many attributes were dropped before.
pub(crate) const DROPPED: &str = "otlp.dropped_attributes";
/// When it happened, in nanoseconds since 1970.
pub(crate) const TIME: &str = "otlp.time";
/// When it was observed, in nanoseconds since 1970.
pub(crate) const OBSERVED: &str = "otlp.observed_time";
/// The number of the severity, from 1 to 24.
pub(crate) const SEVERITY: &str = "otlp.severity";
/// The severity as its origin wrote it.
pub(crate) const SEVERITY_TEXT: &str = "otlp.severity_text";
/// The flags of the trace.
pub(crate) const FLAGS: &str = "otlp.flags";
/// The id of the trace, in hexadecimal digits.
pub(crate) const TRACE_ID: &str = "otlp.trace_id";
/// The id of the span, in hexadecimal digits.
pub(crate) const SPAN_ID: &str = "otlp.span_id";
/// The name of a log record's event.
pub(crate) const EVENT_NAME: &str = "otlp.event_name";
/// The name of a span or metric.
pub(crate) const NAME: &str = "otlp.name";
/// Milliseconds since 1970: the header that paths of sinks are made by.
pub(crate) const TIMESTAMP: &str = "timestamp";

/// How all of them begin but the last.
pub(crate) const PREFIX: &str = "otlp.";

/// Values of [`BODY`].
pub(crate) mod body {
    /// The record has none.
    pub(crate) const NONE: &str = "none";
    /// Bytes.
    pub(crate) const BYTES: &str = "bytes";
    /// Another value than text or bytes, as JSON of OTLP.
    pub(crate) const JSON: &str = "json";
    /// The whole record, as JSON or protobuf.
    pub(crate) const RECORD: &str = "record";
}
