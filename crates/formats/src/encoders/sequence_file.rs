//! `sequence_file`: Hadoop's SequenceFile, version 6, as in Flume's `hdfs` sink by default.
//!
//! ```text
//!   "SEQ" 6 │ class of keys │ class of values │ compressed? blocks? │ codec │ no metadata │ sync
//!   none, record:  length │ 8 │ time in ms │ value (compressed)         with sync marks in between
//!   block:         sync mark │ records │ key lengths, keys, value lengths, values, each compressed
//! ```
//!
//! Layout: `SequenceFile.java` of Hadoop 3.4, and files of its writer in `tests/golden`. The sync
//! marker is random for each file. A file always ends after a complete record or block.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use pipeline::env::{Clock, Entropy};
use pipeline::units::ByteSize;
use pipeline::{
    BuildContext, BuildError, Choice, Codec, Component, Encoder, Events, FileEncoder, FileKind,
    TableForm, TableStorage, Unwritable,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codecs::compressed;
use crate::sequence::{BYTES_CLASS, KEY_CLASS, MAGIC, SYNC_ESCAPE, TEXT_CLASS};

/// Header with the key of a record, as in Flume.
const TIMESTAMP: &str = "timestamp";

const KEY_BYTES: usize = 8;

/// Bytes between two sync marks, as in Hadoop's own writer.
const SYNC_INTERVAL: u64 = 100 << 10;

/// Maximum overhead of a record: lengths, key, length of the value.
const AROUND_RECORD: u64 = 32;

/// Maximum growth of a value or a part of a block by compression, in addition to a sixth.
const AROUND_COMPRESSED: u64 = 96;

/// Settings of the `sequence_file` encoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Class of the values: `writable`, a `BytesWritable`, or `text`, a `Text`. The key is a
    /// `LongWritable`: the header `timestamp`, in ms, or the time of writing.
    #[serde(default)]
    write_format: WriteFormat,
    /// Unit of compression: `none`, each value (`record`), or many records together (`block`),
    /// which is smallest.
    #[serde(default)]
    compression: Compression,
    /// Compression codec; Hadoop must have a class for it. Not used with `compression = "none"`.
    #[serde(default = "default_codec")]
    codec: Choice<dyn Codec>,
    /// Size of the records in a block before it is written; at most 512 KiB. Hadoop uses 1,000,000
    /// bytes.
    #[serde(default = "pipeline::units::kib::<512>")]
    block_size: ByteSize,
}

/// The class of values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WriteFormat {
    /// `BytesWritable`: the bytes of the body.
    #[default]
    Writable,
    /// `Text`: the same bytes, which readers decode as UTF-8.
    Text,
}

/// What is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Compression {
    /// No compression.
    #[default]
    None,
    /// Each value separately.
    Record,
    /// Blocks of records.
    Block,
}

fn default_codec() -> Choice<dyn Codec> {
    Choice::from_kind("deflate")
}

impl Component for Config {
    const KIND: &'static str = "sequence_file";
    type Role = dyn Encoder;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Encoder>, BuildError> {
        let range = 1..=512 << 10;
        if !range.contains(&self.block_size.0) {
            return Err(BuildError::invalid("block_size", "must be from 1B to 512KiB"));
        }
        let codec = self.codec.build("codec", cx)?;
        let Some(codec_class) = codec.hadoop_class() else {
            let problem = format!(
                "Hadoop has no class for `{}`: use `deflate`, or `compression = \"none\"` without \
                 a codec",
                self.codec.kind()
            );
            return Err(BuildError::invalid("codec", problem));
        };
        Ok(Box::new(SequenceFile {
            form: Arc::new(Form {
                write_format: self.write_format,
                compression: self.compression,
                codec,
                codec_class,
                block_size: self.block_size.0 as usize,
                clock: Arc::clone(&cx.env.clock),
            }),
            entropy: Arc::clone(&cx.env.entropy),
        }))
    }
}

/// Attributes that all files share.
struct Form {
    write_format: WriteFormat,
    compression: Compression,
    codec: Box<dyn Codec>,
    codec_class: &'static str,
    block_size: usize,
    clock: Arc<dyn Clock>,
}

struct SequenceFile {
    form: Arc<Form>,
    entropy: Arc<dyn Entropy>,
}

impl Encoder for SequenceFile {
    fn file_kind(&self) -> FileKind {
        FileKind {
            extension: "seq",
            content_type: "application/vnd.hadoop.sequencefile",
            is_lines: false,
        }
    }

    fn unwritable(&self, events: &Events) -> Vec<Unwritable> {
        let mut unwritable = Vec::new();
        for (index, time) in events.values(TIMESTAMP).enumerate() {
            if let Some(time) = time
                && time.parse::<i64>().is_err()
            {
                let reason = format!(
                    "header `{TIMESTAMP}` must be a number of milliseconds since 1970; set it with \
                     the interceptor `event_time` or `timestamp`"
                );
                unwritable.push(Unwritable { index, reason });
            }
        }
        unwritable
    }

    fn size_bound(&self, events: &Events) -> u64 {
        let count = events.len() as u64;
        let bytes = events.body_bytes() + AROUND_RECORD * count;
        let parts = match self.form.compression {
            Compression::None => 0,
            Compression::Record => count,
            Compression::Block => 4 * (bytes / self.form.block_size as u64 + 2),
        };
        let added = if parts == 0 { 0 } else { bytes / 6 + AROUND_COMPRESSED * parts };
        bytes + added + 32 * (bytes / SYNC_INTERVAL + 2)
    }

    fn table(&self) -> Option<TableForm> {
        Some(TableForm { storage: TableStorage::SequenceFile, ..TableForm::lines() })
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        let sync = self.entropy.bytes16();
        let mut head = Vec::new();
        self.form.put_head(&mut head, &sync);
        Box::new(File {
            form: Arc::clone(&self.form),
            sync,
            position: head.len() as u64,
            synced_at: 0,
            head,
            block: Block::default(),
        })
    }
}

impl Form {
    /// Writes the header of a file.
    fn put_head(&self, out: &mut Vec<u8>, sync: &[u8; 16]) {
        let values = match self.write_format {
            WriteFormat::Writable => BYTES_CLASS,
            WriteFormat::Text => TEXT_CLASS,
        };
        let is_compressed = self.compression != Compression::None;
        let is_block = self.compression == Compression::Block;
        out.extend_from_slice(MAGIC);
        put_text(out, KEY_CLASS.as_bytes());
        put_text(out, values.as_bytes());
        out.extend([u8::from(is_compressed), u8::from(is_block)]);
        if is_compressed {
            put_text(out, self.codec_class.as_bytes());
        }
        put_int(out, 0); // pairs of metadata
        out.extend_from_slice(sync);
    }

    fn put_value(&self, out: &mut Vec<u8>, body: &[u8]) {
        match self.write_format {
            WriteFormat::Writable => {
                put_int(out, body.len());
                out.extend_from_slice(body);
            }
            WriteFormat::Text => put_text(out, body),
        }
    }
}

/// Records of the unfinished block.
#[derive(Default)]
struct Block {
    records: usize,
    key_lengths: Vec<u8>,
    keys: Vec<u8>,
    value_lengths: Vec<u8>,
    values: Vec<u8>,
}

struct File {
    form: Arc<Form>,
    sync: [u8; 16],
    /// Bytes of the file that were returned, or are about to be.
    position: u64,
    /// Position after the last sync mark.
    synced_at: u64,
    /// Header of the file, until it is written.
    head: Vec<u8>,
    block: Block,
}

impl File {
    fn put_sync(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&SYNC_ESCAPE);
        out.extend_from_slice(&self.sync);
    }

    /// Appends a record, after a sync mark if one is due. `value` is a buffer.
    fn put_record(&mut self, out: &mut Vec<u8>, value: &mut Vec<u8>, time: i64, body: &[u8]) {
        let before = out.len();
        if self.position >= self.synced_at + SYNC_INTERVAL {
            self.put_sync(out);
            self.synced_at = self.position + (out.len() - before) as u64;
        }
        value.clear();
        self.form.put_value(value, body);
        if self.form.compression == Compression::Record {
            *value = compressed(&*self.form.codec, mem::take(value));
        }
        put_int(out, KEY_BYTES + value.len());
        put_int(out, KEY_BYTES);
        out.extend_from_slice(&time.to_be_bytes());
        out.extend_from_slice(value);
        self.position += (out.len() - before) as u64;
    }

    /// Adds a record to the block, and writes the block when it is full.
    fn hold(&mut self, out: &mut Vec<u8>, time: i64, body: &[u8]) {
        let block = &mut self.block;
        let values = block.values.len();
        block.records += 1;
        put_vint(&mut block.key_lengths, KEY_BYTES);
        block.keys.extend_from_slice(&time.to_be_bytes());
        self.form.put_value(&mut block.values, body);
        put_vint(&mut block.value_lengths, block.values.len() - values);
        if block.keys.len() + block.values.len() >= self.form.block_size {
            self.close_block(out);
        }
    }

    fn close_block(&mut self, out: &mut Vec<u8>) {
        let block = mem::take(&mut self.block);
        if block.records == 0 {
            return;
        }
        self.put_sync(out);
        put_vint(out, block.records);
        for part in [block.key_lengths, block.keys, block.value_lengths, block.values] {
            put_text(out, &compressed(&*self.form.codec, part));
        }
    }
}

impl FileEncoder for File {
    fn encode(&mut self, events: &Events) -> Bytes {
        let mut out = mem::take(&mut self.head);
        let mut value = Vec::new();
        let now = now_ms(&*self.form.clock);
        for (event, time) in events.iter().zip(events.values(TIMESTAMP)) {
            let time = time.and_then(|time| time.parse().ok()).unwrap_or(now);
            match self.form.compression {
                Compression::Block => self.hold(&mut out, time, event.body()),
                _ => self.put_record(&mut out, &mut value, time, event.body()),
            }
        }
        out.into()
    }

    fn held_back(&self) -> u64 {
        let Block { key_lengths, keys, value_lengths, values, .. } = &self.block;
        let block = [key_lengths, keys, value_lengths, values].map(|part| part.len() as u64);
        let block: u64 = block.iter().sum();
        self.head.len() as u64 + block + block / 6 + 4 * AROUND_COMPRESSED
    }

    fn finish(&mut self) -> Bytes {
        let mut out = mem::take(&mut self.head);
        self.close_block(&mut out);
        out.into()
    }
}

fn now_ms(clock: &dyn Clock) -> i64 {
    let since = clock.now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Writes a number of four bytes. Bodies are shorter than a batch, which has far less than 2 GiB.
fn put_int(out: &mut Vec<u8>, number: usize) {
    let number = i32::try_from(number).expect("an event is smaller than 2 GiB");
    out.extend_from_slice(&number.to_be_bytes());
}

/// Writes a number like Hadoop's `WritableUtils.writeVInt`: up to 127 in one byte, otherwise the
/// number of bytes, encoded as -113 and below, and the bytes.
fn put_vint(out: &mut Vec<u8>, number: usize) {
    if number <= 127 {
        out.push(number as u8);
        return;
    }
    let bytes = number.to_be_bytes();
    let unused = number.leading_zeros() as usize / 8;
    out.push(0x8f - (bytes.len() - unused - 1) as u8);
    out.extend_from_slice(&bytes[unused..]);
}

/// Writes length-prefixed bytes, as Hadoop writes text and the parts of a block.
fn put_text(out: &mut Vec<u8>, bytes: &[u8]) {
    put_vint(out, bytes.len());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
