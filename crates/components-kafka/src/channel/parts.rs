//! Values over the size of a record, as several records in a row. Pure.
//!
//! ```text
//! record  u32 part, from 0 | u32 parts | bytes
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before those of the value.
const HEADER: usize = 8;

/// The records of a value, each of `most` bytes at most.
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

/// A record that is no value, nor a part of one that is read: its beginning is nowhere.
pub(super) fn nothing() -> Vec<u8> {
    [1_u32, 2].map(u32::to_le_bytes).concat()
}

/// Makes values of records again. What has no beginning, or is not complete, is left out: its
/// beginning is deleted.
#[derive(Default)]
pub(super) struct Joiner {
    /// Where it begins, the part that is next, and what there is of it.
    begun: Option<(i64, u32, BytesMut)>,
}

impl Joiner {
    /// Adds a record; answers the value that it completes, and where that begins. `Err` if it is
    /// none of ours.
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
    fn what_is_split_is_joined_and_what_lacks_its_beginning_is_left_out() {
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
        assert_eq!(joiner.add(30, &nothing()), Ok(None));
        let both = [(10, Bytes::from(value)), (14, Bytes::from_static(b"small"))];
        assert_eq!(joined, both);
        assert_eq!(joiner.add(1, b"none of ours"), Err(()));
    }
}
