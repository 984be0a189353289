//! The provider of TLS.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
#[cfg(feature = "fips")]
use rustls::crypto::default_fips_provider as made;
#[cfg(not(feature = "fips"))]
use rustls::crypto::ring::default_provider as made;

/// What does the cryptography of TLS: of listeners, of clients, and of the keys of both. In a FIPS
/// build suites and groups are those that are approved: AES-GCM, the curves of NIST, and with TLS
/// 1.2 the extended master secret.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(made()));
    PROVIDER.clone()
}
