//! A column: its validated settings.

use pipeline::BuildError;
use schemars::JsonSchema;
use serde::Deserialize;

use super::kind::{ColumnType, DIGITS_MAX, Kind};
use super::shape::{Field, Shape, number};
use super::written::WrittenType;

/// One column.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnConfig {
    /// Name of the column in the file.
    name: String,
    /// Type of the values: a name, or a nested type such as `list<string>`.
    #[serde(rename = "type")]
    kind: WrittenType,
    /// Source of a value: a path in the body (`user.id`), which has the format `format`;
    /// `header:NAME`; or `body`, the whole body. In a path, `\` escapes the next character.
    /// Default: the key, field or value `name` of the body.
    #[serde(default)]
    from: Option<String>,
    /// Whether an event without a value is rejected. Otherwise the value is null.
    #[serde(default)]
    required: bool,
    /// With `decimal`: number of digits, 1 to 76.
    #[serde(default)]
    precision: Option<u8>,
    /// With `decimal`: number of digits after the decimal point. Default: 0.
    #[serde(default)]
    scale: Option<u8>,
    /// Id of the column in the file, as an existing Iceberg table has it. Default: the position of
    /// the column, starting at 1. Values in nested types get the next unused ids.
    #[serde(default)]
    field_id: Option<i32>,
}

/// Source of a column's values.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The header of this name.
    Header(String),
    /// The whole body.
    Body,
    /// A path of keys in the body's object.
    Path(Vec<String>),
}

/// A validated column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) field: Field,
    pub(super) source: Source,
}

impl Column {
    /// Returns the type of its values; `None` if they are nested.
    pub(super) fn kind(&self) -> Option<Kind> {
        match &self.field.shape {
            Shape::Leaf(kind, _) => Some(*kind),
            Shape::List(_) | Shape::Struct(_) | Shape::Map(..) => None,
        }
    }

    /// Returns whether values are not nested and have a variable length.
    pub(super) fn is_bytes(&self) -> bool {
        self.kind().is_some_and(Kind::is_bytes)
    }
}

/// Validates the columns of the settings.
///
/// # Errors
/// A column is wrong, or a name occurs twice.
pub(super) fn read(configs: Vec<ColumnConfig>) -> Result<Vec<Column>, BuildError> {
    if configs.is_empty() {
        return Err(BuildError::invalid("columns", "must have at least one column"));
    }
    let mut columns: Vec<Column> = Vec::new();
    for (index, config) in configs.into_iter().enumerate() {
        let invalid = |setting: &str, problem: String| {
            BuildError::invalid(format!("columns.{index}.{setting}"), problem)
        };
        let name = config.name;
        if name.is_empty() || name.contains('\0') {
            return Err(invalid("name", "must not be empty or contain NUL".to_owned()));
        }
        if columns.iter().any(|other| other.field.name.eq_ignore_ascii_case(&name)) {
            let problem = format!("must be unique, but `{name}` appears twice (Hive ignores case)");
            return Err(invalid("name", problem));
        }
        let shape = match (config.kind, config.precision, config.scale.unwrap_or(0)) {
            (WrittenType::Plain(ColumnType::Decimal), Some(precision @ 1..=DIGITS_MAX), scale) => {
                if scale > precision {
                    let problem = "must be at most `precision`".to_owned();
                    return Err(invalid("scale", problem));
                }
                Shape::Leaf(Kind::Decimal { precision, scale }, 0)
            }
            (WrittenType::Plain(ColumnType::Decimal), ..) => {
                let problem = format!("must be from 1 to {DIGITS_MAX} for a decimal");
                return Err(invalid("precision", problem));
            }
            (_, Some(_), _) => {
                return Err(invalid(
                    "precision",
                    "applies only to `decimal`: remove it".to_owned(),
                ));
            }
            (_, None, 1..) => {
                return Err(invalid("scale", "applies only to `decimal`: remove it".to_owned()));
            }
            (WrittenType::Plain(kind), None, 0) => Shape::Leaf(Kind::Plain(kind), 0),
            (WrittenType::Text(text), None, 0) => {
                Shape::parse(&text).map_err(|problem| invalid("type", problem))?
            }
        };
        let source = match &config.from {
            None => Source::Path(vec![name.clone()]),
            Some(from) => source(from).ok_or_else(|| {
                let problem = "must be a path such as `user.id`, `header:NAME`, or `body`";
                invalid("from", problem.to_owned())
            })?,
        };
        let id = config.field_id.unwrap_or(index as i32 + 1);
        if id < 1 || columns.iter().any(|other| other.field.id == id) {
            let problem = format!("must be unique and greater than 0, but is {id}");
            return Err(invalid("field_id", problem));
        }
        let field = Field { name, shape, required: config.required, id };
        columns.push(Column { field, source });
    }
    number(columns.iter_mut().map(|column| &mut column.field).collect());
    Ok(columns)
}

fn source(from: &str) -> Option<Source> {
    if from == "body" {
        return Some(Source::Body);
    }
    if let Some(header) = from.strip_prefix("header:") {
        return (!header.is_empty()).then(|| Source::Header(header.to_owned()));
    }
    let mut keys = vec![String::new()];
    let mut characters = from.chars();
    while let Some(character) = characters.next() {
        let last = keys.last_mut()?;
        match character {
            '.' => keys.push(String::new()),
            '\\' => last.push(characters.next()?),
            other => last.push(other),
        }
    }
    keys.iter().all(|key| !key.is_empty()).then_some(Source::Path(keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_a_path_at_dots_unless_escaped() {
        let path = |keys: &[&str]| Some(Source::Path(keys.iter().map(|&key| key.into()).collect()));
        for (from, expected) in [
            ("a", path(&["a"])),
            ("a.b.c", path(&["a", "b", "c"])),
            (r"a\.b.c\\d", path(&["a.b", r"c\d"])),
            (r"\body", path(&["body"])),
            ("body", Some(Source::Body)),
            ("header:host", Some(Source::Header("host".into()))),
            (r"\header:host", path(&["header:host"])),
            ("header:", None),
            ("", None),
            ("a..b", None),
            (r"a\", None),
        ] {
            assert_eq!(source(from), expected, "{from}");
        }
    }
}
