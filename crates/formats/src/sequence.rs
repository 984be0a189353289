//! Constants of Hadoop's SequenceFile, version 6, for writers and readers. Layout: see
//! `encoders::sequence_file`.

/// First bytes of a file: the format, and its version.
pub const MAGIC: &[u8; 4] = b"SEQ\x06";
/// Class of the written keys: a time in ms.
pub const KEY_CLASS: &str = "org.apache.hadoop.io.LongWritable";
/// Class of byte values: their length in four bytes, then the bytes.
pub const BYTES_CLASS: &str = "org.apache.hadoop.io.BytesWritable";
/// Class of text values: the length as a Hadoop number, then UTF-8.
pub const TEXT_CLASS: &str = "org.apache.hadoop.io.Text";
/// First bytes of a sync mark, in place of a length: no record has this length.
pub const SYNC_ESCAPE: [u8; 4] = [0xff; 4];
