//! Connections and datagrams of any client, through the whole source: a stream in one piece and in
//! many gives the same result, and nothing is lost.

use serde_json::json;

use super::{multiline, settings_and_stream};
use crate::rig::{Outcome, in_any_pieces, outcome, without_ends};

/// Maximum message length: above any input, or short enough to truncate some.
fn length_max(is_long: bool) -> &'static str {
    if is_long { "16KiB" } else { "64B" }
}

/// Syslog over TCP with all framings, and over UDP, with a datagram for each piece.
pub(super) fn syslog(input: &[u8]) -> usize {
    let (choice, piece, stream) = settings_and_stream(input);
    let keep = choice & 1 == 1;
    let is_long = choice & 2 == 0;
    let is_datagrams = choice & 4 == 4;
    let framing = if choice & 8 == 8 { "lines" } else { "syslog" };
    let settings = json!({
        "listen": [if is_datagrams { "udp://x:514" } else { "tcp://x:514" }],
        "framing": framing, "keep_fields": keep, "message_max": length_max(is_long),
        "client_header": "client", "batch_events": 7,
    });
    let outcome = match is_datagrams {
        true => outcome("syslog", &settings, stream.chunks(piece)),
        false => in_any_pieces("syslog", &settings, stream, piece),
    };
    assert!(outcome.answers.is_empty(), "syslog has no answers");
    let counts_are_text = is_datagrams || framing == "lines";
    if keep && counts_are_text && is_long {
        assert_eq!(outcome.text(), without_ends(stream), "every byte is stored");
    }
    outcome.events.len()
}

/// Lines, joined lines and length-prefixed messages over TCP, and datagrams; stored events are
/// acknowledged.
pub(super) fn netcat(input: &[u8]) -> usize {
    let (choice, piece, stream) = settings_and_stream(input);
    if choice & 4 == 4 {
        let settings = json!({ "listen": "x:1", "batch_events": 7 });
        return outcome("netcat_udp", &settings, stream.chunks(piece)).events.len();
    }
    let ack = choice & 1 == 1;
    let is_long = choice & 2 == 0;
    let is_lines = choice & 8 == 0;
    let framing = if is_lines { "lines" } else { "length_prefixed" };
    let mut settings = json!({
        "listen": "x:1", "framing": framing, "ack_every_event": ack,
        "line_max": length_max(is_long), "batch_events": 7,
    });
    if is_lines && choice & 16 == 16 {
        settings["multiline"] = multiline(length_max(is_long));
    }
    let outcome = in_any_pieces("netcat", &settings, stream, piece);
    if ack {
        assert_eq!(outcome.answered(b"OK\n"), outcome.events.len(), "what is stored is answered");
    }
    if is_lines && is_long {
        assert_eq!(outcome.text(), without_ends(stream), "every byte is stored");
    }
    outcome.events.len()
}

/// Maximum number of pieces of a request stream: with each piece, the library parses the head of a
/// request again.
const PIECES_MAX: usize = 1024;

/// A sequence of HTTP requests.
///
/// A request rejected before its body was read may end the connection if the rest of the body is
/// missing. Only in this case, the pieces may affect how many requests are read.
pub(super) fn http(input: &[u8]) -> usize {
    let (choice, piece, stream) = settings_and_stream(input);
    let decoder = ["json", "lines", "blob"][choice % 3];
    let settings = json!({
        "listen": "x:1", "decoder": decoder, "query_headers": choice & 4 == 4, "body_max": "32KiB",
    });
    let at_once = outcome("http", &settings, std::iter::once(stream));
    let piece = piece.max(stream.len() / PIECES_MAX);
    let in_pieces = outcome("http", &settings, stream.chunks(piece));
    let is_refused = |outcome: &Outcome| {
        [&b"HTTP/1.1 4"[..], b"HTTP/1.1 5"].iter().any(|status| outcome.answered(status) > 0)
    };
    if !is_refused(&at_once) && !is_refused(&in_pieces) {
        assert_eq!(at_once.events, in_pieces.events, "the same events in pieces of {piece} bytes");
    }
    let mut both = at_once.events.iter().zip(&in_pieces.events);
    assert!(both.all(|(one, other)| one == other), "as far as both go");
    at_once.events.len()
}
