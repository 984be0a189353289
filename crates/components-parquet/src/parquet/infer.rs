//! Infers columns from sample events, as settings of the encoder. This runs once, before events
//! flow; the result goes into the configuration, which all collectors share.
//!
//! Each column gets the narrowest type that represents all of its samples exactly. No column is
//! required, so that later events without the value fit. If samples disagree, or contain nested
//! values, the column contains their JSON text. For Avro files, the schema determines the columns.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Cursor;

use formats::avro::container::{Bytes, Head};
use formats::csv::Csv;
use formats::json;
use serde_json::Value as Json;

use super::kind::{ColumnType, Kind};
use super::value::{Found, value};

/// An error in a sample, with its line.
type Problem = String;

/// Sample events.
#[derive(Debug, Clone, Copy)]
pub enum Samples<'a> {
    /// JSON objects, one per line.
    Json(&'a str),
    /// CSV lines; the first one contains the names. With the delimiter.
    Csv(&'a str, u8),
    /// An Avro container file.
    Avro(&'a [u8]),
}

/// The types to infer, narrowest first.
const TYPES: [ColumnType; 7] = [
    ColumnType::Bool,
    ColumnType::Int64,
    ColumnType::Double,
    ColumnType::Date,
    ColumnType::TimestampMicros,
    ColumnType::String,
    ColumnType::Json,
];

/// Integers up to this value are exact as doubles.
const EXACT: u64 = 1 << 53;

/// A column: the types that represent all of its samples, and whether it has any.
#[derive(Debug, Clone, Copy)]
struct Fit {
    fits: [bool; TYPES.len()],
    is_seen: bool,
}

impl Default for Fit {
    fn default() -> Self {
        Self { fits: [true; TYPES.len()], is_seen: false }
    }
}

impl Fit {
    /// Adds a sample.
    fn add(&mut self, found: Found<'_>) {
        let (text, is_text) = match found {
            Found::Json(raw) => (raw.get(), raw.get().starts_with('"')),
            Found::Text(text) => (std::str::from_utf8(text).unwrap_or_default(), true),
            Found::Missing | Found::Avro(_) | Found::Typed(_) => return,
        };
        if matches!(found, Found::Json(_)) && text == "null" {
            return;
        }
        self.is_seen = true;
        // Readers disagree whether `007` and `+1` are numbers or texts.
        let is_number = serde_json::from_str::<serde_json::Number>(text).is_ok();
        let is_whole = is_number && !text.contains(['.', 'e', 'E']);
        let is_exact = || text.parse::<i64>().is_ok_and(|it| it.unsigned_abs() <= EXACT);
        for (fits, kind) in self.fits.iter_mut().zip(TYPES) {
            *fits &= value(Kind::Plain(kind), found).is_ok()
                && match kind {
                    ColumnType::Int64 => is_whole,
                    ColumnType::Double => is_number && (!is_whole || is_exact()),
                    ColumnType::TimestampMicros => is_text && !is_number,
                    _ => true,
                };
        }
    }

    /// Returns the narrowest type; `None` without a sample.
    fn kind(&self) -> Option<ColumnType> {
        let first = TYPES.iter().zip(self.fits).find(|(_, fits)| *fits);
        first.filter(|_| self.is_seen).map(|(kind, _)| *kind)
    }
}

/// Returns settings of the encoder `parquet` for such events.
///
/// # Errors
/// There is no sample, or one does not match its format.
pub fn settings(samples: Samples<'_>) -> Result<String, Problem> {
    let mut out = String::from("type = \"parquet\"\n");
    match samples {
        Samples::Json(text) => {
            let mut columns = BTreeMap::<String, Fit>::new();
            for (number, line) in lines(text)? {
                let fields = json::fields(line.as_bytes());
                for (name, raw) in fields.map_err(|problem| format!("line {number}: {problem}"))? {
                    columns.entry(name).or_default().add(Found::Json(raw));
                }
            }
            put(&mut out, columns.iter().map(|(name, fit)| (&**name, fit.kind().map(Kind::Plain))));
        }
        Samples::Csv(text, delimiter) => {
            let names = names(text, delimiter)?;
            let csv = Csv::new((0..names.len()).map(|it| it.to_string()).collect(), delimiter);
            let (mut scratch, mut fits) = (csv.scratch(), vec![Fit::default(); names.len()]);
            for (number, line) in lines(text)?.skip(1) {
                let mut columns = fits.iter_mut();
                let read = csv.parse(line.as_bytes(), &mut scratch, |_, text| {
                    if let Some(fit) = columns.next().filter(|_| !text.is_empty()) {
                        fit.add(Found::Text(text.as_bytes()));
                    }
                });
                read.map_err(|problem| format!("line {number}: {problem}"))?;
            }
            let quoted: Vec<String> = names.iter().map(|name| quote(name)).collect();
            let _never = writeln!(out, "format = \"csv\"\nfields = [{}]", quoted.join(", "));
            if delimiter != b',' {
                let delimiter = quote(&char::from(delimiter).to_string());
                let _never = writeln!(out, "delimiter = {delimiter}");
            }
            let kinds = fits.iter().map(|fit| fit.kind().map(Kind::Plain));
            put(&mut out, names.iter().map(|name| &**name).zip(kinds));
        }
        Samples::Avro(bytes) => {
            let mut at = 0;
            let head = Head::read(&mut Bytes::new(&mut Cursor::new(bytes), &mut at));
            let head = head.map_err(|error| error.to_string())?;
            let head = head.ok_or("the sample has no events; pass others")?;
            let schema: Json = serde_json::from_str(&head.literal).map_err(|it| it.to_string())?;
            out += "format = \"avro\"\n";
            let columns = of_record(&schema)?;
            put(&mut out, columns.iter().map(|(name, kind)| (&**name, *kind)));
        }
    }
    Ok(out)
}

/// Returns the non-empty lines, with their numbers.
fn lines(text: &str) -> Result<impl Iterator<Item = (usize, &str)>, Problem> {
    let lines = text.lines().zip(1..).map(|(line, number)| (number, line));
    let mut lines = lines.filter(|(_, line)| !line.trim().is_empty()).peekable();
    lines.peek().ok_or("the sample has no events; pass others")?;
    Ok(lines)
}

/// Parses the names in a first line.
fn names(text: &str, delimiter: u8) -> Result<Vec<String>, Problem> {
    let (number, line) = lines(text)?.next().ok_or("the sample has no events; pass others")?;
    // A line has at most one more value than it has bytes.
    for count in 1..=line.len() + 1 {
        let csv = Csv::new((0..count).map(|it| it.to_string()).collect(), delimiter);
        let mut names = Vec::new();
        let read = csv.parse(line.as_bytes(), &mut csv.scratch(), |_, name| {
            names.push(name.to_owned());
        });
        if read.is_ok() {
            return Ok(names);
        }
    }
    Err(format!("line {number}: cannot read the column names; separate them by `--delimiter`"))
}

/// Returns the fields of a record, with their column types; `None` for a field that is always null.
fn of_record(schema: &Json) -> Result<Vec<(String, Option<Kind>)>, Problem> {
    let fields = schema.get("fields").and_then(Json::as_array);
    let fields =
        fields.ok_or("the schema of the file is not a record, so it has no fields for columns")?;
    let columns = fields.iter().filter_map(|field| {
        let name = field.get("name")?.as_str()?;
        Some((name.to_owned(), of_avro(field.get("type")?)))
    });
    Ok(columns.collect())
}

/// Returns the column type for a schema.
fn of_avro(schema: &Json) -> Option<Kind> {
    let logical = schema.get("logicalType").and_then(Json::as_str).unwrap_or_default();
    let number = |name: &str, least: u64| {
        let number = schema.get(name).map_or(Some(0), Json::as_u64)?;
        u8::try_from(number).ok().filter(|it| (least..=38).contains(&u64::from(*it)))
    };
    let kind = match schema {
        Json::String(name) => name,
        Json::Array(branches) => {
            let mut others = branches.iter().filter(|branch| branch.as_str() != Some("null"));
            let first = others.next()?;
            let alone = others.next().is_none();
            return if alone { of_avro(first) } else { Some(Kind::Plain(ColumnType::Json)) };
        }
        _ => schema.get("type")?.as_str().unwrap_or_default(),
    };
    Some(Kind::Plain(match (kind, logical) {
        ("null", _) => return None,
        ("bytes" | "fixed", "decimal") => match (number("precision", 1), number("scale", 0)) {
            (Some(precision), Some(scale)) if scale <= precision => {
                return Some(Kind::Decimal { precision, scale });
            }
            _ => ColumnType::Json,
        },
        ("boolean", _) => ColumnType::Bool,
        ("int", "date") => ColumnType::Date,
        ("int", _) => ColumnType::Int32,
        ("long", "timestamp-millis") => ColumnType::TimestampMillis,
        ("long", "timestamp-micros") => ColumnType::TimestampMicros,
        // Columns cannot represent nanoseconds.
        ("long", "timestamp-nanos") => ColumnType::Json,
        ("long", _) => ColumnType::Int64,
        ("float", _) => ColumnType::Float,
        ("double", _) => ColumnType::Double,
        ("string" | "enum", _) => ColumnType::String,
        ("bytes" | "fixed", _) => ColumnType::Bytes,
        // Also references to named types.
        _ => ColumnType::Json,
    }))
}

/// Writes the columns. Names that differ only in case get suffixes.
fn put<'n>(out: &mut String, columns: impl Iterator<Item = (&'n str, Option<Kind>)>) {
    let mut taken = Vec::new();
    out.push_str("columns = [\n");
    for (field, kind) in columns {
        let Some(kind) = kind.filter(|_| !field.is_empty()) else {
            let _never = writeln!(out, "    # {}: the sample has no value", quote(field));
            continue;
        };
        let mut name = field.to_owned();
        while taken.contains(&name.to_ascii_lowercase()) {
            name.push('_');
        }
        taken.push(name.to_ascii_lowercase());
        let _never = write!(out, "    {{ name = {}, type = ", quote(&name));
        let _never = match kind {
            Kind::Plain(plain) => write!(out, "\"{}\"", Kind::Plain(plain)),
            Kind::Decimal { precision, scale } => {
                write!(out, "\"decimal\", precision = {precision}, scale = {scale}")
            }
        };
        if name != field {
            let _never = write!(out, ", from = {}", quote(&path(field)));
        }
        out.push_str(" },\n");
    }
    out.push_str("]\n");
}

/// Returns the path of a key.
fn path(key: &str) -> String {
    let escaped = key.replace('\\', r"\\").replace('.', r"\.");
    let is_special = escaped == "body" || escaped.starts_with("header:");
    if is_special { format!("\\{escaped}") } else { escaped }
}

/// Quotes a text for TOML, which supports JSON's escapes.
fn quote(text: &str) -> String {
    Json::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pipeline::BatchBuilder;
    use pipeline::testkit::build;

    use super::*;
    use crate::parquet::Config;

    /// Returns the lines of `columns`, without their surroundings.
    fn columns(samples: Samples<'_>) -> Vec<String> {
        let text = settings(samples).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("    "));
        lines.map(|line| line.trim().trim_end_matches(" },").replace("{ name = ", "")).collect()
    }

    #[test]
    fn a_column_has_the_narrowest_type_that_takes_each_sample() {
        let samples = r#"
{"a":true,"b":1,"c":1,"d":"2026-11-27","e":"2026-11-27T07:00:00Z","f":"x","g":1,"h":null}
{"a":null,"b":-2,"c":2.5,"d":"2026-01-01","e":"2026-11-27T07:00:00.5+01:00","f":"1","g":"1"}
{"i":{"x":1},"j":[1],"k":9007199254740993,"l":"007","m":1764072000,"n":1}
{"k":0.5,"l":"1","m":"2026-11-27T07:00:00Z","n":1e3,"o":9223372036854775808}"#;
        assert_eq!(
            columns(Samples::Json(samples)),
            [
                r#""a", type = "bool""#,
                r#""b", type = "int64""#,
                r#""c", type = "double""#,
                r#""d", type = "date""#,
                r#""e", type = "timestamp_micros""#,
                r#""f", type = "string""#,
                r#""g", type = "json""#,
                r##"# "h": the sample has no value"##,
                r#""i", type = "json""#,
                r#""j", type = "json""#,
                r#""k", type = "json""#,
                r#""l", type = "string""#,
                r#""m", type = "json""#,
                r#""n", type = "double""#,
                r#""o", type = "json""#,
            ]
        );
    }

    #[test]
    fn the_first_line_of_a_table_names_the_values_of_the_others() {
        let samples =
            "id;\"a;b\";Id;at;zip;x.y;\n1;u;0.5;2026-11-27T07:00:00Z;007;1;\n2;;-1;;1;;\n";
        let text = settings(Samples::Csv(samples, b';')).unwrap();
        let expected = r#"type = "parquet"
format = "csv"
fields = ["id", "a;b", "Id", "at", "zip", "x.y", ""]
delimiter = ";"
columns = [
    { name = "id", type = "int64" },
    { name = "a;b", type = "string" },
    { name = "Id_", type = "double", from = "Id" },
    { name = "at", type = "timestamp_micros" },
    { name = "zip", type = "string" },
    { name = "x.y", type = "int64" },
    # "": the sample has no value
]
"#;
        assert_eq!(text, expected);
        for (samples, problem) in [
            ("", "the sample has no events; pass others"),
            (
                "a,b\n1\n",
                "line 2: the number of values in the line differs from the number of names \
                 in `fields`",
            ),
        ] {
            assert_eq!(settings(Samples::Csv(samples, b',')), Err(problem.to_owned()));
        }
        let error = settings(Samples::Json("{}\n[]")).unwrap_err();
        assert!(error.starts_with("line 2: the body is not a JSON object"), "{error}");
    }

    #[test]
    fn infers_columns_from_the_schema_of_a_container() {
        let schema = r#"{ "type": "record", "name": "R", "fields": [
            { "name": "a", "type": ["null", "int"] },
            { "name": "b", "type": { "type": "long", "logicalType": "timestamp-millis" } },
            { "name": "c", "type": { "type": "bytes", "logicalType": "decimal",
                "precision": 9, "scale": 2 } },
            { "name": "d", "type": { "type": "array", "items": "int" } },
            { "name": "e", "type": ["string", "int"] },
            { "name": "f", "type": "null" },
            { "name": "g", "type": { "type": "enum", "name": "E", "symbols": ["X"] } } ] }"#;
        let mut file = b"Obj\x01\x02\x16avro.schema".to_vec();
        let length = 2 * schema.len();
        file.extend([length as u8 | 0x80, (length >> 7) as u8]);
        file.extend(schema.as_bytes());
        file.extend([0; 17]);
        assert_eq!(
            columns(Samples::Avro(&file)),
            [
                r#""a", type = "int32""#,
                r#""b", type = "timestamp_millis""#,
                r#""c", type = "decimal", precision = 9, scale = 2"#,
                r#""d", type = "json""#,
                r#""e", type = "json""#,
                r##"# "f": the sample has no value"##,
                r#""g", type = "string""#,
            ]
        );
        assert!(settings(Samples::Avro(b"x")).is_err());
        let empty = Err("the sample has no events; pass others".to_owned());
        assert_eq!(settings(Samples::Avro(b"")), empty);
    }

    /// The encoder accepts the settings and the samples.
    #[test]
    fn inferred_columns_accept_their_samples() {
        let json = "{\"a.b\":1,\"header:x\":\"y\",\"body\":true,\"BODY\":0.1}\n{\"body\":null}";
        let csv = "header:x,body,a\n1,x,2026-11-27\n,,\n";
        let cases = [(Samples::Json(json), json, 0), (Samples::Csv(csv, b','), csv, 1)];
        for (samples, text, names) in cases {
            let printed = settings(samples).unwrap();
            let printed = config::read(Path::new("printed.toml"), &printed).unwrap();
            let mut printed: Json = printed.read().unwrap();
            printed.as_object_mut().unwrap().remove("type");
            let cx = pipeline::BuildContext::alone("s", Path::new("unused"), env::real());
            let encoder = build::<Config>(&printed, &cx).unwrap();
            let mut builder = BatchBuilder::default();
            text.lines().skip(names).for_each(|line| builder.push(line.as_bytes(), &[]));
            let unwritable = encoder.unwritable(&builder.finish());
            assert!(unwritable.is_empty(), "{unwritable:?}");
        }
    }
}
