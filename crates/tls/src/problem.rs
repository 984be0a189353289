//! Errors of certificates and handshakes, which name the file or the remedy.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use peers::RefusalReason;
use rustls::{AlertDescription, CertificateError, Error};
use thiserror::Error;

use crate::validity::{OwnCertificate, date};

/// Why certificates cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(
        "cannot read {} (`tls.{setting}`); the user of this process must be able to read it",
        path.display()
    )]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A file has other contents than its setting requires.
    #[error("{} (`tls.{setting}`) {problem}", path.display())]
    Content {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The problem and the remedy.
        problem: String,
    },
    /// No authorities are known.
    #[error(
        "this host has no file of certificate authorities; install the package ca-certificates, \
         or set `tls.ca`"
    )]
    NoAuthorities,
    /// rustls refuses the settings.
    #[error("cannot set up TLS with the settings of `tls`; correct them")]
    Refused(#[source] Error),
}

/// The prefix of a text that explains a failed handshake. Transports pass on only the text.
const PREFIX: &str = "TLS handshake: ";

/// Returns `true` if a text already explains why a handshake failed.
pub fn is_explained(text: &str) -> bool {
    text.contains(PREFIX)
}

/// Returns `true` if this answer to a probe refuses the client, or the kind of connection: nginx
/// and Apache answer 400 to plain text when they expect TLS, and to a client without a certificate.
pub fn refused_by_http(status: u16, text: &str) -> bool {
    match status {
        401 | 403 => true,
        400 => text.contains("SSL") || text.contains("HTTPS"),
        _ => false,
    }
}

/// Why a handshake failed: the cause of an [`io::Error`].
#[derive(Debug, Error)]
#[error("{PREFIX}{text}")]
pub(crate) struct Failure {
    pub(crate) reason: RefusalReason,
    text: String,
}

impl Failure {
    /// As an error of a connection.
    pub(crate) fn error(kind: io::ErrorKind, reason: RefusalReason, text: String) -> io::Error {
        io::Error::new(kind, Self { reason, text })
    }

    /// The reason in an error of a connection.
    pub(crate) fn refusal_reason(error: &io::Error) -> RefusalReason {
        let failure = error.get_ref().and_then(|it| it.downcast_ref::<Self>());
        failure.map_or(RefusalReason::HandshakeFailed, |failure| failure.reason)
    }
}

/// Returns the error of a handshake, with the remedy. `own` is the certificate that was presented.
pub(crate) fn handshake(
    error: io::Error,
    own: Option<&OwnCertificate>,
    now: SystemTime,
) -> io::Error {
    if let Some(explained) = refused_by_peer(&error, own, now) {
        return explained;
    }
    let Some(cause) = error.get_ref().and_then(|it| it.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let text = "the other side closed the connection during the TLS handshake; check \
                            that it uses TLS";
                io::Error::new(error.kind(), text)
            }
            _ => error,
        };
    };
    let (reason, text) = explained(cause);
    Failure::error(error.kind(), reason, text)
}

/// Returns the error of a connection that the other side has closed because of this side's
/// certificate, or its lack. With TLS 1.3 it appears after a client's handshake.
pub(crate) fn refused_by_peer(
    error: &io::Error,
    own: Option<&OwnCertificate>,
    now: SystemTime,
) -> Option<io::Error> {
    let cause = error.get_ref().and_then(|it| it.downcast_ref::<Error>())?;
    let Error::AlertReceived(alert) = cause else { return None };
    let problem = match (alert, own) {
        (AlertDescription::CertificateRequired, None) => {
            "the other side requires a certificate, but none is set: set `tls.certificate` and \
             `tls.key`"
                .to_owned()
        }
        (
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError,
            own,
        ) => {
            let refuses = format!("the other side rejects our certificate ({alert:?})");
            match own {
                Some(own) if own.has_expired(now) => {
                    format!("{refuses}: {}", expired(own))
                }
                Some(own) => format!(
                    "{refuses}: {own}, valid until {}; use a certificate of an authority that the \
                     other side trusts",
                    date(own.expires)
                ),
                None => refuses,
            }
        }
        _ => return None,
    };
    Some(Failure::error(error.kind(), RefusalReason::ListenerNotTrusted, problem))
}

/// Returns the remedy for an expired certificate of this agent.
pub(crate) fn expired(own: &OwnCertificate) -> String {
    format!("our certificate {own} expired at {}: renew it", date(own.expires))
}

/// Returns the error of a connection that ends before the first read, if the certificate of this
/// side has expired: the other side may have closed it for that reason.
pub(crate) fn ended_with_expired(kind: io::ErrorKind, own: &OwnCertificate) -> io::Error {
    let problem = format!("the other side closed the connection, and {}", expired(own));
    Failure::error(kind, RefusalReason::ListenerNotTrusted, problem)
}

fn explained(cause: &Error) -> (RefusalReason, String) {
    match cause {
        Error::InvalidCertificate(problem) => certificate(problem),
        Error::NoCertificatesPresented => (
            RefusalReason::NoCertificate,
            "the other side sent no certificate, which `client_ca` requires".to_owned(),
        ),
        Error::InvalidMessage(_) => {
            (RefusalReason::NotTls, "the other side does not speak TLS".to_owned())
        }
        Error::AlertReceived(
            alert @ (AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion),
        ) => {
            let text = format!(
                "the other side has no TLS version or cipher in common ({alert:?}), or requires a \
                 certificate"
            );
            (RefusalReason::NoCommonVersion, text)
        }
        Error::PeerIncompatible(_) => (RefusalReason::NoCommonVersion, cause.to_string()),
        other => (RefusalReason::HandshakeFailed, other.to_string()),
    }
}

fn certificate(problem: &CertificateError) -> (RefusalReason, String) {
    match problem {
        // An authority with the same name but another key causes the second error.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            RefusalReason::UnknownAuthority,
            "the certificate of the other side is not signed by a trusted authority: add its \
             authority, or the certificate itself, to `ca` (client), `client_ca` (listener) or \
             `truststore`"
                .to_owned(),
        ),
        CertificateError::Expired => (
            RefusalReason::CertificateExpired,
            "the certificate of the other side has expired: renew it there".to_owned(),
        ),
        CertificateError::ExpiredContext { not_after, .. } => {
            let expired = date(not_after.as_secs());
            let text =
                format!("the certificate of the other side expired at {expired}: renew it there");
            (RefusalReason::CertificateExpired, text)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            RefusalReason::CertificateNotYetValid,
            "the certificate of the other side is not valid yet: check the clocks of both hosts"
                .to_owned(),
        ),
        CertificateError::Revoked => (
            RefusalReason::CertificateRevoked,
            "the certificate of the other side is revoked (`crl`, `client_crl`): issue a new one \
             for it"
                .to_owned(),
        ),
        CertificateError::UnknownRevocationStatus => (
            RefusalReason::CertificateRevoked,
            "no revocation list of the authority of the other side is in `crl` (client) or \
             `client_crl` (listener): add it"
                .to_owned(),
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let text = format!(
                "the certificate of the other side is not for `{}`{}: set `server_name`, or \
                 `check_name = false`",
                expected.to_str(),
                match presented.len() {
                    0 => " and has no host name".to_owned(),
                    _ => format!(", but for {}", presented.join(", ")),
                }
            );
            (RefusalReason::CertificateInvalid, text)
        }
        other => (
            RefusalReason::CertificateInvalid,
            format!(
                "the certificate of the other side is rejected: {other}; check it with `openssl \
                 x509 -text -in FILE`, and replace it there"
            ),
        ),
    }
}
