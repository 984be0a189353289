//! Configuration values with their place in the file, so that every error can name the place.
//!
//! The front ends (TOML, YAML, flags) create [`Settings`]; components deserialize their own
//! `Config` from them by serde. The error for a wrong key, type or unit has its path, its place
//! and, for a key, the closest existing one.

mod read;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use thiserror::Error;

pub use read::{PART, ReadError};

/// A place in a file. The default is no place: flags, defaults, values made by a program.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as the user named it; empty without a file.
    pub file: Arc<str>,
    /// Line in it, from 1; 0 without a file.
    pub line: u32,
    /// Character in the line, from 1; 0 without a file.
    pub column: u32,
}

/// A value and its place. Equality ignores the place.
#[derive(Clone)]
pub struct Settings {
    /// The value.
    pub value: Value,
    /// Its place.
    pub place: Place,
    /// The text in the file, if references in it (`${…}`) were replaced: it is printed instead of
    /// the value.
    pub written: Option<Arc<str>>,
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Settings>),
    /// Named values, in the order of the file.
    Table(Vec<(Key, Settings)>),
}

/// A name in a table and its place. Equality ignores the place.
#[derive(Debug, Clone)]
pub struct Key {
    /// The name.
    pub name: String,
    /// Its place.
    pub place: Place,
}

/// The kind of a [`SettingsError`]; its text is only for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingsErrorKind {
    /// A file cannot be read.
    Unreadable,
    /// The text is not of its format.
    Syntax,
    /// A reference (`${…}`) has no value.
    Unresolved,
    /// A required setting is missing.
    Missing,
    /// A key, a kind or another name that does not exist.
    UnknownName,
    /// The same name twice.
    Duplicate,
    /// A value of another type.
    WrongType,
    /// A value that is invalid, or conflicts with other values.
    Invalid,
}

/// Something wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{problem}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub struct SettingsError {
    /// The kind of the problem.
    pub kind: SettingsErrorKind,
    /// The setting, dotted, relative to the start of reading.
    pub path: String,
    /// Its place.
    pub place: Place,
    /// The problem and the remedy.
    pub problem: String,
}

impl SettingsError {
    /// A problem at `place`, of no certain setting.
    pub fn new(kind: SettingsErrorKind, place: Place, problem: impl Into<String>) -> Self {
        Self { kind, path: String::new(), place, problem: problem.into() }
    }

    /// The same problem, of the setting `name` or of one below it.
    #[must_use]
    pub fn below(mut self, name: &str) -> Self {
        self.path =
            if self.path.is_empty() { name.to_owned() } else { format!("{name}.{}", self.path) };
        self
    }
}

/// `file:line:column`, as far as it is known.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.line > 0 && self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        Ok(())
    }
}

impl Place {
    /// Returns `true` if the line is known.
    pub fn is_known(&self) -> bool {
        self.line > 0
    }
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// The values of references are not shown: they may be secret.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.written {
            Some(written) => fmt::Debug::fmt(written, f)?,
            None => fmt::Debug::fmt(&self.value, f)?,
        }
        write!(f, " at {}", self.place)
    }
}

impl Settings {
    /// Creates a value without a place.
    pub fn new(value: Value) -> Self {
        Self::at(value, Place::default())
    }

    /// A value and its place.
    pub fn at(value: Value, place: Place) -> Self {
        Self { value, place, written: None }
    }

    /// A table without entries and without a place.
    pub fn empty() -> Self {
        Self::new(Value::Table(Vec::new()))
    }

    /// Text without a place.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Value::Text(text.into()))
    }

    /// A list without a place.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::new(Value::List(items.into_iter().collect()))
    }

    /// The same values, without places.
    pub fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let value = match json {
            Json::Null => Value::Text(String::new()),
            Json::Bool(flag) => Value::Flag(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(integer) => Value::Integer(integer),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(Self::from_json).collect()),
            Json::Object(fields) => Value::Table(
                fields
                    .iter()
                    .map(|(name, value)| {
                        (
                            Key { name: name.clone(), place: Place::default() },
                            Self::from_json(value),
                        )
                    })
                    .collect(),
            ),
        };
        Self::new(value)
    }

    /// The entry `name` of a table.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Value::Table(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| key.name == name).map(|(_, value)| value)
    }

    /// Takes the entry `name` out of a table.
    pub fn take(&mut self, name: &str) -> Option<Self> {
        let Value::Table(entries) = &mut self.value else { return None };
        let at = entries.iter().position(|(key, _)| key.name == name)?;
        Some(entries.remove(at).1)
    }

    /// Sets an entry of a table; replaces an entry with that name.
    ///
    /// # Panics
    /// If this is not a table, which is a bug of the caller.
    pub fn set(&mut self, name: &str, value: Self) {
        let Value::Table(entries) = &mut self.value else { panic!("only a table has entries") };
        let place = value.place.clone();
        match entries.iter_mut().find(|(key, _)| key.name == name) {
            Some((_, old)) => *old = value,
            None => entries.push((Key { name: name.into(), place }, value)),
        }
    }

    /// Reads a typed value.
    ///
    /// # Errors
    /// Something does not fit; the error names the path, the place and the remedy.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        T::deserialize(self).map_err(|error| self.locate(error))
    }

    /// Returns an error about the setting at `path` (dotted, below this one), whose value is
    /// invalid.
    pub fn invalid(&self, path: &str, problem: &str) -> SettingsError {
        self.error(SettingsErrorKind::Invalid, path, problem)
    }

    /// An error of any kind about the setting at `path` (dotted, below this one).
    pub fn error(&self, kind: SettingsErrorKind, path: &str, problem: &str) -> SettingsError {
        let place = self.place_of(path.split('.'), false);
        SettingsError { kind, path: path.into(), place, problem: problem.into() }
    }

    /// Returns the place of the deepest existing part of `path`: its value, or its key.
    fn place_of<'a>(&self, path: impl Iterator<Item = &'a str>, of_key: bool) -> Place {
        let (mut at, mut place) = (self, &self.place);
        for name in path {
            let (next, key) = match &at.value {
                Value::Table(entries) => {
                    let mut entries = entries.iter();
                    let Some((key, value)) = entries.find(|(key, _)| key.name == name) else {
                        break;
                    };
                    (value, &key.place)
                }
                Value::List(items) => {
                    let Some(item) = name.parse().ok().and_then(|i: usize| items.get(i)) else {
                        break;
                    };
                    (item, &item.place)
                }
                _ => break,
            };
            at = next;
            place = if of_key || !next.place.is_known() { key } else { &next.place };
        }
        place.clone()
    }
}

/// Bytes of an unknown name up to which similar names are looked for.
const COMPARED_BYTES_MAX: usize = 128;

/// Bytes of an unknown name that a message shows.
const SHOWN_BYTES_MAX: usize = 128;

/// Known names that a message lists.
const LISTED_MAX: usize = 200;

/// The beginning of a text that is longer than `bytes`, with the number of bytes left out.
pub fn shortened(text: &str, bytes: usize) -> Cow<'_, str> {
    if text.len() <= bytes {
        return Cow::Borrowed(text);
    }
    let shown = &text[..text.floor_char_boundary(bytes)];
    Cow::Owned(format!("{shown}… ({} more bytes)", text.len() - shown.len()))
}

/// `unknown key `capcity`; did you mean `capacity`?`, or the list if no name is close.
pub fn unknown(what: &str, found: &str, expected: &[&str]) -> String {
    // The comparison takes memory and time for the product of both lengths.
    let compared = if found.len() <= COMPARED_BYTES_MAX { expected } else { &[] };
    let found = &*shortened(found, SHOWN_BYTES_MAX);
    let close = compared
        .iter()
        .map(|name| (strsim::damerau_levenshtein(found, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min();
    match close {
        Some((_, name)) => format!("unknown {what} `{found}`; did you mean `{name}`?"),
        None if expected.is_empty() => {
            format!("unknown {what} `{found}`; no {what} is allowed here")
        }
        None => format!("unknown {what} `{found}`; known: {}", listed(expected)),
    }
}

/// `` `a`, `b`, `c` ``, at most [`LISTED_MAX`] names.
fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(LISTED_MAX);
    let list = shown.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED_MAX) {
        0 => list,
        more => format!("{list} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
