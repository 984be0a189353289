//! `avro`: the records of an Avro container file, each as it stands in the file.
//!
//! A file is read block by block, whatever its size; a record is an event, and its body is the
//! record in Avro's binary encoding, without a schema. So each event says in a header which schema
//! its body has. As a message, a container is taken in codec `null` alone: its size is then what
//! the source has counted.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::sync::{Arc, Mutex, PoisonError};

use pipeline::units::ByteSize;
use pipeline::{
    BatchBuilder, BuildContext, BuildError, Component, Decoder, FileDecoder, FileError,
    MalformedMessage, Message, PieceLimits,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::avro::container::{Block, Bytes, Codec, Head};
use crate::avro::schema::{HASH_HEADER, LITERAL_HEADER};

/// Schemas of which is known that they were logged.
const LOGGED_MAX: usize = 1_000;

/// Settings of the `avro` decoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How an event says which schema its body has.
    #[serde(default)]
    schema_type: SchemaType,
    /// Largest block of a file, as it is and after decompression. It is held in memory in both
    /// forms.
    #[serde(default = "default_block_max")]
    block_max: ByteSize,
}

fn default_block_max() -> ByteSize {
    ByteSize::mib(16)
}

/// How an event says which schema its body has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SchemaType {
    /// The header `flume.avro.schema.hash` has its CRC-64-AVRO in hexadecimal; the log shows the
    /// schema with it.
    #[default]
    Hash,
    /// The header `flume.avro.schema.literal` has the schema itself.
    Literal,
}

impl Component for Config {
    const KIND: &'static str = "avro";
    type Role = dyn Decoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Decoder>, BuildError> {
        if self.block_max.0 == 0 || self.block_max > ByteSize::mib(256) {
            return Err(BuildError::invalid("block_max", "must be from 1B to 256MiB"));
        }
        Ok(Box::new(Avro {
            schema_type: self.schema_type,
            block_max: self.block_max.0 as usize,
            logged: Arc::default(),
        }))
    }
}

struct Avro {
    schema_type: SchemaType,
    block_max: usize,
    logged: Arc<Mutex<BTreeSet<String>>>,
}

impl Avro {
    fn begin(&self, is_message: bool) -> File {
        File {
            schema_type: self.schema_type,
            logged: self.logged.clone(),
            is_message,
            at: 0,
            begun: None,
            block: Block::new(self.block_max),
            broken: None,
        }
    }
}

impl Decoder for Avro {
    fn decode(
        &self,
        message: &Message<'_>,
        events: &mut BatchBuilder,
    ) -> Result<(), MalformedMessage> {
        let all = PieceLimits { bytes: usize::MAX, events: usize::MAX };
        let mut bytes = message.bytes;
        let mut file = self.begin(true);
        loop {
            match file.next(&mut bytes, all, message.headers, events) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(FileError::Malformed(malformed)) => return Err(malformed),
                Err(FileError::Unreadable(error)) => {
                    return Err(MalformedMessage { problem: error.to_string() });
                }
            }
        }
    }

    fn is_text(&self) -> bool {
        false
    }

    fn begin_file(&self) -> Option<Box<dyn FileDecoder>> {
        Some(Box::new(self.begin(false)))
    }
}

/// A file whose head was read, and the header of its events.
struct Begun {
    head: Head,
    name: &'static str,
    value: String,
}

struct File {
    schema_type: SchemaType,
    logged: Arc<Mutex<BTreeSet<String>>>,
    is_message: bool,
    /// Bytes that were read.
    at: u64,
    begun: Option<Begun>,
    block: Block,
    /// Why nothing more comes, found behind records that went first.
    broken: Option<FileError>,
}

impl File {
    /// Reads the head; `None` if the file is empty.
    fn begin(&mut self, file: &mut dyn BufRead) -> Result<Option<()>, FileError> {
        if self.begun.is_some() {
            return Ok(Some(()));
        }
        let Some(head) = Head::read(&mut Bytes::new(file, &mut self.at))? else { return Ok(None) };
        if self.is_message && head.codec != Codec::Null {
            let problem = "a message has the codec `null`: compress the request instead, \
                           with `Content-Encoding: gzip`";
            return Err(MalformedMessage { problem: problem.to_owned() }.into());
        }
        let (name, value) = match self.schema_type {
            SchemaType::Hash => (HASH_HEADER, head.schema.fingerprint()),
            SchemaType::Literal => (LITERAL_HEADER, head.literal.clone()),
        };
        if self.schema_type == SchemaType::Hash && self.is_news(&value) {
            tracing::info!(hash = %value, schema = %head.literal, "records of an Avro schema");
        }
        self.begun = Some(Begun { head, name, value });
        Ok(Some(()))
    }

    /// Whether the schema of this hash was not logged yet.
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

impl FileDecoder for File {
    fn pass_over(&mut self, file: &mut dyn BufRead, events: u64) -> Result<(), FileError> {
        if events == 0 {
            return Ok(());
        }
        self.begin(file)?;
        let begun = self.begun.as_ref().ok_or_else(Head::shorter)?;
        begun.head.skip(&mut Bytes::new(file, &mut self.at), &mut self.block, events)
    }

    fn next(
        &mut self,
        file: &mut dyn BufRead,
        limits: PieceLimits,
        headers: &[(&str, &str)],
        events: &mut BatchBuilder,
    ) -> Result<bool, FileError> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        if self.begin(file)?.is_none() {
            return Ok(false);
        }
        let begun = self.begun.as_ref().expect("it was just begun");
        let own = [(begun.name, &*begun.value)];
        let headers: Vec<(&str, &str)> = headers.iter().copied().chain(own).collect();
        let (mut taken, mut bytes) = (0, 0);
        loop {
            while let Some(record) = self.block.peek(&begun.head) {
                let length = record.len();
                if limits.is_full(taken, bytes, length) {
                    return Ok(true);
                }
                events.push(record, &headers);
                self.block.give(length);
                (taken, bytes) = (taken + 1, bytes + length);
            }
            // Looked for at once, so that the last record is known as the last.
            let mut file = Bytes::new(file, &mut self.at);
            match begun.head.read_block(&mut file, &mut self.block) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if taken == 0 => return Err(error),
                Err(error) => {
                    self.broken = Some(error);
                    return Ok(true);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
