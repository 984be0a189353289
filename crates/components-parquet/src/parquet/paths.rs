//! Finds the values at many paths of a JSON object or an Avro record, in one pass.
//!
//! Values are not converted, in JSON not even parsed: the column interprets them, so that numbers
//! are parsed once, exactly. The whole body is checked; a truncated object is an error.

use ::rows::{Key as TypedKey, Nested, Value as Typed};
use formats::avro::schema::value::{Datum, Value as Item};
use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::value::{Found, Problem, name, noun};

/// The paths of columns, as a tree of keys.
#[derive(Debug, Default)]
pub(super) struct Paths {
    keys: Vec<(String, Paths)>,
    /// Columns whose path ends here.
    columns: Vec<usize>,
}

/// The error for a body that is not JSON.
const NO_OBJECT: Unread = Unread::Body(Cow::Borrowed(
    "the body is not a JSON object, from which the columns get their values; correct the event, or \
     set `format` of the encoder",
));

/// Why a body has no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// It has a wrong format; a complete sentence.
    Body(Cow<'static, str>),
    /// The path of this column leads through something other than an object.
    Within(usize, Problem),
}

impl Paths {
    /// Adds the path of a column.
    pub(super) fn add(&mut self, path: &[String], column: usize) {
        let Some((key, rest)) = path.split_first() else {
            self.columns.push(column);
            return;
        };
        let at = self.keys.iter().position(|(other, _)| other == key).unwrap_or_else(|| {
            self.keys.push((key.clone(), Self::default()));
            self.keys.len() - 1
        });
        self.keys[at].1.add(rest, column);
    }

    /// Returns whether there are no paths.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns how many of the columns selected by `counts` may contain the same byte.
    pub(super) fn copies(&self, counts: &impl Fn(usize) -> bool) -> u64 {
        let here = self.columns.iter().filter(|column| counts(**column)).count() as u64;
        here + self.keys.iter().map(|(_, inner)| inner.copies(counts)).max().unwrap_or(0)
    }

    /// Stores the value at each path of `body` in its column's entry in `found`. For duplicate
    /// keys, the last value counts.
    ///
    /// # Errors
    /// The body is not an object, or a path leads through something else.
    pub(super) fn read<'e>(&self, body: &'e [u8], found: &mut [Found<'e>]) -> Result<(), Unread> {
        let mut problem = None;
        let mut text = serde_json::Deserializer::from_slice(body);
        let object = Object { paths: self, found, problem: &mut problem };
        let whole = object.deserialize(&mut text).and_then(|()| text.end());
        whole.map_err(|_| NO_OBJECT)?;
        problem.map_or(Ok(()), Err)
    }

    /// Same for an Avro record or map.
    ///
    /// # Errors
    /// The datum is neither, or a path leads through something else.
    pub(super) fn read_datum<'e>(
        &self,
        datum: Datum<'e>,
        found: &mut [Found<'e>],
    ) -> Result<(), Unread> {
        if datum.value() != Item::Named {
            return Err(Unread::Body(
                "the body is not an Avro record, from which the columns get their values; correct \
                 the event, or set `format` of the encoder"
                    .into(),
            ));
        }
        let mut problem = None;
        datum.each(|name, inner| {
            if let Some((_, paths)) = self.keys.iter().find(|(key, _)| Some(&**key) == name) {
                problem = paths.take_datum(inner, found).err().or(problem.take());
            }
        });
        problem.map_or(Ok(()), Err)
    }

    /// Returns the columns whose path ends here.
    pub(super) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Returns the paths below a key; `None` if no path begins with it.
    pub(super) fn below(&self, key: &str) -> Option<&Self> {
        self.keys.iter().find(|(other, _)| other == key).map(|(_, inner)| inner)
    }

    /// Handles the value of a typed row.
    ///
    /// # Errors
    /// A path leads through something other than a struct, a map or a JSON object.
    pub(super) fn take_value<'e>(
        &self,
        value: Typed<'e>,
        found: &mut [Found<'e>],
    ) -> Result<(), Unread> {
        self.columns.iter().for_each(|column| found[*column] = Found::Typed(value));
        match value {
            _ if self.keys.is_empty() => Ok(()),
            Typed::Null => Ok(()),
            Typed::Json(text) => match text.as_bytes().first() {
                Some(b'{') => self.read(text.as_bytes(), found),
                Some(b'n') => Ok(()),
                _ => Err(Unread::Within(self.keys[0].1.first(), name(text))),
            },
            Typed::Struct(nested) | Typed::Map(nested) => self.take_nested(nested, found),
            other => Err(Unread::Within(self.keys[0].1.first(), other.noun())),
        }
    }

    /// Handles the fields of a struct, or the entries of a map by their texts.
    fn take_nested<'e>(&self, nested: Nested<'e>, found: &mut [Found<'e>]) -> Result<(), Unread> {
        let mut problem = None;
        for (key, value) in nested.items() {
            let name = match key {
                TypedKey::Field(name) | TypedKey::Value(Typed::Text(name)) => name,
                TypedKey::Value(_) | TypedKey::None => continue,
            };
            if let Some(paths) = self.below(name) {
                paths.forget(found);
                problem = paths.take_value(value, found).err().or(problem);
            }
        }
        problem.map_or(Ok(()), Err)
    }

    fn take_datum<'e>(&self, datum: Datum<'e>, found: &mut [Found<'e>]) -> Result<(), Unread> {
        self.forget(found);
        self.columns.iter().for_each(|column| found[*column] = Found::Avro(datum));
        match datum.value() {
            _ if self.keys.is_empty() => Ok(()),
            Item::Named => self.read_datum(datum, found),
            Item::Null => Ok(()),
            other => Err(Unread::Within(self.keys[0].1.first(), noun(other))),
        }
    }

    fn forget(&self, found: &mut [Found<'_>]) {
        self.columns.iter().for_each(|column| found[*column] = Found::Missing);
        self.keys.iter().for_each(|(_, inner)| inner.forget(found));
    }

    fn first(&self) -> usize {
        let inner = || self.keys.first().map(|(_, inner)| inner.first());
        self.columns.first().copied().or_else(inner).expect("a path ends at a column")
    }

    /// Handles the value of a key.
    fn take<'e>(&self, raw: &'e RawValue, found: &mut [Found<'e>]) -> Result<(), Unread> {
        self.forget(found);
        self.columns.iter().for_each(|column| found[*column] = Found::Json(raw));
        let text = raw.get();
        match text.as_bytes().first() {
            _ if self.keys.is_empty() => Ok(()),
            Some(b'{') => self.read(text.as_bytes(), found),
            Some(b'n') => Ok(()),
            _ => Err(Unread::Within(self.keys[0].1.first(), name(text))),
        }
    }
}

/// An object with wanted keys.
struct Object<'p, 'f, 'e> {
    paths: &'p Paths,
    found: &'f mut [Found<'e>],
    problem: &'f mut Option<Unread>,
}

impl<'e> DeserializeSeed<'e> for Object<'_, '_, 'e> {
    type Value = ();

    fn deserialize<D: Deserializer<'e>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'e> Visitor<'e> for Object<'_, '_, 'e> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'e>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(inner) = map.next_key_seed(Key(self.paths))? {
            match inner {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some(inner) => {
                    let raw = map.next_value()?;
                    let problem = inner.take(raw, self.found).err();
                    *self.problem = problem.or(self.problem.take());
                }
            }
        }
        Ok(())
    }
}

/// A key, resolved to the wanted paths below it.
struct Key<'p>(&'p Paths);

impl<'p, 'e> DeserializeSeed<'e> for Key<'p> {
    type Value = Option<&'p Paths>;

    fn deserialize<D: Deserializer<'e>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Key<'p> {
    type Value = Option<&'p Paths>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.keys.iter().find(|(other, _)| other == key).map(|(_, inner)| inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds `a`, `a.b`, `a.b.c` and `d`.
    fn read(body: &str) -> Result<Vec<Option<String>>, Unread> {
        let mut paths = Paths::default();
        for (column, path) in [&["a"][..], &["a", "b"], &["a", "b", "c"], &["d"]].iter().enumerate()
        {
            let path: Vec<String> = path.iter().map(|&key| key.to_owned()).collect();
            paths.add(&path, column);
        }
        assert_eq!(paths.copies(&|column| column != 1), 2);
        let mut found = [Found::Missing; 4];
        paths.read(body.as_bytes(), &mut found)?;
        let text = |found: &Found<'_>| match found {
            Found::Json(raw) => Some(raw.get().to_owned()),
            Found::Missing | Found::Text(_) | Found::Avro(_) | Found::Typed(_) => None,
        };
        Ok(found.iter().map(text).collect())
    }

    #[test]
    fn each_path_finds_the_text_that_stands_there() {
        let all = |texts: [&str; 4]| {
            Ok(texts.map(|text| Some(text.to_owned()).filter(|text| !text.is_empty())).to_vec())
        };
        let body = r#" {"x":[{"a":1}], "d" : 1e400 ,"\u0061":{"b":{"c":[1, 2]}}} "#;
        assert_eq!(
            read(body),
            all([r#"{"b":{"c":[1, 2]}}"#, r#"{"c":[1, 2]}"#, "[1, 2]", "1e400"])
        );
        assert_eq!(read("{}"), all([""; 4]));
        assert_eq!(read(r#"{"a":null,"d":null}"#), all(["null", "", "", "null"]));
        // For duplicate keys, only the last value counts.
        let twice = r#"{"a":{"b":{"c":1}},"d":1,"a":{},"d":2}"#;
        assert_eq!(read(twice), all(["{}", "", "", "2"]));
    }

    #[test]
    fn a_body_that_is_not_an_object_has_no_values() {
        let deep = "[".repeat(1_000_000);
        for body in ["", "[]", "1", "{", r#"{"d":1}}"#, r#"{"d":1} x"#, r#"{"z":}"#, &deep] {
            assert_eq!(read(body), Err(NO_OBJECT), "{body:.20}");
        }
        assert_eq!(read(r#"{"a":5}"#), Err(Unread::Within(1, "a number")));
        assert_eq!(read(r#"{"a":{"b":"x"}}"#), Err(Unread::Within(2, "a string")));
        // Nesting does not use the stack.
        let deep = format!(r#"{{"d":{}{}}}"#, deep, "]".repeat(1_000_000));
        assert!(read(&deep).unwrap()[3].is_some());
    }
}
