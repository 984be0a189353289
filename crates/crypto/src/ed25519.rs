//! Signatures of Ed25519 (RFC 8032), by which clients prove themselves to servers.

#[cfg(feature = "fips")]
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
#[cfg(not(feature = "fips"))]
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// Bytes of a seed.
pub const SEED_BYTES: usize = 32;

/// A private key.
pub struct Key(Ed25519KeyPair);

impl Key {
    /// That of a seed. Any bytes are one.
    ///
    /// # Panics
    /// The library has no memory for it.
    pub fn of_seed(seed: &[u8; SEED_BYTES]) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(seed);
        Self(key.expect("both libraries refuse other lengths alone"))
    }

    /// The public key.
    pub fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// The signature of `text`, 64 bytes. It is the same each time.
    pub fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.0.sign(text).as_ref().to_vec()
    }
}
