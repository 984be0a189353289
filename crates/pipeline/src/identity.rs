//! The identity of a batch. The first durable channel that a batch enters assigns it. The batch
//! keeps it on every hop and in every retry, so an agent recognises batches that it already has.

mod bound;
mod keys;
mod parts;

use std::fmt;
use std::str::FromStr;

pub use bound::OriginName;
pub use keys::KeySet;
pub use parts::PartNames;

/// The channel that created a batch: 128 bits created with that channel's directory, random or
/// [bound](Origin::bound) to a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(pub [u8; 16]);

/// One life of an origin: it increases, durably, at every start of the channel.
///
/// The upper bits count the starts, the lowest [`Epoch::RANDOM_BITS`] are random. Two running
/// copies of one directory therefore use different identities, and batches of one are never
/// mistaken for batches of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Bits that are random. More would make every set of identities larger.
    pub const RANDOM_BITS: u32 = 20;

    /// No channel starts often enough to reach this epoch: larger values are forged.
    pub const MAX: Self = Self(u64::MAX >> 1);

    /// The epoch of the next start; `random` is any 64 bits.
    #[must_use]
    pub fn next(self, random: u64) -> Self {
        let mask = (1 << Self::RANDOM_BITS) - 1;
        Self((self.starts() + 1) << Self::RANDOM_BITS | random & mask)
    }

    /// Returns the number of this start of the channel, from 1.
    pub fn starts(self) -> u64 {
        self.0 >> Self::RANDOM_BITS
    }
}

/// Number of a batch within its origin and epoch, from 0, without gaps, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub u64);

impl Sequence {
    /// No life has this many batches: larger values are forged.
    pub const MAX: Self = Self(u64::MAX >> 1);
}

/// Names one batch forever. The content that it names never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The channel that created the batch.
    pub origin: Origin,
    /// In which life of that channel.
    pub epoch: Epoch,
    /// The number of the batch in that life.
    pub sequence: Sequence,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Identity {
    /// Formats as `origin/epoch/sequence`, as in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.origin, self.epoch.0, self.sequence.0)
    }
}

/// Why text is not an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an identity `origin/epoch/sequence`: 32 hexadecimal digits and two numbers")]
pub struct MalformedIdentity;

impl FromStr for Origin {
    type Err = MalformedIdentity;

    /// Parses the output of its `Display`: 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A sign would be taken for part of a number.
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(|number| Self(number.to_be_bytes())).ok_or(MalformedIdentity)
    }
}

impl FromStr for Identity {
    type Err = MalformedIdentity;

    /// Parses the output of its `Display`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        let mut next = || parts.next().ok_or(MalformedIdentity);
        let (origin, epoch, sequence) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(MalformedIdentity);
        }
        let number = |text: &str| text.parse().map_err(|_| MalformedIdentity);
        Ok(Self {
            origin: origin.parse()?,
            epoch: Epoch(number(epoch)?),
            sequence: Sequence(number(sequence)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_has_a_higher_epoch_for_any_random_number() {
        let mut epoch = Epoch(3);
        for (start, random) in [(1, 0), (2, u64::MAX), (3, 0), (4, 0x1234_5678)] {
            let next = epoch.next(random);
            assert!(next > epoch && next.starts() == start, "{next:?}");
            assert_ne!(next, epoch.next(random ^ 1), "two copies go on under two epochs");
            epoch = next;
        }
    }

    #[test]
    fn an_identity_is_read_as_it_is_written_and_nothing_else_is() {
        let (origin, epoch) = (Origin([0xab; 16]), Epoch(7 << 20));
        let identity = Identity { origin, epoch, sequence: Sequence(9) };
        assert_eq!(identity.to_string().parse(), Ok(identity));
        for text in ["", "ab/1/2", "/1/2", &format!("{identity}/1"), &format!("{identity}x")] {
            assert_eq!(text.parse::<Identity>(), Err(MalformedIdentity), "{text}");
        }
    }
}
