//! The messages of OTLP, in protobuf and in JSON.
//!
//! The JSON equals protobuf JSON, except for trace and span ids, which OTLP encodes in hexadecimal
//! digits instead of base64. They are converted in the JSON itself: a key such as `traceId` always
//! belongs to the schema, because attribute names are values in OTLP.

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};
use serde::de::DeserializeSeed;
use serde_json::Value;
use support::hex::hex;

#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from `proto` by `crates/wire/tests/schemas.rs`"
)]
mod generated {
    include!("generated/otlp.rs");
}

pub(crate) use generated::google::rpc;
use generated::opentelemetry::proto;
pub(crate) use proto::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
pub(crate) use proto::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
pub(crate) use proto::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
pub(crate) use proto::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
pub(crate) use proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
pub(crate) use proto::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics, metric};
pub(crate) use proto::resource::v1::Resource;
pub(crate) use proto::trace::v1::{ResourceSpans, ScopeSpans, Span};

/// Fields that OTLP encodes in hexadecimal digits, by both names that protobuf JSON allows.
const IDS: [&str; 6] =
    ["traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"];

static SCHEMA: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let compiled = include_bytes!("generated/otlp.bin");
    DescriptorPool::decode(&compiled[..]).expect("generated descriptors are valid")
});

/// A message with a JSON form.
pub(crate) trait Json: Message + Default {
    const NAME: &'static str;

    fn descriptor() -> MessageDescriptor {
        SCHEMA.get_message_by_name(Self::NAME).expect("a message of the schema")
    }
}

macro_rules! json {
    ($($message:ty = $name:literal,)*) => {
        $(impl Json for $message {
            const NAME: &'static str = $name;
        })*
    };
}

json! {
    ExportLogsServiceRequest = "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest",
    ExportLogsServiceResponse = "opentelemetry.proto.collector.logs.v1.ExportLogsServiceResponse",
    ExportTraceServiceRequest = "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest",
    ExportTraceServiceResponse =
        "opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse",
    ExportMetricsServiceRequest =
        "opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest",
    ExportMetricsServiceResponse =
        "opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceResponse",
    LogRecord = "opentelemetry.proto.logs.v1.LogRecord",
    Span = "opentelemetry.proto.trace.v1.Span",
    Metric = "opentelemetry.proto.metrics.v1.Metric",
    AnyValue = "opentelemetry.proto.common.v1.AnyValue",
    KeyValueList = "opentelemetry.proto.common.v1.KeyValueList",
    InstrumentationScope = "opentelemetry.proto.common.v1.InstrumentationScope",
    Resource = "opentelemetry.proto.resource.v1.Resource",
    rpc::Status = "google.rpc.Status",
}

/// Encodes a message as JSON, in one line.
pub(crate) fn to_json<M: Json>(message: &M) -> String {
    let mut dynamic = DynamicMessage::new(M::descriptor());
    dynamic.transcode_from(message).expect("a message is one of its own schema");
    let options = SerializeOptions::new().use_enum_numbers(true);
    let mut json = dynamic
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("a message of a proto3 schema has JSON");
    exchange_ids(&mut json, &|id| Some(hex(&BASE64_STANDARD.decode(id).ok()?)))
        .expect("the library writes base64");
    json.to_string()
}

/// Decodes a JSON message. Ignores unknown fields, as OTLP requires.
///
/// # Errors
/// Why the text is not a message.
pub(crate) fn from_json<M: Json>(json: &[u8]) -> Result<M, String> {
    let mut json: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    exchange_ids(&mut json, &|id| Some(BASE64_STANDARD.encode(unhex(id)?)))?;
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let dynamic = DeserializeWith(M::descriptor(), options).deserialize(json);
    let dynamic = dynamic.map_err(|error| error.to_string())?;
    dynamic.transcode_to().map_err(|error| error.to_string())
}

/// A seed with the message type and the options of the decoder.
struct DeserializeWith(MessageDescriptor, DeserializeOptions);

impl<'de> DeserializeSeed<'de> for DeserializeWith {
    type Value = DynamicMessage;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<DynamicMessage, D::Error> {
        DynamicMessage::deserialize_with_options(self.0, from, &self.1)
    }
}

/// Replaces each id by the result of `other`.
fn exchange_ids(json: &mut Value, other: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    match json {
        Value::Array(values) => values.iter_mut().try_for_each(|json| exchange_ids(json, other)),
        Value::Object(fields) => fields.iter_mut().try_for_each(|(name, value)| match value {
            Value::String(id) if IDS.contains(&name.as_str()) => {
                *id = other(id).ok_or_else(|| {
                    format!("`{name}` must be an even number of hexadecimal digits, but is `{id}`")
                })?;
                Ok(())
            }
            value => exchange_ids(value, other),
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Decodes hexadecimal digits, in upper or lower case.
pub(crate) fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| Some((digit(*pair.first()?)? << 4) | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example from the specification, shortened.
    const LOGS: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name",
        "value":{"stringValue":"my.service"}}]},"scopeLogs":[{"scope":{"name":"lib"},"logRecords":[
        {"timeUnixNano":"1544712660300000000","observedTimeUnixNano":1544712660300000001,
        "severityNumber":10,"severityText":"Information",
        "traceId":"5B8EFFF798038103D269B633813FC60C",
        "spanId":"EEE19B7EC3C1B174","body":{"stringValue":"Example"},"attributes":[
        {"key":"i","value":{"intValue":"10"}},{"key":"traceId","value":{"stringValue":"x y"}}],
        "unknownField":{"a":1}}]}]}]}"#;

    #[test]
    fn the_json_of_the_specification_is_read_and_written() {
        let request: ExportLogsServiceRequest = from_json(LOGS.as_bytes()).unwrap();
        let record = &request.resource_logs[0].scope_logs[0].log_records[0];
        assert_eq!(record.time_unix_nano, 1_544_712_660_300_000_000);
        assert_eq!(record.observed_time_unix_nano, 1_544_712_660_300_000_001);
        assert_eq!(
            (record.trace_id.len(), record.trace_id[0], record.span_id[0]),
            (16, 0x5b, 0xee)
        );
        let written = to_json(&request);
        for expected in [
            r#""traceId":"5b8efff798038103d269b633813fc60c""#,
            r#""timeUnixNano":"1544712660300000000""#,
            r#""severityNumber":10"#,
            r#"{"intValue":"10"}"#,
        ] {
            assert!(written.contains(expected), "{written}");
        }
        assert_eq!(from_json::<ExportLogsServiceRequest>(written.as_bytes()).unwrap(), request);
    }

    #[test]
    fn ids_by_their_names_in_the_schema_are_hexadecimal_too() {
        let spans = r#"{"resource_spans":[{"scope_spans":[{"spans":[{
            "trace_id":"5b8efff798038103d269b633813fc60c","span_id":"eee19b7ec3c1b174",
            "parent_span_id":"eee19b7ec3c1b173","links":[{"trace_id":"0f","span_id":"0e"}]}]}]}]}"#;
        let request: ExportTraceServiceRequest = from_json(spans.as_bytes()).unwrap();
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(hex(&span.trace_id), "5b8efff798038103d269b633813fc60c");
        assert_eq!(hex(&span.span_id), "eee19b7ec3c1b174");
        assert_eq!(hex(&span.parent_span_id), "eee19b7ec3c1b173");
        assert_eq!((&*span.links[0].trace_id, &*span.links[0].span_id), (&[15][..], &[14][..]));
        let odd = spans.replace("eee19b7ec3c1b174", "7uGbfsPBsXQ=");
        let error = from_json::<ExportTraceServiceRequest>(odd.as_bytes()).unwrap_err();
        assert!(error.contains("`span_id`"), "{error}");
    }

    #[test]
    fn reports_the_problem_of_invalid_otlp() {
        for (json, expected) in [
            ("{", "EOF"),
            ("[]", "expected"),
            (
                r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"zz"}]}]}]}"#,
                "`traceId`",
            ),
            (r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"flags":"x"}]}]}]}"#, "invalid"),
        ] {
            let error = from_json::<ExportLogsServiceRequest>(json.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }

    proptest! {
        #[test]
        fn hexadecimal_digits_are_the_bytes_again(bytes: Vec<u8>) {
            prop_assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        }
    }
}
