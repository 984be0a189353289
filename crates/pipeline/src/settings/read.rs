//! [`Settings`] as a format of serde: how a component reads its own type from them.
//!
//! ```text
//!   table ─► struct ─► fields by name
//!              └─ field `..` ─► every other key ─► struct that several components share
//! ```
//!
//! A field that is renamed to `..` ([`PART`]) is a part: it gets every key without a field, so
//! settings that several components share are one type. It may have a part itself. Places and
//! suggestions are those of a plain table, while `flatten` of serde loses both.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{Key, Settings, SettingsError, SettingsErrorKind, Value, listed, unknown};

/// The name of a field that gets every key without a field. The schema needs
/// `#[schemars(flatten)]` too.
pub const PART: &str = "..";

/// A problem on its way up: the path grows from its end.
#[derive(Debug)]
pub struct ReadError {
    kind: SettingsErrorKind,
    path: Vec<String>,
    /// True if it is about the name at the end of `path`, and not about its value.
    of_key: bool,
    /// For an unknown key: the known ones.
    known: Vec<&'static str>,
    problem: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ReadError {}

impl ReadError {
    fn new(kind: SettingsErrorKind, problem: String) -> Self {
        Self { kind, path: Vec::new(), of_key: false, known: Vec::new(), problem }
    }

    fn unknown_key(key: String, known: Vec<&'static str>) -> Self {
        let error = Self::new(SettingsErrorKind::UnknownName, unknown("key", &key, &known));
        Self { path: vec![key], of_key: true, known, ..error }
    }

    /// Completes an error of a part by the fields of the struct that it is a part of.
    fn of_part(mut self, fields: &'static [&'static str]) -> Self {
        match self.path.pop_if(|_| self.of_key && !self.known.is_empty()) {
            Some(key) if self.path.is_empty() => {
                let own = fields.iter().copied().filter(|name| *name != PART);
                Self::unknown_key(key, own.chain(self.known).collect())
            }
            key => {
                self.path.extend(key);
                self
            }
        }
    }

    fn below(mut self, name: impl Into<String>) -> Self {
        self.path.push(name.into());
        self
    }
}

/// Describes the found and the expected value in terms of a configuration, while serde uses the
/// names of types.
fn mismatch(found: &Unexpected<'_>, expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    let unsigned = |bits: u32| format!("a whole number from 0 to {}", u64::MAX >> (64 - bits));
    let signed = |bits: u32| {
        let (least, most) = (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits));
        format!("a whole number from {least} to {most}")
    };
    let expected = match &*expected {
        "u8" => unsigned(8),
        "u16" => unsigned(16),
        "u32" => unsigned(32),
        "u64" | "usize" => "a whole number of at least 0".to_owned(),
        "i8" => signed(8),
        "i16" => signed(16),
        "i32" => signed(32),
        "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a string" | "string" => "text in quotes".to_owned(),
        "a character" => "one character in quotes".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        _ => expected,
    };
    let found = match found {
        Unexpected::Bool(it) => format!("`{it}`"),
        Unexpected::Unsigned(it) => format!("the number `{it}`"),
        Unexpected::Signed(it) => format!("the number `{it}`"),
        Unexpected::Float(it) => format!("the number `{it}`"),
        Unexpected::Str(it) => format!("the text \"{it}\""),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    };
    format!("expected {expected}, found {found}")
}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self::new(SettingsErrorKind::Invalid, problem.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(SettingsErrorKind::WrongType, mismatch(&found, expected))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(SettingsErrorKind::Invalid, mismatch(&found, expected))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let known = expected.iter().copied().filter(|name| *name != PART);
        Self::unknown_key(field.into(), known.collect())
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(SettingsErrorKind::UnknownName, unknown("value", variant, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(SettingsErrorKind::Missing, format!("key `{field}` is missing"))
    }
}

impl Settings {
    /// The error with its whole path and its place; the reading began here.
    pub(super) fn locate(&self, error: ReadError) -> SettingsError {
        let path: Vec<&str> = error.path.iter().rev().map(String::as_str).collect();
        let place = self.place_of(path.iter().copied(), error.of_key);
        SettingsError { kind: error.kind, path: path.join("."), place, problem: error.problem }
    }

    /// Returns the value of a text with replaced references, if another type is expected.
    fn replaced<T>(
        &self,
        what: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ReadError> {
        let (Value::Text(text), Some(written)) = (&self.value, &self.written) else {
            return Ok(None);
        };
        // The text itself may be a secret that was put in the wrong place.
        let problem = || format!("the value of `{written}` is not {what}");
        let value = parse(text.trim());
        value.map(Some).ok_or_else(|| ReadError::new(SettingsErrorKind::WrongType, problem()))
    }

    fn number<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, ReadError> {
        let parse = |text: &str| text.parse::<i128>().ok();
        match self.replaced("a whole number", parse)? {
            None => self.deserialize_any(visitor),
            Some(number) => match (i64::try_from(number), u64::try_from(number)) {
                (Ok(number), _) => visitor.visit_i64(number),
                (_, Ok(number)) => visitor.visit_u64(number),
                _ => visitor.visit_i128(number),
            },
        }
    }

    fn fraction<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, ReadError> {
        let parse = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
        match self.replaced("a number", parse)? {
            None => self.deserialize_any(visitor),
            Some(number) => visitor.visit_f64(number),
        }
    }
}

/// Types that a text with replaced references is read as.
macro_rules! read_as {
    ($($method:ident $by:ident;)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.$by(visitor)
        })+
    };
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
            Value::Table(entries) => visitor.visit_map(Entries::new(entries)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Table(entries) => {
                Part(entries.iter().collect()).deserialize_struct(name, fields, visitor)
            }
            _ => self.deserialize_any(visitor),
        }
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
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Text(text) => {
                let name: StrDeserializer<'de, ReadError> = text.as_str().into_deserializer();
                visitor.visit_enum(name)
            }
            _ => {
                let problem = format!("must be a string: one of {}", listed(variants));
                Err(ReadError::new(SettingsErrorKind::WrongType, problem))
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.replaced("`true` or `false`", |text| text.parse().ok())? {
            None => self.deserialize_any(visitor),
            Some(flag) => visitor.visit_bool(flag),
        }
    }

    read_as! {
        deserialize_i8 number; deserialize_i16 number; deserialize_i32 number;
        deserialize_i64 number; deserialize_i128 number; deserialize_u8 number;
        deserialize_u16 number; deserialize_u32 number; deserialize_u64 number;
        deserialize_u128 number; deserialize_f32 fraction; deserialize_f64 fraction;
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// Some entries of a table.
struct Part<'de>(Vec<&'de (Key, Settings)>);

impl<'de> Deserializer<'de> for Part<'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_map(Entries::new(self.0))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if !fields.contains(&PART) {
            return self.deserialize_any(visitor);
        }
        let is_own = |(key, _): &&(Key, Settings)| key.name != PART && fields.contains(&&*key.name);
        let (own, others) = self.0.into_iter().partition(is_own);
        visitor.visit_map(Entries { part: Some((Self(others), fields)), ..Entries::new(own) })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
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

/// The entries of a table or of a part of it.
struct Entries<'de> {
    entries: std::vec::IntoIter<&'de (Key, Settings)>,
    /// The entry whose key was read last; `None` for the part.
    current: Option<&'de (Key, Settings)>,
    /// The entries of the field [`PART`], with the fields of the struct.
    part: Option<(Part<'de>, &'static [&'static str])>,
}

impl<'de> Entries<'de> {
    fn new(entries: impl IntoIterator<Item = &'de (Key, Settings)>) -> Self {
        let entries: Vec<_> = entries.into_iter().collect();
        Self { entries: entries.into_iter(), current: None, part: None }
    }
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        self.current = self.entries.next();
        let name = match self.current {
            Some((key, _)) => &*key.name,
            None if self.part.is_some() => PART,
            None => return Ok(None),
        };
        let name: StrDeserializer<'_, ReadError> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ReadError> {
        if let Some((key, value)) = self.current {
            return seed.deserialize(value).map_err(|error| error.below(&key.name));
        }
        let (part, fields) = self.part.take().expect("a value is read after its key");
        seed.deserialize(part).map_err(|error| error.of_part(fields))
    }
}
