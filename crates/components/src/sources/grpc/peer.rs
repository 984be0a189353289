//! The other end of a connection, as log lines and limits know it.

use std::fmt;
use std::sync::Arc;

use tls::ClientNames;

/// The other end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its address.
    pub(super) address: Arc<str>,
    /// What its certificate proves that it is called. Known once something has been read from it.
    pub(super) names: ClientNames,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.names.first() {
            write!(f, "{name} at ")?;
        }
        f.write_str(&self.address)
    }
}
