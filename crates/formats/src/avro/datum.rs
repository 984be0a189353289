//! Avro's binary encoding of numbers, bytes and strings.

use super::Malformed;

/// Writes a number in zigzag encoding, seven bits per byte, lowest first.
pub fn put_long(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Writes bytes or a string with its length in front.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Writes headers as a map, and a body: Flume's event.
pub fn put_event(out: &mut Vec<u8>, headers: &[(&str, &str)], body: &[u8]) {
    if !headers.is_empty() {
        put_long(out, headers.len() as i64);
        for (name, value) in headers {
            put_bytes(out, name.as_bytes());
            put_bytes(out, value.as_bytes());
        }
    }
    put_long(out, 0);
    put_bytes(out, body);
}

/// Converts bytes to a string.
///
/// # Errors
/// Fails if they are not UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::Text)
}

/// Reads values from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the unread bytes.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads `bytes` bytes.
    ///
    /// # Errors
    /// Fails if there are fewer.
    pub fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads a number.
    ///
    /// # Errors
    /// Fails if the bytes end within it, or it has more than 64 bits.
    #[inline]
    pub fn long(&mut self) -> Result<i64, Malformed> {
        // Most are lengths in one byte.
        if let [byte @ 0..=0x7f, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(i64::from(*byte >> 1) ^ -i64::from(*byte & 1));
        }
        self.long_of_bytes()
    }

    fn long_of_bytes(&mut self) -> Result<i64, Malformed> {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let (&byte, rest) = self.rest.split_first().ok_or(Malformed::Short)?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
            if shift == 63 {
                return Err(Malformed::Number);
            }
            shift += 7;
        }
    }

    /// Reads a length or an index that does not exceed the rest.
    fn length(&mut self) -> Result<usize, Malformed> {
        let length = usize::try_from(self.long()?).map_err(|_| Malformed::Length)?;
        if length > self.rest.len() { Err(Malformed::Length) } else { Ok(length) }
    }

    /// Reads length-prefixed bytes.
    ///
    /// # Errors
    /// Fails if there are fewer bytes than the length.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    /// Reads a length-prefixed string.
    ///
    /// # Errors
    /// See [`Reader::bytes`]; also fails if it is not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        text(self.bytes()?)
    }

    /// Reads the number of values in the next block of an array or a map; 0 at its end.
    ///
    /// # Errors
    /// Fails if there are more values than bytes: each value of this protocol has at least one
    /// byte.
    pub fn block(&mut self) -> Result<usize, Malformed> {
        Ok(self.sized_block()?.0)
    }

    /// As [`Reader::block`], with the byte size of the block if it has one for readers that skip
    /// it.
    ///
    /// # Errors
    /// See [`Reader::block`]; also fails if the byte size is negative.
    pub fn sized_block(&mut self) -> Result<(usize, Option<usize>), Malformed> {
        let count = self.long()?;
        let bytes = if count < 0 { Some(self.long()?) } else { None };
        let count = usize::try_from(count.unsigned_abs()).map_err(|_| Malformed::Length)?;
        if count > self.rest.len() {
            return Err(Malformed::Length);
        }
        let bytes = bytes.map(usize::try_from).transpose().map_err(|_| Malformed::Length)?;
        Ok((count, bytes))
    }

    /// Reads the branch of a union, the symbol of an enum, or a boolean, out of `count` values.
    ///
    /// # Errors
    /// Fails if the number is out of range.
    pub fn branch(&mut self, count: usize) -> Result<usize, Malformed> {
        let branch = usize::try_from(self.long()?).map_err(|_| Malformed::Branch)?;
        if branch < count { Ok(branch) } else { Err(Malformed::Branch) }
    }

    /// Reads a boolean.
    ///
    /// # Errors
    /// Fails if it is neither 0 nor 1.
    pub fn boolean(&mut self) -> Result<bool, Malformed> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Malformed::Branch),
        }
    }

    /// Skips a map of bytes: metadata.
    ///
    /// # Errors
    /// Fails if it is damaged.
    pub fn skip_metadata(&mut self) -> Result<(), Malformed> {
        loop {
            let count = self.block()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                self.bytes()?;
                self.bytes()?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_specification_shows_them_and_read_back() {
        for (number, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ] {
            let mut out = Vec::new();
            put_long(&mut out, number);
            assert_eq!(out, bytes, "{number}");
            assert_eq!(Reader::new(bytes).long(), Ok(number));
        }
    }

    #[test]
    fn lengths_beyond_the_message_and_endless_numbers_are_refused() {
        let long = |bytes: &[u8]| Reader::new(bytes).long();
        assert_eq!(long(&[0x80]), Err(Malformed::Short));
        assert_eq!(long(&[0xff; 20]), Err(Malformed::Number));
        assert_eq!(
            long(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
            Err(Malformed::Number)
        );
        let mut huge = Vec::new();
        put_long(&mut huge, i64::MAX);
        for bytes in [&huge[..], &[1], &[4, 0]] {
            assert_eq!(Reader::new(bytes).bytes(), Err(Malformed::Length), "{bytes:?}");
        }
        assert_eq!(Reader::new(&huge).block(), Err(Malformed::Length));
        // After a negative count comes the byte size of the block.
        assert_eq!(Reader::new(&[3, 2, 0, 0]).block(), Ok(2));
        let mut least = Vec::new();
        put_long(&mut least, i64::MIN);
        least.push(0);
        assert_eq!(Reader::new(&least).block(), Err(Malformed::Length));
    }
}
