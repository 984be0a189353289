//! Reads Hadoop SequenceFiles, version 6, of `BytesWritable`, uncompressed or in blocks.
//!
//! The layout is that of the encoder `sequence_file`, whose tests compare it with files from
//! Hadoop.

use bytes::Buf;
use formats::compression::Compression;

/// Escape before a sync mark, in place of a length.
const SYNC_ESCAPE: u32 = 0xffff_ffff;
const SYNC_BYTES: usize = 16;
const KEY_BYTES: usize = 8;

/// The unread part of a file.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let cut = || format!("it ends {} bytes in front of {bytes}", self.0.len());
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn int(&mut self) -> Result<u32, String> {
        Ok(self.take(4)?.get_u32())
    }

    /// Reads a number as `WritableUtils.writeVInt` writes it. Rejects negative numbers.
    fn vint(&mut self) -> Result<usize, String> {
        match self.take(1)?.get_i8() {
            first @ 0.. => Ok(first as usize),
            first @ -120..=-113 => {
                let bytes = self.take((-112 - i32::from(first)) as usize)?;
                Ok(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
            }
            first => Err(format!("a length begins with {first}")),
        }
    }

    /// Reads bytes with a length prefix.
    fn text(&mut self) -> Result<&'a [u8], String> {
        let length = self.vint()?;
        self.take(length)
    }

    fn sync(&mut self, mark: &[u8]) -> Result<(), String> {
        if self.take(SYNC_BYTES)? == mark { Ok(()) } else { Err("a sync mark is another".into()) }
    }

    /// Reads a `BytesWritable`.
    fn value(&mut self) -> Result<Vec<u8>, String> {
        let length = self.int()? as usize;
        Ok(self.take(length)?.to_vec())
    }
}

/// Reads the values of a complete file.
pub(super) fn bodies(file: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut rest = Rest(file);
    if rest.take(4)? != b"SEQ\x06" {
        return Err("it is no SequenceFile".into());
    }
    rest.text()?;
    rest.text()?;
    let (is_compressed, is_block) = (rest.take(1)? == [1], rest.take(1)? == [1]);
    if is_compressed {
        rest.text()?;
    }
    if rest.int()? != 0 {
        return Err("it has metadata".into());
    }
    let mark = rest.take(SYNC_BYTES)?;
    let mut bodies = Vec::new();
    while !rest.0.is_empty() {
        let length = rest.int()?;
        match (length == SYNC_ESCAPE, is_block) {
            (true, true) => {
                rest.sync(mark)?;
                block(&mut rest, &mut bodies)?;
            }
            (true, false) => rest.sync(mark)?,
            (false, true) => return Err("a block is without its sync mark".into()),
            (false, false) => {
                let mut record = Rest(rest.take(length as usize + 4)?);
                if record.int()? as usize != KEY_BYTES {
                    return Err("a key is no number".into());
                }
                record.take(KEY_BYTES)?;
                bodies.push(record.value()?);
            }
        }
    }
    Ok(bodies)
}

fn block(rest: &mut Rest<'_>, bodies: &mut Vec<Vec<u8>>) -> Result<(), String> {
    let records = rest.vint()?;
    for _ in ["key lengths", "keys", "value lengths"] {
        rest.text()?;
    }
    let values = super::plain(Compression::Zstd, rest.text()?)?;
    let mut values = Rest(&values);
    for _ in 0..records {
        bodies.push(values.value()?);
    }
    if values.0.is_empty() { Ok(()) } else { Err("a block has more than its records".into()) }
}
