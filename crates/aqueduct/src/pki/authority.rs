//! The authority: keys, certificates, and their permitted uses. No files, no clock.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use x509_parser::pem::parse_x509_pem;

use super::revoked::Names;

/// Certificates are valid from one hour before their creation, because clocks differ.
pub(super) const BEFORE: Duration = Duration::from_secs(3600);

/// The attribute `serialNumber` of a name (X.520).
const SERIAL_NUMBER: &[u64] = &[2, 5, 4, 5];

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Purpose of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A client.
    Edge,
    /// A server with these names, and a client of the next tier.
    Collector,
}

/// A certificate and its key, both in PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
    /// Expiry, as text.
    pub(super) until: String,
}

/// A key pair that signs certificates.
pub(super) struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    /// Expiry, as time since 1970.
    pub(super) until: Duration,
    pub(super) names: Names,
}

/// Creates an authority with this common name.
///
/// # Errors
/// The name contains no letter.
pub(super) fn make(name: &str, days: u32, now: SystemTime) -> Result<Issued, String> {
    if name.trim().is_empty() {
        return Err("--name: must not be empty".into());
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let until = since_1970(now) + DAY * days;
    set_validity(&mut params, since_1970(now), until);
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    // A unique name: revocation list lookups confuse authorities with the same name.
    let own: String =
        key.public_key_raw().iter().rev().take(8).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name.push(DnType::CustomDnType(SERIAL_NUMBER.to_vec()), own);
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem(), until: text(until) })
}

impl Authority {
    /// Loads the authority from its certificate and key.
    ///
    /// # Errors
    /// They cannot be parsed, or do not belong to an authority.
    pub(super) fn load(certificate: &str, key: &str) -> Result<Self, String> {
        let key = KeyPair::from_pem(key).map_err(|error| {
            format!(
                "ca.key is not a private key in PEM: {error}; restore it from a copy, or create \
                 another authority with `aqueduct pki init DIR`"
            )
        })?;
        let wrong = |error: &dyn std::fmt::Display| {
            format!(
                "ca.pem: {error}; restore it from a copy, or create another authority with \
                 `aqueduct pki init DIR`"
            )
        };
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).map_err(|error| wrong(&error))?;
        let parsed = pem.parse_x509().map_err(|error| wrong(&error))?;
        if !parsed.is_ca() {
            return Err(wrong(&"is not the certificate of an authority"));
        }
        if parsed.public_key().subject_public_key.as_ref() != key.public_key_raw() {
            return Err(
                "ca.pem and ca.key belong to different authorities; restore both from the same copy"
                    .into(),
            );
        }
        let names = Names::from_certificate(&parsed);
        let until = parsed.validity().not_after.timestamp();
        let until = Duration::from_secs(u64::try_from(until).unwrap_or_default());
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(|error| wrong(&error))?;
        Ok(Self { issuer, until, names })
    }

    /// Creates a key and a certificate for these names.
    ///
    /// # Errors
    /// A name is not a host name, or the authority has expired.
    pub(super) fn issue(
        &self,
        role: Role,
        names: &[String],
        days: u32,
        now: SystemTime,
    ) -> Result<Issued, String> {
        let now = since_1970(now);
        if now >= self.until {
            let until = text(self.until);
            return Err(format!(
                "the authority expired at {until}: create another one with `aqueduct pki init DIR`"
            ));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let first = names
            .first()
            .ok_or("a certificate needs a name; pass the host name or the name of the edge")?;
        params.distinguished_name.push(DnType::CommonName, first.as_str());
        params.subject_alt_names =
            names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if role == Role::Collector {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        let until = (now + DAY * days).min(self.until);
        set_validity(&mut params, now, until);
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(|error| failed(&error))?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem(), until: text(until) })
    }
}

/// Converts a name as clients look it up. The name is also used for files.
fn alternative(name: &str) -> Result<SanType, String> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-')
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(format!(
            "`{name}` is not a host name: write letters, digits, `-` and dots, or an IP address"
        ));
    }
    Ok(SanType::DnsName(name.try_into().map_err(|error| failed(&error))?))
}

fn set_validity(params: &mut CertificateParams, from: Duration, until: Duration) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + from.saturating_sub(BEFORE);
    params.not_after = epoch + until;
}

pub(super) fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Formats a time like a certificate does, to the second.
fn text(since_1970: Duration) -> String {
    let whole = UNIX_EPOCH + Duration::from_secs(since_1970.as_secs());
    humantime::format_rfc3339_seconds(whole).to_string()
}

pub(super) fn failed(error: &rcgen::Error) -> String {
    format!("cannot create a certificate: {error}; report this as a bug")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(days: u32) -> SystemTime {
        UNIX_EPOCH + DAY * days
    }

    fn made(days: u32) -> Authority {
        let issued = make("Test", days, day(20_000)).unwrap();
        Authority::load(&issued.certificate, &issued.key).unwrap()
    }

    fn issue(authority: &Authority, names: &[&str]) -> Result<Issued, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        authority.issue(Role::Edge, &names, 397, day(20_000))
    }

    #[test]
    fn no_certificate_outlives_its_authority() {
        assert_eq!(issue(&made(10), &["web-1"]).unwrap().until, "2024-10-14T00:00:00Z");
        assert_eq!(issue(&made(3650), &["web-1"]).unwrap().until, "2025-11-05T00:00:00Z");
        let late = made(10).issue(Role::Edge, &["web-1".to_owned()], 1, day(20_010));
        let problem = "the authority expired at 2024-10-14T00:00:00Z: create another one with \
                       `aqueduct pki init DIR`";
        assert_eq!(late.err().unwrap(), problem);
    }

    #[test]
    fn names_are_hosts_and_addresses_and_no_paths() {
        let authority = made(10);
        for name in ["web-1", "a.example", "10.0.0.7", "::1", "under_score"] {
            assert!(issue(&authority, &[name]).is_ok(), "{name}");
        }
        for name in ["", "../x", "a/b", "a b", ".hidden", "a..b", "-x", "Zürich"] {
            let problem = issue(&authority, &[name]).err().unwrap();
            assert!(problem.contains("is not a host name"), "{name}: {problem}");
        }
    }

    #[test]
    fn key_and_certificate_of_two_authorities_do_not_sign() {
        let [one, two] = [1, 2].map(|_| make("Test", 10, day(20_000)).unwrap());
        let problem = Authority::load(&one.certificate, &two.key).err().unwrap();
        assert!(
            problem.starts_with("ca.pem and ca.key belong to different authorities"),
            "{problem}"
        );
        let names = ["web-1".to_owned()];
        let authority = Authority::load(&one.certificate, &one.key).unwrap();
        let edge = authority.issue(Role::Edge, &names, 10, day(20_000)).unwrap();
        let problem = Authority::load(&edge.certificate, &edge.key).err().unwrap();
        assert!(problem.starts_with("ca.pem: is not the certificate of an authority"), "{problem}");
    }
}
