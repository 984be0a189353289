//! The identity of an operator, for the audit log and for stopped parts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The identity of an operator: the credentials and the address of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// `admin token`, `loopback` where none is set, `no token`, `SIGHUP`, `file change`, or the
    /// user of a command.
    pub by: String,
    /// The address of the client, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The name in the certificate that it has shown, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

impl Actor {
    /// With or without an address.
    pub fn new(by: &str, address: Option<String>) -> Self {
        Self { by: by.to_owned(), address, certificate: None }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.by)?;
        if let Some(certificate) = &self.certificate {
            write!(f, " of {certificate}")?;
        }
        match &self.address {
            Some(address) => write!(f, " at {address}"),
            None => Ok(()),
        }
    }
}
