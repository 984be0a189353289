//! Converts events to requests: the inverse of [`events`](crate::events). Pure.
//!
//! Adjacent records with the same resource and scope share them again. A request ends when the next
//! record would exceed its limits, or has another signal.
//!
//! An event from another source becomes a log record: its body the text, its headers attributes.

use pipeline::settings::unknown;
use pipeline::{Batch, EventRef};
use prost::Message;

use crate::events::Form;
use crate::headers as h;
use crate::proto::{
    AnyValue, ExportLogsServiceRequest, ExportMetricsServiceRequest, ExportTraceServiceRequest,
    InstrumentationScope, Json, KeyValue, KeyValueList, LogRecord, Metric, Resource, ResourceLogs,
    ResourceMetrics, ResourceSpans, ScopeLogs, ScopeMetrics, ScopeSpans, Span, any_value::Value,
    from_json, unhex,
};
use crate::signal::Signal;

/// Limits of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) records: usize,
    /// Bytes before compression, unless a single record is larger.
    pub(crate) bytes: usize,
    /// Whether headers without a field in OTLP become attributes.
    pub(crate) header_attributes: bool,
}

/// The message of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    /// Log records.
    Logs(ExportLogsServiceRequest),
    /// Spans.
    Traces(ExportTraceServiceRequest),
    /// Metrics.
    Metrics(ExportMetricsServiceRequest),
}

impl Request {
    fn new(signal: Signal) -> Self {
        match signal {
            Signal::Logs => Self::Logs(ExportLogsServiceRequest::default()),
            Signal::Traces => Self::Traces(ExportTraceServiceRequest::default()),
            Signal::Metrics => Self::Metrics(ExportMetricsServiceRequest::default()),
        }
    }

    pub(crate) fn signal(&self) -> Signal {
        match self {
            Self::Logs(_) => Signal::Logs,
            Self::Traces(_) => Signal::Traces,
            Self::Metrics(_) => Signal::Metrics,
        }
    }

    /// Encodes it.
    pub(crate) fn write(&self, form: Form) -> Vec<u8> {
        match self {
            Self::Logs(request) => form.write(request),
            Self::Traces(request) => form.write(request),
            Self::Metrics(request) => form.write(request),
        }
    }

    /// Adds a record to the last scope.
    fn push(&mut self, record: Record) {
        match (self, record) {
            (Self::Logs(to), Record::Log(record)) => {
                let of_resource = to.resource_logs.last_mut();
                let of_scope = of_resource.and_then(|it| it.scope_logs.last_mut());
                of_scope.expect("a scope is begun first").log_records.push(record);
            }
            (Self::Traces(to), Record::Span(span)) => {
                let of_resource = to.resource_spans.last_mut();
                let of_scope = of_resource.and_then(|it| it.scope_spans.last_mut());
                of_scope.expect("a scope is begun first").spans.push(span);
            }
            (Self::Metrics(to), Record::Metric(metric)) => {
                let of_resource = to.resource_metrics.last_mut();
                let of_scope = of_resource.and_then(|it| it.scope_metrics.last_mut());
                of_scope.expect("a scope is begun first").metrics.push(metric);
            }
            _ => unreachable!("a request is of the signal of its records"),
        }
    }

    fn begin_resource(&mut self, resource: Option<Resource>, schema_url: String) {
        match self {
            Self::Logs(to) => to.resource_logs.push(ResourceLogs {
                resource,
                schema_url,
                ..ResourceLogs::default()
            }),
            Self::Traces(to) => to.resource_spans.push(ResourceSpans {
                resource,
                schema_url,
                ..ResourceSpans::default()
            }),
            Self::Metrics(to) => to.resource_metrics.push(ResourceMetrics {
                resource,
                schema_url,
                ..ResourceMetrics::default()
            }),
        }
    }

    fn begin_scope(&mut self, scope: Option<InstrumentationScope>, schema_url: String) {
        let begun = "a resource is begun first";
        match self {
            Self::Logs(to) => to
                .resource_logs
                .last_mut()
                .expect(begun)
                .scope_logs
                .push(ScopeLogs { scope, schema_url, ..ScopeLogs::default() }),
            Self::Traces(to) => to
                .resource_spans
                .last_mut()
                .expect(begun)
                .scope_spans
                .push(ScopeSpans { scope, schema_url, ..ScopeSpans::default() }),
            Self::Metrics(to) => to
                .resource_metrics
                .last_mut()
                .expect(begun)
                .scope_metrics
                .push(ScopeMetrics { scope, schema_url, ..ScopeMetrics::default() }),
        }
    }
}

/// A request, and its events.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) request: Request,
    /// Indexes of its events in the batch, ascending.
    pub(crate) places: Vec<usize>,
}

/// An event that cannot be converted.
#[derive(Debug)]
pub(crate) struct Unwritable {
    /// Its index in the batch.
    pub(crate) place: usize,
    /// Why it cannot be converted.
    pub(crate) problem: String,
}

enum Record {
    Log(LogRecord),
    Span(Span),
    Metric(Metric),
}

impl Record {
    fn bytes(&self) -> usize {
        match self {
            Self::Log(it) => it.encoded_len(),
            Self::Span(it) => it.encoded_len(),
            Self::Metric(it) => it.encoded_len(),
        }
    }
}

/// The shared part of events: JSON of a resource or scope, and the URL of its schema.
type Shared<'a> = (Option<&'a str>, Option<&'a str>);

/// A request in progress.
struct Open<'a> {
    part: Part,
    bytes: usize,
    resource: Shared<'a>,
    scope: Shared<'a>,
}

/// Converts a batch to requests, in the order of its events. Also returns events that cannot be
/// converted.
pub(crate) fn requests_of(batch: &Batch, limits: Limits) -> (Vec<Part>, Vec<Unwritable>) {
    let (mut parts, mut unwritable) = (Vec::new(), Vec::new());
    let mut open: Option<Open<'_>> = None;
    for event in batch.iter() {
        let place = event.index();
        if let Err(problem) = add(event, limits, &mut open, &mut parts) {
            unwritable.push(Unwritable { place, problem });
        }
    }
    parts.extend(open.map(|open| open.part));
    (parts, unwritable)
}

fn add<'a>(
    event: EventRef<'a>,
    limits: Limits,
    open: &mut Option<Open<'a>>,
    parts: &mut Vec<Part>,
) -> Result<(), String> {
    let signal = signal_of(event)?;
    let record = record_of(signal, event, limits.header_attributes)?;
    let resource = (event.header(h::RESOURCE), event.header(h::RESOURCE_SCHEMA));
    let scope = (event.header(h::SCOPE), event.header(h::SCOPE_SCHEMA));
    // Tags and lengths of a record, a scope and a resource.
    const FRAME: usize = 32;
    let around = [resource.0, resource.1, scope.0, scope.1];
    let bytes = record.bytes() + FRAME;
    let shared_bytes: usize = around.iter().flatten().map(|text| text.len()).sum();
    let fits = |it: &Open<'_>| {
        let known = it.resource == resource && it.scope == scope;
        let more = if known { bytes } else { bytes + shared_bytes };
        it.part.request.signal() == signal
            && it.part.places.len() < limits.records
            && it.bytes + more <= limits.bytes
    };
    let mut current = match open.take() {
        Some(open) if fits(&open) => Some(open),
        open => {
            parts.extend(open.map(|open| open.part));
            None
        }
    };
    // Convert the record first: a request must not contain a scope without records.
    let known_resource = current.as_ref().is_some_and(|it| it.resource == resource);
    let known_scope = known_resource && current.as_ref().is_some_and(|it| it.scope == scope);
    let read = || -> Result<_, String> {
        let of_resource =
            if known_resource { None } else { Some(read_outer(h::RESOURCE, resource)?) };
        let of_scope = if known_scope { None } else { Some(read_outer(h::SCOPE, scope)?) };
        Ok((of_resource, of_scope))
    };
    let (of_resource, of_scope) = match read() {
        Ok(read) => read,
        Err(problem) => {
            *open = current;
            return Err(problem);
        }
    };
    let to = current.get_or_insert_with(|| Open {
        part: Part { request: Request::new(signal), places: Vec::new() },
        bytes: 0,
        resource,
        scope,
    });
    if let Some((resource, schema)) = of_resource {
        to.part.request.begin_resource(resource, schema);
        to.bytes += shared_bytes;
    }
    if let Some((scope, schema)) = of_scope {
        to.part.request.begin_scope(scope, schema);
    }
    (to.resource, to.scope) = (resource, scope);
    to.bytes += bytes;
    to.part.request.push(record);
    to.part.places.push(event.index());
    *open = current;
    Ok(())
}

fn read_outer<M: Json>(
    header: &str,
    (json, schema): Shared<'_>,
) -> Result<(Option<M>, String), String> {
    let message = json.map(|json| from_json(json.as_bytes())).transpose();
    let message = message.map_err(|error| not_json(header, &error))?;
    Ok((message, schema.unwrap_or_default().to_owned()))
}

fn not_json(header: &str, error: &dyn std::fmt::Display) -> String {
    format!("the header `{header}` is not OTLP JSON: {error}; remove interceptors that change it")
}

fn signal_of(event: EventRef<'_>) -> Result<Signal, String> {
    let Some(name) = event.header(h::SIGNAL) else { return Ok(Signal::Logs) };
    Signal::ALL.into_iter().find(|signal| signal.name() == name).ok_or_else(|| {
        let known = Signal::ALL.map(Signal::name);
        unknown(&format!("value of the header `{}`:", h::SIGNAL), name, &known)
    })
}

fn record_of(signal: Signal, event: EventRef<'_>, attributes: bool) -> Result<Record, String> {
    Ok(match signal {
        Signal::Logs if event.header(h::BODY) == Some(h::body::RECORD) => {
            Record::Log(whole(event)?)
        }
        Signal::Logs => Record::Log(log_of(event, attributes)?),
        Signal::Traces => Record::Span(whole(event)?),
        Signal::Metrics => Record::Metric(whole(event)?),
    })
}

/// Decodes a record from the body. No protobuf message starts like JSON.
fn whole<M: Json>(event: EventRef<'_>) -> Result<M, String> {
    let form = if event.body().first() == Some(&b'{') { Form::Json } else { Form::Protobuf };
    form.read(event.body()).map_err(|error| {
        format!(
            "the body of the event is not an OTLP record: {error}; an interceptor or sender \
             changed it: correct that, or remove its header `otlp.body`"
        )
    })
}

fn log_of(event: EventRef<'_>, attributes: bool) -> Result<LogRecord, String> {
    let mut record = LogRecord { body: body_of(event)?, ..LogRecord::default() };
    let mut is_of_otlp = false;
    for (name, value) in event.headers() {
        match name {
            h::SIGNAL => is_of_otlp = true,
            h::TIME => record.time_unix_nano = number(name, value)?,
            h::OBSERVED => record.observed_time_unix_nano = number(name, value)?,
            h::SEVERITY => record.severity_number = number(name, value)?,
            h::SEVERITY_TEXT => value.clone_into(&mut record.severity_text),
            h::DROPPED => record.dropped_attributes_count = number(name, value)?,
            h::FLAGS => record.flags = number(name, value)?,
            h::TRACE_ID => record.trace_id = id(name, value)?,
            h::SPAN_ID => record.span_id = id(name, value)?,
            h::EVENT_NAME => value.clone_into(&mut record.event_name),
            h::ATTRIBUTES => {
                let read = from_json::<KeyValueList>(value.as_bytes());
                let read = read.map_err(|error| not_json(name, &error))?;
                // Attributes from headers may already be there.
                record.attributes.splice(0..0, read.values);
            }
            h::TIMESTAMP => {}
            name if name.starts_with(h::PREFIX) => {}
            name if attributes => record.attributes.push(attribute(name, value)),
            _ => {}
        }
    }
    if !is_of_otlp
        && record.time_unix_nano == 0
        && let Some(millis) = event.header(h::TIMESTAMP)
    {
        match millis.parse::<u64>() {
            Ok(millis) => record.time_unix_nano = millis.saturating_mul(1_000_000),
            // The time header is not ours.
            Err(_) if attributes => record.attributes.push(attribute(h::TIMESTAMP, millis)),
            Err(_) => {}
        }
    }
    Ok(record)
}

fn body_of(event: EventRef<'_>) -> Result<Option<AnyValue>, String> {
    let body = event.body();
    let value = match event.header(h::BODY) {
        None => match std::str::from_utf8(body) {
            Ok(text) => Value::StringValue(text.to_owned()),
            Err(_) => Value::BytesValue(body.to_vec()),
        },
        Some(h::body::NONE) => return Ok(None),
        Some(h::body::BYTES) => Value::BytesValue(body.to_vec()),
        Some(h::body::JSON) => {
            let value = from_json(body);
            return value.map(Some).map_err(|error| {
                format!(
                    "the body of the event is not OTLP JSON: {error}; an interceptor or \
                     sender changed it: correct that, or remove its header `otlp.body`"
                )
            });
        }
        Some(other) => {
            let known = [h::body::NONE, h::body::BYTES, h::body::JSON, h::body::RECORD];
            return Err(unknown(&format!("value of the header `{}`:", h::BODY), other, &known));
        }
    };
    Ok(Some(AnyValue { value: Some(value) }))
}

fn attribute(key: &str, text: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn number<N: std::str::FromStr>(name: &str, text: &str) -> Result<N, String> {
    text.parse().map_err(|_| {
        let range = match name {
            h::SEVERITY => "from 1 (trace) to 24 (fatal)",
            h::TIME | h::OBSERVED => "of nanoseconds since 1970",
            _ => "from 0 to 4294967295",
        };
        format!(
            "the header `{name}` must be a whole number {range}, but is `{text}`; correct the \
             interceptor or the client that sets it"
        )
    })
}

fn id(name: &str, text: &str) -> Result<Vec<u8>, String> {
    unhex(text).ok_or_else(|| {
        format!(
            "the header `{name}` must be an even number of hexadecimal digits, but is `{text}`; \
             correct the interceptor or the client that sets it"
        )
    })
}

#[cfg(test)]
mod tests;
