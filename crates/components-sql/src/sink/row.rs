//! Maps an event to a row.

mod typed;

use std::collections::BTreeMap;

use formats::csv::{Csv, Scratch};
use formats::json;
use formats::rows::{SeenSchema, reason};
use pipeline::EventRef;

use super::config::Format;
use super::value::{EventValue, Kind, Value};
use typed::TypedFields;

/// Source of a column's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ValueSource {
    /// A field of the body.
    Field(String),
    /// A path in a JSON body. Its first step is a field of the body.
    Pointer(Vec<String>),
    /// A header.
    Header(String),
    /// The whole body.
    Body,
}

impl ValueSource {
    /// Parses a setting; `None` if it is empty.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "%body" {
            return Some(Self::Body);
        }
        if let Some(rest) = text.strip_prefix("%{") {
            let name = rest.strip_suffix('}').filter(|name| !name.is_empty());
            return name.map(|name| Self::Header(name.to_owned()));
        }
        if let Some(rest) = text.strip_prefix('/') {
            return Some(Self::Pointer(json::steps(rest)));
        }
        (!text.is_empty()).then(|| Self::Field(text.to_owned()))
    }

    /// Returns the field of the body that contains the value.
    fn field(&self) -> Option<&str> {
        match self {
            Self::Field(name) => Some(name),
            Self::Pointer(steps) => steps.first().map(String::as_str),
            Self::Header(_) | Self::Body => None,
        }
    }
}

/// How to read events, from the settings.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) format: Format,
    pub(super) fields: Vec<String>,
    pub(super) delimiter: u8,
    pub(super) null: String,
    /// Columns and their sources. If empty, each field goes to the column with its name.
    pub(super) columns: Vec<(String, ValueSource)>,
    pub(super) rejects_extra: bool,
}

/// A column of the table, and the source of its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) from: ValueSource,
}

/// A row: values, and the index of their columns among the targets. A column without a value is
/// omitted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) columns: Vec<usize>,
    pub(super) values: Vec<Value>,
}

impl Row {
    /// Returns the approximate size in bytes.
    pub(super) fn size(&self) -> usize {
        self.values.iter().map(Value::size).sum()
    }

    /// Returns whether a text contains NUL.
    pub(super) fn has_nul(&self) -> bool {
        self.values.iter().any(|value| matches!(value, Value::Text(text) if text.contains('\0')))
    }

    /// Returns the value of a column.
    pub(super) fn value(&self, column: usize) -> Option<&Value> {
        let at = self.columns.iter().position(|other| *other == column)?;
        self.values.get(at)
    }
}

/// Reads the events of a batch.
pub(super) struct Reader<'a> {
    reading: &'a Reading,
    targets: &'a [Target],
    /// Indexes of the key columns.
    key: &'a [usize],
    csv: Option<(Csv, Scratch)>,
    seen: SeenSchema,
}

/// The fields of a body.
enum Fields<'a> {
    Json(json::Fields<'a>),
    /// `None`: NULL.
    Csv(BTreeMap<String, Option<String>>),
    Typed(TypedFields<'a>),
    None,
}

impl<'a> Reader<'a> {
    pub(super) fn new(reading: &'a Reading, targets: &'a [Target], key: &'a [usize]) -> Self {
        let csv = (reading.format == Format::Csv).then(|| {
            let csv = Csv::new(reading.fields.clone(), reading.delimiter);
            let scratch = csv.scratch();
            (csv, scratch)
        });
        Self { reading, targets, key, csv, seen: SeenSchema::default() }
    }

    /// Converts an event to a row.
    ///
    /// # Errors
    /// The event cannot be converted, and why.
    pub(super) fn row(&mut self, event: EventRef<'_>) -> Result<Row, String> {
        let fields = match (self.seen.schema(event)?, self.reading.format) {
            (Some(schema), Format::Json) => Fields::Typed(TypedFields::read(schema, event.body())?),
            _ => {
                let read = fields(self.reading, &mut self.csv, event.body());
                read.map_err(|problem| reason(event, problem))?
            }
        };
        if self.reading.rejects_extra {
            check_extra(self.targets, &fields)?;
        }
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for (place, target) in self.targets.iter().enumerate() {
            let value = match given(event, &target.from, &fields)? {
                Found::Nothing => continue,
                Found::Null => Ok(Value::Null),
                Found::Given(given) => target.kind.convert(given),
            };
            columns.push(place);
            let name = &target.name;
            values.push(value.map_err(|problem| {
                format!("column `{name}`: {problem}; correct the event, or `columns` of the sink")
            })?);
        }
        let row = Row { columns, values };
        for key in self.key {
            if row.value(*key).is_none_or(|value| *value == Value::Null) {
                let name = &self.targets[*key].name;
                return Err(format!(
                    "the key column `{name}` has no value; send one, or set `key`"
                ));
            }
        }
        if row.columns.is_empty() {
            return Err("no field of the event is a column of the table; set `columns`".to_owned());
        }
        Ok(row)
    }
}

fn fields<'b>(
    reading: &Reading,
    csv: &mut Option<(Csv, Scratch)>,
    body: &'b [u8],
) -> Result<Fields<'b>, String> {
    match (reading.format, csv) {
        (Format::Json, _) => json::fields(body).map(Fields::Json),
        (Format::Csv, Some((csv, scratch))) => {
            let null = &reading.null;
            let mut fields = BTreeMap::new();
            let read = csv.parse(body, scratch, |name, value| {
                fields.insert(name.to_owned(), (value != null).then(|| value.to_owned()));
            });
            read.map_err(|problem| {
                format!("the body does not match `fields`: {problem}; correct one of them")
            })?;
            Ok(Fields::Csv(fields))
        }
        (Format::Csv | Format::None, _) => Ok(Fields::None),
    }
}

fn check_extra(targets: &[Target], fields: &Fields<'_>) -> Result<(), String> {
    let is_extra = |name: &&String| {
        let field = Some(name.as_str());
        !targets.iter().any(|target| target.from.field() == field)
    };
    let extra = match fields {
        Fields::Json(fields) => fields.keys().find(is_extra),
        Fields::Csv(fields) => fields.keys().find(is_extra),
        Fields::Typed(fields) => fields.names().find(is_extra),
        Fields::None => None,
    };
    extra.map_or(Ok(()), |name| {
        Err(format!("no column uses the field `{name}`; add one, or set `extra` to ignore it"))
    })
}

/// The value that an event has for a column.
enum Found<'a> {
    Nothing,
    Null,
    Given(EventValue<'a>),
}

fn given<'a>(
    event: EventRef<'a>,
    from: &ValueSource,
    fields: &'a Fields<'_>,
) -> Result<Found<'a>, String> {
    Ok(match (from, fields) {
        (ValueSource::Header(name), _) => {
            event.header(name).map_or(Found::Nothing, |text| Found::Given(EventValue::Text(text)))
        }
        (ValueSource::Body, _) => Found::Given(EventValue::Bytes(event.body())),
        (ValueSource::Field(name), Fields::Json(fields)) => {
            fields.get(name).map_or(Found::Nothing, |raw| Found::Given(EventValue::Json(raw)))
        }
        (ValueSource::Field(name), Fields::Csv(fields)) => match fields.get(name) {
            None => Found::Nothing,
            Some(None) => Found::Null,
            Some(Some(text)) => Found::Given(EventValue::Text(text)),
        },
        (ValueSource::Pointer(steps), Fields::Json(fields)) => match json::follow(fields, steps)? {
            None => Found::Nothing,
            Some(raw) => Found::Given(EventValue::Json(raw)),
        },
        (ValueSource::Field(name), Fields::Typed(fields)) => {
            fields.get(name).map_or(Found::Nothing, |it| Found::Given(EventValue::Typed(it)))
        }
        (ValueSource::Pointer(steps), Fields::Typed(fields)) => {
            fields.follow(steps)?.map_or(Found::Nothing, Found::Given)
        }
        (ValueSource::Field(_) | ValueSource::Pointer(_), Fields::Csv(_) | Fields::None) => {
            Found::Nothing
        }
    })
}

#[cfg(test)]
mod tests {
    use pipeline::BatchBuilder;

    use super::*;

    fn target(name: &str, from: &str) -> Target {
        Target { name: name.into(), kind: Kind::Text, from: ValueSource::parse(from).unwrap() }
    }

    fn reading(format: Format) -> Reading {
        Reading {
            format,
            fields: vec!["a".into(), "b".into()],
            delimiter: b',',
            null: String::new(),
            columns: Vec::new(),
            rejects_extra: true,
        }
    }

    fn row(
        reading: &Reading,
        targets: &[Target],
        key: &[usize],
        body: &str,
    ) -> Result<Row, String> {
        let mut builder = BatchBuilder::default();
        builder.push(body.as_bytes(), &[("host", "h1")]);
        let batch = builder.finish();
        let event = batch.iter().next().unwrap();
        Reader::new(reading, targets, key).row(event)
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn reads_typed_rows_and_rejects_malformed_ones() {
        use ::rows::{Column, SCHEMA_HEADER, Schema, Type, Value as Typed};
        let columns = ["a", "b"].map(|name| Column { name: name.into(), kind: Type::Text });
        let schema = Schema::new(columns.to_vec()).unwrap();
        let mut body = Vec::new();
        schema.write([Typed::Text("x\""), Typed::Null], &mut body).unwrap();
        let mut builder = BatchBuilder::default();
        let header = schema.to_text();
        builder.push(&body, &[(SCHEMA_HEADER, &header)]);
        builder.push(&body[1..], &[(SCHEMA_HEADER, &header)]);
        builder.push(br#"{"a":"y"}"#, &[]);
        let batch = builder.finish();
        let (reading, targets) = (reading(Format::Json), [target("a", "a"), target("b", "b")]);
        let mut reader = Reader::new(&reading, &targets, &[]);
        let found: Vec<_> = batch.iter().map(|event| reader.row(event)).collect();
        let values = |found: &Result<Row, String>| found.as_ref().unwrap().values.clone();
        assert_eq!(values(&found[0]), [text("x\""), Value::Null]);
        assert!(found[1].as_ref().unwrap_err().contains("not a typed row"), "{found:?}");
        assert_eq!(values(&found[2]), [text("y")]);
    }

    #[test]
    fn a_pointer_goes_into_nested_values_of_a_typed_row() {
        use ::rows::{Column, SCHEMA_HEADER, Schema, Type, Value as Typed};
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let ids = Type::List(Box::new(Type::Int64));
        let tags = Type::Map { key: Box::new(Type::Uint8), value: Box::new(Type::Text) };
        let user = Type::Struct(vec![column("ids", ids), column("tags", tags)]);
        let columns = vec![column("user", user), column("more", Type::Json)];
        let schema = Schema::new(columns).unwrap();
        let mut body = Vec::new();
        let mut row = schema.begin(&mut body);
        let mut user = row.nest().unwrap();
        let mut ids = user.nest().unwrap();
        [7, 8].iter().for_each(|id| ids.push(Typed::Int64(*id)).unwrap());
        ids.finish().unwrap();
        let mut tags = user.nest().unwrap();
        tags.push(Typed::Uint8(5)).unwrap();
        tags.push(Typed::Text("five")).unwrap();
        tags.finish().unwrap();
        user.finish().unwrap();
        row.push(Typed::Json(r#"{"a":["x",null]}"#)).unwrap();
        row.finish().unwrap();
        let mut builder = BatchBuilder::default();
        builder.push(&body, &[(SCHEMA_HEADER, &schema.to_text())]);
        let batch = builder.finish();
        let targets = [
            target("id", "/user/ids/1"),
            target("none", "/user/ids/2"),
            target("tag", "/user/tags/5"),
            target("x", "/more/a/0"),
            target("null", "/more/a/1"),
            target("no", "/more/b/1"),
            target("all", "/user"),
        ];
        let reading = reading(Format::Json);
        let mut reader = Reader::new(&reading, &targets, &[]);
        let found = reader.row(batch.iter().next().unwrap()).unwrap();
        assert_eq!(found.columns, [0, 2, 3, 4, 6]);
        let all = text(r#"{"ids":[7,8],"tags":{"5":"five"}}"#);
        assert_eq!(found.values, [text("8"), text("five"), text("x"), Value::Null, all]);
    }

    #[test]
    fn a_field_that_is_missing_is_left_out_and_one_that_is_null_is_null() {
        let (reading, targets) =
            (reading(Format::Json), [target("a", "a"), target("b", "b"), target("h", "%{host}")]);
        let found = row(&reading, &targets, &[], r#"{"b":null}"#).unwrap();
        assert_eq!(found, Row { columns: vec![1, 2], values: vec![Value::Null, text("h1")] });
        let extra = row(&reading, &targets, &[], r#"{"a":1,"c":2}"#).unwrap_err();
        assert!(extra.contains("`c`"), "{extra}");
        let ignoring = Reading { rejects_extra: false, ..reading.clone() };
        assert!(row(&ignoring, &targets, &[], r#"{"a":1,"c":2}"#).is_ok());
        let no_key = row(&reading, &targets, &[0], r#"{"a":null}"#).unwrap_err();
        assert!(no_key.contains("the key column"), "{no_key}");
        assert!(row(&reading, &targets, &[], "[1]").unwrap_err().contains("not a JSON object"));
        let mut builder = BatchBuilder::default();
        builder.push(b"\"AP8=\"", &[("problem", "`day`: not a time of day")]);
        let batch = builder.finish();
        let event = batch.iter().next().unwrap();
        let found = Reader::new(&reading, &targets, &[]).row(event);
        assert_eq!(found.unwrap_err(), "`day`: not a time of day", "the decoder's reason");
        assert!(row(&reading, &targets[..1], &[], "{}").unwrap_err().contains("no field"));
    }

    #[test]
    fn a_pointer_goes_into_objects_and_lists() {
        let targets = [
            target("id", "/user/ids/1"),
            target("name", "/user/na~1me"),
            target("no", "/user/no/1"),
            target("line", "%body"),
        ];
        let body = r#"{"user":{"ids":[7,8],"na/me":"\u00e9"}}"#;
        let found = row(&reading(Format::Json), &targets, &[], body).unwrap();
        assert_eq!(found.columns, [0, 1, 3]);
        assert_eq!(found.values, [text("8"), text("é"), text(body)]);
    }

    #[test]
    fn a_line_needs_all_values_and_marks_null() {
        let (reading, targets) = (reading(Format::Csv), [target("x", "a"), target("y", "b")]);
        let found = row(&reading, &targets, &[], "1,\"a \"\"b\"\", c\"").unwrap();
        assert_eq!(found.values, [text("1"), text("a \"b\", c")]);
        assert_eq!(row(&reading, &targets, &[], "1,").unwrap().values, [text("1"), Value::Null]);
        assert!(row(&reading, &targets, &[], "1").is_err());
        assert!(row(&reading, &targets, &[], "1,2,3").is_err());
    }
}
