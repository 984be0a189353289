//! Converts a request to events: one for each log record, span or metric. Pure.
//!
//! Shared data is encoded once per resource and scope, and adjacent events have the same header,
//! which a batch stores once. So shared data does not multiply the size of a request.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use peers::limits::{Cut, EVENT_OVERHEAD_BYTES};
use pipeline::{Batch, BatchBuilder};
use support::hex::hex;

use crate::headers as h;
use crate::proto::{
    AnyValue, ExportLogsServiceRequest, ExportMetricsServiceRequest, ExportTraceServiceRequest,
    InstrumentationScope, Json, KeyValue, KeyValueList, LogRecord, Metric, Resource, Span,
    any_value::Value, from_json, metric, to_json,
};
use crate::signal::Signal;

/// Maximum size of an event's headers, which a file repeats for each event.
const HEADER_BYTES_MAX: usize = 64 << 10;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The encoding of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// OTLP JSON.
    Json,
    /// Protobuf.
    Protobuf,
}

impl Form {
    /// Encodes a message.
    pub(crate) fn write<M: Json>(self, message: &M) -> Vec<u8> {
        match self {
            Self::Json => to_json(message).into_bytes(),
            Self::Protobuf => message.encode_to_vec(),
        }
    }

    /// Decodes a message.
    ///
    /// # Errors
    /// Why the bytes are not a message.
    pub(crate) fn read<M: Json>(self, bytes: &[u8]) -> Result<M, String> {
        match self {
            Self::Json => from_json(bytes),
            Self::Protobuf => M::decode(bytes).map_err(|error| error.to_string()),
        }
    }
}

/// Owner of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The resource.
    Resource,
    /// The scope.
    Scope,
    /// The log record or span.
    Record,
}

/// An attribute with its own header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picked {
    /// The name of the header.
    pub(crate) header: String,
    /// The owner of the attribute.
    pub(crate) owner: Owner,
    /// The key of the attribute.
    pub(crate) key: String,
}

/// How to convert records to events.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    /// The encoding of whole log records; `None` if the body is the record's body.
    pub(crate) logs: Option<Form>,
    /// The encoding of spans and metrics.
    pub(crate) others: Form,
    /// Attributes with their own headers.
    pub(crate) picked: Vec<Picked>,
}

/// The events of a request, and its rejected records.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) batch: Batch,
    /// Number of log records, spans or data points that cannot be converted.
    pub(crate) rejected: u64,
    /// Why the first of them cannot be converted.
    pub(crate) problem: String,
}

/// Converts a request. `batch_bytes_max` is the limit of downstream agents.
///
/// # Errors
/// Why the bytes are not a request of this signal and encoding.
pub(crate) fn events_of(
    (signal, form): (Signal, Form),
    body: &[u8],
    mapping: &Mapping,
    batch_bytes_max: Option<u64>,
) -> Result<Events, String> {
    let event_bytes_max = batch_bytes_max.map(|bytes| Cut::within(bytes).body_bytes);
    let mut out = Out {
        mapping,
        event_bytes_max: event_bytes_max.unwrap_or(u64::MAX),
        events: BatchBuilder::default(),
        rejected: 0,
        problem: String::new(),
    };
    match signal {
        Signal::Logs => {
            let request: ExportLogsServiceRequest = form.read(body)?;
            for of_resource in request.resource_logs {
                let resource = Outer::resource(of_resource.resource, of_resource.schema_url);
                for of_scope in of_resource.scope_logs {
                    let scope = Outer::scope(of_scope.scope, of_scope.schema_url);
                    of_scope.log_records.iter().for_each(|it| out.log(&resource, &scope, it));
                }
            }
        }
        Signal::Traces => {
            let request: ExportTraceServiceRequest = form.read(body)?;
            for of_resource in request.resource_spans {
                let resource = Outer::resource(of_resource.resource, of_resource.schema_url);
                for of_scope in of_resource.scope_spans {
                    let scope = Outer::scope(of_scope.scope, of_scope.schema_url);
                    of_scope.spans.iter().for_each(|it| out.span(&resource, &scope, it));
                }
            }
        }
        Signal::Metrics => {
            let request: ExportMetricsServiceRequest = form.read(body)?;
            for of_resource in request.resource_metrics {
                let resource = Outer::resource(of_resource.resource, of_resource.schema_url);
                for of_scope in of_resource.scope_metrics {
                    let scope = Outer::scope(of_scope.scope, of_scope.schema_url);
                    of_scope.metrics.iter().for_each(|it| out.metric(&resource, &scope, it));
                }
            }
        }
    }
    Ok(Events { batch: out.events.finish(), rejected: out.rejected, problem: out.problem })
}

/// A resource or scope, encoded for its records.
struct Outer {
    json: Option<String>,
    schema: String,
    attributes: Vec<KeyValue>,
}

impl Outer {
    fn resource(resource: Option<Resource>, schema: String) -> Self {
        let json = resource.as_ref().map(to_json);
        Self { json, schema, attributes: resource.unwrap_or_default().attributes }
    }

    fn scope(scope: Option<InstrumentationScope>, schema: String) -> Self {
        let json = scope.as_ref().map(to_json);
        Self { json, schema, attributes: scope.unwrap_or_default().attributes }
    }
}

/// The headers of an event.
#[derive(Default)]
struct Headers<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl<'a> Headers<'a> {
    fn add(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        self.0.push((name, value.into()));
    }

    fn add_text(&mut self, name: &'a str, text: &'a str) {
        if !text.is_empty() {
            self.add(name, text);
        }
    }

    fn add_number(&mut self, name: &'a str, number: u64) {
        if number != 0 {
            self.add(name, number.to_string());
        }
    }

    fn add_id(&mut self, name: &'a str, id: &[u8]) {
        if !id.is_empty() {
            self.add(name, hex(id));
        }
    }

    fn add_timestamp(&mut self, nanos: u64) {
        if nanos != 0 {
            self.add(h::TIMESTAMP, (nanos / NANOS_PER_MILLI).to_string());
        }
    }
}

/// The events so far.
struct Out<'a> {
    mapping: &'a Mapping,
    event_bytes_max: u64,
    events: BatchBuilder,
    rejected: u64,
    problem: String,
}

impl Out<'_> {
    fn log(&mut self, resource: &Outer, scope: &Outer, record: &LogRecord) {
        let mut headers = Headers::default();
        headers.add(h::SIGNAL, Signal::Logs.name());
        headers.add_timestamp(match record.time_unix_nano {
            0 => record.observed_time_unix_nano,
            nanos => nanos,
        });
        headers.add_id(h::TRACE_ID, &record.trace_id);
        headers.add_id(h::SPAN_ID, &record.span_id);
        headers.add_number(h::SEVERITY, record.severity_number.try_into().unwrap_or(0));
        let body = match self.mapping.logs {
            Some(form) => {
                headers.add(h::BODY, h::body::RECORD);
                Cow::Owned(form.write(record))
            }
            None => {
                add_rest(&mut headers, record);
                let (body, kind) = body_of(record.body.as_ref());
                if let Some(kind) = kind {
                    headers.add(h::BODY, kind);
                }
                body
            }
        };
        self.add(&body, headers, (resource, scope, &record.attributes), 1);
    }

    fn span(&mut self, resource: &Outer, scope: &Outer, span: &Span) {
        let mut headers = Headers::default();
        headers.add(h::SIGNAL, Signal::Traces.name());
        headers.add_timestamp(span.start_time_unix_nano);
        headers.add_id(h::TRACE_ID, &span.trace_id);
        headers.add_id(h::SPAN_ID, &span.span_id);
        headers.add_text(h::NAME, &span.name);
        let body = self.mapping.others.write(span);
        self.add(&body, headers, (resource, scope, &span.attributes), 1);
    }

    fn metric(&mut self, resource: &Outer, scope: &Outer, metric: &Metric) {
        let mut headers = Headers::default();
        headers.add(h::SIGNAL, Signal::Metrics.name());
        let (points, time) = points_of(metric);
        headers.add_timestamp(time);
        headers.add_text(h::NAME, &metric.name);
        let body = self.mapping.others.write(metric);
        self.add(&body, headers, (resource, scope, &[]), points as u64);
    }

    /// Adds an event with the data of its resource and scope, or counts why it cannot be converted.
    fn add<'a>(
        &mut self,
        body: &[u8],
        mut headers: Headers<'a>,
        (resource, scope, attributes): (&'a Outer, &'a Outer, &'a [KeyValue]),
        counts_as: u64,
    ) {
        if let Some(json) = &resource.json {
            headers.add(h::RESOURCE, json.as_str());
        }
        headers.add_text(h::RESOURCE_SCHEMA, &resource.schema);
        if let Some(json) = &scope.json {
            headers.add(h::SCOPE, json.as_str());
        }
        headers.add_text(h::SCOPE_SCHEMA, &scope.schema);
        let picked = self.mapping.picked.iter().filter_map(|picked| {
            let attributes = match picked.owner {
                Owner::Resource => &resource.attributes[..],
                Owner::Scope => &scope.attributes[..],
                Owner::Record => attributes,
            };
            let found = attributes.iter().find(|attribute| attribute.key == picked.key)?;
            Some((picked.header.as_str(), text_of(found.value.as_ref()?.value.as_ref()?)))
        });
        let picked: Vec<(&str, Cow<'_, str>)> = picked.collect();
        let headers: Vec<(&str, &str)> =
            headers.0.iter().chain(&picked).map(|(name, value)| (*name, &**value)).collect();
        let header_bytes: usize = headers.iter().map(|(_, value)| value.len() + 4).sum();
        let bytes = body.len() as u64 + header_bytes as u64 + EVENT_OVERHEAD_BYTES;
        if header_bytes > HEADER_BYTES_MAX {
            self.reject(counts_as, || {
                format!(
                    "a record has {header_bytes} bytes of resource, scope and attributes, over the \
                     limit of {HEADER_BYTES_MAX}; shorten them at the client"
                )
            });
        } else if bytes > self.event_bytes_max {
            let max = self.event_bytes_max;
            self.reject(counts_as, || {
                format!(
                    "a record has {bytes} bytes, over the limit of the next agents, {max} bytes; \
                     raise `message_max` there, or shorten the record at the client"
                )
            });
        } else {
            self.events.push(body, &headers);
        }
    }

    fn reject(&mut self, records: u64, problem: impl FnOnce() -> String) {
        if self.problem.is_empty() {
            self.problem = problem();
        }
        self.rejected += records;
    }
}

/// Adds headers for the optional fields of a log record.
fn add_rest<'a>(headers: &mut Headers<'a>, record: &'a LogRecord) {
    headers.add_number(h::TIME, record.time_unix_nano);
    headers.add_number(h::OBSERVED, record.observed_time_unix_nano);
    headers.add_text(h::SEVERITY_TEXT, &record.severity_text);
    headers.add_number(h::DROPPED, record.dropped_attributes_count.into());
    headers.add_number(h::FLAGS, record.flags.into());
    headers.add_text(h::EVENT_NAME, &record.event_name);
    if !record.attributes.is_empty() {
        let attributes = KeyValueList { values: record.attributes.clone() };
        headers.add(h::ATTRIBUTES, to_json(&attributes));
    }
}

/// Returns the body of an event, and its type unless it is text.
fn body_of(body: Option<&AnyValue>) -> (Cow<'_, [u8]>, Option<&'static str>) {
    let Some(body) = body else { return (Cow::Borrowed(&[]), Some(h::body::NONE)) };
    match &body.value {
        Some(Value::StringValue(text)) => (Cow::Borrowed(text.as_bytes()), None),
        Some(Value::BytesValue(bytes)) => (Cow::Borrowed(bytes), Some(h::body::BYTES)),
        Some(_) | None => (Cow::Owned(to_json(body).into_bytes()), Some(h::body::JSON)),
    }
}

/// Converts a value to the text of a header.
fn text_of(value: &Value) -> Cow<'_, str> {
    match value {
        Value::StringValue(text) => text.as_str().into(),
        Value::BoolValue(it) => it.to_string().into(),
        Value::IntValue(it) => it.to_string().into(),
        Value::DoubleValue(it) => it.to_string().into(),
        Value::BytesValue(bytes) => BASE64_STANDARD.encode(bytes).into(),
        other => to_json(&AnyValue { value: Some(other.clone()) }).into(),
    }
}

/// Returns the number of data points of a metric, and the time of the first one; 0 without any.
fn points_of(metric: &Metric) -> (usize, u64) {
    macro_rules! points {
        ($data:expr) => {{
            let first = $data.data_points.first();
            ($data.data_points.len(), first.map_or(0, |point| point.time_unix_nano))
        }};
    }
    match &metric.data {
        Some(metric::Data::Gauge(it)) => points!(it),
        Some(metric::Data::Sum(it)) => points!(it),
        Some(metric::Data::Histogram(it)) => points!(it),
        Some(metric::Data::ExponentialHistogram(it)) => points!(it),
        Some(metric::Data::Summary(it)) => points!(it),
        None => (0, 0),
    }
}

#[cfg(test)]
mod tests;
