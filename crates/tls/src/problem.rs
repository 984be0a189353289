//! What goes wrong with certificates and handshakes, in words that name the file or the remedy.

use std::io;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError, Error};
use thiserror::Error;

/// Why certificates cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}, which `tls.{setting}` names", path.display())]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file has another content than its setting says.
    #[error("{} (`tls.{setting}`) {problem}", path.display())]
    Content {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, and what helps.
        problem: String,
    },
    /// No authorities are known.
    #[error(
        "this host has no file of certificate authorities; install the package ca-certificates, \
         or set `tls.ca`"
    )]
    NoAuthorities,
    /// rustls refuses the settings.
    #[error("TLS cannot be set up so")]
    Refused(#[source] Error),
}

/// The error of a handshake, with what helps.
pub(crate) fn handshake(error: io::Error) -> io::Error {
    let Some(cause) = error.get_ref().and_then(|it| it.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let text = "the other side ended the connection within the TLS handshake; does it \
                            speak TLS?";
                io::Error::new(error.kind(), text)
            }
            _ => error,
        };
    };
    io::Error::new(error.kind(), format!("TLS handshake: {}", explained(cause)))
}

fn explained(cause: &Error) -> String {
    match cause {
        Error::InvalidCertificate(problem) => certificate(problem),
        Error::NoCertificatesPresented => {
            "the other side shows no certificate, and has to (`client_ca`)".to_owned()
        }
        Error::InvalidMessage(_) => "the other side does not speak TLS".to_owned(),
        Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate),
        ) => format!("the other side refuses our certificate ({alert:?})"),
        Error::AlertReceived(
            alert @ (AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion),
        ) => format!(
            "the other side has no version or cipher in common ({alert:?}), or wants a certificate"
        ),
        other => other.to_string(),
    }
}

fn certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => {
            "its certificate is not signed by one that is trusted: put its authority, or the \
             certificate itself, into `ca` (a client), `client_ca` (a listener) or `truststore`"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: renew it there".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: compare the clocks".to_owned()
        }
        CertificateError::Revoked => {
            "its certificate is revoked (`crl`, `client_crl`): give that side a new one".to_owned()
        }
        CertificateError::UnknownRevocationStatus => {
            "no revocation list of its authority is in `crl` (a client) or `client_crl` (a \
             listener): add it there"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "its certificate is not for `{}`{}: set `server_name`, or `check_name = false`",
            expected.to_str(),
            match presented.len() {
                0 => " and names no host at all".to_owned(),
                _ => format!(", but for {}", presented.join(", ")),
            }
        ),
        other => format!("its certificate is refused: {other}"),
    }
}
