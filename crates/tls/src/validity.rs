//! Until when certificates are valid.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::{DateTime, Decode};

use crate::names::subject;

/// Seconds since 1970 between which a certificate is valid.
pub(crate) struct Validity {
    pub(crate) from: u64,
    pub(crate) until: u64,
}

/// When a certificate is valid; `None` if it cannot be read.
pub(crate) fn validity(certificate: &[u8]) -> Option<Validity> {
    let parsed = CertificateInner::<Raw>::from_der(certificate).ok()?;
    let validity = parsed.tbs_certificate().validity();
    let from = validity.not_before.to_unix_duration().as_secs();
    let until = validity.not_after.to_unix_duration().as_secs();
    Some(Validity { from, until })
}

/// A certificate of this agent, as messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCertificate {
    /// Its file.
    pub path: PathBuf,
    /// Its subject.
    pub subject: Option<String>,
    /// End of its validity, in seconds since 1970.
    pub expires: u64,
}

impl OwnCertificate {
    /// Of a certificate in this file; `None` if it cannot be read.
    pub(crate) fn from_der(path: &Path, certificate: &[u8]) -> Option<Self> {
        let expires = validity(certificate)?.until;
        Some(Self { path: path.to_owned(), subject: subject(certificate), expires })
    }

    /// Returns `true` if it has expired.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        unix_seconds(now) > self.expires
    }
}

/// `path (subject)`.
impl fmt::Display for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match &self.subject {
            Some(subject) => write!(f, " ({subject})"),
            None => Ok(()),
        }
    }
}

/// A time as people read it: `2026-11-29T21:00:00Z`.
pub fn date(unix_seconds: u64) -> String {
    let date = DateTime::from_unix_duration(Duration::from_secs(unix_seconds));
    date.map_or_else(|_| format!("{unix_seconds} s after 1970"), |date| date.to_string())
}

/// Seconds since 1970.
pub(crate) fn unix_seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}
