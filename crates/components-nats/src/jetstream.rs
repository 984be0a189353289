//! JetStream requests and replies in JSON.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::headers::Headers;
use crate::protocol::Message;
use crate::refusal::{NatsError, refused};
use crate::server::Target;

/// Status of a reply if nothing listens to a subject.
pub(crate) const NO_RESPONDERS: u16 = 503;

/// The server's description of a stream.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: StreamConfig,
    /// Time of its creation: a recreated stream has another time.
    pub(crate) created: String,
    pub(crate) state: StreamState,
}

/// Configuration of a stream.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StreamConfig {
    /// Retention policy: `limits`, `interest` or `workqueue`.
    pub(crate) retention: String,
    /// In nanoseconds.
    #[serde(default)]
    duplicate_window: u64,
}

impl StreamConfig {
    /// Returns how long the stream remembers message ids.
    pub(crate) fn duplicate_window(&self) -> Duration {
        Duration::from_nanos(self.duplicate_window)
    }
}

/// Content of a stream.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StreamState {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// The server's description of a consumer.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ConsumerInfo {
    pub(crate) name: String,
    pub(crate) config: ConsumerConfig,
}

/// Configuration of a consumer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConsumerConfig {
    pub(crate) ack_policy: String,
    /// Target of pushed messages; `None` for a pull consumer.
    pub(crate) deliver_subject: Option<String>,
    pub(crate) filter_subjects: Vec<String>,
}

/// Names of streams that accept a subject.
#[derive(Debug, Deserialize)]
struct StreamNames {
    streams: Option<Vec<String>>,
}

/// Acknowledgement of a message by a stream.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct PublishAck {
    pub(crate) stream: String,
    /// True if the stream had the message already.
    #[serde(default)]
    pub(crate) duplicate: bool,
}

/// A refusal.
#[derive(Debug, Deserialize)]
pub(crate) struct Refused {
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

/// A reply or a refusal.
#[derive(Deserialize)]
struct Answer<T> {
    error: Option<Refused>,
    #[serde(flatten, bound(deserialize = "Option<T>: Deserialize<'de>"))]
    answer: Option<T>,
}

/// Content of a reply, without advice.
#[derive(Debug)]
pub(crate) enum Reply<T> {
    Yes(T),
    No(Refused),
    /// Nothing listens to the subject.
    NoResponders,
}

/// Parses a reply.
///
/// # Errors
/// Fails if it is invalid; returns a description.
pub(crate) fn read<T: DeserializeOwned>(message: &Message) -> Result<Reply<T>, String> {
    if !message.headers.is_empty() {
        let headers = Headers::read(&message.headers)?;
        if headers.status.is_some_and(|(code, _)| code == NO_RESPONDERS) {
            return Ok(Reply::NoResponders);
        }
    }
    let answer: Answer<T> = serde_json::from_slice(&message.body).map_err(|it| it.to_string())?;
    match (answer.error, answer.answer) {
        (Some(refused), _) => Ok(Reply::No(refused)),
        (None, Some(answer)) => Ok(Reply::Yes(answer)),
        (None, None) => Err("a response of JetStream is incomplete".into()),
    }
}

/// Sends a JetStream request. `what` describes it.
///
/// # Errors
/// Fails if JetStream refuses or does not reply.
async fn ask<T: DeserializeOwned>(
    connection: &mut Connection,
    target: &Target,
    subject: &str,
    request: Value,
    what: &str,
) -> Result<T, NatsError> {
    let subject = format!("{}.{subject}", target.api);
    let body = if request.is_null() { Vec::new() } else { request.to_string().into_bytes() };
    let answer = connection.ask(&subject, &body, (what, target.timeout)).await?;
    let address = connection.address.clone();
    match read(&answer).map_err(|problem| connection.ended(problem))? {
        Reply::Yes(answer) => Ok(answer),
        Reply::No(no) => Err(refused(&address, what, no.err_code, &no.description)),
        Reply::NoResponders => {
            let problem = "does not respond to JetStream requests: enable JetStream for the \
                           account of the user, or correct `server.domain`";
            Err(NatsError::NotGranted { address, problem: problem.into() })
        }
    }
}

/// Requests a stream.
///
/// # Errors
/// Fails if it does not exist, or without a reply.
pub(crate) async fn stream(
    connection: &mut Connection,
    target: &Target,
    name: &str,
) -> Result<StreamInfo, NatsError> {
    let subject = format!("STREAM.INFO.{name}");
    ask(connection, target, &subject, Value::Null, &format!("stream `{name}`")).await
}

/// Requests the names of the streams that accept a subject.
///
/// # Errors
/// Fails without a reply.
pub(crate) async fn streams_of(
    connection: &mut Connection,
    target: &Target,
    subject: &str,
) -> Result<Vec<String>, NatsError> {
    let what = format!("the streams of `{subject}`");
    let request = json!({ "subject": subject });
    let names: StreamNames = ask(connection, target, "STREAM.NAMES", request, &what).await?;
    Ok(names.streams.unwrap_or_default())
}

/// Requests the consumer of this name; `None` if it does not exist.
///
/// # Errors
/// Fails without a reply.
pub(crate) async fn consumer(
    connection: &mut Connection,
    target: &Target,
    (stream, name): (&str, &str),
) -> Result<Option<ConsumerInfo>, NatsError> {
    let (subject, what) = (format!("CONSUMER.INFO.{stream}.{name}"), format!("consumer `{name}`"));
    let subject = format!("{}.{subject}", target.api);
    let answer = connection.ask(&subject, b"", (&what, target.timeout)).await?;
    match read(&answer).map_err(|problem| connection.ended(problem))? {
        Reply::Yes(info) => Ok(Some(info)),
        Reply::No(Refused { err_code: 10014, .. }) => Ok(None),
        Reply::No(no) => Err(refused(&connection.address, &what, no.err_code, &no.description)),
        Reply::NoResponders => Err(connection.ended("JetStream is no longer available")),
    }
}

/// Creates a consumer with this name, or with a name that the server chooses.
///
/// # Errors
/// Fails if the server refuses it.
pub(crate) async fn make_consumer(
    connection: &mut Connection,
    target: &Target,
    (stream, name): (&str, Option<&str>),
    config: Value,
) -> Result<ConsumerInfo, NatsError> {
    let (subject, what) = match name {
        Some(name) => {
            (format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), format!("consumer `{name}`"))
        }
        None => (format!("CONSUMER.CREATE.{stream}"), format!("a consumer of `{stream}`")),
    };
    let request = json!({ "stream_name": stream, "config": config });
    ask(connection, target, &subject, request, &what).await
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(headers: &'static str, body: &'static str) -> Message {
        let (headers, body) = (headers.into(), Bytes::from_static(body.as_bytes()));
        Message { subject: "in.1".into(), reply: None, headers, body }
    }

    #[test]
    fn an_answer_a_refusal_and_silence_are_told_apart() {
        let taken = |body| read::<PublishAck>(&message("", body));
        let Reply::Yes(first) = taken(r#"{"stream":"S", "seq":5}"#).unwrap() else { panic!() };
        assert_eq!(first, PublishAck { stream: "S".into(), duplicate: false });
        let body = r#"{"stream":"S", "seq":5,"duplicate": true}"#;
        let Reply::Yes(second) = taken(body).unwrap() else { panic!() };
        assert!(second.duplicate);
        let body = r#"{"error":{"code":503,"err_code":10077,"description":"full"},"stream":"S"}"#;
        let Reply::No(refused) = taken(body).unwrap() else { panic!() };
        assert_eq!((refused.err_code, &*refused.description), (10077, "full"));
        let none = read::<PublishAck>(&message("NATS/1.0 503\r\n\r\n", "")).unwrap();
        assert!(matches!(none, Reply::NoResponders));
        assert!(taken("{}").unwrap_err().contains("incomplete"));
        assert!(taken("no").is_err());
    }
}
