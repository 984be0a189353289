//! Origins that are bound to a name: the one that a certificate proves.
//!
//! ```text
//!   origin   8 random bytes │ first 8 bytes of SHA-256("aqueduct origin 1" 00 name 00 random)
//! ```
//!
//! Each agent that knows the name of a sender sees whether an origin is the sender's own, without a
//! memory of first uses and without a field on the wire. The half that is checked is enough: a
//! sender can choose neither the origin of another one nor the name in its own certificate, so
//! there is nothing to search through. Names count in lower case.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crypto::digest::{Context, SHA256};

use super::Origin;
use crate::env::Env;

/// Bytes of an origin that are random.
const RANDOM_BYTES: usize = 8;

/// What the digest begins with.
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

    /// Whether it is bound to this name. One that was drawn without a name is bound to none.
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

/// Under which name an agent shows itself to the next one, for the channels that make origins: what
/// sends from a channel says it, the channel asks. Clones share it.
#[derive(Clone, Default)]
pub struct OriginName(Arc<Mutex<Option<Reader>>>);

impl OriginName {
    fn reader(&self) -> MutexGuard<'_, Option<Reader>> {
        // It is replaced whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This reads the name, which may block; `None` where there is none. Of several the latest
    /// counts.
    pub fn is_read_by(&self, read: impl Fn() -> Option<String> + Send + Sync + 'static) {
        *self.reader() = Some(Arc::new(read));
    }

    /// A new origin: bound to the name, where there is one. Blocks.
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

    /// What one version binds, another one has to find bound.
    #[test]
    fn every_version_binds_in_the_same_way() {
        let origin = Origin::bound("web-1", 1);
        assert_eq!(origin.to_string(), "00000000000000011d96d921abf01676");
    }
}
