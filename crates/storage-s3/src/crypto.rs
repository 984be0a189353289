//! Hashes and signatures of requests, by `ring`, which TLS uses too.

use object_store::client::{
    CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm,
};
use object_store::{Error, Result};
use ring::{digest, hmac};

/// What requests are hashed and signed by.
#[derive(Debug)]
pub(crate) struct Ring;

fn unknown(what: &str) -> Error {
    Error::NotSupported { source: format!("{what} is not among what requests of S3 need").into() }
}

impl CryptoProvider for Ring {
    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Box<dyn DigestContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => {
                let state = Some(digest::Context::new(&digest::SHA256));
                Ok(Box::new(Hash { state, done: None }))
            }
            other => Err(unknown(&format!("{other:?}"))),
        }
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> Result<Box<dyn HmacContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                Ok(Box::new(Mac { state: Some(hmac::Context::with_key(&key)), done: None }))
            }
            other => Err(unknown(&format!("{other:?}"))),
        }
    }

    fn sign(&self, algorithm: SigningAlgorithm, _pem: &[u8]) -> Result<Box<dyn Signer>> {
        // Google's service accounts have it.
        Err(unknown(&format!("{algorithm:?}")))
    }
}

/// A hash, until it is asked for.
struct Hash {
    state: Option<digest::Context>,
    done: Option<digest::Digest>,
}

impl DigestContext for Hash {
    fn update(&mut self, data: &[u8]) {
        if let Some(state) = &mut self.state {
            state.update(data);
        }
    }

    fn finish(&mut self) -> Result<&[u8]> {
        if let Some(state) = self.state.take() {
            self.done = Some(state.finish());
        }
        self.done.as_ref().map(AsRef::as_ref).ok_or_else(|| unknown("a hash of nothing"))
    }
}

/// A code, until it is asked for.
struct Mac {
    state: Option<hmac::Context>,
    done: Option<hmac::Tag>,
}

impl HmacContext for Mac {
    fn update(&mut self, data: &[u8]) {
        if let Some(state) = &mut self.state {
            state.update(data);
        }
    }

    fn finish(&mut self) -> Result<&[u8]> {
        if let Some(state) = self.state.take() {
            self.done = Some(state.sign());
        }
        self.done.as_ref().map(AsRef::as_ref).ok_or_else(|| unknown("a code of nothing"))
    }
}
