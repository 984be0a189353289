//! Certificates for clients that open their connections themselves, such as MySQL's.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipeline::BuildError;
use pipeline::env::Env;
use zeroize::Zeroizing;

use crate::material::authorities;
use crate::problem::TlsError;
use crate::settings::{ClientParts, ClientTls, MinVersion};

/// Characters of a line (RFC 7468).
const LINE: usize = 64;

/// Settings that are handed on to such a client. Cheap to clone.
#[derive(Clone)]
pub struct PemClient {
    parts: Arc<ClientParts>,
    env: Env,
}

/// The certificates that such a client needs for a connection.
pub struct Pem {
    /// Certificates of the authorities, DER. Empty with `trust_all`.
    pub authorities: Vec<Vec<u8>>,
    /// The certificate with its chain, and its key, as PEM.
    pub identity: Option<(String, Zeroizing<String>)>,
    /// The name in the server's certificate, instead of the host of the address.
    pub server_name: Option<String>,
    /// True if any certificate is accepted.
    pub trust_all: bool,
}

impl PemClient {
    /// Creates it from these settings; reads no file yet.
    ///
    /// # Errors
    /// An invalid combination of settings, or a setting that such a client does not support.
    pub fn new(settings: ClientTls, env: &Env) -> Result<Self, BuildError> {
        let parts = settings.parts()?;
        let lacking = [
            ("crl", parts.crl.is_some(), "revocation lists are not read"),
            ("check_name", !parts.check_name, "the name is always checked; set `server_name`"),
            (
                "min_version",
                parts.min_version != MinVersion::default(),
                "the minimum is always 1.2",
            ),
        ];
        if let Some((name, _, problem)) = lacking.into_iter().find(|(_, is_set, _)| *is_set) {
            let problem =
                format!("not supported by the client of this database ({problem}): remove it");
            return Err(BuildError::invalid(format!("tls.{name}"), problem));
        }
        Ok(Self { parts: Arc::new(parts), env: env.clone() })
    }

    /// Reads the current files.
    ///
    /// # Errors
    /// They cannot be used; the error names the remedy.
    pub async fn read(&self) -> Result<Pem, TlsError> {
        let (parts, env) = (self.parts.clone(), self.env.clone());
        self.env.offload(move || pem(&parts, &env)).await
    }
}

fn pem(parts: &ClientParts, env: &Env) -> Result<Pem, TlsError> {
    let disk = &*env.disk;
    let of_host = env.blocking.variable("SSL_CERT_FILE").map(PathBuf::from);
    let authorities = match (parts.trust_all, &parts.trust) {
        (true, _) => Vec::new(),
        (false, Some(files)) => files.read(disk)?,
        (false, None) => authorities(disk, of_host.as_deref())?.read(disk)?,
    };
    let identity = parts.identity.as_ref().map(|files| files.read(disk, env.clock.now()));
    let identity = identity.transpose()?.map(|identity| {
        let chain = identity.chain.iter().map(|it| encoded("CERTIFICATE", it)).collect::<String>();
        let label = match &identity.key {
            rustls::pki_types::PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            rustls::pki_types::PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        (chain, Zeroizing::new(encoded(label, identity.key.secret_der())))
    });
    Ok(Pem {
        authorities: authorities.into_iter().map(|it| it.to_vec()).collect(),
        identity,
        server_name: parts.server_name.clone(),
        trust_all: parts.trust_all,
    })
}

fn encoded(label: &str, der: &[u8]) -> String {
    let text = Zeroizing::new(STANDARD.encode(der));
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(LINE) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn reads_back_encoded_certificates() {
        for len in [1, 47, 48, 49, 1_000] {
            let der: Vec<u8> = (0..len).map(|it: u32| it as u8).collect();
            let pem = encoded("CERTIFICATE", &der);
            assert!(pem.lines().all(|line| line.len() <= LINE), "{pem}");
            let read = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            assert_eq!(&*read, &*der);
        }
    }
}
