//! Reads PKCS#12 keystores, also with the ciphers that keytool used before Java 12.

use p12_keystore::error::Error as P12Error;
use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::{Identity, Store, Stored};
use crate::problem::TlsError;

/// Reads the content of `store`.
pub(super) fn read(store: &Store<'_>, bytes: &[u8], password: &str) -> Result<Stored, TlsError> {
    let read = KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Strict);
    let read = read.map_err(|error| match error {
        P12Error::MacError(_) | P12Error::UnpadError | P12Error::Pkcs5Error(_) => {
            store.wrong_password()
        }
        other => store.content(&format!(
            "is not a readable PKCS#12 keystore: {other}; create it again with `keytool` or \
             `openssl pkcs12`"
        )),
    })?;
    let (mut identity, mut trusted) = (None, Vec::new());
    for (_, entry) in read.entries() {
        let own = |der: &[u8]| CertificateDer::from(der.to_vec());
        match entry {
            KeyStoreEntry::PrivateKeyChain(chain) => {
                let certificates = chain.certs().iter().map(|it| own(it.as_der()));
                let certificates: Vec<_> = certificates.collect();
                trusted.extend(certificates.first().cloned());
                let key = PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec()).into();
                identity.get_or_insert(Identity { chain: certificates, key });
            }
            KeyStoreEntry::Certificate(certificate) => trusted.push(own(certificate.as_der())),
            KeyStoreEntry::Secret(_) => {}
        }
    }
    let identity = identity.filter(|it| !it.chain.is_empty());
    Ok(Stored { identity, trusted })
}
