//! docs/types.md has the tables of conversions that the code makes. `AQUEDUCT_BLESS=1` writes them.

use std::fmt::Write;
use std::path::Path;

use components_parquet::parquet::accepted;
use components_sql::source::conversions;
use rows::{Type, Value};

const BEGIN: &str = "<!-- begin: generated from the conversions of the code -->\n";
const END: &str = "<!-- end: generated -->";

fn name(kind: &Type) -> String {
    match kind {
        Type::Decimal { precision: 39.., .. } => "decimal(p,s), p > 38".to_owned(),
        kind => kind.to_string().replace("12,2", "p,s"),
    }
}

fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut text = Vec::new();
    put(&mut text);
    String::from_utf8(text).unwrap().replace('|', "\\|")
}

/// The types of columns of databases.
fn sources(page: &mut String) {
    page.push_str("\n## From a column to a value\n\n");
    page.push_str("| database | column | value | column of `aqueduct import` in Parquet |\n");
    page.push_str("|---|---|---|---|\n");
    for it in conversions() {
        let value = name(&it.value);
        let file = it.file.in_parquet().replace("type = ", "").replace('"', "");
        let file = file.replace(", precision = ", "(").replace(", scale = ", ",");
        let file = if file.contains('(') { file + ")" } else { file };
        writeln!(page, "| {} | {} | `{value}` | `{file}` |", it.database, it.of).unwrap();
    }
}

/// The columns and texts of values.
fn targets(page: &mut String) {
    page.push_str("\n## From a value to a column, text and JSON\n\n");
    page.push_str("| value | column of the encoder `parquet` | text | JSON |\n|---|---|---|---|\n");
    for kind in &Type::all() {
        let columns = accepted(kind).into_iter();
        let columns = columns.map(|(column, is_all)| {
            let column = column.replace("decimal(38,10)", "decimal");
            if is_all { format!("`{column}`") } else { format!("`{column}`*") }
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        let example = example(kind);
        let plain = text(|out| example.put_text(out));
        let json = text(|out| example.put_json(out));
        writeln!(page, "| `{}` | {columns} | `{plain}` | `{json}` |", name(kind)).unwrap();
    }
    page.push_str("\n\\* Only some of the values; a row with another one becomes a dead letter.\n");
}

fn example(kind: &Type) -> Value<'static> {
    let at = rows::Moment { seconds: 1_769_860_800, nanos: 500_000_000 };
    match kind {
        Type::Bool => Value::Bool(true),
        Type::Int32 => Value::Int32(-7),
        Type::Int64 => Value::Int64(9_223_372_036_854_775_807),
        Type::Float32 => Value::Float32(0.1),
        Type::Float64 => Value::Float64(f64::NAN),
        Type::Decimal { precision: ..=38, scale } => {
            Value::Decimal(rows::Decimal { digits: 110, scale: *scale })
        }
        Type::Decimal { scale, .. } => {
            let digits = rows::Wide::from_digits(false, &"9".repeat(39)).unwrap();
            Value::LargeDecimal(rows::LargeDecimal { digits, scale: *scale })
        }
        Type::Uint8 => Value::Uint8(255),
        Type::Uint16 => Value::Uint16(65_535),
        Type::Uint32 => Value::Uint32(4_294_967_295),
        Type::Uint64 => Value::Uint64(18_446_744_073_709_551_615),
        Type::List(_) | Type::Struct(_) | Type::Map { .. } => Value::limits(kind)[3],
        Type::Date => Value::Date(-735_160),
        Type::Time => Value::Time(86_400_000_000_000),
        Type::Timestamp => Value::Timestamp(at),
        Type::TimestampUtc => Value::TimestampUtc(at),
        Type::Uuid => Value::Uuid([0x1f; 16]),
        Type::Text => Value::Text("a \"b\""),
        Type::Bytes => Value::Bytes(&[0, 255]),
        Type::Json => Value::Json("null"),
    }
}

#[test]
fn types_page_has_the_conversions_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/types.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the line before the tables");
    let (found, after) = rest.split_once(END).expect("the line after the tables");
    let mut expected = String::new();
    sources(&mut expected);
    targets(&mut expected);
    expected.push('\n');
    if std::env::var_os("AQUEDUCT_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert!(found == expected, "docs/types.md differs: AQUEDUCT_BLESS=1 writes it");
}
