//! Converts messages to events, and events to messages.

use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::types::{AMQPValue, FieldTable, ShortString};
use kit::messages::Event;
use pipeline::EventRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::text::text_of;

use crate::broker::NAME_BYTES_MAX;

/// What a broker and the sender say of a message. It is the header `rabbitmq.NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Property {
    /// Message id, set by the sender.
    MessageId,
    /// Id of a related message.
    CorrelationId,
    /// Time of sending, in milliseconds since 1970; the protocol has whole seconds.
    Timestamp,
    /// MIME type of the body.
    ContentType,
    /// Encoding of the body, such as `gzip`. The body is not decoded.
    ContentEncoding,
    /// Type of the message, set by the sender.
    Type,
    /// Queue for a reply.
    ReplyTo,
    /// Milliseconds after which the message expires.
    Expiration,
    /// Priority, from 0 to 255.
    Priority,
    /// User that sent the message, verified by the broker.
    UserId,
    /// Application that sent the message.
    AppId,
    /// Exchange of the message; empty for the default exchange.
    Exchange,
    /// Routing key of the message.
    RoutingKey,
    /// `true` if the broker has delivered the message before.
    Redelivered,
}

/// Message properties that the sink sets.
const SENT: &[Property] = &[
    Property::CorrelationId,
    Property::Timestamp,
    Property::ContentType,
    Property::ContentEncoding,
    Property::Type,
    Property::ReplyTo,
    Property::Priority,
    Property::AppId,
];

/// Returns true for headers that only a broker sets, or that route a message further. A broker
/// rejects a message that has them as strings.
fn is_of_broker(name: &str) -> bool {
    matches!(name, "CC" | "BCC" | "x-death")
        || ["x-first-death-", "x-last-death-"].iter().any(|begin| name.starts_with(begin))
}

impl Property {
    fn header(self) -> &'static str {
        match self {
            Self::MessageId => "rabbitmq.message_id",
            Self::CorrelationId => "rabbitmq.correlation_id",
            Self::Timestamp => "rabbitmq.timestamp",
            Self::ContentType => "rabbitmq.content_type",
            Self::ContentEncoding => "rabbitmq.content_encoding",
            Self::Type => "rabbitmq.type",
            Self::ReplyTo => "rabbitmq.reply_to",
            Self::Expiration => "rabbitmq.expiration",
            Self::Priority => "rabbitmq.priority",
            Self::UserId => "rabbitmq.user_id",
            Self::AppId => "rabbitmq.app_id",
            Self::Exchange => "rabbitmq.exchange",
            Self::RoutingKey => "rabbitmq.routing_key",
            Self::Redelivered => "rabbitmq.redelivered",
        }
    }

    fn value(self, message: &Received) -> Option<String> {
        let said = &message.properties;
        let text = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
        match self {
            Self::MessageId => text(said.message_id()),
            Self::CorrelationId => text(said.correlation_id()),
            Self::Timestamp => said.timestamp().map(millis),
            Self::ContentType => text(said.content_type()),
            Self::ContentEncoding => text(said.content_encoding()),
            Self::Type => text(said.kind()),
            Self::ReplyTo => text(said.reply_to()),
            Self::Expiration => text(said.expiration()),
            Self::Priority => said.priority().map(|it| it.to_string()),
            Self::UserId => text(said.user_id()),
            Self::AppId => text(said.app_id()),
            Self::Exchange => Some(message.exchange.clone()),
            Self::RoutingKey => Some(message.routing_key.clone()),
            Self::Redelivered => message.is_repeated.then(|| "true".to_owned()),
        }
    }

    /// Sets the property to this value; `None` if that is invalid.
    fn set(self, properties: &AMQPProperties, value: &str) -> Option<AMQPProperties> {
        let properties = properties.clone();
        let text = || ShortString::try_new(value).ok();
        Some(match self {
            Self::CorrelationId => properties.with_correlation_id(text()?),
            Self::Timestamp => properties.with_timestamp(value.parse::<u64>().ok()? / 1000),
            Self::ContentType => properties.with_content_type(text()?),
            Self::ContentEncoding => properties.with_content_encoding(text()?),
            Self::Type => properties.with_type(text()?),
            Self::ReplyTo => properties.with_reply_to(text()?),
            Self::Priority => properties.with_priority(value.parse().ok()?),
            Self::AppId => properties.with_app_id(text()?),
            _ => return None,
        })
    }
}

/// Converts the protocol's seconds to milliseconds.
fn millis(seconds: u64) -> String {
    seconds.saturating_mul(1000).to_string()
}

/// A received message.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) properties: AMQPProperties,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) is_repeated: bool,
    pub(crate) body: Vec<u8>,
}

/// Converts a message: its headers, then the properties that `wanted` selects.
pub(crate) fn event_of(message: Received, wanted: &[Property]) -> Event {
    let said = wanted.iter().filter_map(|it| Some((it.header().to_owned(), it.value(&message)?)));
    let given = message.properties.headers().iter().flat_map(|table| table.inner());
    let given = given.filter_map(|(name, value)| Some((name.to_string(), value_text(value)?)));
    let headers = given.chain(said).collect();
    Event { headers, body: message.body.into() }
}

/// Returns a value as text: lists and tables as JSON. `None` for an empty value.
fn value_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text_of(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        AMQPValue::ByteArray(bytes) => Some(text_of(bytes.as_slice()).into_owned()),
        AMQPValue::Void => None,
        other => Some(match json_of(other) {
            // A string is not quoted.
            Value::String(text) => text,
            value => value.to_string(),
        }),
    }
}

fn json_of(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(it) => json!(it),
        AMQPValue::ShortShortInt(it) => json!(it),
        AMQPValue::ShortShortUInt(it) => json!(it),
        AMQPValue::ShortInt(it) => json!(it),
        AMQPValue::ShortUInt(it) => json!(it),
        AMQPValue::LongInt(it) => json!(it),
        AMQPValue::LongUInt(it) => json!(it),
        AMQPValue::LongLongInt(it) => json!(it),
        // Numbers without a JSON equivalent become strings.
        AMQPValue::Float(it) if !it.is_finite() => json!(it.to_string()),
        AMQPValue::Float(it) => json!(it),
        AMQPValue::Double(it) if !it.is_finite() => json!(it.to_string()),
        AMQPValue::Double(it) => json!(it),
        AMQPValue::DecimalValue(it) => json!(decimal(it.scale, it.value)),
        AMQPValue::ShortString(text) => json!(text.as_str()),
        AMQPValue::LongString(text) => json!(text_of(text.as_bytes())),
        AMQPValue::ByteArray(bytes) => json!(text_of(bytes.as_slice())),
        AMQPValue::Timestamp(seconds) => json!(millis(*seconds)),
        AMQPValue::FieldArray(list) => list.as_slice().iter().map(json_of).collect(),
        AMQPValue::FieldTable(table) => {
            let entries = table.inner().iter();
            Value::Object(entries.map(|(name, it)| (name.to_string(), json_of(it))).collect())
        }
        AMQPValue::Void => Value::Null,
    }
}

/// Formats a decimal: 314 with a scale of 2 is 3.14.
fn decimal(scale: u8, value: u32) -> String {
    let scale = usize::from(scale);
    let digits = format!("{value:0>width$}", width = scale + 1);
    match scale {
        0 => digits,
        _ => {
            let (whole, rest) = digits.split_at(digits.len() - scale);
            format!("{whole}.{rest}")
        }
    }
}

/// Returns the properties of an event's persistent message. `id` stays the same when the event is
/// resent. Headers that only a broker may set are omitted.
///
/// # Errors
/// Fails if the event cannot be a message.
pub(crate) fn properties_of(event: EventRef<'_>, id: &str) -> Result<AMQPProperties, String> {
    // 2 means persistent.
    let mut properties = AMQPProperties::default().with_delivery_mode(2);
    properties = properties.with_message_id(id.into());
    let mut table = FieldTable::default();
    for (name, value) in event.headers().filter(|(name, _)| !is_of_broker(name)) {
        let meant = SENT.iter().find(|it| it.header() == name);
        if let Some(set) = meant.and_then(|it| it.set(&properties, value)) {
            properties = set;
            continue;
        }
        let short = ShortString::try_new(name).map_err(|_| {
            format!(
                "the name of a header has {} bytes; AMQP allows at most {NAME_BYTES_MAX}; rename \
                 or remove it with an interceptor",
                name.len()
            )
        })?;
        table.insert(short, AMQPValue::LongString(value.into()));
    }
    Ok(properties.with_headers(table))
}

#[cfg(test)]
mod tests {
    use amq_protocol::types::{DecimalValue, FieldArray};
    use pipeline::BatchBuilder;

    use super::*;

    #[test]
    fn values_of_each_type_become_text() {
        let mut inner = FieldTable::default();
        inner.insert("queue".into(), AMQPValue::LongString("a".into()));
        inner.insert("count".into(), AMQPValue::LongLongInt(3));
        let list: FieldArray = vec![AMQPValue::FieldTable(inner), AMQPValue::Void].into();
        for (value, expected) in [
            (AMQPValue::LongString("straße".into()), Some("straße")),
            (AMQPValue::LongString(vec![b'a', 0xff].into()), Some("a\\xff")),
            (AMQPValue::Boolean(true), Some("true")),
            (AMQPValue::LongLongInt(-1), Some("-1")),
            (AMQPValue::Double(0.5), Some("0.5")),
            (AMQPValue::Double(f64::NAN), Some("NaN")),
            (AMQPValue::Timestamp(1_700_000_000), Some("1700000000000")),
            (AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 5 }), Some("0.05")),
            (AMQPValue::DecimalValue(DecimalValue { scale: 0, value: 5 }), Some("5")),
            (AMQPValue::FieldArray(list), Some(r#"[{"count":3,"queue":"a"},null]"#)),
            (AMQPValue::Void, None),
        ] {
            assert_eq!(value_text(&value).as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn requested_properties_follow_the_headers_of_a_message() {
        let mut table = FieldTable::default();
        table.insert("site".into(), AMQPValue::LongString("Bern".into()));
        table.insert("rabbitmq.exchange".into(), AMQPValue::LongString("forged".into()));
        let properties = AMQPProperties::default().with_headers(table).with_timestamp(7);
        let message = Received {
            properties,
            exchange: "logs".into(),
            routing_key: "a.b".into(),
            is_repeated: true,
            body: b"body".to_vec(),
        };
        let wanted =
            [Property::MessageId, Property::Timestamp, Property::Exchange, Property::Redelivered];
        let event = event_of(message, &wanted);
        let headers: Vec<_> = event.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
        let expected = [
            ("rabbitmq.exchange", "forged"),
            ("site", "Bern"),
            ("rabbitmq.timestamp", "7000"),
            ("rabbitmq.exchange", "logs"),
            ("rabbitmq.redelivered", "true"),
        ];
        assert_eq!((headers.as_slice(), &*event.body), (&expected[..], b"body".as_slice()));
    }

    #[test]
    fn headers_of_properties_become_those_if_they_can_and_stay_headers_if_not() {
        let long = "a".repeat(256);
        let mut builder = BatchBuilder::default();
        builder.push(
            b"",
            &[
                ("site", "Bern"),
                ("rabbitmq.content_type", "text/plain"),
                ("rabbitmq.timestamp", "1700000000123"),
                ("rabbitmq.priority", "high"),
                ("rabbitmq.correlation_id", &long),
                ("rabbitmq.message_id", "of another life"),
                ("CC", "other.key"),
                ("BCC", "other.key"),
                ("x-death", "[]"),
                ("x-first-death-queue", "q"),
                ("x-request-id", "r"),
            ],
        );
        builder.push(b"", &[(&*long, "a")]);
        let batch = builder.finish();
        let mut events = batch.iter();
        let properties = properties_of(events.next().unwrap(), "id-1").unwrap();
        assert_eq!(properties.message_id(), &Some("id-1".into()));
        assert_eq!(properties.delivery_mode(), &Some(2));
        assert_eq!(properties.content_type(), &Some("text/plain".into()));
        assert_eq!(properties.timestamp(), &Some(1_700_000_000));
        assert_eq!((properties.priority(), properties.correlation_id()), (&None, &None));
        let names: Vec<_> =
            properties.headers().as_ref().unwrap().inner().keys().map(|it| it.as_str()).collect();
        let expected = [
            "rabbitmq.correlation_id",
            "rabbitmq.message_id",
            "rabbitmq.priority",
            "site",
            "x-request-id",
        ];
        assert_eq!(names, expected);
        assert!(properties_of(events.next().unwrap(), "id-2").unwrap_err().contains("256 bytes"));
    }
}
