//! Avro container files of one block, as Iceberg uses them for its metadata.

use formats::avro::container::{Block, Bytes, Head};
use formats::avro::datum::{put_bytes, put_long};
use formats::avro::schema::value::{Datum, Value as AvroValue};
use serde_json::{Value, json};

use crate::TableError;

/// Maximum size of a block that is read.
const BLOCK_BYTES_MAX: usize = 256 << 20;

/// Returns a container file. `metadata` is added to its header; `records` are `count` records.
pub(crate) fn container(
    schema: &Value,
    metadata: &[(&str, String)],
    sync: [u8; 16],
    count: usize,
    records: &[u8],
) -> Vec<u8> {
    let mut file = b"Obj\x01".to_vec();
    put_long(&mut file, metadata.len() as i64 + 2);
    let own = [("avro.schema", schema.to_string()), ("avro.codec", "null".to_owned())];
    for (name, value) in own.iter().chain(metadata) {
        put_bytes(&mut file, name.as_bytes());
        put_bytes(&mut file, value.as_bytes());
    }
    put_long(&mut file, 0);
    file.extend_from_slice(&sync);
    if count > 0 {
        put_long(&mut file, count as i64);
        put_bytes(&mut file, records);
        file.extend_from_slice(&sync);
    }
    file
}

/// Calls `each` for the records of a container file.
pub(crate) fn read(
    file: &[u8],
    mut each: impl FnMut(Datum<'_>) -> Result<(), TableError>,
) -> Result<(), TableError> {
    records(file, |head, record| each(head.schema.read(record).map_err(TableError::malformed)?))
}

/// Calls `each` for the bytes of the records of a container file.
pub(crate) fn records(
    file: &[u8],
    mut each: impl FnMut(&Head, &[u8]) -> Result<(), TableError>,
) -> Result<(), TableError> {
    let (mut rest, mut at) = (file, 0);
    let mut bytes = Bytes::new(&mut rest, &mut at);
    let head = head(&mut bytes)?;
    let mut block = Block::new(BLOCK_BYTES_MAX);
    while head.read_block(&mut bytes, &mut block).map_err(malformed)? {
        while let Some(record) = block.peek(&head) {
            let length = record.len();
            each(&head, record)?;
            block.give(length);
        }
    }
    Ok(())
}

/// Returns the schema of a container file, as it is in the file.
pub(crate) fn schema(file: &[u8]) -> Result<String, TableError> {
    let (mut rest, mut at) = (file, 0);
    Ok(head(&mut Bytes::new(&mut rest, &mut at))?.literal)
}

fn head(bytes: &mut Bytes<'_>) -> Result<Head, TableError> {
    let head = Head::read(bytes).map_err(malformed)?;
    head.ok_or_else(|| TableError::malformed("an Avro file of the table is empty"))
}

fn malformed(error: impl std::fmt::Display) -> TableError {
    TableError::malformed(format!("cannot decode an Avro file of the table: {error}"))
}

/// Returns a record schema.
pub(crate) fn record(name: &str, fields: impl Into<Value>) -> Value {
    json!({"type": "record", "name": name, "fields": fields.into()})
}

/// Returns a field of a record schema.
pub(crate) fn field(id: i32, name: &str, kind: impl Into<Value>) -> Value {
    json!({"name": name, "type": kind.into(), "field-id": id})
}

/// Returns a field of a record schema that may be null.
pub(crate) fn optional(id: i32, name: &str, kind: impl Into<Value>) -> Value {
    json!({"name": name, "type": ["null", kind.into()], "default": null, "field-id": id})
}

/// Writes a value that may be null.
pub(crate) fn put_optional<T>(
    out: &mut Vec<u8>,
    value: Option<T>,
    put: impl FnOnce(&mut Vec<u8>, T),
) {
    match value {
        None => put_long(out, 0),
        Some(value) => {
            put_long(out, 1);
            put(out, value);
        }
    }
}

/// Returns a name that Avro accepts, like Iceberg's Java library.
pub(crate) fn name(text: &str) -> String {
    let mut name = String::new();
    for (at, character) in text.chars().enumerate() {
        match character {
            'a'..='z' | 'A'..='Z' | '_' => name.push(character),
            '0'..='9' if at > 0 => name.push(character),
            '0'..='9' => name.extend(['_', character]),
            other => name.push_str(&format!("_x{:X}", u32::from(other))),
        }
    }
    name
}

/// Returns a whole number.
pub(crate) fn whole(datum: Datum<'_>) -> Option<i64> {
    match datum.value() {
        AvroValue::Whole(number) => Some(number),
        _ => None,
    }
}

/// Returns bytes.
pub(crate) fn bytes(datum: Datum<'_>) -> Option<Vec<u8>> {
    match datum.value() {
        AvroValue::Bytes(bytes) => Some(bytes.to_vec()),
        _ => None,
    }
}
