//! The bytes of a file after decompression, and what becomes of those that are no UTF-8.

use std::borrow::Cow;
use std::io::{self, Read};
use std::str;
use std::sync::Arc;

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use pipeline::env::DiskFile;

use super::config::{Compression, DecodeErrors};

/// First bytes of a gzip file, of a Zstandard one, and of a bzip2 one: in the last a digit follows,
/// and then the beginning of a block or of the end.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const BZIP2_BLOCKS: [&[u8]; 2] =
    [&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59], &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]];

/// Reads a file from its beginning on.
struct FromDisk {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Read for FromDisk {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The content of a file that begins with `head`.
///
/// # Errors
/// There is no memory for decompression.
pub(super) fn content(
    file: Arc<dyn DiskFile>,
    head: &[u8],
    compression: Compression,
) -> io::Result<Box<dyn Read + Send>> {
    let compression = match compression {
        Compression::Auto if head.starts_with(GZIP) => Compression::Gzip,
        Compression::Auto if head.starts_with(ZSTD) => Compression::Zstd,
        Compression::Auto if is_bzip2(head) => Compression::Bzip2,
        Compression::Auto => Compression::None,
        set => set,
    };
    let raw = FromDisk { file, at: 0 };
    Ok(match compression {
        Compression::Bzip2 => Box::new(MultiBzDecoder::new(raw)),
        Compression::Gzip => Box::new(MultiGzDecoder::new(raw)),
        Compression::Zstd => Box::new(zstd::Decoder::new(raw)?),
        Compression::Auto | Compression::None => Box::new(raw),
    })
}

/// Whether a file begins as bzip2 does, and not as a text that has the same first letters.
fn is_bzip2(head: &[u8]) -> bool {
    let block = head.strip_prefix(BZIP2).and_then(|rest| rest.get(1..));
    block.is_some_and(|block| BZIP2_BLOCKS.iter().any(|begins| block.starts_with(begins)))
}

impl DecodeErrors {
    /// These bytes as an event has them; `is_cut`: they may end within a character.
    ///
    /// # Errors
    /// They are no UTF-8 from there on, and the file is to be set aside.
    pub(super) fn text(self, bytes: &[u8], is_cut: bool) -> Result<Cow<'_, [u8]>, usize> {
        let Err(error) = str::from_utf8(if self == Self::Keep { &[] } else { bytes }) else {
            return Ok(Cow::Borrowed(bytes));
        };
        let valid = error.valid_up_to();
        if is_cut && error.error_len().is_none() {
            return Ok(Cow::Borrowed(&bytes[..valid]));
        }
        match self {
            Self::Keep => Ok(Cow::Borrowed(bytes)),
            Self::Fail => Err(valid),
            Self::Replace => {
                Ok(Cow::Owned(String::from_utf8_lossy(bytes).into_owned().into_bytes()))
            }
            Self::Ignore => {
                let valid = bytes.utf8_chunks().flat_map(|chunk| chunk.valid().bytes());
                Ok(Cow::Owned(valid.collect()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_does_with_odd_bytes_what_it_says() {
        let odd = b"a\xffb\xc3";
        assert_eq!(&*DecodeErrors::Keep.text(odd, false).unwrap(), odd);
        assert_eq!(DecodeErrors::Fail.text(odd, false), Err(1));
        let replaced = DecodeErrors::Replace.text(odd, false).unwrap();
        assert_eq!(&*replaced, "a\u{fffd}b\u{fffd}".as_bytes());
        assert_eq!(&*DecodeErrors::Ignore.text(odd, false).unwrap(), b"ab");
        assert_eq!(&*DecodeErrors::Fail.text("ä".as_bytes(), false).unwrap(), "ä".as_bytes());
        let cut = DecodeErrors::Fail.text(b"ab\xc3", true).unwrap();
        assert_eq!(&*cut, b"ab", "a character that the cut divided is left out");
    }
}
