//! Names: hosts and services, as a name server knows them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;

/// The addresses behind a name. What is asked goes to `server`, or to the system's name server.
#[async_trait]
pub trait Names: Send + Sync {
    /// The addresses of a host, those first that the system would use first.
    ///
    /// # Errors
    /// There is no answer, or no such host.
    async fn addresses(&self, host: &str, server: Option<SocketAddr>) -> io::Result<Vec<IpAddr>>;

    /// Where a service is, by its SRV records.
    ///
    /// # Errors
    /// There is no answer, or no such service.
    async fn services(&self, name: &str, server: Option<SocketAddr>) -> io::Result<Vec<Service>>;

    /// Whether services, and hosts of a given server, can be looked up. If not, components reject
    /// settings that need it when they are built.
    fn has_dns(&self) -> bool {
        true
    }
}

/// One place where a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The host, without a dot at its end; empty where the service is said not to be.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// Those with the lowest are to be used, as long as one of them can be.
    pub priority: u16,
    /// Its share among those of the same priority.
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
