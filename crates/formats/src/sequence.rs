//! What writers and readers of Hadoop's SequenceFile, version 6, share. Layout: the page of
//! `encoders::sequence_file`.

/// How a file begins: the format, and its version.
pub const MAGIC: &[u8; 4] = b"SEQ\x06";
/// Class of the keys that are written here: a time in ms.
pub const KEY_CLASS: &str = "org.apache.hadoop.io.LongWritable";
/// Class of values that are bytes: their length in four bytes, and they.
pub const BYTES_CLASS: &str = "org.apache.hadoop.io.BytesWritable";
/// Class of values that are text: its length as a number of Hadoop, and UTF-8.
pub const TEXT_CLASS: &str = "org.apache.hadoop.io.Text";
/// A sync mark stands where else a length would, so it begins with one that no record has.
pub const SYNC_ESCAPE: [u8; 4] = [0xff; 4];
