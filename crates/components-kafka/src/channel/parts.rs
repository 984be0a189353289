//! Splits values that exceed the record size into consecutive records. Pure.
//!
//! ```text
//! record  u32 part, from 0 | u32 parts | bytes
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before the value's bytes.
const HEADER: usize = 8;

/// Splits a value into records of at most `most` bytes each.
pub(super) fn split(value: &[u8], most: usize) -> Vec<Vec<u8>> {
    let chunks: Vec<&[u8]> = value.chunks(most - HEADER).collect();
    let parts = u32::try_from(chunks.len()).expect("a value is smaller than 4 GiB");
    let record = |(part, chunk): (u32, &&[u8])| {
        let mut record = Vec::with_capacity(HEADER + chunk.len());
        record.put_u32_le(part);
        record.put_u32_le(parts);
        record.extend_from_slice(chunk);
        record
    };
    (0..).zip(&chunks).map(record).collect()
}

/// Returns a record that readers ignore: a second part without a first one.
pub(super) fn filler() -> Vec<u8> {
    [1_u32, 2].map(u32::to_le_bytes).concat()
}

/// Joins records to values. Ignores incomplete values, whose first record was deleted.
#[derive(Default)]
pub(super) struct Joiner {
    /// Its first offset, the next part, and the bytes so far.
    begun: Option<(i64, u32, BytesMut)>,
}

impl Joiner {
    /// Adds a record. Returns the value that it completes, with its first offset. `Err` for a
    /// foreign record.
    pub(super) fn add(
        &mut self,
        offset: i64,
        mut record: &[u8],
    ) -> Result<Option<(i64, Bytes)>, ()> {
        if record.len() < HEADER {
            return Err(());
        }
        let (part, parts) = (record.get_u32_le(), record.get_u32_le());
        if part >= parts {
            return Err(());
        }
        if part == 0 {
            self.begun = Some((offset, 0, BytesMut::new()));
        }
        let Some((begin, next, mut value)) = self.begun.take().filter(|it| it.1 == part) else {
            return Ok(None);
        };
        value.extend_from_slice(record);
        if next + 1 == parts {
            return Ok(Some((begin, value.freeze())));
        }
        self.begun = Some((begin, next + 1, value));
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_split_values_and_skips_parts_without_their_start() {
        let value: Vec<u8> = (0..100).collect();
        let records = split(&value, HEADER + 30);
        assert_eq!(records.len(), 4);
        let mut joiner = Joiner::default();
        for record in &records[2..] {
            assert_eq!(joiner.add(5, record), Ok(None));
        }
        let mut joined = Vec::new();
        for (offset, record) in (10..).zip(records.iter().chain(&split(b"small", 100))) {
            joined.extend(joiner.add(offset, record).unwrap());
        }
        assert_eq!(joiner.add(30, &filler()), Ok(None));
        let both = [(10, Bytes::from(value)), (14, Bytes::from_static(b"small"))];
        assert_eq!(joined, both);
        assert_eq!(joiner.add(1, b"none of ours"), Err(()));
    }
}
