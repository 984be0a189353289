//! Avro files as a table: derives columns from a schema.

use pipeline::{TableForm, TableStorage};
use serde_json::Value;

/// Maximum nesting depth of types.
const DEPTH_MAX: u32 = 16;

/// Returns the table of files with this schema. If a table has no type for some part of the schema,
/// it has no columns, only the schema's text.
pub(super) fn table(text: &str, schema: &Value) -> TableForm {
    let mut form = TableForm::new(TableStorage::Avro, &[]);
    form.columns = columns(schema).unwrap_or_default();
    form.table_properties.push(("avro.schema.literal".to_owned(), text.to_owned()));
    form
}

fn columns(schema: &Value) -> Option<Vec<(String, String)>> {
    let fields = schema.get("fields")?.as_array()?.iter();
    let column = |field: &Value| {
        let name = field.get("name")?.as_str()?.to_ascii_lowercase();
        Some((name, kind(field.get("type")?, DEPTH_MAX)?))
    };
    fields.map(column).collect()
}

/// Returns the Hive type of a schema. `None`: a name that is declared elsewhere, or a union of
/// several types.
fn kind(schema: &Value, depth: u32) -> Option<String> {
    let below = depth.checked_sub(1)?;
    if let Some(branches) = schema.as_array() {
        let mut branches = branches.iter().filter(|branch| *branch != "null");
        let only = branches.next()?;
        return branches.next().is_none().then(|| kind(only, below)).flatten();
    }
    let digits = |name: &str| schema.get(name).and_then(Value::as_u64);
    match (schema.get("logicalType").and_then(Value::as_str), digits("precision")) {
        (Some("decimal"), Some(precision)) => {
            return Some(format!("decimal({precision},{})", digits("scale").unwrap_or(0)));
        }
        (Some("date"), _) => return Some("date".to_owned()),
        (Some("timestamp-millis"), _) => return Some("timestamp".to_owned()),
        _ => {}
    }
    let Some(name) = schema.as_str() else {
        return match schema.get("type")? {
            Value::String(name) => complex(name, schema, below),
            other => kind(other, below),
        };
    };
    let plain = match name {
        "boolean" | "int" | "float" | "double" | "string" => name,
        "long" => "bigint",
        "bytes" => "binary",
        _ => return None,
    };
    Some(plain.to_owned())
}

fn complex(name: &str, schema: &Value, below: u32) -> Option<String> {
    Some(match name {
        "map" => format!("map<string,{}>", kind(schema.get("values")?, below)?),
        "array" => format!("array<{}>", kind(schema.get("items")?, below)?),
        "enum" => "string".to_owned(),
        "fixed" => "binary".to_owned(),
        "record" => {
            let fields = schema.get("fields")?.as_array()?.iter();
            let field = |field: &Value| {
                let name = field.get("name")?.as_str()?.to_ascii_lowercase();
                Some(format!("{name}:{}", kind(field.get("type")?, below)?))
            };
            format!("struct<{}>", fields.map(field).collect::<Option<Vec<_>>>()?.join(","))
        }
        plain => kind(&Value::from(plain), below)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_fields_to_columns_and_leaves_other_types_to_the_schema() {
        let schema = json!({ "type": "record", "name": "R", "fields": [
            { "name": "Id", "type": "long" },
            { "name": "note", "type": ["null", "string"] },
            { "name": "day", "type": { "type": "int", "logicalType": "date" } },
            { "name": "at", "type": { "type": "long", "logicalType": "timestamp-millis" } },
            { "name": "sum", "type":
                { "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2 } },
            { "name": "tags", "type": { "type": "array", "items": "string" } },
            { "name": "in", "type": { "type": "record", "name": "I", "fields": [
                { "name": "raw", "type": "bytes" },
                { "name": "by", "type": { "type": "map", "values": "double" } },
            ] } },
        ] });
        let pairs = table("{}", &schema).columns;
        let shown: Vec<String> =
            pairs.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        assert_eq!(
            shown.join("; "),
            "id bigint; note string; day date; at timestamp; sum decimal(9,2); tags array<string>; \
             in struct<raw:binary,by:map<string,double>>"
        );
        for kind in [json!("R"), json!(["int", "string"]), json!({ "type": "R" })] {
            let schema =
                json!({ "type": "record", "name": "R", "fields": [{ "name": "a", "type": kind }] });
            assert_eq!(table("{}", &schema).columns, []);
        }
    }
}
