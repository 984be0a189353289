//! Events for display: text, truncated to fit.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::recent_failures::cut;

/// Headers of an event that are shown.
const HEADERS_MAX: usize = 20;

/// Bytes of a header's name, and of its value, that are shown.
const HEADER_MAX: usize = 256;

/// Bytes of a body that are shown as text.
const TEXT_MAX: usize = 2_048;

/// Bytes of a body that are shown in hexadecimal.
const BINARY_MAX: usize = 512;

/// An event for display: a bounded part of it as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownEvent {
    /// The first of its headers, each cut.
    pub headers: Vec<(String, String)>,
    /// Number of headers.
    pub headers_total: usize,
    /// Length of its body.
    pub body_bytes: usize,
    /// The body, if it is text.
    pub text: Option<String>,
    /// The beginning of a body that is not.
    pub hexadecimal: Option<String>,
    /// True if only a part of it is shown.
    pub is_cut: bool,
}

/// An event that has passed at a place that is looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeenEvent {
    /// When it was seen, in milliseconds since 1970.
    pub at_ms: u64,
    /// The name of its batch, if it already has one.
    pub identity: Option<String>,
    /// The event.
    #[serde(flatten)]
    pub event: ShownEvent,
}

/// One message of `/tap`: some events, and totals since the request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TapMessage {
    /// Events since the last message.
    pub events: Vec<SeenEvent>,
    /// Events that were looked at.
    pub passed: u64,
    /// Matching events.
    pub matched: u64,
    /// Shown events: the rate omits the others.
    pub shown: u64,
    /// Events that were skipped because the reader was too slow.
    pub missed: u64,
    /// Why this message is the last one.
    pub gone: Option<String>,
}

impl SeenEvent {
    /// An event of the batch `identity`.
    pub fn new<'a>(
        at_ms: u64,
        identity: Option<String>,
        body: &[u8],
        headers: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        Self { at_ms, identity, event: ShownEvent::new(body, headers) }
    }
}

impl ShownEvent {
    /// Truncates an event for display.
    pub fn new<'a>(body: &[u8], headers: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
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
        Self {
            headers: shown,
            headers_total,
            body_bytes: body.len(),
            is_cut: body.len() > shown_bytes,
            text,
            hexadecimal,
        }
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
    use super::*;

    #[test]
    fn body_is_shown_as_text_or_hexadecimal_and_cut_if_it_is_large() {
        let none = || std::iter::empty();
        let markup = ShownEvent::new(b"<script>alert(1)</script>", none());
        assert_eq!(markup.text.as_deref(), Some("<script>alert(1)</script>"));
        assert!(!markup.is_cut);
        for binary in [
            &b"\xff\xfe"[..],
            b"a\x00b",
            b"\x1b[31m",
            "abc\u{e9}".as_bytes().split_last().unwrap().1,
        ] {
            let shown = ShownEvent::new(binary, none());
            assert_eq!(shown.text, None, "{binary:?}");
            assert_eq!(shown.hexadecimal.unwrap().len(), binary.len() * 2);
        }
        let large = "é".repeat(1 << 20);
        let header = "x".repeat(1 << 20);
        let headers = vec![("name", &*header); 100];
        let shown = ShownEvent::new(format!("a{large}").as_bytes(), headers.into_iter());
        assert!(shown.is_cut && shown.text.as_ref().is_some_and(|text| text.len() <= TEXT_MAX));
        assert_eq!((shown.headers.len(), shown.headers_total), (HEADERS_MAX, 100));
        assert!(serde_json::to_string(&shown).unwrap().len() < 10_000);
    }
}
