//! Configuration values that know the line they stand on, so that every complaint can name it.
//!
//! The front ends (TOML, YAML, flags) make [`Settings`]; components read their
//! own `Config` from them by serde. A wrong key, type or unit comes back with its path, its line
//! and, for a key, the closest one that exists.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use thiserror::Error;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The value.
    pub value: Value,
    /// Line in its file, from 1; 0 where there is none (flags, defaults).
    pub line: u32,
}

/// What a setting can be.
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

/// A name in a table and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The name.
    pub name: String,
    /// Line in its file, from 1; 0 where there is none.
    pub line: u32,
}

/// Something wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{problem}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub struct SettingsError {
    /// The setting, dotted from where the reading began.
    pub path: String,
    /// Line in its file, from 1; 0 where there is none.
    pub line: u32,
    /// What is wrong, and what helps.
    pub problem: String,
}

impl Settings {
    /// A table without entries and without a line.
    pub fn empty() -> Self {
        Self { value: Value::Table(Vec::new()), line: 0 }
    }

    /// Text without a line.
    pub fn text(text: impl Into<String>) -> Self {
        Self { value: Value::Text(text.into()), line: 0 }
    }

    /// The same values, without lines.
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
                        (Key { name: name.clone(), line: 0 }, Self::from_json(value))
                    })
                    .collect(),
            ),
        };
        Self { value, line: 0 }
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

    /// Puts an entry into a table, in the place of one of that name.
    ///
    /// # Panics
    /// If this is not a table: that is a bug of the caller.
    pub fn set(&mut self, name: &str, value: Self) {
        let Value::Table(entries) = &mut self.value else { panic!("only a table has entries") };
        let line = value.line;
        match entries.iter_mut().find(|(key, _)| key.name == name) {
            Some((_, old)) => *old = value,
            None => entries.push((Key { name: name.into(), line }, value)),
        }
    }

    /// Reads a typed value.
    ///
    /// # Errors
    /// Something does not fit; the error names the path, the line and the remedy.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        T::deserialize(self).map_err(|error| self.locate(error))
    }

    /// An error about the setting at `path` (dotted, below this one).
    pub fn invalid(&self, path: &str, problem: &str) -> SettingsError {
        let line = self.line_of(path.split('.'));
        SettingsError { path: path.into(), line, problem: problem.into() }
    }

    /// Line of the deepest part of `path` that exists.
    fn line_of<'a>(&self, path: impl Iterator<Item = &'a str>) -> u32 {
        let (mut at, mut line) = (self, self.line);
        for name in path {
            match &at.value {
                Value::Table(entries) => {
                    let Some((key, value)) = entries.iter().find(|(key, _)| key.name == name)
                    else {
                        break;
                    };
                    (at, line) = (value, key.line);
                }
                Value::List(items) => {
                    let Some(item) = name.parse().ok().and_then(|i: usize| items.get(i)) else {
                        break;
                    };
                    (at, line) = (item, item.line);
                }
                _ => break,
            }
        }
        line
    }

    fn locate(&self, error: ReadError) -> SettingsError {
        let path: Vec<&str> = error.path.iter().rev().map(String::as_str).collect();
        let line = self.line_of(path.iter().copied());
        SettingsError { path: path.join("."), line, problem: error.problem }
    }
}

/// A problem on its way up: the path grows from its end.
#[derive(Debug)]
pub struct ReadError {
    path: Vec<String>,
    problem: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ReadError {}

impl ReadError {
    fn below(mut self, name: impl Into<String>) -> Self {
        self.path.push(name.into());
        self
    }
}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self { path: Vec::new(), problem: problem.to_string() }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let problem = unknown("key", field, expected);
        Self { path: vec![field.into()], problem }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(unknown("value", variant, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("key `{field}` is missing"))
    }
}

/// `unknown key `capcity`; did you mean `capacity`?`, or the list where nothing is close.
pub fn unknown(what: &str, found: &str, expected: &[&str]) -> String {
    let close = expected
        .iter()
        .map(|name| (strsim::damerau_levenshtein(found, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min();
    match close {
        Some((_, name)) => format!("unknown {what} `{found}`; did you mean `{name}`?"),
        None if expected.is_empty() => format!("unknown {what} `{found}`; none is known here"),
        None => {
            let list = expected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
            format!("unknown {what} `{found}`; known: {}", list.join(", "))
        }
    }
}

impl<'de> Deserializer<'de> for &'de Settings {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Flag(flag) => visitor.visit_bool(*flag),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Table(entries) => visitor.visit_map(Entries { entries, next: 0 }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Text(text) => {
                let name: StrDeserializer<'de, ReadError> = text.as_str().into_deserializer();
                visitor.visit_enum(name)
            }
            _ => Err(de::Error::custom("expected one of its names, as text")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<'de> {
    items: &'de [Settings],
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        self.next += 1;
        let index = self.next - 1;
        seed.deserialize(item).map(Some).map_err(|error| error.below(index.to_string()))
    }
}

struct Entries<'de> {
    entries: &'de [(Key, Settings)],
    next: usize,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some((key, _)) = self.entries.get(self.next) else { return Ok(None) };
        let name: StrDeserializer<'de, ReadError> = key.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ReadError> {
        let (key, value) = &self.entries[self.next];
        self.next += 1;
        seed.deserialize(value).map_err(|error| error.below(&key.name))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::units::Period;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Roll {
        #[serde(default)]
        age_max: Option<Period>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sink {
        url: String,
        #[serde(default)]
        roll: Option<Roll>,
    }

    fn table(line: u32, entries: Vec<(&str, u32, Value)>) -> Settings {
        let entry = |(name, line, value): (&str, u32, Value)| {
            (Key { name: name.into(), line }, Settings { value, line })
        };
        Settings { value: Value::Table(entries.into_iter().map(entry).collect()), line }
    }

    #[test]
    fn reads_what_is_right() {
        let roll = table(3, vec![("age_max", 4, Value::Text("5min".into()))]);
        let all =
            table(1, vec![("url", 2, Value::Text("file:///x".into())), ("roll", 3, roll.value)]);
        let sink: Sink = all.read().unwrap();
        assert_eq!(sink.url, "file:///x");
        assert_eq!(sink.roll.unwrap().age_max.unwrap().to_string(), "5m");
    }

    #[test]
    fn a_wrong_key_is_named_with_its_line_and_the_closest_one() {
        let roll = table(3, vec![("age_mx", 4, Value::Text("5min".into()))]);
        let all = table(1, vec![("url", 2, Value::Text("x".into())), ("roll", 3, roll.value)]);
        let error = all.read::<Sink>().unwrap_err();
        assert_eq!((error.path.as_str(), error.line), ("roll.age_mx", 4));
        assert_eq!(error.problem, "unknown key `age_mx`; did you mean `age_max`?");
    }

    #[test]
    fn a_wrong_unit_is_named_with_its_line() {
        let roll = table(3, vec![("age_max", 4, Value::Integer(30))]);
        let all = table(1, vec![("url", 2, Value::Text("x".into())), ("roll", 3, roll.value)]);
        let error = all.read::<Sink>().unwrap_err();
        assert_eq!((error.path.as_str(), error.line), ("roll.age_max", 4));
        assert!(error.problem.contains("a duration with its unit"), "{}", error.problem);
    }

    #[test]
    fn a_missing_key_is_named_with_the_line_of_its_table() {
        let error = table(7, vec![]).read::<Sink>().unwrap_err();
        assert_eq!((error.line, error.problem.as_str()), (7, "key `url` is missing"));
    }
}
