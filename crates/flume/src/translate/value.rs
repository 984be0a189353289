//! Values: Flume's text as ours, with units.

use std::time::Duration;

use pipeline::Settings;
use pipeline::settings::{Place, Value, unknown};
use pipeline::units::{ByteSize, Period};

use super::java_regex;
use crate::lookup::{Text, unset};
use crate::table::As;

/// A text with its references.
pub(super) fn text(text: &Text, place: &Place) -> Settings {
    let written = text.written.as_deref().map(Into::into);
    Settings { value: Value::Text(text.value.clone()), place: place.clone(), written }
}

/// Converts the value for Aqueduct's configuration.
///
/// # Errors
/// It has another type, or a reference in it has no value: the remedy, for the user.
pub(super) fn read(given: &Text, how: As, place: &Place) -> Result<Settings, String> {
    match how {
        As::Text => return Ok(text(given, place)),
        As::Search | As::Replaced => {
            let is_search = how == As::Search;
            return Ok(text(&given.map(|java| java_regex::translated(java, is_search)), place));
        }
        _ => {}
    }
    if let Some(name) = &given.unset {
        return Err(unset(name));
    }
    let value = given.value.as_str();
    let value = match how {
        As::Text | As::Search | As::Replaced => Value::Text(value.to_owned()),
        As::Words => {
            let word = |word: &str| Settings::at(Value::Text(word.to_owned()), place.clone());
            Value::List(value.split_whitespace().map(word).collect())
        }
        // Java treats every other word as `false`.
        As::Flag => Value::Flag(value.eq_ignore_ascii_case("true")),
        As::Count => Value::Integer(count(value)?),
        As::Bytes => Value::Text(ByteSize(unsigned(value)?).to_string()),
        As::Millis => Value::Text(millis(unsigned(value)?)),
        As::Seconds => Value::Text(seconds(unsigned(value)?)),
        As::OneOf(words) => {
            let found = words.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(value));
            let known: Vec<&str> = words.iter().map(|(theirs, _)| *theirs).collect();
            let (_, ours) = found.ok_or_else(|| unknown("value", value, &known))?;
            Value::Text((*ours).to_owned())
        }
    };
    Ok(Settings::at(value, place.clone()))
}

/// Parses a whole number.
///
/// # Errors
/// It is not a whole number.
pub(super) fn count(value: &str) -> Result<i64, String> {
    value.parse().map_err(|_| format!("`{value}` is not a whole number{}", hint(value)))
}

/// Explains the most frequent cause of an invalid number.
fn hint(value: &str) -> &'static str {
    if value.contains('#') { ", because a comment needs its own line" } else { "" }
}

/// Parses a whole number of at least 0.
///
/// # Errors
/// It is not such a number.
pub(super) fn unsigned(value: &str) -> Result<u64, String> {
    let hint = hint(value);
    value.parse().map_err(|_| format!("`{value}` is not a whole number of at least 0{hint}"))
}

/// Milliseconds with their unit.
pub(super) fn millis(count: u64) -> String {
    Period(Duration::from_millis(count)).to_string()
}

/// Seconds with their unit.
pub(super) fn seconds(count: u64) -> String {
    Period(Duration::from_secs(count)).to_string()
}

/// Bytes with their unit.
pub(super) fn bytes(count: u64) -> String {
    ByteSize(count).to_string()
}

/// Sets an entry of a table whose names may have dots.
pub(super) fn put_in(settings: &mut Settings, table: &str, name: &str, value: Settings) {
    let mut all = settings.take(table).unwrap_or_else(Settings::empty);
    all.set(name, value);
    settings.set(table, all);
}
