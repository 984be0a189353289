//! Identity of a client, for log lines and limits.

use std::fmt;
use std::sync::Arc;

use tls::ClientNames;

use crate::listening;

/// A client at the other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Its address.
    pub address: Arc<str>,
    /// Names that its certificate or token proves. Known after the first read.
    pub names: ClientNames,
}

impl Peer {
    /// Returns the name of its tenant.
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
