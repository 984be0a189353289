//! The one place that names a cryptographic library. All other crates take hashes, codes, seals,
//! signatures, random bytes and the provider of TLS from here.
//!
//! ```text
//!                    default build        feature `fips`
//!   aead, digest,    ring                 aws-lc-rs over the FIPS module of AWS-LC
//!   hmac, rsa,
//!   ed25519, random
//!   tls::provider    rustls with ring     rustls with that module: what is approved alone
//!   start            nothing              mode and self-tests of the module, or no start
//!   allow            everything           refuses what another library would compute (`Outside`)
//! ```
//!
//! Invariants:
//! - One build has one library. What both compute is equal to the bit, so that files and messages
//!   of both builds are the same ones (`tests/vectors.rs`).
//! - Features of cargo only add: with `fips` the crate `ring` is still compiled, and nothing calls
//!   it. `tests/fips` holds the symbols of the program against that.
//! - Cryptography that protocols of others bring with their own libraries is a row of [`Outside`],
//!   and nowhere else: the row has the text of the refusal, and `docs/fips.md` names each.

mod outside;
mod start;

pub mod ed25519;
pub mod random;
pub mod rsa;
pub mod tls;

#[cfg(feature = "fips")]
pub use aws_lc_rs::{aead, digest, hmac};
#[cfg(not(feature = "fips"))]
pub use ring::{aead, digest, hmac};

#[cfg(feature = "testkit")]
pub use outside::refusing;
pub use outside::{Outside, Refused, allow};
pub use start::{NotStarted, module, start};

/// Whether this is the FIPS build.
pub const IS_FIPS: bool = cfg!(feature = "fips");
