//! Java's `.properties` format, as `java.util.Properties` reads it, with the place of each key.
//!
//! A line is a key, `=`, `:` or a blank, and a value; `#` and `!` begin a comment; a backslash at
//! the end continues the line; `\t \n \r \f \uXXXX` are escapes and any other `\c` is `c`. A byte
//! order mark is skipped.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use pipeline::settings::Place;
use thiserror::Error;

use crate::report::{Outcome, Report};

/// One key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The key, without escapes.
    pub key: String,
    /// The value, without escapes. Blanks at its end belong to it.
    pub value: String,
    /// The place of the key.
    pub place: Place,
}

/// The text is not in the format.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {problem}")]
pub struct SyntaxError {
    /// The place.
    pub place: Place,
    /// The problem and the remedy.
    pub problem: String,
}

/// Parses a text; `file` is its name.
///
/// # Errors
/// A `\u` without four hexadecimal digits, or with half of a surrogate pair.
pub fn read(file: &Arc<str>, text: &str) -> Result<Vec<Property>, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    for (line, whole) in logical_lines(text) {
        let place = Place { file: file.clone(), line, column: 0 };
        let (key, value) = split(&whole);
        let plain = |text: &str| {
            unescaped(text).map_err(|problem| SyntaxError { place: place.clone(), problem })
        };
        found.push(Property { key: plain(key)?, value: plain(value)?, place: place.clone() });
    }
    Ok(found)
}

/// Joins continued lines, and removes comments; returns each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut all, mut open): (Vec<(u32, String)>, bool) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.trim_start_matches([' ', '\t', '\x0c']);
        if !open && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        // An even number of backslashes is that many characters; an odd one continues the line.
        let slashes = line.len() - line.trim_end_matches('\\').len();
        let continues = slashes % 2 == 1;
        let piece = if continues { &line[..line.len() - 1] } else { line };
        match all.last_mut() {
            Some((_, whole)) if open => whole.push_str(piece),
            _ => all.push((number, piece.to_owned())),
        }
        open = continues;
    }
    // A single backslash is a line without a key.
    all.retain(|(_, whole)| !whole.is_empty());
    all
}

/// The key and the value of a line, both with their escapes.
fn split(line: &str) -> (&str, &str) {
    let is_blank = |c: char| matches!(c, ' ' | '\t' | '\x0c');
    let mut is_escaped = false;
    let end = line.char_indices().find(|(_, c)| {
        let ends = !is_escaped && (is_blank(*c) || matches!(c, '=' | ':'));
        is_escaped = !is_escaped && *c == '\\';
        ends
    });
    let Some((end, _)) = end else { return (line, "") };
    let rest = line[end..].trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], rest.trim_start_matches(is_blank))
}

/// The text without its escapes.
fn unescaped(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match rest.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\x0c'),
            Some('u') => plain.push(unicode(&mut rest)?),
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Ok(plain)
}

/// Parses the character after `\u`; a character outside the first plane has two of them.
fn unicode(rest: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    let first = unit(rest)?;
    if !(0xD800..0xDC00).contains(&first) {
        let whole = char::from_u32(u32::from(first));
        return whole.ok_or_else(|| format!("`\\u{first:04x}` is an incomplete surrogate pair"));
    }
    let mut ahead = rest.clone();
    let is_pair = ahead.next() == Some('\\') && ahead.next() == Some('u');
    let second = if is_pair { unit(&mut ahead)? } else { 0 };
    let pair = char::decode_utf16([first, second]).next().and_then(Result::ok);
    *rest = ahead;
    pair.ok_or_else(|| format!("`\\u{first:04x}` is an incomplete surrogate pair"))
}

fn unit(rest: &mut Peekable<Chars<'_>>) -> Result<u16, String> {
    let digits: String =
        std::iter::from_fn(|| rest.next_if(char::is_ascii_hexdigit)).take(4).collect();
    let number = (digits.len() == 4).then(|| u16::from_str_radix(&digits, 16).ok()).flatten();
    number.ok_or_else(|| {
        format!("`\\u{digits}` must have four hexadecimal digits; write `\\\\` for a backslash")
    })
}

/// Returns each key once: a later one replaces an earlier one, in any file. As in Flume, keys and
/// values are trimmed, and a key without a value is ignored.
pub(crate) fn merged(all: Vec<Property>, report: &mut Report) -> Vec<Property> {
    let mut kept: Vec<Property> = Vec::with_capacity(all.len());
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for Property { key, value, place } in all {
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        if value.is_empty() {
            let why = "the key has no value; Flume also skips it";
            report.add(Outcome::Ignored, &place, &key, why);
            continue;
        }
        let next = Property { key: key.clone(), value, place };
        match known.get(&key) {
            Some(at) => {
                let before = std::mem::replace(&mut kept[*at], next);
                let why =
                    format!("the key is set again at {}; the last value applies", kept[*at].place);
                report.add(Outcome::Ignored, &before.place, &key, why);
            }
            None => {
                known.insert(key, kept.len());
                kept.push(next);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests;
