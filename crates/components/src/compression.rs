//! How a file that is read is compressed, and its bytes without that.

use std::io::{self, Read};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// First bytes of a gzip file, of a Zstandard one, and of a bzip2 one: in the last a digit follows,
/// and then the beginning of a block or of the end.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const BZIP2_BLOCKS: [&[u8]; 2] =
    [&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59], &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]];

/// How files are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As the first bytes of each say: gzip, Zstandard, bzip2 or not at all.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// As bzip2.
    Bzip2,
    /// As gzip.
    Gzip,
    /// As Zstandard.
    Zstd,
}

impl Compression {
    /// The content of a file that begins with `head`, of which `raw` gives all bytes.
    ///
    /// # Errors
    /// There is no memory for decompression.
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
            Self::Gzip => Box::new(MultiGzDecoder::new(raw)),
            Self::Zstd => Box::new(zstd::Decoder::new(raw)?),
            Self::Auto | Self::None => raw,
        })
    }
}

/// Whether a file begins as bzip2 does, and not as a text that has the same first letters.
fn is_bzip2(head: &[u8]) -> bool {
    let block = head.strip_prefix(BZIP2).and_then(|rest| rest.get(1..));
    block.is_some_and(|block| BZIP2_BLOCKS.iter().any(|begins| block.starts_with(begins)))
}
