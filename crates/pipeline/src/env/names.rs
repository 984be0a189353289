//! Names: hosts and services, as a name server knows them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;

/// Resolves names. Queries go to `server`, or to the system's name server.
#[async_trait]
pub trait Names: Send + Sync {
    /// Returns the addresses of a host, in the system's order of preference.
    ///
    /// # Errors
    /// There is no answer, or the host does not exist.
    async fn addresses(&self, host: &str, server: Option<SocketAddr>) -> io::Result<Vec<IpAddr>>;

    /// Returns the locations of a service, by its SRV records.
    ///
    /// # Errors
    /// There is no answer, or the service does not exist.
    async fn services(&self, name: &str, server: Option<SocketAddr>) -> io::Result<Vec<Service>>;

    /// Returns `true` if services, and hosts of a given server, can be looked up. Otherwise,
    /// components reject settings that need it when they are built.
    fn has_dns(&self) -> bool {
        true
    }
}

/// One location of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The host, without a dot at its end; empty if the record denies the service.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// Use the lowest priority that has a working location.
    pub priority: u16,
    /// Relative share among services of the same priority.
    pub weight: u16,
}

/// A world without names.
#[derive(Debug, Clone, Copy)]
pub struct NoNames;

#[async_trait]
impl Names for NoNames {
    async fn addresses(&self, host: &str, _: Option<SocketAddr>) -> io::Result<Vec<IpAddr>> {
        Err(io::Error::new(io::ErrorKind::NotFound, host.to_owned()))
    }

    async fn services(&self, name: &str, _: Option<SocketAddr>) -> io::Result<Vec<Service>> {
        Err(io::Error::new(io::ErrorKind::NotFound, name.to_owned()))
    }
}
