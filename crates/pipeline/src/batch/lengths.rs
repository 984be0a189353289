//! How long each body of a batch is: one number each, as wide as the longest one asks.
//!
//! Most lines are shorter than 256 bytes or 64 KiB, and of short ones the numbers are a good part of
//! what is stored and sent.

use bytes::Bytes;

/// Bytes of each body, without its separator.
#[derive(Clone, Default)]
pub(super) struct Lengths {
    width: Width,
    /// Little-endian, end to end.
    bytes: Bytes,
}

/// Bytes of one number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Width {
    /// For bodies of up to 255 bytes.
    #[default]
    One = 1,
    /// For bodies of up to 65,535 bytes.
    Two = 2,
    /// For any body.
    Four = 4,
}

impl Width {
    /// The width that is stored as `bytes`; `None` if there is no such width.
    pub(super) fn from_bytes(bytes: u8) -> Option<Self> {
        [Self::One, Self::Two, Self::Four].into_iter().find(|width| *width as u8 == bytes)
    }
}

impl Lengths {
    /// These lengths, as narrow as they may be.
    pub(super) fn of(lengths: &[u32]) -> Self {
        let (width, bytes) = match lengths.iter().copied().max().unwrap_or(0) {
            0..=0xff => (Width::One, lengths.iter().map(|length| *length as u8).collect()),
            0x100..=0xffff => {
                let narrow = |length: &u32| (*length as u16).to_le_bytes();
                (Width::Two, lengths.iter().flat_map(narrow).collect())
            }
            _ => (Width::Four, lengths.iter().flat_map(|length| length.to_le_bytes()).collect()),
        };
        let bytes: Vec<u8> = bytes;
        Self { width, bytes: bytes.into() }
    }

    /// What [`Lengths::bytes`] gave; `bytes` is a whole number of `width`.
    pub(super) fn from_parts(width: Width, bytes: Bytes) -> Self {
        debug_assert_eq!(bytes.len() % width as usize, 0);
        Self { width, bytes }
    }

    pub(super) fn width(&self) -> Width {
        self.width
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.width as usize
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// In order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        let width = self.width;
        self.bytes.chunks_exact(width as usize).map(move |number| match (width, number) {
            (Width::One, &[a]) => usize::from(a),
            (Width::Two, &[a, b]) => usize::from(u16::from_le_bytes([a, b])),
            (Width::Four, &[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]) as usize,
            _ => 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_wide_as_the_longest_asks_and_come_back() {
        let longest = [0, 0xff, 0x100, 0xffff, 0x1_0000, u32::MAX];
        let widths = [Width::One, Width::One, Width::Two, Width::Two, Width::Four, Width::Four];
        for (longest, width) in longest.into_iter().zip(widths) {
            let lengths = Lengths::of(&[3, longest, 7]);
            assert_eq!(lengths.width(), width, "for {longest}");
            assert_eq!(lengths.len(), 3);
            assert_eq!(lengths.iter().collect::<Vec<_>>(), [3, longest as usize, 7]);
        }
    }
}
