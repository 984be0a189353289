//! Detects the compression of a file, and decompresses it.

use std::io::{self, BufRead, BufReader, Read};

use bzip2::read::MultiBzDecoder;
use flate2::bufread::GzDecoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Magic numbers of gzip, Zstandard and bzip2. In bzip2 a digit follows, and then the magic number
/// of a block or of the end.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const BZIP2_BLOCKS: [&[u8]; 2] =
    [&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59], &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]];

/// Compression of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Detected from the first bytes of each file: gzip, Zstandard, bzip2 or none.
    #[default]
    Auto,
    /// No compression.
    None,
    /// bzip2.
    Bzip2,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Returns the decompressed content of a file that begins with `head`; `raw` reads the whole
    /// file.
    ///
    /// # Errors
    /// Fails if decompression cannot allocate its memory.
    pub fn decompressed(
        self,
        raw: Box<dyn Read + Send>,
        head: &[u8],
    ) -> io::Result<Box<dyn Read + Send>> {
        let compression = match self {
            Self::Auto if head.starts_with(GZIP) => Self::Gzip,
            Self::Auto if head.starts_with(ZSTD) => Self::Zstd,
            Self::Auto if is_bzip2(head) => Self::Bzip2,
            Self::Auto => Self::None,
            set => set,
        };
        Ok(match compression {
            Self::Bzip2 => Box::new(MultiBzDecoder::new(raw)),
            Self::Gzip => Box::new(GzipMembers::new(raw)),
            Self::Zstd => Box::new(zstd::Decoder::new(raw)?),
            Self::Auto | Self::None => raw,
        })
    }
}

/// Members of a gzip file, one after the other. Like `gzip`, it accepts zeros after a member as
/// padding, with which tapes and block devices fill their last block. Anything else is an error.
struct GzipMembers {
    /// `None` after the last member.
    member: Option<GzDecoder<BufReader<Box<dyn Read + Send>>>>,
}

impl GzipMembers {
    fn new(raw: Box<dyn Read + Send>) -> Self {
        Self { member: Some(GzDecoder::new(BufReader::new(raw))) }
    }
}

impl Read for GzipMembers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            // After an error here, the next call finds the same member at its end.
            let has_next = skip_zeros(member.get_mut())?;
            let next = self.member.take().filter(|_| has_next);
            self.member = next.map(|ended| GzDecoder::new(ended.into_inner()));
        }
        Ok(0)
    }
}

/// Skips zeros; returns whether another byte follows them.
fn skip_zeros(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let ahead = reader.fill_buf()?;
        let zeros = ahead.iter().take_while(|byte| **byte == 0).count();
        let (is_end, is_padding) = (ahead.is_empty(), zeros == ahead.len());
        reader.consume(zeros);
        if is_end || !is_padding {
            return Ok(!is_end);
        }
    }
}

/// Returns true if a file begins like bzip2, and not like a text with the same first letters.
fn is_bzip2(head: &[u8]) -> bool {
    let block = head.strip_prefix(BZIP2).and_then(|rest| rest.get(1..));
    block.is_some_and(|block| BZIP2_BLOCKS.iter().any(|begins| block.starts_with(begins)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// Returns the content, or the part before the error.
    fn content(parts: &[&[u8]]) -> Result<String, String> {
        let raw = parts.concat();
        let head = raw[..raw.len().min(8)].to_vec();
        let raw: Box<dyn Read + Send> = Box::new(io::Cursor::new(raw));
        let (mut bytes, mut reader) =
            (Vec::new(), Compression::Auto.decompressed(raw, &head).unwrap());
        let read = reader.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        read.map(|_| text.clone()).map_err(|_| text)
    }

    #[test]
    fn zeros_after_a_gzip_member_are_padding_and_other_bytes_are_an_error() {
        let (one, two) = (gzip("one\n"), gzip("two\n"));
        let zeros = [0; 20_000];
        let both = Ok("one\ntwo\n".to_owned());
        assert_eq!(content(&[&one, &two]), both);
        assert_eq!(content(&[&one, &two, &zeros[..1]]), both);
        assert_eq!(content(&[&one, &two, &zeros]), both);
        assert_eq!(content(&[&one, &zeros, &two]), both, "no member is skipped");
        let first = Err("one\n".to_owned());
        assert_eq!(content(&[&one, &zeros, b"x"]), first);
        assert_eq!(content(&[&one, b"garbage"]), first);
        assert_eq!(content(&[&one, &two[..two.len() - 1]]), Err("one\ntwo\n".to_owned()));
    }
}
