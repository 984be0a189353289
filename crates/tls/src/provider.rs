//! The one place that says which library does the cryptography of TLS.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// `ring`: it builds without C libraries into the static edge. One that is certified by FIPS 140-3
/// would be returned here instead; `docs/adr/0073` says what it costs.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
