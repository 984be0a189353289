//! Formats in settings: a name, `"json"`, or a table with `type` and the settings of that format.

use std::collections::BTreeMap;
use std::fmt;

use formats::csv;
use pipeline::BuildError;
use regex::bytes::CaptureLocations;
use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::fields::Found;
use super::{Failure, access, grok, json, pairs};

/// How a text is written.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Format {
    /// One JSON object. Nested objects become fields such as `user.name`.
    Json {},
    /// `level=info msg="it is up"`; a single word is a field with the value `true`.
    Logfmt {},
    /// Pairs with custom separators.
    KeyValue {
        /// Separator between pairs.
        #[serde(default = "default_comma")]
        pair_separator: String,
        /// Separator between key and value.
        #[serde(default = "default_equals")]
        key_value_separator: String,
    },
    /// Columns as in RFC 4180.
    Csv {
        /// Names of the columns. A column with the name `""` is left out.
        columns: Vec<String>,
        /// Delimiter between columns, one byte.
        #[serde(default = "default_comma")]
        delimiter: String,
    },
    /// The access log of nginx and Apache, `combined`.
    Combined {},
    /// The access log of Apache, `common`: without referrer and agent.
    Common {},
    /// An expression of named patterns.
    Grok {
        /// Expression, such as `%{IP:client} %{NUMBER:bytes:int}`. It matches anywhere in the text;
        /// anchor it with `^` and `$`.
        pattern: String,
        /// Custom patterns, by name. They may use each other and the standard ones.
        #[serde(default)]
        patterns: BTreeMap<String, String>,
    },
}

fn default_comma() -> String {
    ",".to_owned()
}

fn default_equals() -> String {
    "=".to_owned()
}

/// A [`Format`] in a configuration file.
#[derive(Debug)]
pub(super) struct Written(pub(super) Format);

/// What a file may have there.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is the schema alone")]
enum Form {
    /// Name of a format without settings.
    Name(Name),
    /// Format with settings.
    Table(Format),
}

/// The formats that need no settings.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "it is the schema alone")]
enum Name {
    Json,
    Logfmt,
    KeyValue,
    Combined,
    Common,
}

impl JsonSchema for Written {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ParseFormat".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Form::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Format;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a format, or a table with its `type`")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Format, E> {
        let entry = std::iter::once((StrDeserializer::new("type"), StrDeserializer::new(name)));
        Format::deserialize(de::value::MapDeserializer::new(entry))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Format, A::Error> {
        Format::deserialize(MapAccessDeserializer::new(table))
    }
}

/// Parser of a format.
pub(super) enum Parser {
    Json,
    Logfmt,
    KeyValue(pairs::Separators),
    Csv(csv::Csv),
    Access { is_combined: bool },
    Grok(Box<grok::Grok>),
}

/// State that a parser reuses between events.
pub(super) enum State {
    None,
    Csv(Box<csv::Scratch>),
    Grok(CaptureLocations),
}

impl Parser {
    pub(super) fn new(format: &Format) -> Result<Self, BuildError> {
        match format {
            Format::Json {} => Ok(Self::Json),
            Format::Logfmt {} => Ok(Self::Logfmt),
            Format::KeyValue { pair_separator, key_value_separator } => {
                let separators = pairs::Separators::new(pair_separator, key_value_separator)?;
                Ok(Self::KeyValue(separators))
            }
            Format::Csv { columns, .. } if columns.is_empty() => {
                let problem = "must name the columns of `csv`";
                Err(BuildError::invalid("format.columns", problem))
            }
            Format::Csv { columns, delimiter } => match delimiter.as_bytes() {
                [delimiter] => Ok(Self::Csv(csv::Csv::new(columns.clone(), *delimiter))),
                _ => {
                    let problem = "must be one byte, such as `;`";
                    Err(BuildError::invalid("format.delimiter", problem))
                }
            },
            Format::Combined {} => Ok(Self::Access { is_combined: true }),
            Format::Common {} => Ok(Self::Access { is_combined: false }),
            Format::Grok { pattern, patterns } => {
                Ok(Self::Grok(Box::new(grok::Grok::new(pattern, patterns)?)))
            }
        }
    }

    /// Creates the state for one batch.
    pub(super) fn state(&self) -> State {
        match self {
            Self::Csv(csv) => State::Csv(Box::new(csv.scratch())),
            Self::Grok(grok) => State::Grok(grok.locations()),
            _ => State::None,
        }
    }

    /// Extracts the fields of one text.
    pub(super) fn parse(
        &self,
        text: &[u8],
        found: &mut Found,
        state: &mut State,
    ) -> Result<(), Failure> {
        let utf8 = || std::str::from_utf8(text).map_err(|_| "not UTF-8");
        match (self, state) {
            (Self::Json, _) => json::parse(utf8()?, found),
            (Self::Logfmt, _) => pairs::logfmt(utf8()?, found),
            (Self::KeyValue(separators), _) => separators.parse(utf8()?, found),
            (Self::Access { is_combined }, _) => access::parse(utf8()?, *is_combined, found),
            (Self::Csv(csv), State::Csv(scratch)) => {
                csv.parse(text, scratch, |name, value| found.push(name, value))
            }
            (Self::Grok(grok), State::Grok(groups)) => grok.parse(text, found, groups),
            (Self::Csv(_) | Self::Grok(_), _) => unreachable!("the state is of this parser"),
        }
    }
}
