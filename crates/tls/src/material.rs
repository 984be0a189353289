//! Reads certificates and keys from files: PEM, PKCS#12 (feature `keystores`), JKS.

#[cfg(feature = "keystores")]
mod pkcs12;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crypto::tls::provider;
use pipeline::Secret;
use pipeline::env::{Disk, OpenMode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use rustls::{RootCertStore, sign};
use tracing::warn;
use x509_cert::certificate::Raw;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;
use zeroize::Zeroizing;

use crate::jks;
use crate::problem::TlsError;
use crate::validity::{OwnCertificate, date, unix_seconds};

/// Maximum size of a file: the authorities of a host are a quarter of a megabyte.
const FILE_MAX: u64 = 4 << 20;

/// Locations of a host's authorities, on Debian, Fedora, SUSE and Alpine.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Files of a certificate and its key.
#[derive(Debug, Clone)]
pub(crate) enum IdentityFiles {
    Pem { certificate: PathBuf, key: PathBuf },
    Keystore { path: PathBuf, password: Secret },
}

/// Files of trusted certificates.
#[derive(Debug, Clone)]
pub(crate) enum TrustFiles {
    Pem { setting: &'static str, path: PathBuf },
    Keystore { path: PathBuf, password: Option<Secret> },
}

/// A file of revocation lists.
#[derive(Debug, Clone)]
pub(crate) struct CrlFile {
    pub(crate) setting: &'static str,
    pub(crate) path: PathBuf,
}

/// A certificate with its chain, and the key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl IdentityFiles {
    /// The files, to be looked at.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        match self {
            Self::Pem { certificate, key } => vec![certificate.clone(), key.clone()],
            Self::Keystore { path, .. } => vec![path.clone()],
        }
    }

    /// Returns only the certificate, without its key; `None` if it cannot be read. Blocks.
    pub(crate) fn own_in(&self, disk: &dyn Disk) -> Option<OwnCertificate> {
        let chain = match self {
            Self::Pem { certificate, .. } => pem_certificates(disk, "certificate", certificate),
            Self::Keystore { path, password } => {
                let of = Store { setting: "keystore", path, password: Some(password) };
                of.read(disk).map(|read| read.identity.map(|it| it.chain).unwrap_or_default())
            }
        };
        OwnCertificate::from_der(self.path(), chain.ok()?.first()?)
    }

    /// The file of the certificate.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Pem { certificate, .. } => certificate,
            Self::Keystore { path, .. } => path,
        }
    }

    /// Returns the description of the certificate for messages.
    pub(crate) fn own(&self, identity: &Identity) -> Option<OwnCertificate> {
        OwnCertificate::from_der(self.path(), identity.chain.first()?)
    }

    /// Reads them, and checks that the key fits the certificate. An expired one is used anyway and
    /// logged: without it the agent would not work at all.
    pub(crate) fn read(&self, disk: &dyn Disk, now: SystemTime) -> Result<Identity, TlsError> {
        let (identity, setting, path) = match self {
            Self::Pem { certificate, key } => {
                let chain = pem_certificates(disk, "certificate", certificate)?;
                let key = pem_key(disk, key)?;
                (Identity { chain, key }, "certificate", certificate)
            }
            Self::Keystore { path, password } => {
                let of = Store { setting: "keystore", path, password: Some(password) };
                let identity = of.read(disk)?.identity.ok_or_else(|| {
                    of.content(
                        "contains no private key with a certificate: set a keystore, not a \
                         truststore",
                    )
                })?;
                (identity, "keystore", path)
            }
        };
        let content = |problem: String| TlsError::Content { setting, path: path.clone(), problem };
        let signing = provider().key_provider.load_private_key(identity.key.clone_key());
        let signing = signing.map_err(|error| {
            content(format!("has an unusable key ({error}); use RSA, ECDSA or Ed25519"))
        })?;
        let pair = sign::CertifiedKey::new(identity.chain.clone(), signing);
        match pair.keys_match() {
            // Not known is not wrong.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                let problem = "contains a certificate for another key: use the certificate that \
                               was issued for this key";
                return Err(content(problem.to_owned()));
            }
            Err(error) => {
                return Err(content(format!("has an unusable certificate: {error}; replace it")));
            }
        }
        if let Some(own) = self.own(&identity).filter(|own| own.has_expired(now)) {
            let (path, expired) = (path.display(), date(own.expires));
            warn!(
                %path, expired,
                "the certificate has expired, and peers reject it; replace it with a new one; no \
                 restart is needed",
            );
        }
        Ok(identity)
    }
}

impl CrlFile {
    /// Reads at least one list. An expired one is used anyway and logged: an old list is better
    /// than no list or no agent.
    pub(crate) fn read(
        &self,
        disk: &dyn Disk,
        now: SystemTime,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        let Self { setting, path } = self;
        let content = |problem: String| {
            let (setting, path) = (*setting, path.clone());
            TlsError::Content { setting, path, problem }
        };
        let bytes = bytes(disk, setting, path)?;
        let lists: Vec<CertificateRevocationListDer<'static>> = match bytes.first() {
            Some(0x30) => vec![bytes.to_vec().into()],
            _ => CertificateRevocationListDer::pem_slice_iter(&bytes)
                .collect::<Result<_, _>>()
                .map_err(|error| content(format!("is not a PEM file: {error}; convert it")))?,
        };
        if lists.is_empty() {
            return Err(content("has no `BEGIN X509 CRL`; name another file".to_owned()));
        }
        let now = unix_seconds(now);
        for list in &lists {
            let parsed = CertificateList::<Raw>::from_der(list);
            let parsed = parsed
                .map_err(|error| content(format!("is a damaged CRL: {error}; get it again")))?
                .tbs_cert_list;
            let until = parsed.next_update.map(|time| time.to_unix_duration().as_secs());
            if until.is_some_and(|until| until < now) {
                let (path, issuer) = (path.display(), parsed.issuer);
                warn!(
                    %path, %issuer,
                    "the revocation list has expired and is still used; later revocations are not \
                     known; replace it with a new one; no restart is needed",
                );
            }
        }
        Ok(lists)
    }
}

impl TrustFiles {
    /// The file, to be looked at.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Pem { path, .. } | Self::Keystore { path, .. } => path.clone(),
        }
    }

    /// Reads it: at least one certificate.
    pub(crate) fn read(&self, disk: &dyn Disk) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        match self {
            Self::Pem { setting, path } => pem_certificates(disk, setting, path),
            Self::Keystore { path, password } => {
                let of = Store { setting: "truststore", path, password: password.as_ref() };
                let trusted = of.read(disk)?.trusted;
                match trusted.is_empty() {
                    true => Err(of.content("contains no certificate; name another keystore")),
                    false => Ok(trusted),
                }
            }
        }
    }

    /// As authorities.
    pub(crate) fn roots(
        &self,
        certificates: &[CertificateDer<'static>],
    ) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates.iter().cloned());
        if added > 0 {
            return Ok(roots);
        }
        let setting = match self {
            Self::Pem { setting, .. } => setting,
            Self::Keystore { .. } => "truststore",
        };
        let problem = "contains no readable certificate of an authority; add the certificate of \
                       the authority that signed the peers' certificates"
            .to_owned();
        Err(TlsError::Content { setting, path: self.path(), problem })
    }
}

/// The file of this host's authorities.
pub(crate) fn authorities(disk: &dyn Disk, named: Option<&Path>) -> Result<TrustFiles, TlsError> {
    let known = AUTHORITIES.iter().map(Path::new);
    let mut all = named.into_iter().chain(known);
    let found = all.find(|path| disk.stat(path).is_ok()).ok_or(TlsError::NoAuthorities)?;
    Ok(TrustFiles::Pem { setting: "ca", path: found.to_owned() })
}

fn bytes(
    disk: &dyn Disk,
    setting: &'static str,
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |source| TlsError::File { setting, path: path.to_owned(), source };
    let file = disk.open(path, OpenMode::default()).map_err(failed)?;
    let len = file.stat().map_err(failed)?.len;
    if len > FILE_MAX {
        let problem = format!(
            "has {len} bytes, over the limit of {FILE_MAX}; name a file with certificates only"
        );
        return Err(TlsError::Content { setting, path: path.to_owned(), problem });
    }
    file.read(0, len as usize).map(Zeroizing::new).map_err(failed)
}

fn pem_certificates(
    disk: &dyn Disk,
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = bytes(disk, setting, path)?;
    let content = |problem: String| TlsError::Content { setting, path: path.to_owned(), problem };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|error| content(format!("is not a PEM file: {error}; convert it")))?;
    if all.is_empty() {
        let hint = match jks::is_jks(&text) || text.first() == Some(&0x30) {
            true => "; it looks like a keystore: set `keystore` or `truststore` instead",
            false => "",
        };
        return Err(content(format!("contains no `BEGIN CERTIFICATE`{hint}")));
    }
    Ok(all)
}

fn pem_key(disk: &dyn Disk, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = bytes(disk, "key", path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        let has = |word: &[u8]| text.windows(word.len()).any(|it| it == word);
        let problem = match has(b"ENCRYPTED") {
            true => {
                "has a key with a password: remove it with `openssl pkey -in FILE -out NEW`, and \
                 protect NEW with chmod 600"
            }
            false => "contains no `BEGIN PRIVATE KEY`; name the file with the private key in PEM",
        };
        TlsError::Content { setting: "key", path: path.to_owned(), problem: problem.to_owned() }
    })
}

/// A keystore.
struct Store<'a> {
    setting: &'static str,
    path: &'a Path,
    password: Option<&'a Secret>,
}

/// The contents of a keystore.
struct Stored {
    identity: Option<Identity>,
    /// Trusted certificates as in Java: trusted entries, and its own certificates.
    trusted: Vec<CertificateDer<'static>>,
}

impl Store<'_> {
    fn content(&self, problem: &str) -> TlsError {
        let (setting, path) = (self.setting, self.path.to_owned());
        TlsError::Content { setting, path, problem: problem.to_owned() }
    }

    fn wrong_password(&self) -> TlsError {
        self.content(&format!(
            "cannot be opened with this password: check `tls.{0}_password` with `keytool -list \
             -keystore FILE`; the key must have the same password",
            self.setting
        ))
    }

    /// The error of a program without the feature `keystores`.
    #[cfg(any(test, not(feature = "keystores")))]
    fn no_pkcs12(&self) -> TlsError {
        let convert = match self.setting {
            "keystore" => {
                "`openssl pkcs12 -in FILE -nodes -out NEW` and set `certificate` and `key` to NEW"
            }
            _ => {
                "`openssl pkcs12 -in FILE -nokeys -out NEW` and set `ca` (a client) or \
                 `client_ca` (a listener) to NEW"
            }
        };
        self.content(&format!(
            "is a PKCS#12 keystore, and this program reads only PEM and JKS: convert it with \
             {convert}, or use the program `aqueduct` or `aqueduct-collector`"
        ))
    }

    fn read(&self, disk: &dyn Disk) -> Result<Stored, TlsError> {
        let bytes = bytes(disk, self.setting, self.path)?;
        let password = self.password.map(Secret::expose);
        match bytes[..] {
            _ if jks::is_jks(&bytes) => self.jks(&bytes, password),
            #[cfg(feature = "keystores")]
            [0x30, ..] => pkcs12::read(self, &bytes, password.unwrap_or_default()),
            #[cfg(not(feature = "keystores"))]
            [0x30, ..] => Err(self.no_pkcs12()),
            [0xce, 0xce, 0xce, 0xce, ..] => Err(self.content(
                "is a JCEKS keystore: convert it to PKCS#12 with `keytool -importkeystore \
                 -srckeystore FILE -destkeystore NEW -deststoretype PKCS12`",
            )),
            _ => Err(self.content(
                "is neither PKCS#12 nor JKS; for PEM files set `certificate`, `key` and `ca`",
            )),
        }
    }

    fn jks(&self, bytes: &[u8], password: Option<&str>) -> Result<Stored, TlsError> {
        let read = jks::read(bytes, password).map_err(|error| match error {
            jks::Unreadable::Password => self.wrong_password(),
            jks::Unreadable::Damaged => {
                self.content("is damaged; restore it from a copy, or create it again")
            }
        })?;
        let leaves = read.keys.iter().filter_map(|(_, chain)| chain.first().cloned());
        let trusted = read.trusted.into_iter().chain(leaves).map(CertificateDer::from).collect();
        let identity = read.keys.iter().find(|(_, chain)| !chain.is_empty());
        let identity = identity.map(|(key, chain)| Identity {
            chain: chain.iter().cloned().map(CertificateDer::from).collect(),
            key: PrivatePkcs8KeyDer::from(key.to_vec()).into(),
        });
        Ok(Stored { identity, trusted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_pkcs12_is_rejected_with_a_conversion_command() {
        for (setting, options, new) in
            [("keystore", "-nodes", "`certificate` and `key`"), ("truststore", "-nokeys", "`ca`")]
        {
            let store = Store { setting, path: Path::new("own.p12"), password: None };
            let error = store.no_pkcs12().to_string();
            for part in ["own.p12", setting, options, new, "aqueduct-collector"] {
                assert!(error.contains(part), "{error}");
            }
        }
    }
}
