//! Certificates of clients: which ones a listener accepts, and the names of refused ones.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::names::subject;

tokio::task_local! {
    /// The certificate that is refused in this handshake. rustls has one verifier for all
    /// connections, and drops a certificate that is refused.
    static REFUSED: RefCell<Option<String>>;
}

/// Makes a handshake. Returns its outcome, and the subject of a certificate that was refused in it.
pub(crate) async fn with_rejected_subject<T>(
    handshake: impl Future<Output = T>,
) -> (T, Option<String>) {
    let noted = async {
        let outcome = handshake.await;
        (outcome, REFUSED.with(RefCell::take))
    };
    REFUSED.scope(RefCell::default(), noted).await
}

/// Checks certificates of clients.
#[derive(Debug)]
pub(crate) struct Verifier {
    others: Arc<dyn ClientCertVerifier>,
    /// Also accepted: only the owner of the listener's key can present it.
    own: Option<CertificateDer<'static>>,
}

impl Verifier {
    /// Creates a verifier over `others`, which does not know `own`.
    pub(crate) fn new(
        others: Arc<dyn ClientCertVerifier>,
        own: Option<CertificateDer<'static>>,
    ) -> Self {
        Self { others, own }
    }
}

impl ClientCertVerifier for Verifier {
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
        // Its time does not count: a health check that shows it must not end the listener.
        if self.own.as_ref().is_some_and(|own| own.as_ref() == certificate.as_ref()) {
            return Ok(ClientCertVerified::assertion());
        }
        let verified = self.others.verify_client_cert(certificate, between, now);
        if verified.is_err() {
            // Without a scope the handshake is of no listener that wants to know.
            let _ = REFUSED.try_with(|refused| *refused.borrow_mut() = subject(certificate));
        }
        verified
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
