//! zstd frames, with contexts that each thread keeps: a new context for every frame costs more than
//! a small frame, and most frames are small when edges are idle.
//!
//! A thread keeps the working memory of both directions until it ends, but not the data.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe;

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

#[derive(Default)]
struct Contexts {
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
}

/// The bytes as one zstd frame, which names its content size.
///
/// # Errors
/// zstd has no memory, or knows no such level.
pub fn zstd(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    CONTEXTS.with_borrow_mut(|contexts| {
        let mut compressor = match contexts.compressor.take() {
            Some(kept) => kept,
            None => Compressor::new(level)?,
        };
        compressor.set_compression_level(level)?;
        let frame = compressor.compress(bytes)?;
        // A context that failed is not reused.
        contexts.compressor = Some(compressor);
        Ok(frame)
    })
}

/// Maximum decompressed size of a zstd block, and the size of the shortest one: a header of three
/// bytes and a byte that is repeated (RFC 8878, 3.1.1.2).
const BLOCK_MAX: usize = 128 << 10;
const BLOCK_MIN: usize = 4;

/// Decompresses a zstd frame; allocates no more than `plain_max` bytes, the size that the frame
/// claims, and the size that this many bytes can expand to.
///
/// # Errors
/// It is not such a frame, or its contents are larger.
pub fn unzstd(frame: &[u8], plain_max: usize) -> io::Result<Vec<u8>> {
    let holds = frame.len().div_ceil(BLOCK_MIN).saturating_mul(BLOCK_MAX);
    let says = match zstd_safe::get_frame_content_size(frame) {
        Ok(Some(says)) => usize::try_from(says).unwrap_or(usize::MAX),
        // The decompressor reports the problem.
        Ok(None) | Err(_) => usize::MAX,
    };
    let room = plain_max.min(says).min(holds);
    CONTEXTS.with_borrow_mut(|contexts| {
        let mut decompressor = match contexts.decompressor.take() {
            Some(kept) => kept,
            None => Decompressor::new()?,
        };
        let plain = decompressor.decompress(frame, room)?;
        contexts.decompressor = Some(decompressor);
        Ok(plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_the_same_whatever_the_thread_had_before_it() {
        let small = b"GET /index.html 200\n".repeat(50);
        let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let first = zstd(&small, 1).unwrap();
        assert!(unzstd(&first[..first.len() - 1], small.len()).is_err(), "cut");
        assert!(unzstd(&first, small.len() - 1).is_err(), "more than may be");
        for (bytes, level) in [(&large, 3), (&small, 1), (&small, 7), (&large, 1), (&small, 1)] {
            let frame = zstd(bytes, level).unwrap();
            let fresh = zstd::bulk::compress(bytes, level).unwrap();
            assert_eq!(frame, fresh, "{} bytes at level {level}", bytes.len());
            assert_eq!(&unzstd(&frame, bytes.len()).unwrap(), bytes);
        }
    }

    #[test]
    fn short_frame_limits_memory_whatever_size_it_claims() {
        for zeros in [0, 1, BLOCK_MAX, BLOCK_MAX + 1, 40 * BLOCK_MAX] {
            let frame = zstd(&vec![0; zeros], 1).unwrap();
            let plain = unzstd(&frame, usize::MAX).unwrap();
            assert_eq!((plain.len(), plain.iter().all(|byte| *byte == 0)), (zeros, true));
        }
        // Its size in four bytes (RFC 8878, 3.1.1.1), and an empty last block.
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(unzstd(&frame, usize::MAX).unwrap(), [0; 0]);
        frame[8] = 0x40;
        assert!(unzstd(&frame, usize::MAX).is_err(), "a gigabyte in twelve bytes");
    }
}
