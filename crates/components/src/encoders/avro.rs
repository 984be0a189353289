//! `avro`: an Avro container file of Flume's event: `headers`, a map of strings, and `body`, bytes.
//!
//! ```text
//!   "Obj" 1 │ metadata: avro.schema, avro.codec │ sync marker
//!   block:  events, bytes, records (deflated)   │ sync marker      … until the file is finished
//! ```
//!
//! Layout: Avro specification 1.11, "Object Container Files"; the schema is that of Flume's
//! `avro_event` serializer. The sync marker is random for each file. Records are held back until a
//! block has `sync_interval` bytes.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use pipeline::env::Entropy;
use pipeline::units::ByteSize;
use pipeline::{BuildContext, BuildError, Component, Encoder, Events, FileEncoder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::header_bytes;
use crate::avro::datum::{put_bytes, put_event, put_long};

/// The schema of Flume's event, as Flume writes it.
const SCHEMA: &str = concat!(
    r#"{"type":"record","name":"Event","fields":["#,
    r#"{"name":"headers","type":{"type":"map","values":"string"}},"#,
    r#"{"name":"body","type":"bytes"}]}"#,
);

/// Bytes of one encoded number at most.
const NUMBER: u64 = 10;

/// Settings of the `avro` encoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Compression of the blocks: `null` or `deflate`.
    #[serde(default)]
    codec: BlockCodec,
    /// Bytes of records in a block before it is written; at most 512 KiB. Flume has 2,048,000.
    #[serde(default = "default_sync_interval")]
    sync_interval: ByteSize,
}

/// Compression of blocks, by its name in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum BlockCodec {
    /// None.
    #[default]
    Null,
    /// Deflate without a header, as the Avro specification asks for.
    Deflate,
}

fn default_sync_interval() -> ByteSize {
    ByteSize(64 << 10)
}

impl Component for Config {
    const KIND: &'static str = "avro";
    type Role = dyn Encoder;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Encoder>, BuildError> {
        let range = 1..=512 << 10;
        if !range.contains(&self.sync_interval.0) {
            return Err(BuildError::invalid("sync_interval", "must be over 0 and at most 512KiB"));
        }
        Ok(Box::new(Avro {
            codec: self.codec,
            sync_interval: self.sync_interval.0 as usize,
            entropy: cx.env.entropy.clone(),
        }))
    }
}

struct Avro {
    codec: BlockCodec,
    sync_interval: usize,
    entropy: Arc<dyn Entropy>,
}

impl Encoder for Avro {
    fn extension(&self) -> &'static str {
        "avro"
    }

    fn content_type(&self) -> &'static str {
        "application/avro"
    }

    fn is_lines(&self) -> bool {
        false
    }

    fn size_bound(&self, events: &Events) -> u64 {
        let headers: u64 = events.iter().map(|event| event.headers().count() as u64).sum();
        let numbers = 3 * events.len() as u64 + 2 * headers;
        // What deflate cannot make smaller it makes larger by a thousandth, and each block has a
        // frame.
        let bytes = events.body_bytes() + header_bytes(events) + NUMBER * numbers;
        bytes + bytes / 500 + (bytes / self.sync_interval as u64 + 2) * 64
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        let sync = self.entropy.bytes16();
        let (codec, sync_interval) = (self.codec, self.sync_interval);
        let head = Some(head(codec, sync));
        Box::new(File { codec, sync_interval, sync, head, records: Vec::new(), events: 0 })
    }
}

struct File {
    codec: BlockCodec,
    sync_interval: usize,
    sync: [u8; 16],
    /// The beginning of the file, until it is written.
    head: Option<Vec<u8>>,
    /// Records of the block that is being filled.
    records: Vec<u8>,
    events: i64,
}

/// The beginning of a file.
fn head(codec: BlockCodec, sync: [u8; 16]) -> Vec<u8> {
    let codec = match codec {
        BlockCodec::Null => "null",
        BlockCodec::Deflate => "deflate",
    };
    let mut head = b"Obj\x01".to_vec();
    put_long(&mut head, 2);
    for (name, value) in [("avro.schema", SCHEMA), ("avro.codec", codec)] {
        put_bytes(&mut head, name.as_bytes());
        put_bytes(&mut head, value.as_bytes());
    }
    put_long(&mut head, 0);
    head.extend_from_slice(&sync);
    head
}

impl File {
    fn close_block(&mut self, out: &mut Vec<u8>) {
        if self.events == 0 {
            return;
        }
        put_long(out, self.events);
        match self.codec {
            BlockCodec::Null => put_bytes(out, &self.records),
            BlockCodec::Deflate => {
                let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
                deflate.write_all(&self.records).expect("memory takes every write");
                put_bytes(out, &deflate.finish().expect("memory takes every write"));
            }
        }
        out.extend_from_slice(&self.sync);
        (self.events, self.records) = (0, Vec::new());
    }
}

impl FileEncoder for File {
    fn encode(&mut self, events: &Events) -> Bytes {
        let mut out = self.head.take().unwrap_or_default();
        let mut headers = Vec::new();
        for event in events.iter() {
            headers.clear();
            headers.extend(event.headers());
            put_event(&mut self.records, &headers, event.body());
            self.events += 1;
            if self.records.len() >= self.sync_interval {
                self.close_block(&mut out);
            }
        }
        out.into()
    }

    fn finish(&mut self) -> Bytes {
        let mut out = self.head.take().unwrap_or_default();
        self.close_block(&mut out);
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::DeflateDecoder;
    use pipeline::{Batch, BatchBuilder};
    use serde_json::json;

    use super::super::testkit::file;
    use super::*;

    /// Reads a container file by the letter of the specification.
    struct Reader<'a>(&'a [u8]);

    type Event = (Vec<(String, String)>, Vec<u8>);

    impl<'a> Reader<'a> {
        fn take(&mut self, bytes: usize) -> &'a [u8] {
            let (taken, rest) = self.0.split_at(bytes);
            self.0 = rest;
            taken
        }

        fn long(&mut self) -> i64 {
            let (mut number, mut shift) = (0_u64, 0);
            loop {
                let byte = self.take(1)[0];
                number |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    return (number >> 1) as i64 ^ -((number & 1) as i64);
                }
            }
        }

        fn string(&mut self) -> &'a [u8] {
            let bytes = self.long();
            self.take(usize::try_from(bytes).unwrap())
        }

        fn map(&mut self) -> Vec<(String, String)> {
            let mut entries = Vec::new();
            loop {
                let count = self.long();
                if count == 0 {
                    return entries;
                }
                for _ in 0..count {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    entries.push((text(self.string()), text(self.string())));
                }
            }
        }
    }

    /// The events of a file, block by block.
    fn read(bytes: &[u8]) -> Vec<Vec<Event>> {
        let mut reader = Reader(bytes);
        assert_eq!(reader.take(4), b"Obj\x01");
        let metadata = reader.map();
        assert_eq!(metadata[0], ("avro.schema".into(), SCHEMA.into()));
        let is_deflate = metadata[1].1 == "deflate";
        let sync = reader.take(16);
        let mut blocks = Vec::new();
        while !reader.0.is_empty() {
            let count = reader.long();
            let mut records = reader.string().to_vec();
            if is_deflate {
                let mut plain = Vec::new();
                DeflateDecoder::new(&*records).read_to_end(&mut plain).unwrap();
                records = plain;
            }
            assert_eq!(reader.take(16), sync);
            let mut block = Reader(&records);
            let events = (0..count).map(|_| (block.map(), block.string().to_vec())).collect();
            assert!(block.0.is_empty());
            blocks.push(events);
        }
        blocks
    }

    fn batch() -> Batch {
        let mut builder = BatchBuilder::default();
        builder.push(b"one\n\xff", &[("host", "web-1"), ("n", "0")]);
        builder.push(b"", &[]);
        builder.push(&[b'x'; 200], &[("host", "web-1")]);
        builder.finish()
    }

    fn expected() -> Vec<Event> {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            (vec![header("host", "web-1"), header("n", "0")], b"one\n\xff".to_vec()),
            (vec![], vec![]),
            (vec![header("host", "web-1")], vec![b'x'; 200]),
        ]
    }

    #[test]
    fn events_read_back_in_blocks_of_the_size_asked_for_with_and_without_deflate() {
        for codec in ["null", "deflate"] {
            for (interval, blocks) in [("1B", 6), ("220B", 2), ("64KiB", 1)] {
                let settings = json!({ "type": "avro", "codec": codec, "sync_interval": interval });
                let bytes = file(&settings, &[batch(), batch()]);
                let read = read(&bytes);
                assert_eq!(read.len(), blocks, "{codec} {interval}");
                assert_eq!(read.concat(), [expected(), expected()].concat());
            }
        }
    }

    #[test]
    fn a_file_without_events_is_a_container_without_blocks() {
        assert!(read(&file(&json!("avro"), &[])).is_empty());
    }
}
