//! The bytes of a file after decompression, and its text as UTF-8.

use std::borrow::Cow;
use std::io::{self, Read};
use std::str;
use std::sync::Arc;

use formats::charset::{Charset, Odd};
use formats::compression::Compression;
use pipeline::env::DiskFile;

use super::config::DecodeErrors;

/// Reads a file from its beginning.
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

/// Returns a reader for the content of a file that begins with `head`.
///
/// # Errors
/// Fails if decompression cannot allocate its memory.
pub(super) fn content(
    file: Arc<dyn DiskFile>,
    head: &[u8],
    compression: Compression,
) -> io::Result<Box<dyn Read + Send>> {
    compression.decompressed(Box::new(FromDisk { file, at: 0 }), head)
}

impl DecodeErrors {
    /// Converts bytes of a text in `charset` to the bytes of an event. `is_cut`: the bytes may end
    /// within a character.
    ///
    /// # Errors
    /// Returns the offset of the first invalid byte if the settings reject the file for it.
    pub(super) fn text(
        self,
        charset: Charset,
        bytes: &[u8],
        is_cut: bool,
    ) -> Result<Cow<'_, [u8]>, usize> {
        let is_kept = charset.is_utf8() && self == Self::Keep;
        if is_kept || charset.is_utf8() && str::from_utf8(bytes).is_ok() {
            return Ok(Cow::Borrowed(bytes));
        }
        let odd = match self {
            Self::Fail => Odd::Fail,
            Self::Keep | Self::Replace => Odd::Replace,
            Self::Ignore => Odd::Ignore,
        };
        charset.decode(bytes, odd, is_cut).map(|text| Cow::Owned(text.into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_handles_invalid_bytes_as_documented() {
        let odd = b"a\xffb\xc3";
        assert_eq!(&*DecodeErrors::Keep.text(Charset::Utf8, odd, false).unwrap(), odd);
        assert_eq!(DecodeErrors::Fail.text(Charset::Utf8, odd, false), Err(1));
        let replaced = DecodeErrors::Replace.text(Charset::Utf8, odd, false).unwrap();
        assert_eq!(&*replaced, "a\u{fffd}b\u{fffd}".as_bytes());
        assert_eq!(&*DecodeErrors::Ignore.text(Charset::Utf8, odd, false).unwrap(), b"ab");
        assert_eq!(
            &*DecodeErrors::Fail.text(Charset::Utf8, "ä".as_bytes(), false).unwrap(),
            "ä".as_bytes()
        );
        let cut = DecodeErrors::Fail.text(Charset::Utf8, b"ab\xc3", true).unwrap();
        assert_eq!(&*cut, b"ab", "a character that the cut divided is left out");
    }

    #[test]
    fn other_charsets_become_utf8_and_what_is_kept_there_is_replaced() {
        let gbk = Charset::named("GBK").unwrap();
        let text = |policy: DecodeErrors, bytes: &[u8]| {
            let text = policy.text(gbk, bytes, false);
            text.map(|text| String::from_utf8(text.into_owned()).unwrap())
        };
        assert_eq!(text(DecodeErrors::Fail, b"\xd6\xd0a").unwrap(), "中a");
        let odd = b"\xd6\xd0\xff\xffb";
        assert_eq!(text(DecodeErrors::Keep, odd).unwrap(), "中\u{fffd}\u{fffd}b");
        assert_eq!(text(DecodeErrors::Ignore, odd).unwrap(), "中b");
        assert_eq!(text(DecodeErrors::Fail, odd), Err(2));
    }
}
