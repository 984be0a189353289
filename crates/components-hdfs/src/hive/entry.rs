//! The entry of a table: reads it, and writes it with other parameters. Pure.
//!
//! All other fields are kept unparsed, including unknown ones, so that a commit changes nothing
//! else.

use std::collections::BTreeMap;

use formats::thrift::Malformed;
use formats::thrift::read::{Reader, Type as Found};
use formats::thrift::write::{Type, Writer};

use super::messages::{BINARY, Call, Exception, put_text, put_texts};
use super::properties::{NO_STATISTICS, texts};
use super::table::Column;

/// Its first exception is an `InvalidOperationException`.
pub(super) const ALTER_TABLE: Call = Call {
    name: "alter_table_with_environment_context",
    throws: &[Exception::InvalidObject, Exception::Meta],
};

/// Field of a table: its storage descriptor.
const DESCRIPTOR: i16 = 7;
/// Field of a table: its parameters.
const PARAMETERS: i16 = 9;
/// Field of a storage descriptor: its columns.
const COLUMNS: i16 = 1;
/// Properties of a call: the metastore rejects it unless this parameter has this value
/// (HIVE-26882). Earlier versions ignore them.
const EXPECTED: (&str, &str) = ("expected_parameter_key", "expected_parameter_value");

/// The entry of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The raw fields, without storage descriptor and parameters.
    others: Vec<u8>,
    descriptor: Option<Descriptor>,
    /// Its parameters.
    pub(crate) parameters: BTreeMap<String, String>,
}

/// A storage descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Descriptor {
    /// The raw field with the columns.
    columns: Vec<u8>,
    /// The other raw fields.
    others: Vec<u8>,
}

impl Entry {
    /// Decodes the entry from a response of `get_table_req`.
    pub(super) fn read(value: &[u8]) -> Result<Self, Malformed> {
        let (mut reader, mut last) = (Reader::new(BINARY, value), 0);
        while let Some(field) = reader.field(&mut last)? {
            match (field.id, field.kind) {
                (1, Found::Struct) => return Self::fields(&mut reader),
                (_, kind) => reader.skip(kind)?,
            }
        }
        Err(Malformed::Field { field: "table" })
    }

    /// Decodes the fields of an entry.
    pub(super) fn fields(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut entry = Self { others: Vec::new(), descriptor: None, parameters: BTreeMap::new() };
        let mut last = 0;
        loop {
            let before = reader.rest();
            let Some(field) = reader.field(&mut last)? else { return Ok(entry) };
            match (field.id, field.kind) {
                (DESCRIPTOR, Found::Struct) => entry.descriptor = Some(Descriptor::read(reader)?),
                (PARAMETERS, Found::Map) => entry.parameters = texts(reader)?,
                (_, kind) => {
                    reader.skip(kind)?;
                    entry.others.extend_from_slice(consumed(before, reader));
                }
            }
        }
    }

    /// Sets the columns that programs see which do not read the table itself. A column that has its
    /// type already is kept with its comment.
    pub(crate) fn set_columns(&mut self, columns: &[Column]) {
        let Some(descriptor) = &mut self.descriptor else { return };
        let Ok(known) = known_columns(&descriptor.columns) else { return };
        let mut writer = Writer::new(BINARY);
        writer.field(Type::List, COLUMNS as u8, 1);
        writer.list(Type::Struct, columns.len());
        for Column { name, kind } in columns {
            let same = |column: &&(Column, &[u8])| {
                column.0.name == *name && is_same_type(&column.0.kind, kind)
            };
            if let Some((_, raw)) = known.iter().find(same) {
                writer.out.extend_from_slice(raw);
                continue;
            }
            put_text(&mut writer, 1, name);
            put_text(&mut writer, 2, kind);
            writer.stop();
        }
        descriptor.columns = writer.out;
    }

    /// Encodes the fields, and the end of the struct.
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.out.extend_from_slice(&self.others);
        if let Some(Descriptor { columns, others }) = &self.descriptor {
            writer.field(Type::Struct, DESCRIPTOR as u8, 1);
            writer.out.extend_from_slice(columns);
            writer.out.extend_from_slice(others);
            writer.stop();
        }
        let parameters: Vec<(String, String)> = self.parameters.clone().into_iter().collect();
        put_texts(writer, PARAMETERS as u8, &parameters);
        writer.stop();
    }
}

impl Descriptor {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (mut columns, mut others, mut last) = (Vec::new(), Vec::new(), 0);
        loop {
            let before = reader.rest();
            let Some(field) = reader.field(&mut last)? else { return Ok(Self { columns, others }) };
            reader.skip(field.kind)?;
            let kept = if field.id == COLUMNS { &mut columns } else { &mut others };
            kept.extend_from_slice(consumed(before, reader));
        }
    }
}

/// Returns whether two types are the same for the metastore: Hive 3 and later name times with a
/// time zone, other programs do not.
fn is_same_type(one: &str, other: &str) -> bool {
    one == other || [one, other].iter().all(|kind| kind.starts_with("timestamp"))
}

/// Returns the columns of a raw field, each with its raw value.
fn known_columns(raw: &[u8]) -> Result<Vec<(Column, &[u8])>, Malformed> {
    let (mut reader, mut columns) = (Reader::new(BINARY, raw), Vec::new());
    if raw.is_empty() || reader.field(&mut 0)?.is_none_or(|field| field.kind != Found::List) {
        return Ok(columns);
    }
    let (kind, count) = reader.list()?;
    if count > 0 && kind != Found::Struct {
        return Err(Malformed::Field { field: "cols" });
    }
    for _ in 0..count {
        let (before, mut last) = (reader.rest(), 0);
        let mut column = Column { name: String::new(), kind: String::new() };
        while let Some(field) = reader.field(&mut last)? {
            match (field.id, field.kind) {
                (1, Found::Binary) => column.name = reader.text()?.to_owned(),
                (2, Found::Binary) => column.kind = reader.text()?.to_owned(),
                (_, kind) => reader.skip(kind)?,
            }
        }
        columns.push((column, consumed(before, &reader)));
    }
    Ok(columns)
}

/// Returns the bytes that were read since `before`.
fn consumed<'a>(before: &'a [u8], reader: &Reader<'_>) -> &'a [u8] {
    &before[..before.len() - reader.rest().len()]
}

/// Writes the arguments of [`ALTER_TABLE`], which may require that a parameter has this value.
pub(super) fn alter_table(
    writer: &mut Writer,
    (database, table): (&str, &str),
    entry: &Entry,
    expected: Option<(&str, &str)>,
) {
    put_text(writer, 1, database);
    put_text(writer, 2, table);
    writer.field(Type::Struct, 3, 1);
    entry.write(writer);
    writer.field(Type::Struct, 4, 1);
    let mut context = vec![NO_STATISTICS];
    if let Some((parameter, value)) = expected {
        context.extend([(EXPECTED.0, parameter), (EXPECTED.1, value)]);
    }
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    put_texts(writer, 1, &context.into_iter().map(own).collect::<Vec<_>>());
    writer.stop();
}
