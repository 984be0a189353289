//! The header names of an event that represents an OpenTelemetry record. The source writes these
//! headers, the sink reads them.
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
/// Type of a log record's body, unless it is text: see [`body`].
pub(crate) const BODY: &str = "otlp.body";
/// The attributes of a log record, as JSON.
pub(crate) const ATTRIBUTES: &str = "otlp.attributes";
/// Number of attributes dropped earlier.
pub(crate) const DROPPED: &str = "otlp.dropped_attributes";
/// Event time, in nanoseconds since 1970.
pub(crate) const TIME: &str = "otlp.time";
/// Observation time, in nanoseconds since 1970.
pub(crate) const OBSERVED: &str = "otlp.observed_time";
/// Severity number, from 1 to 24.
pub(crate) const SEVERITY: &str = "otlp.severity";
/// Severity text of the origin.
pub(crate) const SEVERITY_TEXT: &str = "otlp.severity_text";
/// Trace flags.
pub(crate) const FLAGS: &str = "otlp.flags";
/// Trace id, in hexadecimal digits.
pub(crate) const TRACE_ID: &str = "otlp.trace_id";
/// Span id, in hexadecimal digits.
pub(crate) const SPAN_ID: &str = "otlp.span_id";
/// Event name of a log record.
pub(crate) const EVENT_NAME: &str = "otlp.event_name";
/// Name of a span or metric.
pub(crate) const NAME: &str = "otlp.name";
/// Milliseconds since 1970: the header that sinks use in paths.
pub(crate) const TIMESTAMP: &str = "timestamp";

/// Prefix of all of them but the last.
pub(crate) const PREFIX: &str = "otlp.";

/// Values of [`BODY`].
pub(crate) mod body {
    /// The record has no body.
    pub(crate) const NONE: &str = "none";
    /// Bytes.
    pub(crate) const BYTES: &str = "bytes";
    /// Any other value, as OTLP JSON.
    pub(crate) const JSON: &str = "json";
    /// The whole record, in JSON or protobuf.
    pub(crate) const RECORD: &str = "record";
}
