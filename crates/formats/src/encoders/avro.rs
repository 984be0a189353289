//! `avro`: an Avro container file of Flume's events: `headers`, a map of strings, and `body`,
//! bytes.
//!
//! The schema equals Flume's `avro_event` serializer. For bodies that are Avro records use
//! `avro_schema`.

use bytes::Bytes;
use pipeline::units::ByteSize;
use pipeline::{
    BuildContext, BuildError, Component, Encoder, Events, FileEncoder, FileKind, TableForm,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::avro_table;
use super::container::{self, BlockCodec, Container};
use super::header_bytes;
use crate::avro::datum::put_event;

/// Schema of Flume's event, in Flume's text.
const SCHEMA: &str = concat!(
    r#"{"type":"record","name":"Event","fields":["#,
    r#"{"name":"headers","type":{"type":"map","values":"string"}},"#,
    r#"{"name":"body","type":"bytes"}]}"#,
);

/// Maximum length of an encoded number.
const NUMBER: u64 = 10;

/// Settings of the `avro` encoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Compression of the blocks: `null`, `deflate` or `snappy`.
    #[serde(default)]
    codec: BlockCodec,
    /// Size of the records in a block before it is written; at most 512 KiB. Flume uses 2,048,000
    /// bytes.
    #[serde(default = "container::default_sync_interval")]
    sync_interval: ByteSize,
}

impl Component for Config {
    const KIND: &'static str = "avro";
    type Role = dyn Encoder;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Encoder>, BuildError> {
        Ok(Box::new(Avro(Container::new(SCHEMA, self.codec, self.sync_interval, cx)?)))
    }
}

struct Avro(Container);

impl Encoder for Avro {
    fn file_kind(&self) -> FileKind {
        container::KIND
    }

    fn size_bound(&self, events: &Events) -> u64 {
        let headers: u64 = events.iter().map(|event| event.headers().count() as u64).sum();
        let numbers = 3 * events.len() as u64 + 2 * headers;
        self.0.size_bound(events.body_bytes() + header_bytes(events) + NUMBER * numbers)
    }

    fn table(&self) -> Option<TableForm> {
        let schema = serde_json::from_str(SCHEMA).ok()?;
        Some(avro_table::table(SCHEMA, &schema))
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        Box::new(File(self.0.begin()))
    }
}

struct File(container::File);

impl FileEncoder for File {
    fn encode(&mut self, events: &Events) -> Bytes {
        let mut out = self.0.start();
        let mut headers = Vec::new();
        for event in events.iter() {
            headers.clear();
            headers.extend(event.headers());
            put_event(self.0.records(), &headers, event.body());
            self.0.end_record(&mut out);
        }
        out.into()
    }

    fn held_back(&self) -> u64 {
        self.0.held_back()
    }

    fn finish(&mut self) -> Bytes {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Batch, BatchBuilder};
    use serde_json::json;

    use super::super::container::testkit::{Reader, blocks};
    use super::super::testkit::file;
    use super::*;

    type Event = (Vec<(String, String)>, Vec<u8>);

    /// Returns the events of a file, by block.
    fn read(bytes: &[u8]) -> Vec<Vec<Event>> {
        let (schema, blocks) = blocks(bytes);
        assert_eq!(schema, SCHEMA);
        let events = |(count, records): &(i64, Vec<u8>)| {
            let mut block = Reader(records);
            let events = (0..*count).map(|_| (block.map(), block.string().to_vec())).collect();
            assert!(block.0.is_empty());
            events
        };
        blocks.iter().map(events).collect()
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
    fn events_read_back_in_blocks_of_the_set_size() {
        for codec in ["null", "deflate", "snappy"] {
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
