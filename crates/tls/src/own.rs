//! A listener that takes its own certificate from a client, and of all others those that an
//! authority has signed.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// What checks certificates of clients, but for one.
#[derive(Debug)]
pub(crate) struct OrItself {
    others: Arc<dyn ClientCertVerifier>,
    own: Option<CertificateDer<'static>>,
}

impl OrItself {
    /// All but the first of this chain are checked by `others`.
    pub(crate) fn over(
        others: Arc<dyn ClientCertVerifier>,
        chain: &[CertificateDer<'static>],
    ) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Self { others, own: chain.first().cloned() })
    }
}

impl ClientCertVerifier for OrItself {
    fn offer_client_auth(&self) -> bool {
        self.others.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.others.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.others.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Its time does not count: what asks whether the listener works is no reason to end it.
        if self.own.as_ref().is_some_and(|own| own.as_ref() == certificate.as_ref()) {
            return Ok(ClientCertVerified::assertion());
        }
        self.others.verify_client_cert(certificate, between, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.others.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.others.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.others.supported_verify_schemes()
    }
}
