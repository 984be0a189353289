//! Names of the parts of a batch that a relay splits over several channels.
//!
//! ```text
//!                         ┌─► channel a: part of K, under the origin a(origin) ─┐
//!   batch K ─► selector ──┤                                                     ├─► one agent
//!                         └─► channel b: part of K, under the origin b(origin) ─┘
//! ```
//!
//! Under one name the second part would count as a repetition of the first one in any agent that
//! receives both. The name of a part follows from the names of the batch and the channel. Therefore
//! each agent that splits the batch in this way assigns the same name, and so does each retry.
//!
//! Only the origin changes, by AES-128 with a key derived from the channel's name: the function is
//! invertible, never maps two origins to one, and does not depend on the version of a program. The
//! functions of two relays do not commute, so parts of parts differ as well. The function hides
//! nothing, and is not meant to.

use std::fmt;

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use xxhash_rust::xxh3::xxh3_128;

use super::{Identity, Origin};

/// Names the parts of batches that one channel gets.
#[derive(Clone)]
pub struct PartNames {
    cipher: Aes128,
}

impl PartNames {
    /// Returns the names for the channel with this name in the configuration.
    pub fn new(name: &str) -> Self {
        let key = xxh3_128(name.as_bytes()).to_be_bytes();
        Self { cipher: Aes128::new(&key.into()) }
    }

    /// Returns the origin of parts whose batches have this origin.
    pub fn of_origin(&self, origin: Origin) -> Origin {
        let mut block = origin.0.into();
        self.cipher.encrypt_block(&mut block);
        Origin(block.into())
    }

    /// Returns the origin of the batches whose parts have this origin. Every origin has a result,
    /// even if it is not a part's.
    pub fn original(&self, part: Origin) -> Origin {
        let mut block = part.0.into();
        self.cipher.decrypt_block(&mut block);
        Origin(block.into())
    }

    /// The identity of the part of this batch.
    pub fn of(&self, batch: Identity) -> Identity {
        Identity { origin: self.of_origin(batch.origin), ..batch }
    }
}

impl fmt::Debug for PartNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartNames").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Epoch, Sequence};

    const ORIGIN: Origin = Origin([7; 16]);

    /// A relay assigns the same names before and after an update.
    #[test]
    fn a_part_has_the_name_that_every_version_gives_it() {
        let batch = Identity { origin: ORIGIN, epoch: Epoch(5), sequence: Sequence(9) };
        let part = PartNames::new("main").of(batch);
        assert_eq!(part.to_string(), "edad67e70d3cf3a9f18fb29af676e55c/5/9");
    }

    #[test]
    fn the_parts_of_one_batch_and_the_parts_of_parts_all_differ() {
        let [a, b] = ["a", "b"].map(PartNames::new);
        let of_a_b = b.of_origin(a.of_origin(ORIGIN));
        let of_b_a = a.of_origin(b.of_origin(ORIGIN));
        let of_a_a = a.of_origin(a.of_origin(ORIGIN));
        let mut all =
            vec![ORIGIN, a.of_origin(ORIGIN), b.of_origin(ORIGIN), of_a_b, of_b_a, of_a_a];
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn the_name_of_the_batch_follows_from_that_of_its_part() {
        let names = PartNames::new("a");
        assert_eq!(names.original(names.of_origin(ORIGIN)), ORIGIN);
        assert_ne!(PartNames::new("b").original(names.of_origin(ORIGIN)), ORIGIN);
    }
}
