//! Whether a client takes the certificate of a server.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::material::validity;

/// What is trusted, and what is checked.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) trust: Trust,
    /// Whether the name in the certificate counts.
    pub(crate) checks_name: bool,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

/// What a certificate has to be.
#[derive(Debug)]
pub(crate) enum Trust {
    /// Anything.
    All,
    /// Signed by one of these, or one of these itself.
    Of {
        /// As authorities.
        roots: Arc<RootCertStore>,
        /// As they are. Java takes what stands in a truststore itself, and what `openssl req -x509`
        /// makes is an authority by its extensions, which no server may be.
        exact: Vec<CertificateDer<'static>>,
    },
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Of { roots, exact } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(certificate)?;
        if exact.iter().any(|it| it.as_ref() == certificate.as_ref()) {
            let valid = validity(certificate).ok_or(CertificateError::BadEncoding)?;
            if now.as_secs() > valid.until {
                return Err(CertificateError::Expired.into());
            }
            if now.as_secs() < valid.from {
                return Err(CertificateError::NotValidYet.into());
            }
        } else {
            let all = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, between, now, all)?;
        }
        if self.checks_name {
            verify_server_name(&parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
