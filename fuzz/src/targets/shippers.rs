//! Data of log shippers and OpenTelemetry programs, through the whole source: a stream in one piece
//! and in many gives the same result, only stored events are acknowledged, and without the key
//! none.

use serde_json::json;

use super::{chosen, settings_and_stream};
use crate::rig::{in_any_pieces, outcome, outcome_waited_for};

/// Maximum message size; some inputs exceed it.
const MESSAGE_MAX: &str = "8KiB";

/// Fluentd's forward protocol.
pub(super) fn fluent(input: &[u8]) -> usize {
    let (choice, piece, stream) = settings_and_stream(input);
    let mut settings = json!({
        "listen": "x:1", "require_ack": choice & 1 == 1, "message_max": MESSAGE_MAX,
        "headers": { "host": "host.name" }, "repeat_window": "0s",
    });
    if choice & 2 == 2 {
        settings["body_field"] = json!("log");
    }
    if choice & 4 == 4 {
        settings["shared_key"] = json!("k");
        let outcome = outcome("fluent_forward", &settings, stream.chunks(piece));
        assert!(outcome.events.is_empty(), "nothing is stored of a client without the key");
        assert_eq!(outcome.answered(b"\xa3ack"), 0, "and nothing is acknowledged");
        return 0;
    }
    let outcome = in_any_pieces("fluent_forward", &settings, stream, piece);
    if choice & 1 == 1 && !outcome.events.is_empty() {
        assert!(outcome.answered(b"\x81\xa3ack") > 0, "what asks for an answer gets it");
    }
    outcome.events.len()
}

/// The protocol of Beats and Logstash.
pub(super) fn lumberjack(input: &[u8]) -> usize {
    let (choice, piece, stream) = settings_and_stream(input);
    let mut settings = json!({
        "listen": "x:1", "message_max": MESSAGE_MAX, "headers": { "host": "host.name" },
        "repeat_window": "0s",
    });
    if choice & 1 == 1 {
        settings["body_field"] = json!("message");
    }
    let outcome = in_any_pieces("lumberjack", &settings, stream, piece);
    assert_eq!(outcome.answers.len() % 6, 0, "whole answers alone");
    if !outcome.answers.is_empty() {
        assert!(!outcome.events.is_empty(), "an answer is for events that are stored");
    }
    outcome.events.len()
}

/// An OTLP request over HTTP: the selectors determine signal and encoding; the rest is its body.
pub(super) fn otlp(input: &[u8]) -> usize {
    let (choice, rest) = chosen(input);
    let (piece, body) = chosen(rest);
    let signal = ["logs", "logs", "traces", "metrics"][choice % 4];
    let (form, is_gzip) = (["x-protobuf", "json"][choice / 4 % 2], choice & 8 == 8);
    let encoding = if is_gzip { "content-encoding: gzip\r\n" } else { "" };
    let length = body.len();
    let head = format!(
        "POST /v1/{signal} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{encoding}\
         content-type: application/{form}\r\ncontent-length: {length}\r\n\r\n"
    );
    let record = ["json", "protobuf"][choice / 16 % 2];
    let log = ["text", record][choice / 32 % 2];
    let settings = json!({
        "listen": ["x:1"], "body_max": "32KiB", "record_body": record, "log_body": log,
        "headers": { "host": "resource.host.name" },
    });
    let request = [head.as_bytes(), body].concat();
    let at_once = outcome_waited_for("otlp", &settings, std::iter::once(&request[..]));
    let in_pieces = outcome_waited_for("otlp", &settings, request.chunks(1 + piece));
    assert_eq!(at_once.events, in_pieces.events, "the same events in any pieces");
    for outcome in [&at_once, &in_pieces] {
        let good = outcome.answered(b"HTTP/1.1 200");
        assert!(good == 1 || outcome.events.is_empty(), "what is stored is answered");
        assert_eq!(outcome.answered(b"HTTP/1.1 "), 1, "a request has one answer");
    }
    at_once.events.len()
}
