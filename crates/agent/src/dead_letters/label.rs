//! The label of a dead letter: its reason and its source.
//!
//! The label consists of headers that begin with `dead_letter.`, in addition to the events' own.
//! Without them, the events are byte for byte the original ones, so that a batch that is replayed
//! under its identity has the content of that identity.

use pipeline::{Batch, Envelope, Existing, Identity, Letter, LetterCount, Reject};
use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

/// The reason of letters with a closed epoch, as both sinks name it.
const EPOCH_CLOSED: &str = "epoch_closed";

/// Maximum size of a detail.
const DETAIL_MAX: usize = 1024;

/// The label of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Identifies the letter: if the same group refuses the same events again after a crash, the
    /// letter is the same. 32 hexadecimal digits; empty if the batch had no identity.
    pub key: String,
    /// Why, in snake case.
    pub reason: String,
    /// The same for people.
    pub detail: String,
    /// When it was written, in milliseconds since 1970.
    pub at_ms: u64,
    /// The channel of the events; empty if an interceptor rejected them.
    pub channel: String,
    /// The group of sinks that could not deliver them; empty if an interceptor rejected them.
    pub group: String,
    /// The sink of that group; empty if an interceptor rejected them.
    pub sink: String,
    /// The source of the interceptor that rejected them; empty if a sink refused them.
    pub source: String,
    /// The type of that interceptor; empty if a sink refused them.
    pub interceptor: String,
    /// Identity of the batch; `None` if it has passed no channel that assigns identities.
    #[serde(serialize_with = "as_text")]
    pub identity: Option<Identity>,
    /// True if these are all events of the batch. Otherwise the rest was delivered.
    pub whole: bool,
}

#[expect(clippy::ref_option, reason = "serde hands over the field")]
fn as_text<S: serde::Serializer>(
    identity: &Option<Identity>,
    output: S,
) -> Result<S::Ok, S::Error> {
    match identity {
        Some(identity) => output.collect_str(identity),
        None => output.serialize_none(),
    }
}

/// The component that a letter comes from.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// Name of the channel.
    pub channel: &'a str,
    /// Name of the group.
    pub group: &'a str,
    /// Name of the sink.
    pub sink: &'a str,
}

/// Names of the headers, in the order of [`Label::values`].
const HEADERS: [&str; 11] = [
    "dead_letter.key",
    "dead_letter.reason",
    "dead_letter.detail",
    "dead_letter.at",
    "dead_letter.channel",
    "dead_letter.group",
    "dead_letter.sink",
    "dead_letter.identity",
    "dead_letter.whole",
    "dead_letter.source",
    "dead_letter.interceptor",
];

impl Label {
    /// The label of a letter that is written now.
    pub fn new(letter: &Letter, from: Sender<'_>, at_ms: u64) -> Self {
        let identity = letter.events.envelope.identity;
        Self {
            key: identity.map(|identity| key(identity, from, letter)).unwrap_or_default(),
            reason: letter.reason.to_owned(),
            detail: cut(&letter.detail),
            at_ms,
            channel: from.channel.to_owned(),
            group: from.group.to_owned(),
            sink: from.sink.to_owned(),
            source: String::new(),
            interceptor: String::new(),
            identity,
            whole: letter.whole,
        }
    }

    /// Creates the label of events that an interceptor of `source` rejected now. The rest of their
    /// batch, which may be empty, keeps its identity.
    pub fn rejected(
        (source, interceptor): (&str, &str),
        envelope: &Envelope,
        reject: &Reject,
        at_ms: u64,
    ) -> Self {
        Self {
            key: rejected_key((source, interceptor), envelope, reject),
            reason: reject.reason.to_owned(),
            detail: cut(&reject.detail),
            at_ms,
            channel: String::new(),
            group: String::new(),
            sink: String::new(),
            source: source.to_owned(),
            interceptor: interceptor.to_owned(),
            identity: envelope.identity,
            whole: false,
        }
    }

    /// Returns the count for this number of events.
    pub fn count(&self, events: u64) -> LetterCount<'_> {
        LetterCount { reason: &self.reason, batch: self.identity, whole: self.whole, events }
    }

    /// Returns `true` if an interceptor rejected the events before they were in a channel.
    pub fn is_rejected(&self) -> bool {
        !self.source.is_empty()
    }

    /// Adds the label. The letter has no identity; its channel numbers it.
    pub fn apply_to(&self, mut events: Batch) -> Batch {
        events.envelope.identity = None;
        events.envelope.positions.clear();
        // Headers that only rejected events have are omitted from others.
        let values = HEADERS.iter().zip(self.values()).enumerate();
        for (_, (name, value)) in values.filter(|(at, (_, value))| *at < 9 || !value.is_empty()) {
            events.set_header(name, &value, Existing::Replace);
        }
        events
    }

    /// Removes the label of a letter; `None` if it has no readable label.
    pub fn take_off(mut letter: Batch) -> Option<(Self, Batch)> {
        let value = |at: usize| letter.shared_header(HEADERS[at]).map(str::to_owned);
        let identity = match value(7)?.as_str() {
            "" => None,
            text => Some(text.parse().ok()?),
        };
        let label = Self {
            key: value(0)?,
            reason: value(1)?,
            detail: value(2)?,
            at_ms: value(3)?.parse().ok()?,
            channel: value(4)?,
            group: value(5)?,
            sink: value(6)?,
            source: value(9).unwrap_or_default(),
            interceptor: value(10).unwrap_or_default(),
            identity,
            whole: value(8)? == "true",
        };
        for name in HEADERS {
            letter.remove_header(name);
        }
        letter.envelope.identity = identity;
        Some((label, letter))
    }

    /// Returns the identity for the replay of the events. A whole batch keeps its identity, so that
    /// any agent that has received it after all recognises it. A part needs [another
    /// one](Self::renamed), because the rest of its batch was delivered under the old one.
    pub fn replay_identity(&self) -> Option<Identity> {
        if self.whole { self.identity } else { self.renamed() }
    }

    /// Returns another identity, derived from the letter's key: the same for every attempt, and for
    /// every copy of the letter.
    pub fn renamed(&self) -> Option<Identity> {
        Some(Identity { origin: self.key.parse().ok()?, ..self.identity? })
    }

    /// Returns `true` if the events were refused because the epoch of their batch is closed. Under
    /// the same identity they are refused forever.
    pub fn is_of_closed_epoch(&self) -> bool {
        self.whole && self.reason == EPOCH_CLOSED
    }

    fn values(&self) -> [String; 11] {
        [
            self.key.clone(),
            self.reason.clone(),
            self.detail.clone(),
            self.at_ms.to_string(),
            self.channel.clone(),
            self.group.clone(),
            self.sink.clone(),
            self.identity.map(|identity| identity.to_string()).unwrap_or_default(),
            self.whole.to_string(),
            self.source.clone(),
            self.interceptor.clone(),
        ]
    }
}

/// Truncates a detail to its maximum size.
fn cut(detail: &str) -> String {
    let mut kept = detail.to_owned();
    if let Some((end, _)) = detail.char_indices().find(|(at, c)| at + c.len_utf8() > DETAIL_MAX) {
        kept.truncate(end);
    }
    kept
}

/// The same for the same events of the same batch, rejected by the same interceptor; empty for a
/// batch that nothing names: another one may have the same content.
fn rejected_key(
    (source, interceptor): (&str, &str),
    envelope: &Envelope,
    reject: &Reject,
) -> String {
    if *envelope == Envelope::default() {
        return String::new();
    }
    let mut hash = Xxh3::new();
    if let Some(identity) = &envelope.identity {
        hash_identity(&mut hash, identity);
    }
    for position in &envelope.positions {
        let parts = [&*position.key, position.value.as_deref().unwrap_or_default()];
        parts.iter().for_each(|part| hash_text(&mut hash, part));
    }
    [source, interceptor, reject.reason]
        .iter()
        .for_each(|name| hash_text(&mut hash, name.as_bytes()));
    hash.update(&reject.events.encode());
    format!("{:032x}", hash.digest128())
}

fn hash_identity(hash: &mut Xxh3, identity: &Identity) {
    hash.update(&identity.origin.0);
    hash.update(&identity.epoch.0.to_le_bytes());
    hash.update(&identity.sequence.0.to_le_bytes());
}

fn hash_text(hash: &mut Xxh3, text: &[u8]) {
    hash.update(text);
    hash.update(&[0]);
}

/// The same for the same events of the same batch, refused by the same group.
fn key(identity: Identity, from: Sender<'_>, letter: &Letter) -> String {
    let mut hash = Xxh3::new();
    hash_identity(&mut hash, &identity);
    [from.channel, from.group].iter().for_each(|name| hash_text(&mut hash, name.as_bytes()));
    hash.update(&letter.events.encode());
    format!("{:032x}", hash.digest128())
}

#[cfg(test)]
mod tests {
    use pipeline::{BatchBuilder, Epoch, Origin, Sequence};

    use super::*;

    const FROM: Sender<'_> = Sender { channel: "main", group: "store", sink: "store" };

    fn letter(whole: bool) -> Letter {
        let mut builder = BatchBuilder::default();
        builder.push(b"one", &[("host", "web-1"), ("n", "1")]);
        builder.push(b"two", &[("host", "web-1")]);
        let mut events = Batch::decode(builder.finish().encode()).unwrap();
        let (origin, epoch) = (Origin([7; 16]), Epoch(3));
        events.envelope.identity = Some(Identity { origin, epoch, sequence: Sequence(9) });
        Letter { ticket: 5, events, whole, reason: "too_large", detail: "é".repeat(2000) }
    }

    #[test]
    fn a_label_comes_off_and_leaves_the_batch_byte_for_byte() {
        let letter = letter(true);
        let label = Label::new(&letter, FROM, 12);
        let stored = label.apply_to(letter.events.clone());
        assert_eq!(stored.envelope.identity, None);
        let stored = Batch::decode(stored.encode()).unwrap();
        let (read, events) = Label::take_off(stored).unwrap();
        assert_eq!(read, label);
        assert_eq!(read.detail.len(), DETAIL_MAX);
        assert_eq!(events.encode(), letter.events.encode());
        assert_eq!(events.envelope.identity, letter.events.envelope.identity);
        assert!(Label::take_off(events).is_none());
    }

    #[test]
    fn put_back_part_keeps_its_own_identity_on_every_attempt() {
        let label = |whole, group| {
            Label::new(&letter(whole), Sender { group, ..FROM }, 1).replay_identity().unwrap()
        };
        assert_eq!(Some(label(true, "a")), letter(true).events.envelope.identity);
        assert_eq!(label(false, "a"), label(false, "a"));
        assert_ne!(label(false, "a"), label(false, "b"));
        assert_ne!(label(false, "a").origin, label(true, "a").origin);
    }
}
