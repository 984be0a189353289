//! Hashes and signatures of requests, by the library that TLS has too.

use crypto::{digest, hmac, rsa};
use object_store::client::{
    CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm,
};
use object_store::{Error, Result};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

/// Hashes and signs requests.
#[derive(Debug)]
pub(crate) struct Signatures;

fn unknown(what: &str) -> Error {
    Error::NotSupported { source: format!("{what} is not supported for signing requests").into() }
}

impl CryptoProvider for Signatures {
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

    /// By the key of a service account of Google.
    fn sign(&self, algorithm: SigningAlgorithm, pem: &[u8]) -> Result<Box<dyn Signer>> {
        match algorithm {
            SigningAlgorithm::RS256 => Ok(Box::new(Rsa(rsa_key(pem)?))),
            other => Err(unknown(&format!("{other:?}"))),
        }
    }
}

/// The RSA key in a text in PEM.
fn rsa_key(pem: &[u8]) -> Result<rsa::Key> {
    let unusable = |problem: String| Error::Generic { store: "key", source: problem.into() };
    let key = PrivateKeyDer::from_pem_slice(pem);
    let key = key.map_err(|error| {
        unusable(format!(
            "`private_key` is not a PEM key: {error}; create another key file for the account"
        ))
    })?;
    let key = match &key {
        PrivateKeyDer::Pkcs8(key) => rsa::Key::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => rsa::Key::from_pkcs1(key.secret_pkcs1_der()),
        _ => {
            return Err(unusable(
                "`private_key` is not an RSA key; create another key file for the account".into(),
            ));
        }
    };
    key.map_err(|error| {
        unusable(format!(
            "`private_key` is not an RSA key: {error}; create another key file for the account"
        ))
    })
}

/// An RSA key that signs.
struct Rsa(rsa::Key);

impl Signer for Rsa {
    fn sign(&self, text: &[u8]) -> Result<Vec<u8>> {
        self.0.sign_sha256(text).map_err(|_| unknown("a key of this size"))
    }
}

/// A hash that is being computed.
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
        self.done.as_ref().map(AsRef::as_ref).ok_or_else(|| unknown("an unfinished hash"))
    }
}

/// A code that is being computed.
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
        self.done.as_ref().map(AsRef::as_ref).ok_or_else(|| unknown("an unfinished MAC"))
    }
}
