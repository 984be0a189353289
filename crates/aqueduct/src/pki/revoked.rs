//! The revocation list of an authority (RFC 5280, section 5): reads it and adds certificates. No
//! files, no clock.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, date_time_ymd};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::parse_x509_pem;
use x509_parser::revocation_list::CertificateRevocationList;

use super::authority::{Authority, BEFORE, failed, since_1970};

/// A signed list.
pub(super) struct List {
    pub(super) pem: String,
    /// Number of revoked certificates.
    pub(super) count: usize,
}

/// A revoked certificate.
struct Entry {
    serial: Vec<u8>,
    since_1970: Duration,
}

/// The names in a certificate: its subject and its issuer.
pub(super) struct Names {
    pub(super) subject: Vec<u8>,
    issuer: Vec<u8>,
    pub(super) key: Option<Vec<u8>>,
    issuer_key: Option<Vec<u8>>,
    serial: Vec<u8>,
}

impl Names {
    pub(super) fn from_certificate(certificate: &X509Certificate<'_>) -> Self {
        let parsed = certificate.extensions().iter().map(|it| it.parsed_extension());
        let (mut key, mut issuer_key) = (None, None);
        for extension in parsed {
            match extension {
                ParsedExtension::SubjectKeyIdentifier(id) => key = Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    issuer_key = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                _ => {}
            }
        }
        Self {
            subject: certificate.subject().as_raw().to_vec(),
            issuer: certificate.issuer().as_raw().to_vec(),
            key,
            issuer_key,
            serial: certificate.raw_serial().to_vec(),
        }
    }

    /// Returns whether `authority` signed this certificate, judged by the names and key ids.
    fn is_of(&self, authority: &Self) -> bool {
        // Authorities of other tools may share a name; their keys differ.
        let keys = self.issuer_key.as_ref().zip(authority.key.as_ref());
        self.issuer == authority.subject && keys.is_none_or(|(own, other)| own == other)
    }
}

/// Returns the list `before`, if any, with these certificates added.
///
/// # Errors
/// A list or a certificate does not belong to the authority.
pub(super) fn revoke(
    authority: &Authority,
    before: Option<&str>,
    certificates: &[&str],
    now: SystemTime,
) -> Result<List, String> {
    let now = since_1970(now);
    let (mut entries, number) = before.map_or(Ok((Vec::new(), 0)), read)?;
    for pem in certificates {
        let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|error| {
            format!("is not a PEM file with a certificate: {error}; name the certificate to revoke")
        })?;
        let parsed = pem.parse_x509().map_err(|error| {
            format!("is not a valid certificate: {error}; name the certificate to revoke")
        })?;
        let names = Names::from_certificate(&parsed);
        if !names.is_of(&authority.names) {
            return Err("is not signed by this authority; name the directory of its authority as \
                        --ca"
                .to_owned());
        }
        if entries.iter().all(|known| known.serial != names.serial) {
            entries.push(Entry { serial: names.serial, since_1970: now });
        }
    }
    let epoch = date_time_ymd(1970, 1, 1);
    let revoked = entries.iter().map(|entry| RevokedCertParams {
        serial_number: entry.serial.clone().into(),
        revocation_time: epoch + entry.since_1970,
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: epoch + now.saturating_sub(BEFORE),
        // Nothing renews the list on a schedule, so it is valid as long as its authority.
        next_update: epoch + authority.until.max(now + BEFORE),
        crl_number: (number + 1).into(),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(&authority.issuer).map_err(|error| failed(&error))?;
    Ok(List { pem: list.pem().map_err(|error| failed(&error))?, count: entries.len() })
}

/// Parses the entries and the number of a list.
fn read(pem: &str) -> Result<(Vec<Entry>, u64), String> {
    let wrong = |error: &dyn std::fmt::Display| {
        format!("is not a revocation list: {error}; restore it from a copy")
    };
    let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|error| wrong(&error))?;
    let (_, list) =
        <CertificateRevocationList<'_> as x509_parser::prelude::FromDer<'_, _>>::from_der(
            &pem.contents,
        )
        .map_err(|error| wrong(&error))?;
    let entries = list.iter_revoked_certificates().map(|it| Entry {
        serial: it.raw_serial().to_vec(),
        since_1970: Duration::from_secs(
            u64::try_from(it.revocation_date.timestamp()).unwrap_or_default(),
        ),
    });
    let number = list.crl_number().and_then(|number| number.to_u64_digits().first().copied());
    Ok((entries.collect(), number.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::authority::{Role, make};
    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    fn authority() -> Authority {
        let made = make("Test", 3650, NOW).unwrap();
        Authority::load(&made.certificate, &made.key).unwrap()
    }

    fn certificate(of: &Authority) -> String {
        of.issue(Role::Edge, &["web-1".to_owned()], 397, NOW).unwrap().certificate
    }

    #[test]
    fn a_list_keeps_what_is_on_it_and_has_each_certificate_once() {
        let authority = authority();
        let [one, two] = [(); 2].map(|()| certificate(&authority));
        let empty = revoke(&authority, None, &[], NOW).unwrap();
        let first = revoke(&authority, Some(&empty.pem), &[&one], NOW).unwrap();
        let both = revoke(&authority, Some(&first.pem), &[&one, &two], NOW).unwrap();
        assert_eq!([empty.count, first.count, both.count], [0, 1, 2]);
        let (entries, number) = read(&both.pem).unwrap();
        assert_eq!((entries.len(), number), (2, 3));
    }

    #[test]
    fn a_certificate_of_another_authority_is_refused() {
        let other = certificate(&authority());
        let problem = revoke(&authority(), None, &[&other], NOW).err().unwrap();
        assert_eq!(
            problem,
            "is not signed by this authority; name the directory of its authority as --ca"
        );
        let problem = revoke(&authority(), Some(&other), &[], NOW).err().unwrap();
        assert!(problem.starts_with("is not a revocation list"), "{problem}");
    }
}
