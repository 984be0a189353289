//! Avro's container file, for `avro` and `avro_schema`.
//!
//! ```text
//!   "Obj" 1 │ metadata: avro.schema, avro.codec │ sync marker
//!   block:  records, bytes, records (deflated)  │ sync marker      … until the file is finished
//! ```
//!
//! Layout: Avro specification 1.11, "Object Container Files". The sync marker is random for each
//! file. Records are buffered until a block has `sync_interval` bytes.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use pipeline::env::Entropy;
use pipeline::units::ByteSize;
use pipeline::{BuildContext, BuildError, FileKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::avro::datum::{put_bytes, put_long};

/// Kind of the files.
pub(super) const KIND: FileKind =
    FileKind { extension: "avro", content_type: "application/avro", is_lines: false };

/// Compression of blocks, by its name in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum BlockCodec {
    /// None.
    #[default]
    Null,
    /// Deflate without a header, as the Avro specification requires.
    Deflate,
    /// A Snappy block and a checksum.
    Snappy,
}

impl BlockCodec {
    /// Returns an upper bound of the growth of incompressible data.
    fn growth(self, bytes: u64) -> u64 {
        match self {
            Self::Null => 0,
            Self::Deflate => bytes / 500,
            Self::Snappy => bytes / 6,
        }
    }
}

/// Maximum overhead of a block in bytes.
const AROUND_BLOCK: usize = 64;

/// Default size of a block.
pub(super) fn default_sync_interval() -> ByteSize {
    ByteSize(64 << 10)
}

/// Creates container files of one schema.
pub(super) struct Container {
    schema: Arc<str>,
    codec: BlockCodec,
    sync_interval: usize,
    entropy: Arc<dyn Entropy>,
}

impl Container {
    /// Creates files of this schema.
    ///
    /// # Errors
    /// Fails if `sync_interval` is out of range.
    pub(super) fn new(
        schema: &str,
        codec: BlockCodec,
        sync_interval: ByteSize,
        cx: &BuildContext,
    ) -> Result<Self, BuildError> {
        let range = 1..=512 << 10;
        if !range.contains(&sync_interval.0) {
            return Err(BuildError::invalid("sync_interval", "must be from 1B to 512KiB"));
        }
        Ok(Self {
            schema: schema.into(),
            codec,
            sync_interval: sync_interval.0 as usize,
            entropy: cx.env.entropy.clone(),
        })
    }

    /// Returns the same settings with another schema.
    pub(super) fn of(&self, schema: &str) -> Self {
        Self { schema: schema.into(), entropy: self.entropy.clone(), ..*self }
    }

    /// Returns the size of the schema's text.
    pub(super) fn schema_bytes(&self) -> u64 {
        self.schema.len() as u64
    }

    /// Returns an upper bound of the growth of a file by records of `bytes` bytes.
    pub(super) fn size_bound(&self, bytes: u64) -> u64 {
        // Each block has a frame.
        bytes
            + self.codec.growth(bytes)
            + (bytes / self.sync_interval as u64 + 2) * AROUND_BLOCK as u64
    }

    /// Begins a file.
    pub(super) fn begin(&self) -> File {
        let sync = self.entropy.bytes16();
        File {
            codec: self.codec,
            sync_interval: self.sync_interval,
            sync,
            head: Some(head(&self.schema, self.codec, sync)),
            records: Vec::new(),
            count: 0,
        }
    }
}

/// An unfinished file.
pub(super) struct File {
    codec: BlockCodec,
    sync_interval: usize,
    sync: [u8; 16],
    /// Header of the file, until it is written.
    head: Option<Vec<u8>>,
    /// Records of the current block.
    records: Vec<u8>,
    /// Number of these records.
    count: i64,
}

/// Returns the header of a file.
fn head(schema: &str, codec: BlockCodec, sync: [u8; 16]) -> Vec<u8> {
    let codec = match codec {
        BlockCodec::Null => "null",
        BlockCodec::Deflate => "deflate",
        BlockCodec::Snappy => "snappy",
    };
    let mut head = b"Obj\x01".to_vec();
    put_long(&mut head, 2);
    for (name, value) in [("avro.schema", schema), ("avro.codec", codec)] {
        put_bytes(&mut head, name.as_bytes());
        put_bytes(&mut head, value.as_bytes());
    }
    put_long(&mut head, 0);
    head.extend_from_slice(&sync);
    head
}

impl File {
    /// Returns the next bytes of the file, to which blocks are appended.
    pub(super) fn start(&mut self) -> Vec<u8> {
        self.head.take().unwrap_or_default()
    }

    /// Returns the buffer for the next record.
    pub(super) fn records(&mut self) -> &mut Vec<u8> {
        &mut self.records
    }

    /// Ends a record, and the block once it is large enough.
    pub(super) fn end_record(&mut self, out: &mut Vec<u8>) {
        self.count += 1;
        if self.records.len() >= self.sync_interval {
            self.close_block(out);
        }
    }

    /// Returns an upper bound of the bytes that `finish` would return now.
    pub(super) fn held_back(&self) -> u64 {
        let head = self.head.as_ref().map_or(0, Vec::len);
        let records = self.records.len() as u64;
        records + self.codec.growth(records) + (head + AROUND_BLOCK) as u64
    }

    /// Returns the last bytes of the file.
    pub(super) fn finish(&mut self) -> Bytes {
        let mut out = self.start();
        self.close_block(&mut out);
        out.into()
    }

    fn close_block(&mut self, out: &mut Vec<u8>) {
        if self.count == 0 {
            return;
        }
        put_long(out, self.count);
        match self.codec {
            BlockCodec::Null => put_bytes(out, &self.records),
            BlockCodec::Deflate => {
                let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
                deflate.write_all(&self.records).expect("memory takes every write");
                put_bytes(out, &deflate.finish().expect("memory takes every write"));
            }
            BlockCodec::Snappy => {
                let mut block =
                    snap::raw::Encoder::new().compress_vec(&self.records).expect("at most 4 GiB");
                block.extend_from_slice(&crc32fast::hash(&self.records).to_be_bytes());
                put_bytes(out, &block);
            }
        }
        out.extend_from_slice(&self.sync);
        (self.count, self.records) = (0, Vec::new());
    }
}

#[cfg(test)]
pub(super) mod testkit {
    use std::io::Read;

    use flate2::read::DeflateDecoder;

    /// Strict reader of container files, by the specification.
    pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

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

        pub(crate) fn string(&mut self) -> &'a [u8] {
            let bytes = self.long();
            self.take(usize::try_from(bytes).unwrap())
        }

        pub(crate) fn map(&mut self) -> Vec<(String, String)> {
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

    /// Returns the schema of a file, and the number of records and the records of each block.
    pub(crate) fn blocks(bytes: &[u8]) -> (String, Vec<(i64, Vec<u8>)>) {
        let mut reader = Reader(bytes);
        assert_eq!(reader.take(4), b"Obj\x01");
        let metadata = reader.map();
        assert_eq!(metadata[0].0, "avro.schema");
        let codec = &*metadata[1].1;
        let sync = reader.take(16);
        let mut blocks = Vec::new();
        while !reader.0.is_empty() {
            let count = reader.long();
            let mut records = reader.string().to_vec();
            if codec == "deflate" {
                let mut plain = Vec::new();
                DeflateDecoder::new(&*records).read_to_end(&mut plain).unwrap();
                records = plain;
            }
            if codec == "snappy" {
                let (block, checksum) = records.split_at(records.len() - 4);
                let plain = snap::raw::Decoder::new().decompress_vec(block).unwrap();
                assert_eq!(checksum, crc32fast::hash(&plain).to_be_bytes());
                records = plain;
            }
            assert_eq!(reader.take(16), sync);
            blocks.push((count, records));
        }
        (metadata[0].1.clone(), blocks)
    }
}
