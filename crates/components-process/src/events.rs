//! Events as messages, and back.

use bytes::Bytes;
use pipeline::{BatchBuilder, BuilderLimits, EventRef, Events};

use crate::error::Fault;
use crate::v1::{Batch, Event, Header};

/// Bytes of an event or a header in a message, besides its texts. Generous: keys and lengths.
const VALUE_BYTES: usize = 32;
/// Bytes of a message besides its events.
const MESSAGE_BYTES: usize = 4 << 10;

/// Events of a batch, in messages that fit into a frame.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Messages {
    /// The messages, without number and identity.
    pub(crate) fit: Vec<Batch>,
    /// Indices of events that fit into no frame.
    pub(crate) too_large: Vec<usize>,
}

/// Makes messages of the events for which `is_wanted` returns `true`. A message has at most half of
/// `frame_max`, so that its answer may have twice its size, or a single event.
pub(crate) fn messages(
    events: &Events,
    frame_max: usize,
    is_wanted: impl Fn(usize) -> bool,
) -> Messages {
    let shared: Vec<Header> = events.shared_headers().map(header).collect();
    let shared_bytes: usize = MESSAGE_BYTES + shared.iter().map(header_bytes).sum::<usize>();
    let mut messages = Messages::default();
    let (mut open, mut bytes) = (Vec::new(), shared_bytes);
    let close = |events: Vec<Event>| Batch { events, headers: shared.clone(), ..Batch::default() };
    for event in events.iter().filter(|event| is_wanted(event.index())) {
        let made = message(event, shared.len());
        let headers: usize = made.headers.iter().map(header_bytes).sum();
        let event_bytes = VALUE_BYTES + made.body.len() + headers;
        if shared_bytes + event_bytes > frame_max {
            messages.too_large.push(event.index());
            continue;
        }
        if !open.is_empty() && bytes + event_bytes > frame_max / 2 {
            messages.fit.push(close(std::mem::take(&mut open)));
            bytes = shared_bytes;
        }
        bytes += event_bytes;
        open.push(made);
    }
    if !open.is_empty() {
        messages.fit.push(close(open));
    }
    messages
}

/// Returns `true` if an event fits into a frame, together with all headers of its batch.
pub(crate) fn fits(event: EventRef<'_>, frame_max: usize) -> bool {
    let headers = event.headers().map(|(name, value)| VALUE_BYTES + name.len() + value.len());
    MESSAGE_BYTES + VALUE_BYTES + event.body().len() + headers.sum::<usize>() <= frame_max
}

/// Makes a message of an event; its first `shared` headers are those of the batch.
fn message(event: EventRef<'_>, shared: usize) -> Event {
    Event {
        body: Bytes::copy_from_slice(event.body()),
        headers: event.headers().skip(shared).map(header).collect(),
        // A frame has < 256 Mi events.
        index: event.index() as u32,
    }
}

fn header((name, value): (&str, &str)) -> Header {
    Header { name: name.to_owned(), value: value.to_owned() }
}

fn header_bytes(header: &Header) -> usize {
    VALUE_BYTES + header.name.len() + header.value.len()
}

/// Builds a batch of events from a plug-in.
pub(crate) struct Builder(BatchBuilder);

impl Builder {
    /// Creates a builder for answers of at most `bytes` together.
    pub(crate) fn new(bytes: usize) -> Self {
        // The columns of a batch use less memory than the messages that they come from, unless
        // nearly every event has other headers.
        let bytes = bytes.saturating_mul(4);
        Self(BatchBuilder::within(BuilderLimits { bytes, steps: bytes }))
    }

    /// Adds an event of an answer.
    pub(crate) fn push(&mut self, event: &Event) {
        let headers = event.headers.iter().map(|header| (&*header.name, &*header.value));
        self.0.push(&event.body, &headers.collect::<Vec<_>>());
    }

    /// Adds an event that stays as it is.
    pub(crate) fn push_unchanged(&mut self, event: EventRef<'_>) {
        self.0.push(event.body(), &event.headers().collect::<Vec<_>>());
    }

    /// Returns the events.
    ///
    /// # Errors
    /// They need too much memory or time.
    pub(crate) fn finish(self) -> Result<Events, Fault> {
        match self.0.excess() {
            Some(excess) => Err(Fault::Unusable(excess.to_string())),
            None => Ok(self.0.finish().events),
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Batch as Events, Existing};

    use super::*;

    #[test]
    fn messages_fit_into_frames_and_have_every_event() {
        let lines = (0..1000).map(|n| format!("{n:0>1000}"));
        let mut events = Events::of(lines.chain(["x".repeat(70_000)]));
        events.set_header("host", "web-1", Existing::Replace);
        let messages = messages(&events, 64 << 10, |index| index != 7);
        assert_eq!(messages.too_large, [1000]);
        assert!(messages.fit.len() > 30);
        let mut indices = Vec::new();
        for message in &messages.fit {
            assert!(prost::Message::encoded_len(message) <= 32 << 10);
            assert_eq!(message.headers, [header(("host", "web-1"))]);
            indices.extend(message.events.iter().map(|event| event.index));
        }
        assert_eq!(indices, (0..1000).filter(|n| *n != 7).collect::<Vec<_>>());
    }

    #[test]
    fn events_are_rebuilt_with_their_headers() {
        let event = |body: &'static str, headers: &[(&str, &str)]| Event {
            body: body.into(),
            headers: headers.iter().copied().map(header).collect(),
            index: 0,
        };
        let old = Events::of(["old"]);
        let mut builder = Builder::new(1 << 20);
        builder.push(&event("a", &[("n", "1")]));
        builder.push_unchanged(old.iter().next().unwrap());
        let events = builder.finish().unwrap();
        let bodies: Vec<&[u8]> = events.iter().map(|event| event.body()).collect();
        assert_eq!(bodies, [&b"a"[..], b"old"]);
        assert_eq!(events.values("n").collect::<Vec<_>>(), [Some("1"), None]);
        let mut small = Builder::new(1);
        small.push(&event("too long", &[]));
        assert!(matches!(small.finish(), Err(Fault::Unusable(_))));
    }
}
