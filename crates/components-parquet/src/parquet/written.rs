//! Types as they are written in the settings. In a nested type, a value may be `required`:
//!
//! ```text
//!   list<string>   map<string, decimal(9,2)>   struct<id: int64 required, tags: list<string>>
//! ```

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::kind::{ColumnType, DIGITS_MAX, Kind};
use super::shape::{Field, Shape};

/// Maximum depth of nested types, as in typed rows.
const DEPTH_MAX: usize = 32;

/// A type in the settings.
#[derive(Debug, Clone)]
pub(super) enum WrittenType {
    /// A type with its own name.
    Plain(ColumnType),
    /// A nested type, or a decimal with its digits.
    Text(String),
}

impl<'de> Deserialize<'de> for WrittenType {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.contains(['<', '(']) {
            return Ok(Self::Text(text));
        }
        let plain = de::value::StrDeserializer::<D::Error>::new(&text);
        ColumnType::deserialize(plain).map(Self::Plain)
    }
}

impl JsonSchema for WrittenType {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WrittenType".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let plain = generator.subschema_for::<ColumnType>();
        json_schema!({ "anyOf": [plain, {
            "type": "string",
            "pattern": "^(list|struct|map)<.+>$|^decimal\\(.+\\)$",
            "description": "A nested type such as `list<string>`, or `decimal(9,2)`.",
        }] })
    }
}

/// The rest of a type's text.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn expect(&mut self, symbol: char) -> Result<(), String> {
        let found = self.0.trim_start();
        let rest = found.strip_prefix(symbol);
        self.0 = rest.ok_or_else(|| match found.chars().next() {
            Some(other) => format!("must have `{symbol}` instead of `{other}` before `{found}`"),
            None => format!("must end with `{symbol}`"),
        })?;
        Ok(())
    }

    /// Returns true if the symbol follows.
    fn takes(&mut self, symbol: char) -> bool {
        self.expect(symbol).is_ok()
    }

    fn word(&mut self) -> &'a str {
        let text = self.0.trim_start();
        let is_end = |character: char| !character.is_alphanumeric() && character != '_';
        let (word, rest) = text.split_at(text.find(is_end).unwrap_or(text.len()));
        self.0 = rest;
        word
    }

    fn digits(&mut self) -> Result<u8, String> {
        let word = self.word();
        word.parse().map_err(|_| format!("must have a number of digits instead of `{word}`"))
    }

    /// Reads the name of a field, in backticks if it has other characters than letters and digits.
    fn name(&mut self) -> Result<String, String> {
        let name = if self.takes('`') {
            let (name, rest) = self.0.split_once('`').ok_or("must have a second backtick")?;
            self.0 = rest;
            name
        } else {
            self.word()
        };
        if name.is_empty() || name.contains('\0') {
            return Err(format!("must have the name of a field before `{}`", self.0));
        }
        Ok(name.to_owned())
    }

    fn value(&mut self, name: &str, depth: usize) -> Result<Box<Field>, String> {
        let shape = self.shape(depth)?;
        let mut ahead = Text(self.0);
        let required = ahead.word() == "required";
        if required {
            self.0 = ahead.0;
        }
        Ok(Box::new(Field { name: name.to_owned(), shape, required, id: 0 }))
    }

    fn shape(&mut self, depth: usize) -> Result<Shape, String> {
        if depth > DEPTH_MAX {
            return Err(format!("must be nested at most {DEPTH_MAX} deep"));
        }
        let shape = match self.word() {
            "list" => {
                self.expect('<')?;
                Shape::List(self.value("element", depth + 1)?)
            }
            "map" => {
                self.expect('<')?;
                let key = Field { required: true, ..*self.value("key", depth + 1)? };
                if !matches!(key.shape, Shape::Leaf(..)) {
                    return Err(format!("must not have keys of {}", key.shape));
                }
                self.expect(',')?;
                Shape::Map(Box::new(key), self.value("value", depth + 1)?)
            }
            "struct" => {
                self.expect('<')?;
                let mut fields: Vec<Field> = Vec::new();
                loop {
                    let name = self.name()?;
                    self.expect(':')?;
                    let same = |field: &Field| field.name.eq_ignore_ascii_case(&name);
                    if fields.iter().any(same) {
                        return Err(format!("must not have two fields `{name}`"));
                    }
                    fields.push(*self.value(&name, depth + 1)?);
                    if !self.takes(',') {
                        break Shape::Struct(fields);
                    }
                }
            }
            "decimal" => {
                self.expect('(')?;
                let precision = self.digits()?;
                let scale = if self.takes(',') { self.digits()? } else { 0 };
                self.expect(')')?;
                if !(1..=DIGITS_MAX).contains(&precision) || scale > precision {
                    return Err(format!(
                        "must have decimals with 1 to {DIGITS_MAX} digits, and at most as many \
                         after the point"
                    ));
                }
                return Ok(Shape::Leaf(Kind::Decimal { precision, scale }, 0));
            }
            word => {
                let plain = de::value::StrDeserializer::<de::value::Error>::new(word);
                let kind = ColumnType::deserialize(plain).map_err(|error| error.to_string())?;
                return Ok(Shape::Leaf(Kind::Plain(kind), 0));
            }
        };
        self.expect('>')?;
        Ok(shape)
    }
}

impl Shape {
    /// Parses a type.
    ///
    /// # Errors
    /// It is not a type; a sentence without its first words, the name of the setting.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = Text(text);
        let shape = rest.shape(1)?;
        match rest.0.trim() {
            "" => Ok(shape),
            rest => Err(format!("must end before `{rest}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_they_are_printed() {
        for text in [
            "list<string>",
            "map<string, decimal(9,2)>",
            "struct<id: int64, tags: list<map<date, uint8>>, b: struct<c: bool>>",
            "decimal(76,10)",
        ] {
            assert_eq!(Shape::parse(text).unwrap().to_string(), text);
        }
        let spaced = Shape::parse(" struct < `a b` : int64 required , c:list<int32 required> > ");
        let Shape::Struct(fields) = spaced.unwrap() else { panic!("it is a struct") };
        assert!(fields[0].name == "a b" && fields[0].required && !fields[1].required);
        assert!(matches!(&fields[1].shape, Shape::List(item) if item.required));
        let deep = format!("{}bool{}", "list<".repeat(31), ">".repeat(31));
        assert!(Shape::parse(&deep).is_ok());
        for (text, problem) in [
            (&*format!("list<{deep}>"), "at most 32 deep"),
            ("list<text>", "unknown variant `text`"),
            ("list<string", "must end with `>`"),
            ("list<string>>", "must end before `>`"),
            ("map<list<string>, string>", "keys of list<string>"),
            ("map<string>", "must have `,` instead of `>`"),
            ("struct<>", "the name of a field"),
            ("struct<a: bool, A: bool>", "two fields `A`"),
            ("decimal(77,1)", "1 to 76 digits"),
            ("decimal(x)", "instead of `x`"),
        ] {
            let found = Shape::parse(text).unwrap_err();
            assert!(found.contains(problem), "{text}: {found}");
        }
    }
}
