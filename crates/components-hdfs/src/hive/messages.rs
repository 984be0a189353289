//! Encodes metastore calls and decodes their responses, in the binary protocol. Pure.
//!
//! Field numbers are from `hive_metastore.thrift`. Omitted fields have the defaults of that file.
//! The storage descriptor of a table is kept unparsed, including unknown fields, because a
//! partition uses its table's descriptor with another location.

use formats::thrift::read::{Reader, Type as Found};
use formats::thrift::write::{Type, Writer};
use formats::thrift::{Kind, Malformed, Protocol};

use super::error::{MetastoreError, SettingNames};
use super::partition::Partition;
use super::table::{Column, TableSpec};

pub(super) const BINARY: Protocol = Protocol::Binary;

/// Field of a storage descriptor: the location.
const LOCATION: i16 = 2;

/// An exception that a call declares.
#[derive(Debug, Clone, Copy)]
pub(super) enum Exception {
    AlreadyExists,
    InvalidObject,
    Meta,
    NoSuchLock,
    NoSuchObject,
    /// The transaction of a lock does not exist, is open, or was aborted.
    Transaction,
}

/// A metastore call, with the result fields that are exceptions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) throws: &'static [Exception],
}

pub(super) const SET_UGI: Call = Call { name: "set_ugi", throws: &[Exception::Meta] };
pub(super) const GET_TABLE: Call =
    Call { name: "get_table_req", throws: &[Exception::Meta, Exception::NoSuchObject] };
pub(super) const CREATE_DATABASE: Call = Call {
    name: "create_database",
    throws: &[Exception::AlreadyExists, Exception::InvalidObject, Exception::Meta],
};
pub(super) const CREATE_TABLE: Call = Call {
    name: "create_table",
    throws: &[
        Exception::AlreadyExists,
        Exception::InvalidObject,
        Exception::Meta,
        Exception::NoSuchObject,
    ],
};
pub(super) const ADD_PARTITIONS: Call = Call {
    name: "add_partitions_req",
    throws: &[Exception::InvalidObject, Exception::AlreadyExists, Exception::Meta],
};

pub(super) const GET_PARTITION: Call =
    Call { name: "get_partition", throws: &[Exception::Meta, Exception::NoSuchObject] };
/// Its first exception is an `InvalidOperationException`.
pub(super) const ALTER_PARTITION: Call = Call {
    name: "alter_partition_with_environment_context",
    throws: &[Exception::InvalidObject, Exception::Meta],
};

/// A table of the metastore.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Names of the partition columns.
    pub(super) keys: Vec<String>,
    pub(super) transactional: bool,
    /// The directory of its files; empty for a view.
    pub(super) location: String,
    /// The raw fields of its storage descriptor, without the location.
    descriptor: Vec<u8>,
}

impl Call {
    /// Encodes a call with these arguments, without a frame.
    pub(super) fn message(self, sequence: i32, arguments: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new(BINARY);
        writer.head(self.name, Kind::Call, sequence);
        arguments(&mut writer);
        writer.stop();
        writer.out
    }

    /// Decodes the response to the call with this sequence number. Returns the bytes of its result,
    /// starting with the value; empty without one.
    pub(super) fn read(
        self,
        sequence: i32,
        message: &[u8],
    ) -> Result<Result<&[u8], Failure>, Malformed> {
        let mut reader = Reader::new(BINARY, message);
        let head = reader.head()?;
        if head.sequence != sequence || head.name != self.name {
            return Err(Malformed::OtherCall);
        }
        let failed = match head.kind {
            Kind::Reply => false,
            Kind::Exception => true,
            Kind::Call | Kind::Oneway => return Err(Malformed::OtherCall),
        };
        let (mut last, mut answer) = (0, Ok(&[][..]));
        let (mut text, mut number) = (String::new(), 0);
        while let Some(field) = reader.field(&mut last)? {
            let value = reader.rest();
            match (failed, field.id, field.kind) {
                (true, 1, Found::Binary) => {
                    text = String::from_utf8_lossy(reader.bytes()?).into_owned();
                }
                (true, 2, Found::I32) => number = reader.i32()?,
                (false, 0, kind) => {
                    reader.skip(kind)?;
                    answer = Ok(value);
                }
                (false, id, Found::Struct) => {
                    let thrown = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
                    let thrown = thrown.and_then(|id| self.throws.get(id));
                    let text = said(&mut reader)?;
                    answer = Err(match thrown {
                        Some(thrown) => Failure::Thrown(*thrown, text),
                        // An exception of a later version.
                        None => Failure::Failed { number: 0, text },
                    });
                }
                (_, _, kind) => reader.skip(kind)?,
            }
        }
        reader.end()?;
        Ok(if failed { Err(Failure::Failed { number, text }) } else { answer })
    }
}

/// A response without a result.
pub(super) enum Failure {
    Thrown(Exception, String),
    Failed { number: i32, text: String },
}

impl Failure {
    /// Returns the error of a call to the metastore at this address.
    pub(super) fn into_error(
        self,
        call: Call,
        address: &str,
        names: SettingNames,
    ) -> MetastoreError {
        let call = call.name;
        match self {
            Self::Thrown(Exception::AlreadyExists, text) => MetastoreError::AlreadyExists { text },
            Self::Thrown(Exception::InvalidObject, text) => {
                MetastoreError::InvalidObject { call, names, text }
            }
            Self::Thrown(Exception::Meta, text) => MetastoreError::Meta { call, text },
            Self::Thrown(Exception::NoSuchLock, text) => MetastoreError::NoSuchLock { text },
            Self::Thrown(Exception::NoSuchObject, text) => {
                MetastoreError::NoSuchObject { call, names, text }
            }
            // Codes of Thrift's TApplicationException.
            Self::Failed { number: 1, .. } => {
                MetastoreError::NoCall { address: address.to_owned(), call }
            }
            Self::Failed { text, .. } | Self::Thrown(Exception::Transaction, text) => {
                MetastoreError::Failed { call, text }
            }
        }
    }
}

/// Returns the message of an exception.
fn said(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let (mut last, mut text) = (0, String::new());
    while let Some(field) = reader.field(&mut last)? {
        match (field.id, field.kind) {
            (1, Found::Binary) => text = String::from_utf8_lossy(reader.bytes()?).into_owned(),
            (_, kind) => reader.skip(kind)?,
        }
    }
    Ok(text)
}

pub(super) fn put_text(writer: &mut Writer, id: u8, text: &str) {
    writer.field(Type::Binary, id, 1);
    writer.bytes(text.as_bytes());
}

pub(super) fn put_texts(writer: &mut Writer, id: u8, pairs: &[(String, String)]) {
    writer.field(Type::Map, id, 1);
    writer.texts(pairs.len(), pairs.iter().map(|(name, value)| (&**name, &**value)));
}

fn put_columns<'c>(
    writer: &mut Writer,
    id: u8,
    columns: impl ExactSizeIterator<Item = (&'c str, &'c str)>,
) {
    writer.field(Type::List, id, 1);
    writer.list(Type::Struct, columns.len());
    for (name, kind) in columns {
        put_text(writer, 1, name);
        put_text(writer, 2, kind);
        writer.stop();
    }
}

/// Writes the arguments of [`SET_UGI`].
pub(super) fn set_ugi(writer: &mut Writer, user: &str) {
    put_text(writer, 1, user);
    writer.field(Type::List, 2, 1);
    writer.list(Type::Binary, 1);
    writer.bytes(user.as_bytes());
}

/// Writes the arguments of [`GET_TABLE`].
pub(super) fn get_table(writer: &mut Writer, database: &str, table: &str) {
    writer.field(Type::Struct, 1, 1);
    put_text(writer, 1, database);
    put_text(writer, 2, table);
    writer.stop();
}

/// Writes the arguments of [`CREATE_DATABASE`].
pub(super) fn create_database(writer: &mut Writer, database: &str) {
    writer.field(Type::Struct, 1, 1);
    put_text(writer, 1, database);
    writer.stop();
}

/// Writes the arguments of [`CREATE_TABLE`].
pub(super) fn create_table(writer: &mut Writer, spec: &TableSpec, user: Option<&str>) {
    writer.field(Type::Struct, 1, 1);
    put_text(writer, 1, &spec.table);
    put_text(writer, 2, &spec.database);
    if let Some(user) = user {
        put_text(writer, 3, user);
    }
    writer.field(Type::Struct, 7, 1);
    let columns = spec.columns.iter().map(|Column { name, kind }| (&**name, &**kind));
    put_columns(writer, 1, columns);
    put_text(writer, 2, &spec.location);
    put_text(writer, 3, spec.reader.input);
    put_text(writer, 4, spec.reader.output);
    writer.flag(5, 1, false);
    writer.field(Type::I32, 6, 1);
    writer.i32(-1);
    writer.field(Type::Struct, 7, 1);
    put_text(writer, 2, &spec.reader.serde);
    put_texts(writer, 3, &spec.reader.serde_properties);
    writer.stop();
    writer.field(Type::List, 8, 1);
    writer.list(Type::Binary, 0);
    writer.field(Type::List, 9, 1);
    writer.list(Type::Struct, 0);
    put_texts(writer, 10, &[]);
    writer.stop();
    put_columns(writer, 8, spec.keys.names().iter().map(|name| (&**name, "string")));
    let mut properties = vec![("EXTERNAL".to_owned(), "TRUE".to_owned())];
    properties.extend(spec.reader.table_properties.iter().cloned());
    put_texts(writer, 9, &properties);
    put_text(writer, 12, "EXTERNAL_TABLE");
    writer.stop();
}

/// Writes the arguments of [`ADD_PARTITIONS`]; existing partitions stay unchanged.
pub(super) fn add_partitions(
    writer: &mut Writer,
    spec: &TableSpec,
    table: &Table,
    partitions: &[Partition],
) {
    writer.field(Type::Struct, 1, 1);
    put_text(writer, 1, &spec.database);
    put_text(writer, 2, &spec.table);
    writer.field(Type::List, 3, 1);
    writer.list(Type::Struct, partitions.len());
    for Partition { directory, values } in partitions {
        writer.field(Type::List, 1, 1);
        writer.list(Type::Binary, values.len());
        values.iter().for_each(|value| writer.bytes(value.as_bytes()));
        put_text(writer, 2, &spec.database);
        put_text(writer, 3, &spec.table);
        writer.field(Type::Struct, 6, 1);
        writer.out.extend_from_slice(&table.descriptor);
        put_text(writer, LOCATION as u8, &format!("{}/{directory}", spec.location));
        writer.stop();
        put_texts(writer, 7, &[]);
        writer.stop();
    }
    writer.flag(4, 1, true);
    // Do not return the partitions.
    writer.flag(5, 1, false);
    writer.stop();
}

impl Table {
    /// Decodes the table from a [`GET_TABLE`] response.
    pub(super) fn read(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(BINARY, value);
        let mut last = 0;
        while let Some(field) = reader.field(&mut last)? {
            match (field.id, field.kind) {
                (1, Found::Struct) => return Self::fields(&mut reader),
                (_, kind) => reader.skip(kind)?,
            }
        }
        Err(Malformed::Field { field: "table" })
    }

    fn fields(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut table = Self {
            keys: Vec::new(),
            transactional: false,
            location: String::new(),
            descriptor: Vec::new(),
        };
        let mut last = 0;
        while let Some(field) = reader.field(&mut last)? {
            match (field.id, field.kind) {
                (7, Found::Struct) => (table.descriptor, table.location) = descriptor(reader)?,
                (8, Found::List) => table.keys = names(reader)?,
                (9, Found::Map) => table.transactional = is_transactional(reader)?,
                (_, kind) => reader.skip(kind)?,
            }
        }
        Ok(table)
    }
}

/// Returns the raw fields of a storage descriptor without its location, and the location.
fn descriptor(reader: &mut Reader<'_>) -> Result<(Vec<u8>, String), Malformed> {
    let (mut kept, mut location, mut last) = (Vec::new(), String::new(), 0);
    loop {
        let before = reader.rest();
        let Some(field) = reader.field(&mut last)? else { return Ok((kept, location)) };
        if (field.id, field.kind) == (LOCATION, Found::Binary) {
            location = String::from_utf8_lossy(reader.bytes()?).into_owned();
            continue;
        }
        reader.skip(field.kind)?;
        let bytes = before.len() - reader.rest().len();
        kept.extend_from_slice(&before[..bytes]);
    }
}

/// Returns the names of columns.
fn names(reader: &mut Reader<'_>) -> Result<Vec<String>, Malformed> {
    let (kind, count) = reader.list()?;
    if count > 0 && kind != Found::Struct {
        return Err(Malformed::Field { field: "partitionKeys" });
    }
    (0..count).map(|_| said(reader)).collect()
}

fn is_transactional(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    let mut found = false;
    let count = match reader.map()? {
        None => 0,
        Some((Found::Binary, Found::Binary, count)) => count,
        Some(_) => return Err(Malformed::Field { field: "parameters" }),
    };
    for _ in 0..count {
        let (name, value) = (reader.bytes()?, reader.bytes()?);
        found |= name.eq_ignore_ascii_case(b"transactional") && value.eq_ignore_ascii_case(b"true");
    }
    Ok(found)
}
