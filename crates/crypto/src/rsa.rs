//! Signatures of RSA, which accounts of services sign their requests by.

#[cfg(feature = "fips")]
use aws_lc_rs::{rand::SystemRandom, signature};
#[cfg(not(feature = "fips"))]
use ring::{rand::SystemRandom, signature};
use thiserror::Error;

/// A private key.
pub struct Key(signature::RsaKeyPair);

/// Why a key is no use.
#[derive(Debug, Error)]
pub enum RsaError {
    /// It is no private key of RSA, or one of a size that the library refuses.
    #[error("{0}")]
    Key(String),
    /// The library does not sign by it.
    #[error("cannot sign with this RSA key; create another key for the account")]
    Sign,
}

impl Key {
    /// Of PKCS#8, in DER.
    ///
    /// # Errors
    /// It is no such key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, RsaError> {
        let key = signature::RsaKeyPair::from_pkcs8(der);
        key.map(Self).map_err(|error| RsaError::Key(error.to_string()))
    }

    /// Of PKCS#1, in DER.
    ///
    /// # Errors
    /// It is no such key.
    pub fn from_pkcs1(der: &[u8]) -> Result<Self, RsaError> {
        let key = signature::RsaKeyPair::from_der(der);
        key.map(Self).map_err(|error| RsaError::Key(error.to_string()))
    }

    /// The signature of `text`: PKCS#1 1.5 over SHA-256, as long as the modulus.
    ///
    /// # Errors
    /// The library does not sign by this key.
    pub fn sign_sha256(&self, text: &[u8]) -> Result<Vec<u8>, RsaError> {
        #[cfg(feature = "fips")]
        let len = self.0.public_modulus_len();
        #[cfg(not(feature = "fips"))]
        let len = self.0.public().modulus_len();
        let mut signature = vec![0; len];
        let kind = &signature::RSA_PKCS1_SHA256;
        let signed = self.0.sign(kind, &SystemRandom::new(), text, &mut signature);
        signed.map_err(|_| RsaError::Sign)?;
        Ok(signature)
    }
}
