//! Converts messages to events, and events to messages.

use fe2o3_amqp::types::messaging::message::Body;
use fe2o3_amqp::types::messaging::{
    AmqpValue, ApplicationProperties, Batch, Data, Header, Message, MessageId, Properties,
};
use fe2o3_amqp::types::primitives::{OrderedMap, SimpleValue, Symbol, Value};
use kit::messages::Event;
use pipeline::EventRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use support::text::text_of;

/// A received message.
pub(crate) type Received = Message<Body<Value>>;

/// What a message says of itself, by the name that JMS has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(clippy::enum_variant_names, reason = "they are the names of JMS")]
pub(crate) enum JmsHeader {
    /// `message-id`.
    #[serde(rename = "JMSMessageID")]
    JmsMessageId,
    /// `correlation-id`.
    #[serde(rename = "JMSCorrelationID")]
    JmsCorrelationId,
    /// `creation-time`, in milliseconds since 1970.
    #[serde(rename = "JMSTimestamp")]
    JmsTimestamp,
    /// `absolute-expiry-time`, in milliseconds since 1970.
    #[serde(rename = "JMSExpiration")]
    JmsExpiration,
    /// `subject`.
    #[serde(rename = "JMSType")]
    JmsType,
    /// `to`.
    #[serde(rename = "JMSDestination")]
    JmsDestination,
    /// `reply-to`.
    #[serde(rename = "JMSReplyTo")]
    JmsReplyTo,
    /// `priority`, from 0 to 9.
    #[serde(rename = "JMSPriority")]
    JmsPriority,
    /// `true` if the broker has delivered the message before.
    #[serde(rename = "JMSRedelivered")]
    JmsRedelivered,
    /// `group-id`.
    #[serde(rename = "JMSXGroupID")]
    JmsxGroupId,
    /// `user-id`.
    #[serde(rename = "JMSXUserID")]
    JmsxUserId,
}

impl JmsHeader {
    fn name(self) -> &'static str {
        match self {
            Self::JmsMessageId => "JMSMessageID",
            Self::JmsCorrelationId => "JMSCorrelationID",
            Self::JmsTimestamp => "JMSTimestamp",
            Self::JmsExpiration => "JMSExpiration",
            Self::JmsType => "JMSType",
            Self::JmsDestination => "JMSDestination",
            Self::JmsReplyTo => "JMSReplyTo",
            Self::JmsPriority => "JMSPriority",
            Self::JmsRedelivered => "JMSRedelivered",
            Self::JmsxGroupId => "JMSXGroupID",
            Self::JmsxUserId => "JMSXUserID",
        }
    }

    fn value(self, message: &Received) -> Option<String> {
        let said = message.properties.as_ref();
        match self {
            Self::JmsMessageId => said?.message_id.as_ref().map(id_text),
            Self::JmsCorrelationId => said?.correlation_id.as_ref().map(id_text),
            Self::JmsTimestamp => Some(said?.creation_time.as_ref()?.milliseconds().to_string()),
            Self::JmsExpiration => {
                Some(said?.absolute_expiry_time.as_ref()?.milliseconds().to_string())
            }
            Self::JmsType => said?.subject.clone(),
            Self::JmsDestination => said?.to.clone(),
            Self::JmsReplyTo => said?.reply_to.clone(),
            Self::JmsPriority => Some(message.header.as_ref()?.priority.0.to_string()),
            Self::JmsRedelivered => is_repeated(message).then(|| "true".to_owned()),
            Self::JmsxGroupId => said?.group_id.clone(),
            Self::JmsxUserId => said?.user_id.as_ref().map(|id| text_of(id).into_owned()),
        }
    }
}

/// Returns true if the broker has delivered the message before.
pub(crate) fn is_repeated(message: &Received) -> bool {
    message.header.as_ref().is_some_and(|header| header.delivery_count > 0)
}

/// Converts a message: its application properties become headers, then the headers that `wanted`
/// selects.
///
/// # Errors
/// Describes the body if it is neither text nor bytes nor a single value.
pub(crate) fn event_of(message: Received, wanted: &[JmsHeader]) -> Result<Event, String> {
    let said: Vec<(String, String)> =
        wanted.iter().filter_map(|it| Some((it.name().to_owned(), it.value(&message)?))).collect();
    let given = message.application_properties.map(|it| it.0).unwrap_or_default();
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value_text(value)?)));
    let headers = given.chain(said).collect();
    let body = match message.body {
        Body::Empty => Vec::new(),
        Body::Data(parts) => parts.into_iter().flat_map(|Data(bytes)| bytes.into_vec()).collect(),
        Body::Value(AmqpValue(value)) => body_of(value)?,
        Body::Sequence(_) => return Err("a sequence".into()),
    };
    Ok(Event { headers, body: body.into() })
}

/// Returns the bytes of a value.
fn body_of(value: Value) -> Result<Vec<u8>, String> {
    let kind = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Binary(bytes) => return Ok(bytes.into_vec()),
        Value::String(text) => return Ok(text.into_bytes()),
        Value::Map(_) => "a map",
        Value::List(_) => "a list",
        Value::Array(_) => "an array",
        Value::Described(_) => "a described type",
        single => {
            let simple = SimpleValue::try_from(single).ok().and_then(value_text);
            return simple.map(String::into_bytes).ok_or_else(|| "a decimal number".to_owned());
        }
    };
    Err(kind.to_owned())
}

/// Returns a value as text; `None` for null.
fn value_text(value: SimpleValue) -> Option<String> {
    match value {
        SimpleValue::String(text) => Some(text),
        SimpleValue::Symbol(symbol) => Some(symbol.into_inner()),
        SimpleValue::Bool(it) => Some(it.to_string()),
        SimpleValue::Ubyte(it) => Some(it.to_string()),
        SimpleValue::Ushort(it) => Some(it.to_string()),
        SimpleValue::Uint(it) => Some(it.to_string()),
        SimpleValue::Ulong(it) => Some(it.to_string()),
        SimpleValue::Byte(it) => Some(it.to_string()),
        SimpleValue::Short(it) => Some(it.to_string()),
        SimpleValue::Int(it) => Some(it.to_string()),
        SimpleValue::Long(it) => Some(it.to_string()),
        SimpleValue::Float(it) => Some(it.to_string()),
        SimpleValue::Double(it) => Some(it.to_string()),
        SimpleValue::Char(it) => Some(it.to_string()),
        SimpleValue::Timestamp(it) => Some(it.milliseconds().to_string()),
        SimpleValue::Uuid(it) => Some(format!("{it:x}")),
        SimpleValue::Binary(bytes) => Some(text_of(&bytes).into_owned()),
        SimpleValue::Null
        | SimpleValue::Decimal32(_)
        | SimpleValue::Decimal64(_)
        | SimpleValue::Decimal128(_)
        | SimpleValue::Described(_) => None,
    }
}

fn id_text(id: &MessageId) -> String {
    match id {
        MessageId::String(text) => text.clone(),
        MessageId::Ulong(number) => number.to_string(),
        MessageId::Uuid(id) => format!("{id:x}"),
        MessageId::Binary(bytes) => text_of(bytes).into_owned(),
    }
}

/// What the body of a message is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BodyForm {
    /// A JMS `BytesMessage`.
    #[default]
    Bytes,
    /// A JMS `TextMessage`. A body that is not UTF-8 becomes a dead letter.
    Text,
}

/// An outgoing message.
pub(crate) type Sent = Message<Body<Value>>;

/// Returns the durable message of an event. `id` stays the same when the event is resent.
///
/// # Errors
/// Fails if the body cannot have this form.
pub(crate) fn message_of(
    event: EventRef<'_>,
    form: BodyForm,
    left_out: Option<&str>,
    id: Option<String>,
) -> Result<Sent, String> {
    let body = match form {
        BodyForm::Bytes => Body::Data(Batch::new(vec![Data(event.body().to_vec().into())])),
        BodyForm::Text => {
            let text = std::str::from_utf8(event.body());
            let text = text.map_err(|_| {
                "the body of the event is not UTF-8, which `body = \"text\"` needs; set `body = \
                 \"bytes\"`"
                    .to_owned()
            })?;
            Body::Value(AmqpValue(Value::String(text.to_owned())))
        }
    };
    let headers = event.headers().filter(|(name, _)| Some(*name) != left_out);
    let properties: OrderedMap<String, SimpleValue> = headers
        .map(|(name, value)| (name.to_owned(), SimpleValue::String(value.to_owned())))
        .collect();
    let content_type = (form == BodyForm::Bytes).then(|| Symbol::from("application/octet-stream"));
    Ok(Message {
        header: Some(Header { durable: true, ..Header::default() }),
        delivery_annotations: None,
        message_annotations: None,
        properties: Some(Properties {
            message_id: id.map(MessageId::String),
            content_type,
            ..Properties::default()
        }),
        application_properties: Some(ApplicationProperties(properties)),
        body,
        footer: None,
    })
}

#[cfg(test)]
mod tests;
