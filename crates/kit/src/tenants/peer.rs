//! The other end of a connection, as log lines and limits know it.

use std::fmt;
use std::sync::Arc;

use tls::ClientNames;

use crate::listening;

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Its address.
    pub address: Arc<str>,
    /// What its certificate, or a token, proves that it is called. Known once something has been
    /// read from it.
    pub names: ClientNames,
}

impl Peer {
    /// What the tenant is called that it belongs to.
    pub(super) fn tenant(&self) -> Arc<str> {
        match self.names.first() {
            Some(name) => name.clone(),
            None => listening::host(&self.address).into(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.names.first() {
            write!(f, "{name} at ")?;
        }
        f.write_str(&self.address)
    }
}
