//! Records of format 2: Java's `DataOutput`, with Hadoop's numbers of variable length. They have
//! neither length nor checksum: only parsing finds the end of a record.

use super::{Event, Fault, HEADERS_MAX, Kind, Pointer, RECORD_MAX, Record, Side, Step, checked};

/// Behind the op of every record.
pub(super) const MAGIC: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];
/// In front of each text: Hadoop's number of its class `Text`.
const TEXT: u8 = 0x8c;

/// Parses the beginning of `bytes`, which is the start of a record.
pub(super) fn read(bytes: &[u8]) -> Step {
    let mut reader = Reader { bytes, at: 1 };
    match record(&mut reader) {
        Ok(record) => Step::Record(record, reader.at),
        Err(Fault::Short(needed)) => Step::More(needed),
        Err(Fault::Wrong(problem)) => Step::Damaged { problem, len: None },
    }
}

/// Bytes that are read from front to back.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let end = self.at + length;
        if end > RECORD_MAX {
            return Err(Fault::Wrong("the length of a record is invalid"));
        }
        let taken = self.bytes.get(self.at..end).ok_or(Fault::Short(end))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        Ok(self.take(N)?.try_into().expect("as many as asked for"))
    }

    fn i32(&mut self) -> Result<i32, Fault> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, Fault> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Reads a number of Hadoop's `WritableUtils`: one byte, or a length followed by that many
    /// bytes.
    fn length(&mut self) -> Result<usize, Fault> {
        const WRONG: Fault = Fault::Wrong("a length is invalid");
        let first = self.array::<1>()?[0] as i8;
        match first {
            0.. => Ok(first.unsigned_abs().into()),
            -120..=-113 => {
                let bytes = self.take((-112 - i32::from(first)).unsigned_abs() as usize)?;
                let value = bytes.iter().fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
                usize::try_from(value).ok().filter(|length| *length <= RECORD_MAX).ok_or(WRONG)
            }
            // Negative.
            _ => Err(WRONG),
        }
    }

    fn text(&mut self) -> Result<String, Fault> {
        if self.array()? != [TEXT] {
            return Err(Fault::Wrong("a header is not a string"));
        }
        let length = self.length()?;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }
}

fn record(reader: &mut Reader<'_>) -> Result<Record, Fault> {
    if reader.array()? != MAGIC {
        return Err(Fault::Wrong("no record starts at this position"));
    }
    let kind = i16::from_be_bytes(reader.array()?);
    let (transaction, order) = (reader.i64()?, reader.i64()?);
    let kind = match kind {
        1 => checked(event(reader)?)?,
        2 => {
            let (offset, file) = (reader.i32()?, reader.i32()?);
            let wrong = Fault::Wrong("a take record has an invalid position");
            Kind::Take(Pointer::new(file, offset).ok_or(wrong)?)
        }
        3 => Kind::Rollback,
        4 => match i16::from_be_bytes(reader.array()?) {
            1 => Kind::Commit(Side::Put),
            2 => Kind::Commit(Side::Take),
            _ => return Err(Fault::Wrong("a commit record has an unknown type")),
        },
        _ => return Err(Fault::Wrong("a record has an unknown type")),
    };
    Ok(Record { transaction, order, kind })
}

fn event(reader: &mut Reader<'_>) -> Result<Event, Fault> {
    // Class names that a Hadoop map may have; Flume's maps have no such names.
    for _ in 0..reader.array::<1>()?[0] {
        reader.take(1)?;
        let length = u16::from_be_bytes(reader.array()?);
        reader.take(usize::from(length))?;
    }
    let count = usize::try_from(reader.i32()?).ok().filter(|count| *count <= HEADERS_MAX);
    let count = count.ok_or(Fault::Wrong("an event has more headers than supported"))?;
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((reader.text()?, reader.text()?));
    }
    let body = match reader.i32()? {
        -1 => Vec::new(),
        length => {
            let length = usize::try_from(length);
            let length = length.map_err(|_| Fault::Wrong("the length of a body is invalid"))?;
            reader.take(length)?.to_vec()
        }
    };
    Ok(Event { headers, body })
}
