//! `avro`: the records of an Avro container file, unchanged.
//!
//! Files are read block by block, so they can have any size. Each record becomes an event with the
//! record in Avro's binary encoding as the body, and a header that identifies its schema. A
//! container in a message must have the codec `null`, because its source has counted the size.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::sync::{Arc, Mutex, PoisonError};

use pipeline::units::ByteSize;
use pipeline::{
    BuildContext, BuildError, Component, Decoder, FileDecoder, FileError, FileFormat, Piece,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::avro::container::{Head, Records};
use crate::avro::schema::{HASH_HEADER, LITERAL_HEADER};

/// Maximum number of remembered schemas that were logged.
const LOGGED_MAX: usize = 1_000;

/// Settings of the `avro` decoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Header of an event that identifies the schema of its body.
    #[serde(default)]
    schema_type: SchemaType,
    /// Size limit of a block of a file, before and after decompression. Both forms are in memory.
    #[serde(default = "pipeline::units::mib::<16>")]
    block_max: ByteSize,
}

/// Header of an event that identifies the schema of its body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SchemaType {
    /// The header `flume.avro.schema.hash` contains its CRC-64-AVRO in hexadecimal digits. The log
    /// shows the schema with it.
    #[default]
    Hash,
    /// The header `flume.avro.schema.literal` contains the schema.
    Literal,
}

impl Component for Config {
    const KIND: &'static str = "avro";
    type Role = dyn Decoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Decoder>, BuildError> {
        if self.block_max.0 == 0 || self.block_max > ByteSize::mib(256) {
            return Err(BuildError::invalid("block_max", "must be from 1B to 256MiB"));
        }
        let schemas = Schemas { schema_type: self.schema_type, logged: Arc::default() };
        Ok(Box::new(Avro { block_max: self.block_max.0 as usize, schemas }))
    }
}

/// Schema headers of events, and the schemas that were logged.
#[derive(Clone)]
struct Schemas {
    schema_type: SchemaType,
    logged: Arc<Mutex<BTreeSet<String>>>,
}

impl Schemas {
    /// Returns the header of events of a file.
    fn header(&self, head: &Head) -> (&'static str, String) {
        match self.schema_type {
            SchemaType::Literal => (LITERAL_HEADER, head.literal.clone()),
            SchemaType::Hash => {
                let hash = head.schema.fingerprint();
                if self.is_news(&hash) {
                    tracing::info!(%hash, schema = %head.literal, "records of an Avro schema");
                }
                (HASH_HEADER, hash)
            }
        }
    }

    /// Returns true if the schema of this hash was not logged yet.
    fn is_news(&self, hash: &str) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.contains(hash) {
            return false;
        }
        if logged.len() >= LOGGED_MAX {
            logged.clear();
        }
        logged.insert(hash.to_owned())
    }
}

struct Avro {
    block_max: usize,
    schemas: Schemas,
}

impl FileFormat for Avro {
    type File = File;
    const IS_TEXT: bool = false;

    fn begin(&self, is_message: bool) -> File {
        let records = Records::new(self.block_max, is_message);
        File { schemas: self.schemas.clone(), records, header: None }
    }
}

struct File {
    schemas: Schemas,
    records: Records,
    /// Header of its events, once the file's header was read.
    header: Option<(&'static str, String)>,
}

impl FileDecoder for File {
    fn skip_events(&mut self, file: &mut dyn BufRead, events: u64) -> Result<(), FileError> {
        self.records.pass_over(file, events)
    }

    fn read(&mut self, file: &mut dyn BufRead, piece: &mut Piece<'_>) -> Result<bool, FileError> {
        let Some(head) = self.records.head(file)? else { return Ok(false) };
        let (name, value) = self.header.get_or_insert_with(|| self.schemas.header(head));
        let own = [(*name, value.as_str())];
        self.records.next(file, |_, record, _| piece.put(record, &own).then_some(record.len()))
    }
}

#[cfg(test)]
mod tests;
