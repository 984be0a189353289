//! Properties of a partition: reads the partition, and writes it with other properties. Pure.
//!
//! All other fields are kept unparsed, including unknown ones, so that a change of properties
//! changes nothing else.

use std::collections::BTreeMap;

use formats::thrift::Malformed;
use formats::thrift::read::{Reader, Type as Found};
use formats::thrift::write::{Type, Writer};

use super::messages::{BINARY, put_text, put_texts};
use super::partition::Partition;
use super::table::TableSpec;

/// Field of a partition: its properties.
const PROPERTIES: i16 = 7;
/// Properties of a call: the metastore does not list the files of the partition.
pub(super) const NO_STATISTICS: (&str, &str) = ("DO_NOT_UPDATE_STATS", "true");

/// A partition of the metastore.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// The raw fields, without the properties.
    others: Vec<u8>,
    properties: BTreeMap<String, String>,
}

/// Writes the arguments of [`GET_PARTITION`](super::messages::GET_PARTITION).
pub(super) fn get_partition(writer: &mut Writer, spec: &TableSpec, partition: &Partition) {
    put_text(writer, 1, &spec.database);
    put_text(writer, 2, &spec.table);
    writer.field(Type::List, 3, 1);
    writer.list(Type::Binary, partition.values.len());
    partition.values.iter().for_each(|value| writer.bytes(value.as_bytes()));
}

/// Writes the arguments of [`ALTER_PARTITION`](super::messages::ALTER_PARTITION).
pub(super) fn alter_partition(writer: &mut Writer, spec: &TableSpec, partition: &Described) {
    put_text(writer, 1, &spec.database);
    put_text(writer, 2, &spec.table);
    writer.field(Type::Struct, 3, 1);
    writer.out.extend_from_slice(&partition.others);
    let properties: Vec<(String, String)> = partition.properties.clone().into_iter().collect();
    put_texts(writer, PROPERTIES as u8, &properties);
    writer.stop();
    writer.field(Type::Struct, 4, 1);
    put_texts(writer, 1, &[(NO_STATISTICS.0.to_owned(), NO_STATISTICS.1.to_owned())]);
    writer.stop();
}

impl Described {
    /// Decodes the partition from a response of `get_partition`.
    pub(super) fn read(value: &[u8]) -> Result<Self, Malformed> {
        let (mut reader, mut last) = (Reader::new(BINARY, value), 0);
        let (mut others, mut properties) = (Vec::new(), BTreeMap::new());
        loop {
            let before = reader.rest();
            let Some(field) = reader.field(&mut last)? else { break };
            if (field.id, field.kind) == (PROPERTIES, Found::Map) {
                properties = texts(&mut reader)?;
                continue;
            }
            reader.skip(field.kind)?;
            let bytes = before.len() - reader.rest().len();
            others.extend_from_slice(&before[..bytes]);
        }
        Ok(Self { others, properties })
    }

    /// Sets these properties; returns whether one differs.
    pub(super) fn set(&mut self, properties: &[(String, String)]) -> bool {
        let mut is_changed = false;
        for (name, value) in properties {
            let before = self.properties.insert(name.clone(), value.clone());
            is_changed |= before.as_ref() != Some(value);
        }
        is_changed
    }
}

/// Reads a map of strings.
pub(super) fn texts(reader: &mut Reader<'_>) -> Result<BTreeMap<String, String>, Malformed> {
    let count = match reader.map()? {
        None => 0,
        Some((Found::Binary, Found::Binary, count)) => count,
        Some(_) => return Err(Malformed::Field { field: "parameters" }),
    };
    (0..count).map(|_| Ok((reader.text()?.to_owned(), reader.text()?.to_owned()))).collect()
}
