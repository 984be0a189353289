//! Compression of the bytes of one batch, before they are sealed and written.

use bytes::Bytes;
use support::compression;

use crate::durable::Compression;

/// Fast before small: the channel is to follow the disk.
const ZSTD_LEVEL: i32 = 1;

/// The compression of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// A zstd frame.
    Zstd,
    /// One LZ4 block.
    Lz4,
}

/// Maximum expansion of one byte of an LZ4 block: it lengthens a match by at most this many bytes.
const LZ4_RATIO_MAX: usize = 255;

/// The information to decompress bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Their compression.
    pub(crate) by: Coding,
    /// Their number before compression.
    pub(crate) plain_len: u32,
}

/// Compresses the bytes as configured. `None`: write them as they are, because they do not shrink
/// and reading them is then cheaper.
pub(crate) fn pack(bytes: &[u8], setting: Compression) -> Option<(Packed, Bytes)> {
    let (by, packed) = match setting {
        Compression::None => return None,
        Compression::Zstd => (Coding::Zstd, compression::zstd(bytes, ZSTD_LEVEL).ok()?),
        Compression::Lz4 => (Coding::Lz4, lz4_flex::block::compress(bytes)),
    };
    let plain_len = u32::try_from(bytes.len()).ok()?;
    (packed.len() < bytes.len()).then(|| (Packed { by, plain_len }, packed.into()))
}

impl Packed {
    /// Decompresses the bytes; `None` if they are damaged. Never allocates more than the writer
    /// declared, or than this many bytes can expand to.
    pub(crate) fn unpack(self, bytes: &[u8]) -> Option<Bytes> {
        let plain_len = self.plain_len as usize;
        let plain = match self.by {
            Coding::Zstd => compression::unzstd(bytes, plain_len).ok()?,
            Coding::Lz4 if plain_len > bytes.len().saturating_mul(LZ4_RATIO_MAX) => return None,
            Coding::Lz4 => lz4_flex::block::decompress(bytes, plain_len).ok()?,
        };
        (plain.len() == plain_len).then(|| plain.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_only_bodies_that_shrink() {
        let lines = "GET /index.html 200\n".repeat(500);
        let zeros = vec![0; 1 << 20];
        for compression in [Compression::Zstd, Compression::Lz4] {
            let (packed, small) = pack(&zeros, compression).unwrap();
            assert_eq!(packed.unpack(&small).unwrap(), zeros, "{compression:?}");
            let more = Packed { plain_len: u32::MAX, ..packed };
            assert_eq!(more.unpack(&small), None, "{compression:?}: less than was said");
        }
        for compression in [Compression::Zstd, Compression::Lz4] {
            let (packed, small) = pack(lines.as_bytes(), compression).unwrap();
            assert!(small.len() * 4 < lines.len(), "{compression:?}");
            assert_eq!(packed.unpack(&small).unwrap(), lines.as_bytes());
            assert_eq!(packed.unpack(&small[..small.len() - 1]), None, "{compression:?}: cut");
            let less = Packed { plain_len: packed.plain_len - 1, ..packed };
            assert_eq!(less.unpack(&small), None, "{compression:?}: more than was said");
            let noise: Vec<u8> = (0..99u32).map(|n| ((n * n * 7919) >> 3) as u8).collect();
            assert_eq!(pack(&noise, compression), None, "{compression:?}");
        }
        assert_eq!(pack(lines.as_bytes(), Compression::None), None);
    }
}
