//! What is asked of JetStream: requests and answers in JSON.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::headers::Headers;
use crate::protocol::Message;
use crate::refusal::{NatsError, refused};
use crate::server::Target;

/// The status of a message that says that nothing listens to a subject.
pub(crate) const NO_RESPONDERS: u16 = 503;

/// A stream, as the server describes it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: StreamConfig,
    /// When it was made: one that was made anew has another time.
    pub(crate) created: String,
    pub(crate) state: StreamState,
}

/// How a stream was made.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StreamConfig {
    /// When messages are deleted: `limits`, `interest` or `workqueue`.
    pub(crate) retention: String,
    /// In nanoseconds.
    #[serde(default)]
    duplicate_window: u64,
}

impl StreamConfig {
    /// How long the stream knows ids of messages.
    pub(crate) fn duplicate_window(&self) -> Duration {
        Duration::from_nanos(self.duplicate_window)
    }
}

/// What a stream has.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StreamState {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// A consumer, as the server describes it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ConsumerInfo {
    pub(crate) name: String,
    pub(crate) config: ConsumerConfig,
}

/// How a consumer was made.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConsumerConfig {
    pub(crate) ack_policy: String,
    /// Where it pushes messages to; `None`: they are pulled.
    pub(crate) deliver_subject: Option<String>,
    pub(crate) filter_subjects: Vec<String>,
}

/// The names of streams that take a subject.
#[derive(Debug, Deserialize)]
struct StreamNames {
    streams: Option<Vec<String>>,
}

/// What a stream says of a message that it has.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Taken {
    pub(crate) stream: String,
    /// True if it had it before.
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

/// An answer, or a refusal.
#[derive(Deserialize)]
struct Answer<T> {
    error: Option<Refused>,
    #[serde(flatten, bound(deserialize = "Option<T>: Deserialize<'de>"))]
    answer: Option<T>,
}

/// What an answer says, before it is known what helps.
#[derive(Debug)]
pub(crate) enum Said<T> {
    Yes(T),
    No(Refused),
    /// Nothing listens to the subject.
    NoResponders,
}

/// Reads an answer.
///
/// # Errors
/// It is none: the cause.
pub(crate) fn read<T: DeserializeOwned>(message: &Message) -> Result<Said<T>, String> {
    if !message.headers.is_empty() {
        let headers = Headers::read(&message.headers)?;
        if headers.status.is_some_and(|(code, _)| code == NO_RESPONDERS) {
            return Ok(Said::NoResponders);
        }
    }
    let answer: Answer<T> = serde_json::from_slice(&message.body).map_err(|it| it.to_string())?;
    match (answer.error, answer.answer) {
        (Some(refused), _) => Ok(Said::No(refused)),
        (None, Some(answer)) => Ok(Said::Yes(answer)),
        (None, None) => Err("an answer of JetStream lacks what was asked for".into()),
    }
}

/// Asks JetStream. `what` says what is asked for.
///
/// # Errors
/// It refuses, or does not answer.
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
        Said::Yes(answer) => Ok(answer),
        Said::No(no) => Err(refused(&address, what, no.err_code, &no.description)),
        Said::NoResponders => {
            let problem = "has no JetStream that answers: enable it there, for the account of the \
                           user, or look at `server.domain`";
            Err(NatsError::NotGranted { address, problem: problem.into() })
        }
    }
}

/// Asks for a stream.
///
/// # Errors
/// There is none of this name, or no answer.
pub(crate) async fn stream(
    connection: &mut Connection,
    target: &Target,
    name: &str,
) -> Result<StreamInfo, NatsError> {
    let subject = format!("STREAM.INFO.{name}");
    ask(connection, target, &subject, Value::Null, &format!("stream `{name}`")).await
}

/// The names of the streams that take a subject.
///
/// # Errors
/// There is no answer.
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

/// Asks for the consumer of this name; `None` where there is none.
///
/// # Errors
/// There is no answer.
pub(crate) async fn consumer(
    connection: &mut Connection,
    target: &Target,
    (stream, name): (&str, &str),
) -> Result<Option<ConsumerInfo>, NatsError> {
    let (subject, what) = (format!("CONSUMER.INFO.{stream}.{name}"), format!("consumer `{name}`"));
    let subject = format!("{}.{subject}", target.api);
    let answer = connection.ask(&subject, b"", (&what, target.timeout)).await?;
    match read(&answer).map_err(|problem| connection.ended(problem))? {
        Said::Yes(info) => Ok(Some(info)),
        Said::No(Refused { err_code: 10014, .. }) => Ok(None),
        Said::No(no) => Err(refused(&connection.address, &what, no.err_code, &no.description)),
        Said::NoResponders => Err(connection.ended("JetStream has gone")),
    }
}

/// Makes a consumer: with this name, or one of the server's choice.
///
/// # Errors
/// The server refuses it.
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
        let taken = |body| read::<Taken>(&message("", body));
        let Said::Yes(first) = taken(r#"{"stream":"S", "seq":5}"#).unwrap() else { panic!() };
        assert_eq!(first, Taken { stream: "S".into(), duplicate: false });
        let body = r#"{"stream":"S", "seq":5,"duplicate": true}"#;
        let Said::Yes(second) = taken(body).unwrap() else { panic!() };
        assert!(second.duplicate);
        let body = r#"{"error":{"code":503,"err_code":10077,"description":"full"},"stream":"S"}"#;
        let Said::No(refused) = taken(body).unwrap() else { panic!() };
        assert_eq!((refused.err_code, &*refused.description), (10077, "full"));
        let none = read::<Taken>(&message("NATS/1.0 503\r\n\r\n", "")).unwrap();
        assert!(matches!(none, Said::NoResponders));
        assert!(taken("{}").unwrap_err().contains("lacks"));
        assert!(taken("no").is_err());
    }
}
