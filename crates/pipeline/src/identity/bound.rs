//! Origins that are bound to a name: the one that a certificate proves.
//!
//! ```text
//!   origin   8 random bytes │ first 8 bytes of SHA-256("aqueduct origin 1" 00 name 00 random)
//! ```
//!
//! Any agent that knows the name of a sender can check whether an origin belongs to the sender,
//! without remembering first uses and without a field on the wire. Checking half of the bytes is
//! enough: a sender can choose neither the origin of another one nor the name in its own
//! certificate, so it cannot search for a match. Names are compared in lower case.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crypto::digest::{Context, SHA256};

use super::Origin;
use crate::env::Env;

/// Bytes of an origin that are random.
const RANDOM_BYTES: usize = 8;

/// The prefix of the digest's input.
const DOMAIN: &[u8] = b"aqueduct origin 1\0";

impl Origin {
    /// An origin that is bound to this name.
    pub fn bound(name: &str, random: u64) -> Self {
        let random = random.to_be_bytes();
        let mut origin = [0; 16];
        origin[..RANDOM_BYTES].copy_from_slice(&random);
        origin[RANDOM_BYTES..].copy_from_slice(&seal(name, &random));
        Self(origin)
    }

    /// Returns `true` if it is bound to this name. An origin that was drawn without a name is never
    /// bound.
    pub fn is_bound_to(self, name: &str) -> bool {
        let (random, rest) = self.0.split_at(RANDOM_BYTES);
        seal(name, random) == rest
    }
}

fn seal(name: &str, random: &[u8]) -> [u8; 16 - RANDOM_BYTES] {
    let mut digest = Context::new(&SHA256);
    digest.update(DOMAIN);
    digest.update(name.to_ascii_lowercase().as_bytes());
    digest.update(&[0]);
    digest.update(random);
    let digest = digest.finish();
    digest.as_ref()[..16 - RANDOM_BYTES].try_into().expect("a digest has 32 bytes")
}

type Reader = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The name by which an agent identifies itself to the next one, for channels that create origins:
/// sinks set it, channels read it. Clones share it.
#[derive(Clone, Default)]
pub struct OriginName(Arc<Mutex<Option<Reader>>>);

impl OriginName {
    fn reader(&self) -> MutexGuard<'_, Option<Reader>> {
        // The value is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the function that reads the name. It may block, and returns `None` without a name. The
    /// last call wins.
    pub fn is_read_by(&self, read: impl Fn() -> Option<String> + Send + Sync + 'static) {
        *self.reader() = Some(Arc::new(read));
    }

    /// Creates an origin, bound to the name if there is one. Blocks.
    pub fn origin(&self, env: &Env) -> Origin {
        let reader = self.reader().clone();
        match reader.and_then(|read| read()) {
            Some(name) => Origin::bound(&name, env.entropy.next_u64()),
            None => Origin(env.entropy.bytes16()),
        }
    }
}

impl fmt::Debug for OriginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_known = self.reader().is_some();
        f.debug_struct("OriginName").field("is_known", &is_known).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_bound_to_its_name_and_to_no_other_one() {
        let origin = Origin::bound("web-1.example", 7);
        assert!(origin.is_bound_to("web-1.example") && origin.is_bound_to("WEB-1.example"));
        for other in ["web-2.example", "web-1.example.", "web-1.exampl", ""] {
            assert!(!origin.is_bound_to(other), "{other}");
        }
        assert_ne!(origin, Origin::bound("web-1.example", 8), "each channel has its own");
        for at in 0..16 {
            let mut bytes = origin.0;
            bytes[at] ^= 1;
            assert!(!Origin(bytes).is_bound_to("web-1.example"), "byte {at}");
        }
    }

    /// An origin that one version binds must be bound in another version.
    #[test]
    fn every_version_binds_in_the_same_way() {
        let origin = Origin::bound("web-1", 1);
        assert_eq!(origin.to_string(), "00000000000000011d96d921abf01676");
    }
}
