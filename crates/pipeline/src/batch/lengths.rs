//! The lengths of the bodies of a batch: one number each, as wide as the longest one requires, or
//! none, if the bodies determine them.
//!
//! Most lines are shorter than 256 bytes or 64 KiB, and for short lines the numbers are a
//! considerable part of the stored bytes. For the shortest lines even one byte each is: for lines
//! of ten bytes, an eleventh of everything. If every LF is the end of a body, the lengths can be
//! found again, 64 bytes at a time.

use std::slice;

use bytes::Bytes;
use memchr::memchr_iter;

use super::ends;

/// Bytes of each body, without its separator.
#[derive(Clone)]
pub(super) enum Lengths {
    /// One number for each body.
    Stored {
        /// Bytes of a number.
        width: Width,
        /// Little-endian, end to end.
        bytes: Bytes,
    },
    /// Each body ends before the next LF.
    InBodies {
        /// Number of bodies.
        events: usize,
    },
}

/// Bytes of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// For bodies of up to 255 bytes.
    One = 1,
    /// For bodies of up to 65,535 bytes.
    Two = 2,
    /// For any body.
    Four = 4,
}

impl Width {
    /// Returns the width that is stored as `bytes`, if it is valid.
    pub(super) fn from_bytes(bytes: u8) -> Option<Self> {
        [Self::One, Self::Two, Self::Four].into_iter().find(|width| *width as u8 == bytes)
    }
}

impl Default for Lengths {
    fn default() -> Self {
        Self::from_slice(&[])
    }
}

impl Lengths {
    /// Stores these lengths as narrowly as possible.
    pub(super) fn from_slice(lengths: &[u32]) -> Self {
        let (width, bytes) = match lengths.iter().copied().max().unwrap_or(0) {
            0..=0xff => (Width::One, lengths.iter().map(|length| *length as u8).collect()),
            0x100..=0xffff => {
                let narrow = |length: &u32| (*length as u16).to_le_bytes();
                (Width::Two, lengths.iter().flat_map(narrow).collect())
            }
            _ => (Width::Four, lengths.iter().flat_map(|length| length.to_le_bytes()).collect()),
        };
        let bytes: Vec<u8> = bytes;
        Self::Stored { width, bytes: bytes.into() }
    }

    /// Stores these lengths of some of the bodies in the same form as `self`.
    pub(super) fn of_part(&self, lengths: &[u32]) -> Self {
        match self {
            Self::Stored { .. } => Self::from_slice(lengths),
            Self::InBodies { .. } => Self::InBodies { events: lengths.len() },
        }
    }

    /// Returns the same lengths with the numbers in `bytes`, if they are stored.
    pub(super) fn moved_to(&self, bytes: Bytes) -> Self {
        match *self {
            Self::Stored { width, .. } => Self::Stored { width, bytes },
            Self::InBodies { events } => Self::InBodies { events },
        }
    }

    /// Returns the stored numbers; empty if none are stored.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Stored { bytes, .. } => bytes,
            Self::InBodies { .. } => &[],
        }
    }

    /// Returns the number of bodies.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Stored { width, bytes } => bytes.len() / *width as usize,
            Self::InBodies { events } => *events,
        }
    }

    /// Returns the lengths in order; `bodies` are the bodies of the batch.
    pub(super) fn iter(&self, bodies: &[u8]) -> impl Iterator<Item = usize> {
        match self {
            Self::Stored { width: Width::One, bytes } => Each::One(bytes.iter()),
            Self::Stored { width: Width::Two, bytes } => Each::Two(bytes.as_chunks().0.iter()),
            Self::Stored { width: Width::Four, bytes } => Each::Four(bytes.as_chunks().0.iter()),
            Self::InBodies { .. } => {
                let mut start = 0;
                Each::Found(ends::of_lines(bodies).map(move |end| {
                    let length = end - start;
                    start = end + 1;
                    length
                }))
            }
        }
    }

    /// Returns `true` if the lengths add up to `bodies`, with the separators in their places.
    pub(super) fn fit(&self, bodies: &[u8], separated: bool) -> bool {
        if let Self::InBodies { events } = self {
            return separated
                && bodies.last().is_none_or(|last| *last == b'\n')
                && memchr_iter(b'\n', bodies).count() == *events;
        }
        let (mut end, mut fits) = (0, true);
        self.iter(bodies).for_each(|length| {
            end += length;
            if separated {
                fits &= bodies.get(end) == Some(&b'\n');
                end += 1;
            }
        });
        fits && end == bodies.len()
    }
}

/// Iterates over the lengths of either form.
enum Each<'a, F> {
    One(slice::Iter<'a, u8>),
    Two(slice::Iter<'a, [u8; 2]>),
    Four(slice::Iter<'a, [u8; 4]>),
    Found(F),
}

fn of_two(number: &[u8; 2]) -> usize {
    u16::from_le_bytes(*number).into()
}

fn of_four(number: &[u8; 4]) -> usize {
    u32::from_le_bytes(*number) as usize
}

impl<F: Iterator<Item = usize>> Iterator for Each<'_, F> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        match self {
            Self::One(numbers) => numbers.next().map(|number| usize::from(*number)),
            Self::Two(numbers) => numbers.next().map(of_two),
            Self::Four(numbers) => numbers.next().map(of_four),
            Self::Found(lengths) => lengths.next(),
        }
    }

    /// Checks the form once, not for each length; `for_each` and similar methods use this one.
    #[inline]
    fn fold<B, G: FnMut(B, usize) -> B>(self, init: B, each: G) -> B {
        match self {
            Self::One(numbers) => numbers.map(|number| usize::from(*number)).fold(init, each),
            Self::Two(numbers) => numbers.map(of_two).fold(init, each),
            Self::Four(numbers) => numbers.map(of_four).fold(init, each),
            Self::Found(lengths) => lengths.fold(init, each),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_wide_as_the_longest_asks_and_come_back() {
        let longest = [0, 0xff, 0x100, 0xffff, 0x1_0000, u32::MAX];
        let widths = [Width::One, Width::One, Width::Two, Width::Two, Width::Four, Width::Four];
        for (longest, expected) in longest.into_iter().zip(widths) {
            let lengths = Lengths::from_slice(&[3, longest, 7]);
            assert!(
                matches!(lengths, Lengths::Stored { width, .. } if width == expected),
                "{longest}"
            );
            assert_eq!(lengths.len(), 3);
            assert_eq!(lengths.iter(b"").collect::<Vec<_>>(), [3, longest as usize, 7]);
        }
    }

    #[test]
    fn lengths_that_no_number_tells_are_those_between_the_line_feeds() {
        let lengths = Lengths::InBodies { events: 3 };
        assert_eq!(lengths.iter(b"ab\n\ncde\n").collect::<Vec<_>>(), [2, 0, 3]);
        assert!(lengths.fit(b"ab\n\ncde\n", true));
        for other in [b"ab\n\ncde".as_slice(), b"ab\n\ncde\nf", b"ab\n\ncde\n\n", b"ab\n\n", b""] {
            assert!(!lengths.fit(other, true), "{other:?}");
        }
        assert!(!lengths.fit(b"ab\n\ncde\n", false), "what follows a body is no LF then");
        assert!(Lengths::InBodies { events: 0 }.fit(b"", true));
    }
}
