//! `/dead-letters`: how many there are for each reason, and the newest ones as text.
//!
//! Bounded: so many letters, events of each, headers and bytes of a body. The letters are read from
//! the disk as `aqueduct dlq show` reads them, off the reactor; nothing is taken out.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use channel::durable::inspect::Inspection;
use pipeline::{Batch, ChannelError, Env};
use serde::Serialize;

use crate::bulletin::cut;
use crate::dead_letters::{DeadLetters, Label, inspected};

/// Letters that are shown at most.
const LETTERS_MAX: usize = 50;

/// Letters that are shown unless asked for others.
const LETTERS: usize = 10;

/// Events of a letter that are shown.
const EVENTS_MAX: usize = 5;

/// Headers of an event that are shown.
const HEADERS_MAX: usize = 20;

/// Bytes of a header's name, and of its value, that are shown.
const HEADER_MAX: usize = 256;

/// Bytes of a body that are shown as text.
const TEXT_MAX: usize = 2_048;

/// Bytes of a body that are shown in hexadecimal.
const BINARY_MAX: usize = 512;

/// The dead letters.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Found {
    letters: u64,
    events: u64,
    by_reason: BTreeMap<String, Count>,
    /// The newest first.
    newest: VecDeque<Shown>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Count {
    letters: u64,
    events: u64,
}

/// A letter, with the first of its events.
#[derive(Debug, PartialEq, Serialize)]
struct Shown {
    #[serde(flatten)]
    label: Label,
    events_total: u64,
    events: Vec<ShownEvent>,
}

#[derive(Debug, PartialEq, Serialize)]
struct ShownEvent {
    headers: Vec<(String, String)>,
    headers_total: usize,
    body_bytes: usize,
    /// The body, if it is text.
    text: Option<String>,
    /// The beginning of a body that is not.
    hexadecimal: Option<String>,
    /// Whether more of it is there than is shown.
    is_cut: bool,
}

/// How many letters the query asks for.
pub(super) fn newest(query: &str) -> usize {
    let asked = query.split('&').find_map(|part| part.strip_prefix("newest="));
    asked.and_then(|number| number.parse().ok()).unwrap_or(LETTERS).min(LETTERS_MAX)
}

/// Reads all letters of a running agent; the newest `most` are shown.
///
/// # Errors
/// The disk could not be read.
pub(super) async fn look(
    letters: &DeadLetters,
    env: &Env,
    most: usize,
) -> Result<Found, ChannelError> {
    if letters.opened().is_none() {
        return Ok(Found::default());
    }
    let ((directory, encryption), world) = (letters.place(), env.clone());
    env.offload(move || {
        let inspection = Inspection::look(&world, &directory, encryption.as_ref())?;
        let mut found = Found::default();
        inspected(&inspection, |label, events| {
            found.add(label, &events, most);
            true
        })?;
        Ok(found)
    })
    .await
}

impl Found {
    fn add(&mut self, label: Label, events: &Batch, most: usize) {
        let total = events.len() as u64;
        self.letters += 1;
        self.events += total;
        let count = self.by_reason.entry(label.reason.clone()).or_default();
        count.letters += 1;
        count.events += total;
        let shown = events.iter().take(EVENTS_MAX);
        let events = shown.map(|event| show(event.body(), event.headers())).collect();
        self.newest.push_front(Shown { label, events_total: total, events });
        self.newest.truncate(most);
    }
}

fn show<'a>(body: &[u8], headers: impl Iterator<Item = (&'a str, &'a str)>) -> ShownEvent {
    let (mut shown, mut headers_total) = (Vec::new(), 0);
    for (name, value) in headers {
        headers_total += 1;
        if shown.len() < HEADERS_MAX {
            shown.push((cut(name, HEADER_MAX).to_owned(), cut(value, HEADER_MAX).to_owned()));
        }
    }
    let text = text(body);
    let hexadecimal = text.is_none().then(|| {
        let mut digits = String::new();
        for byte in &body[..body.len().min(BINARY_MAX)] {
            write!(digits, "{byte:02x}").expect("a string takes it");
        }
        digits
    });
    let shown_bytes = text.as_ref().map_or(BINARY_MAX, String::len);
    ShownEvent {
        headers: shown,
        headers_total,
        body_bytes: body.len(),
        is_cut: body.len() > shown_bytes,
        text,
        hexadecimal,
    }
}

/// The beginning of a body that is UTF-8 without control characters but tabs and line ends.
fn text(body: &[u8]) -> Option<String> {
    let start = &body[..body.len().min(TEXT_MAX)];
    let text = match str::from_utf8(start) {
        Ok(text) => text,
        // A character that is cut.
        Err(error) if error.error_len().is_none() && start.len() < body.len() => {
            str::from_utf8(&start[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_binary = |c: char| c.is_control() && !"\t\r\n".contains(c);
    (!text.contains(is_binary)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use metrics::Metrics;
    use pipeline::{BatchBuilder, Envelope, Letter, Reject, Settings};

    use super::*;
    use crate::dead_letters::{Config, Sender};

    #[test]
    fn a_body_is_shown_as_text_or_in_hexadecimal_and_never_whole_where_it_is_large() {
        let none = || std::iter::empty();
        let markup = show(b"<script>alert(1)</script>", none());
        assert_eq!(markup.text.as_deref(), Some("<script>alert(1)</script>"));
        assert!(!markup.is_cut);
        for binary in [
            &b"\xff\xfe"[..],
            b"a\x00b",
            b"\x1b[31m",
            "abc\u{e9}".as_bytes().split_last().unwrap().1,
        ] {
            let shown = show(binary, none());
            assert_eq!(shown.text, None, "{binary:?}");
            assert_eq!(shown.hexadecimal.unwrap().len(), binary.len() * 2);
        }
        let large = "é".repeat(1 << 20);
        let header = "x".repeat(1 << 20);
        let headers = vec![("name", &*header); 100];
        let shown = show(format!("a{large}").as_bytes(), headers.into_iter());
        assert!(shown.is_cut && shown.text.as_ref().is_some_and(|text| text.len() <= TEXT_MAX));
        assert_eq!((shown.headers.len(), shown.headers_total), (HEADERS_MAX, 100));
        assert!(serde_json::to_string(&shown).unwrap().len() < 10_000);
    }

    #[test]
    fn the_number_of_letters_is_bounded() {
        for (query, expected) in
            [("", 10), ("newest=3", 3), ("a=1&newest=0", 0), ("newest=9999", 50), ("newest=x", 10)]
        {
            assert_eq!(newest(query), expected, "{query}");
        }
    }

    #[tokio::test]
    async fn all_letters_are_counted_and_the_newest_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (env, metrics) = (env::real(), Metrics::default());
        let config = Config::read(&Settings::empty()).unwrap();
        let letters = Arc::new(DeadLetters::new(config, folder.path(), &env, &metrics));
        assert_eq!(look(&letters, &env, 10).await.unwrap(), Found::default());
        for number in 0..12 {
            let mut builder = BatchBuilder::default();
            builder.push(format!("body {number}").as_bytes(), &[("n", "1")]);
            builder.push(b"other", &[]);
            let events = Batch::from(builder.finish().events);
            if number % 3 == 0 {
                let reject =
                    Reject { events: events.events, reason: "filtered", detail: "no".into() };
                let envelope = Envelope::default();
                letters.store_rejected(("in", "cel"), &envelope, reject).await.unwrap();
            } else {
                let letter = Letter {
                    ticket: number,
                    events,
                    whole: true,
                    reason: "too_large",
                    detail: "is large".into(),
                };
                let from = Sender { channel: "main", group: "g", sink: "s" };
                letters.store(&letter, from).await.unwrap();
            }
        }
        let found = look(&letters, &env, 3).await.unwrap();
        assert_eq!((found.letters, found.events), (12, 24));
        let reasons: Vec<_> =
            found.by_reason.iter().map(|(name, it)| (&**name, it.letters, it.events)).collect();
        assert_eq!(reasons, [("filtered", 4, 8), ("too_large", 8, 16)]);
        let bodies: Vec<_> = found.newest.iter().map(|it| it.events[0].text.clone()).collect();
        assert_eq!(bodies, ["body 11", "body 10", "body 9"].map(|it| Some(it.to_owned())));
        assert_eq!(found.newest[2].label.source, "in");
        letters.close().await.unwrap();
    }
}
