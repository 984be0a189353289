//! Finds the ends of short lines, in order.
//!
//! Lines of a log are long enough for `memchr` to search for the next end from the last one. If
//! there is an end every few bytes, restarting the search costs more than the search. Therefore 64
//! bytes are compared first and give a mask, whose bits are the ends among them.

use std::iter::once_with;

/// Bytes that one mask speaks of.
const CHUNK: usize = 64;

/// The place of each LF of `data`.
pub(super) fn of_lines(data: &[u8]) -> impl Iterator<Item = usize> {
    let (chunks, rest) = data.as_chunks::<CHUNK>();
    let masks = chunks.iter().map(mask_of_chunk).chain(once_with(|| mask_of_rest(rest)));
    Ends { masks: masks.enumerate(), base: 0, mask: 0 }
}

struct Ends<M> {
    masks: M,
    /// The offset of the bytes of `mask`.
    base: usize,
    /// The remaining ends among them.
    mask: u64,
}

impl<M: Iterator<Item = (usize, u64)>> Iterator for Ends<M> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.mask == 0 {
            let (number, mask) = self.masks.next()?;
            (self.base, self.mask) = (number * CHUNK, mask);
        }
        let at = self.base + self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        Some(at)
    }
}

/// Returns which of these bytes are LF; the first one is the lowest bit.
fn mask_of_chunk(chunk: &[u8; CHUNK]) -> u64 {
    let (words, _) = chunk.as_chunks::<8>();
    words.iter().rev().fold(0, |mask, word| mask << 8 | mask_of_word(u64::from_le_bytes(*word)))
}

/// Compares eight bytes in one register: "Hacker's Delight", 6-1, finds zero bytes, and a
/// multiplication collects the results in the highest byte.
fn mask_of_word(word: u64) -> u64 {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    const LOW: u64 = EACH * 0x7f;
    let differs = word ^ (EACH * b'\n' as u64);
    // The highest bit of each byte that is LF.
    let found = !(((differs & LOW) + LOW) | differs | LOW);
    (found >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

fn mask_of_rest(rest: &[u8]) -> u64 {
    rest.iter().rev().fold(0, |mask, byte| mask << 1 | u64::from(*byte == b'\n'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_end_is_found_and_nothing_else(data in "[ab\n\u{8a}]{0,300}") {
            let expected: Vec<usize> =
                data.match_indices('\n').map(|(at, _)| at).collect();
            prop_assert_eq!(of_lines(data.as_bytes()).collect::<Vec<_>>(), expected);
        }
    }
}
