//! zstd frames, by contexts that each thread keeps: a new one for every frame costs more than a
//! small frame itself, which is what most frames are when edges are calm.
//!
//! A thread holds the working memory of both directions until it ends; the bytes themselves not.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};

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
        // One that failed is not used again.
        contexts.compressor = Some(compressor);
        Ok(frame)
    })
}

/// What is in a zstd frame; takes no more memory for it than `plain_max` bytes.
///
/// # Errors
/// It is no such frame, or there is more in it.
pub fn unzstd(frame: &[u8], plain_max: usize) -> io::Result<Vec<u8>> {
    CONTEXTS.with_borrow_mut(|contexts| {
        let mut decompressor = match contexts.decompressor.take() {
            Some(kept) => kept,
            None => Decompressor::new()?,
        };
        let plain = decompressor.decompress(frame, plain_max)?;
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
}
