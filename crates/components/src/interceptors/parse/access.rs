//! Access logs of nginx and Apache. The parser is handwritten: a grok pattern takes several times
//! as long, and edges read these lines most often.
//! ```text
//! 203.0.113.7 - ann [25/Nov/2026:10:20:30 +0100] "GET /a HTTP/1.1" 200 512 "referrer" "agent"
//! └ clientip  │ └ auth └ timestamp                 │   │       │     │   └ bytes, or -
//!             └ ident                              │   │       │     └ response
//!                                              verb┘   request └ httpversion
//! ```
//!
//! The fields have the same names as with grok's patterns.

use super::Failure;
use super::fields::Found;

const FAILURE: Failure = "not a line of an access log";

/// Extracts the fields of a line; `combined` has referrer and agent after the fields of `common`.
pub(super) fn parse(line: &str, is_combined: bool, found: &mut Found) -> Result<(), Failure> {
    fields(line, is_combined, found).ok_or(FAILURE)
}

fn fields(line: &str, is_combined: bool, found: &mut Found) -> Option<()> {
    let (client, rest) = line.split_once(' ')?;
    let (ident, rest) = rest.split_once(' ')?;
    let (auth, rest) = rest.split_once(" [")?;
    let (time, rest) = rest.split_once("] ")?;
    let (request, rest) = quoted(rest)?;
    let rest = rest.strip_prefix(' ')?;
    let (status, rest) = rest.split_at(rest.find(' ')?);
    let rest = &rest[1..];
    let (bytes, rest) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = !client.is_empty() && !ident.is_empty() && !auth.is_empty() && !time.is_empty();
    if !is_whole || !is_number(status) || !(bytes == "-" || is_number(bytes)) {
        return None;
    }
    found.push("clientip", client);
    found.push("ident", ident);
    found.push("auth", auth);
    found.push("timestamp", time);
    push_request(request, found);
    push_number("response", status, found);
    if bytes != "-" {
        push_number("bytes", bytes, found);
    }
    if !is_combined {
        return rest.is_empty().then_some(());
    }
    let (referrer, rest) = quoted(rest.strip_prefix(' ')?)?;
    let (agent, rest) = quoted(rest.strip_prefix(' ')?)?;
    found.push("referrer", referrer);
    found.push("agent", agent);
    rest.is_empty().then_some(())
}

/// Returns a quoted text as written, and the rest after it. A backslash escapes the next byte.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let mut at = 0;
    loop {
        let next = memchr::memchr2(b'"', b'\\', text.as_bytes().get(at..)?)?;
        at += next;
        if text.as_bytes()[at] == b'"' {
            return Some((&text[..at], &text[at + 1..]));
        }
        at += 2;
    }
}

/// Splits `GET /a HTTP/1.1`; a request in another form becomes one field.
fn push_request(request: &str, found: &mut Found) {
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let parts = request.split_once(' ').filter(|(verb, _)| is_word(verb));
    let (verb, target, version) = match parts.map(|(verb, rest)| (verb, rest.split_once(' '))) {
        Some((verb, Some((target, version)))) => (verb, target, version.strip_prefix("HTTP/")),
        Some((verb, None)) => (verb, &request[verb.len() + 1..], Some("")),
        None => ("", "", None),
    };
    let is_version = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match version.filter(|version| !target.is_empty() && is_version(version)) {
        Some(version) => {
            found.push("verb", verb);
            found.push("request", target);
            if !version.is_empty() {
                found.push("httpversion", version);
            }
        }
        None => found.push("rawrequest", request),
    }
}

/// Adds digits: as a JSON number, if they do not begin with a zero.
fn push_number(name: &str, digits: &str, found: &mut Found) {
    if digits.starts_with('0') && digits.len() > 1 {
        found.push(name, digits);
    } else {
        found.push_json(name, digits);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::grok::Grok;
    use super::*;

    fn json(found: &Found, is_parsed: bool) -> String {
        let mut out = Vec::new();
        if is_parsed {
            found.write_json("", &[], &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_read_as_the_pattern_of_grok_reads_them() {
        let (none, time) = (BTreeMap::new(), "[25/Nov/2026:10:20:30 +0100]");
        for (is_combined, name) in [(true, "COMBINEDAPACHELOG"), (false, "COMMONAPACHELOG")] {
            let grok = Grok::new(&format!("^%{{{name}}}$"), &none).unwrap();
            for (start, request, end) in [
                ("203.0.113.7 - ann", "GET /a?b=1 HTTP/1.1", "200 512 \"-\" \"curl/8\""),
                ("web-1.example.com - -", "GET /", "200 512 \"a \\\"b\\\"\" \"\""),
                ("::1 id a@example.com", "\\x16\\x03", "400 - \"-\" \"-\""),
                ("::1 - -", "", "400 0 \"-\" \"-\""),
                ("::1 - -", "GET /a b HTTP/1.0", "400 0 \"-\" \"-\""),
                ("::1 - -", "GET /a\\\"b HTTP/2.0", "404 007 \"-\" \"-\""),
                ("::1 - -", "GET /", "200 512"),
                ("::1 - -", "GET /", "200"),
                ("::1 - -", "GET /", "OK 512 \"-\" \"-\""),
                ("::1 - -", "GET /", "200 512 \"-\" \"-\" more"),
                ("::1 - -", "GET /", "200 512 \"-\" \"open"),
                ("::1 -", "GET /", "200 512 \"-\" \"-\""),
            ] {
                let line = format!("{start} {time} \"{request}\" {end}");
                let (mut by_hand, mut by_grok) = (Found::default(), Found::default());
                let parsed = parse(&line, is_combined, &mut by_hand).is_ok();
                let known = grok.parse(line.as_bytes(), &mut by_grok, &mut grok.locations());
                assert_eq!(json(&by_hand, parsed), json(&by_grok, known.is_ok()), "{line}");
            }
        }
    }
}
