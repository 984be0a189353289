//! Converts a message of a stream to an event. Pure.

use kit::messages::Event;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::headers::Headers;
use crate::protocol::Message;

/// What the server says of a message. It is the header `nats.NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Property {
    /// Subject of the message.
    Subject,
    /// Name of the stream.
    Stream,
    /// Sequence number of the message in the stream.
    Sequence,
    /// Time at which the stream received the message, in milliseconds since 1970.
    Timestamp,
}

impl Property {
    fn header(self) -> &'static str {
        match self {
            Self::Subject => "nats.subject",
            Self::Stream => "nats.stream",
            Self::Sequence => "nats.sequence",
            Self::Timestamp => "nats.timestamp",
        }
    }

    fn value(self, subject: &str, stream: &str, place: &Place) -> String {
        match self {
            Self::Subject => subject.to_owned(),
            Self::Stream => stream.to_owned(),
            Self::Sequence => place.sequence.to_string(),
            Self::Timestamp => (place.nanos / 1_000_000).to_string(),
        }
    }
}

/// Position of a message, from the subject of its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of deliveries, including this one.
    pub(crate) delivered: u64,
    /// Its sequence number in the stream.
    pub(crate) sequence: u64,
    /// Its sequence number in the consumer.
    pub(crate) of_consumer: u64,
    /// Time at which the stream stored it, in nanoseconds since 1970.
    pub(crate) nanos: u64,
    /// Number of messages that the consumer has not received yet.
    pub(crate) pending: u64,
}

impl Place {
    /// Parses the subject: `$JS.ACK.STREAM.CONSUMER.…`, or `$JS.ACK.DOMAIN.ACCOUNT.STREAM.…`.
    pub(crate) fn read(reply: &str) -> Option<Self> {
        let words: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let numbers = match words.len() {
            7 => &words[2..7],
            9.. => &words[4..9],
            _ => return None,
        };
        let number = |at: usize| numbers[at].parse().ok();
        Some(Self {
            delivered: number(0)?,
            sequence: number(1)?,
            of_consumer: number(2)?,
            nanos: number(3)?,
            pending: number(4)?,
        })
    }
}

/// Converts a message: its headers, then the headers that `wanted` selects.
///
/// # Errors
/// Fails if its headers are invalid; returns a description.
pub(crate) fn event_of(
    message: Message,
    (stream, place): (&str, &Place),
    wanted: &[Property],
) -> Result<Event, String> {
    let mut headers = match message.headers.is_empty() {
        true => Vec::new(),
        false => Headers::read(&message.headers)?.all,
    };
    let value = |it: Property| it.value(&message.subject, stream, place);
    headers.extend(wanted.iter().map(|it| (it.header().to_owned(), value(*it))));
    Ok(Event { headers, body: message.body })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const REPLY: &str = "$JS.ACK.S.KJ4VHxa0.1.2.3.1795904248781670011.4";

    #[test]
    fn the_place_of_a_message_is_read_with_a_domain_and_without() {
        let expected = Place {
            delivered: 1,
            sequence: 2,
            of_consumer: 3,
            nanos: 1_795_904_248_781_670_011,
            pending: 4,
        };
        assert_eq!(Place::read(REPLY), Some(expected));
        let domain = "$JS.ACK.hub.ABCDEF.S.KJ4VHxa0.1.2.3.1795904248781670011.4.token";
        assert_eq!(Place::read(domain), Some(expected));
        for wrong in ["$JS.ACK.S.c.1.2.3", "$JS.ACK.S.c.a.2.3.4.5", "_INBOX.a"] {
            assert_eq!(Place::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn requested_properties_follow_the_headers_of_a_message() {
        let message = Message {
            subject: "a.b".into(),
            reply: None,
            headers: Bytes::from_static(b"NATS/1.0\r\nsite: Bern\r\nnats.subject: forged\r\n\r\n"),
            body: Bytes::from_static(b"body"),
        };
        let wanted = [Property::Subject, Property::Sequence, Property::Timestamp];
        let place = Place::read(REPLY).unwrap();
        let event = event_of(message, ("S", &place), &wanted).unwrap();
        let headers: Vec<_> = event.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
        let expected = [
            ("site", "Bern"),
            ("nats.subject", "forged"),
            ("nats.subject", "a.b"),
            ("nats.sequence", "2"),
            ("nats.timestamp", "1795904248781"),
        ];
        assert_eq!((headers.as_slice(), &*event.body), (&expected[..], &b"body"[..]));
    }
}
