//! The names of an agent in its certificate.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};

use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Names of one certificate that are looked at.
const NAMES_MAX: usize = 32;

/// Characters of a name.
const CHARACTERS_MAX: usize = 253;

/// Returns the names in this certificate, in lower case and in order: hosts, addresses and URIs of
/// `subjectAltName`, or without those, the common name. An authority that verifies only the
/// alternative names therefore proves all names that count (RFC 9525).
pub(crate) fn names(certificate: &[u8]) -> Vec<Arc<str>> {
    let Ok(parsed) = CertificateInner::<Raw>::from_der(certificate) else { return Vec::new() };
    let parsed = parsed.tbs_certificate();
    // The common name must not replace names that cannot be read.
    let Ok(alternatives) = parsed.get_extension::<SubjectAltName>() else { return Vec::new() };
    let alternatives = alternatives.iter().flat_map(|(_, names)| &names.0);
    let mut names: Vec<Arc<str>> = alternatives.filter_map(alternative).take(NAMES_MAX).collect();
    if names.is_empty() {
        let common = parsed.subject().common_name().ok().flatten();
        names.extend(common.and_then(|common| name(&common.value())));
    }
    names
}

/// Returns the name of a certificate for messages: its first name, else its subject.
pub(crate) fn subject(certificate: &[u8]) -> Option<String> {
    if let Some(name) = names(certificate).first() {
        return Some(name.to_string());
    }
    let parsed = CertificateInner::<Raw>::from_der(certificate).ok()?;
    let subject = parsed.tbs_certificate().subject().to_string();
    (!subject.is_empty()).then_some(subject)
}

fn alternative(alternative: &GeneralName) -> Option<Arc<str>> {
    match alternative {
        GeneralName::DnsName(text) | GeneralName::UniformResourceIdentifier(text) => {
            name(text.as_str())
        }
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let four = <[u8; 4]>::try_from(bytes).map(|it| Ipv4Addr::from(it).to_string());
            let six = || <[u8; 16]>::try_from(bytes).map(|it| Ipv6Addr::from(it).to_string());
            four.or_else(|_| six()).ok().map(Arc::from)
        }
        _ => None,
    }
}

/// Returns a name that can be displayed: it may come from a foreign authority.
pub(crate) fn name(text: &str) -> Option<Arc<str>> {
    let is_plain = text.chars().all(|it| !it.is_control() && !it.is_whitespace());
    let fits = !text.is_empty() && text.len() <= CHARACTERS_MAX;
    (is_plain && fits).then(|| text.to_ascii_lowercase().into())
}

/// The names that a client has proved: by its certificate, once its handshake is over, or by a
/// token. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ClientNames(Arc<OnceLock<Proved>>);

#[derive(Debug)]
struct Proved {
    by: Proof,
    names: Vec<Arc<str>>,
}

/// The proof of a client's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A certificate.
    Certificate,
    /// A token.
    Token,
}

impl Proof {
    /// For people and programs: `certificate` or `token`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
        }
    }
}

impl ClientNames {
    /// Creates the names of a client with a token.
    pub fn from_token(name: Arc<str>) -> Self {
        Self(Arc::new(OnceLock::from(Proved { by: Proof::Token, names: vec![name] })))
    }

    /// Sets the names of a client with this certificate.
    pub(crate) fn prove(&self, certificate: &[u8]) {
        // A stream has one handshake.
        let _ = self.0.set(Proved { by: Proof::Certificate, names: names(certificate) });
    }

    /// Returns all names; the first one identifies the client.
    pub fn all(&self) -> &[Arc<str>] {
        self.0.get().map_or(&[], |proved| &proved.names)
    }

    /// Returns its first name.
    pub fn first(&self) -> Option<&Arc<str>> {
        self.all().first()
    }

    /// Returns its first name, and the proof.
    pub fn proved(&self) -> Option<(&Arc<str>, Proof)> {
        let proved = self.0.get()?;
        Some((proved.names.first()?, proved.by))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn material(name: &str) -> Vec<Arc<str>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/material");
        names(&CertificateDer::from_pem_file(folder.join(name)).unwrap())
    }

    #[test]
    fn the_alternative_names_count_and_without_any_the_common_name() {
        let words = |names: &[Arc<str>]| names.join(" ");
        assert_eq!(words(&material("client.pem")), "client.example");
        assert_eq!(words(&material("server.pem")), "localhost 127.0.0.1");
        assert_eq!(words(&material("ca.pem")), "ca");
        assert!(names(b"no certificate").is_empty());
    }

    #[test]
    fn a_name_that_could_forge_a_line_of_a_log_is_none() {
        for text in ["", "a b", "a\nb", "\u{1b}[31m", &"x".repeat(254)] {
            assert_eq!(name(text), None, "{text:?}");
        }
        assert_eq!(name("Web-1.Example").as_deref(), Some("web-1.example"));
    }
}
