//! Verifies the certificate of a server for a client.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::problem::TlsError;
use crate::validity::validity;

/// The trusted certificates, and the checks.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) trust: Trust,
    /// True if the name in the certificate is checked.
    pub(crate) checks_name: bool,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

/// The requirement for a certificate.
#[derive(Debug)]
pub(crate) enum Trust {
    /// Anything.
    All,
    /// Signed by one of these, or one of these itself.
    Of {
        /// Trusted as authorities, if any of them can be one.
        signed: Option<Arc<WebPkiServerVerifier>>,
        /// Exact matches. Java accepts the certificates in a truststore themselves; a certificate
        /// of `openssl req -x509` is an authority by its extensions, which a server must not be.
        exact: Vec<CertificateDer<'static>>,
    },
}

/// Checks that one of these authorities signed a certificate, and that none of these lists has it.
pub(crate) fn signed(
    roots: RootCertStore,
    crls: Option<Vec<CertificateRevocationListDer<'static>>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<WebPkiServerVerifier>>, TlsError> {
    if roots.is_empty() {
        return Ok(None);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .with_crls(crls.unwrap_or_default())
        .build();
    let verifier = verifier.map_err(|error| Error::General(error.to_string()));
    verifier.map(Some).map_err(TlsError::Refused)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Of { signed, exact } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        if exact.iter().any(|it| it.as_ref() == certificate.as_ref()) {
            let valid = validity(certificate).ok_or(CertificateError::BadEncoding)?;
            if now.as_secs() > valid.until {
                return Err(CertificateError::Expired.into());
            }
            if now.as_secs() < valid.from {
                return Err(CertificateError::NotValidYet.into());
            }
            if self.checks_name {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let signed = signed.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        // The name is its last check.
        match signed.verify_server_cert(certificate, between, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
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
