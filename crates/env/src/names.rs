//! Resolves names: hosts by the system's resolver, like other programs of this host, and with the
//! feature `dns` also SRV records and hosts of a given name server.
//!
//! The system's resolver knows `/etc/hosts`, search domains and the name servers of a container. It
//! supports neither SRV records nor a choice of the server.

#[cfg(feature = "dns")]
mod dns;

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use pipeline::env::{Names, Service};

#[cfg(feature = "dns")]
pub use dns::DnsNames;

/// The names of this program.
#[cfg(feature = "dns")]
pub(crate) const NAMES: DnsNames = DnsNames;

/// The names of this program.
#[cfg(not(feature = "dns"))]
pub(crate) const NAMES: HostNames = HostNames;

/// Resolves hosts only by the system's resolver. Edges have no other one.
#[derive(Debug, Clone, Copy)]
pub struct HostNames;

#[async_trait]
impl Names for HostNames {
    async fn addresses(&self, host: &str, server: Option<SocketAddr>) -> io::Result<Vec<IpAddr>> {
        if server.is_some() {
            return Err(unsupported(host));
        }
        let found = tokio::net::lookup_host((host, 0)).await;
        let found = found.map_err(|error| io::Error::other(format!("{host}: {error}")))?;
        Ok(found.map(|address| address.ip()).collect())
    }

    async fn services(&self, name: &str, _: Option<SocketAddr>) -> io::Result<Vec<Service>> {
        Err(unsupported(name))
    }

    fn has_dns(&self) -> bool {
        false
    }
}

fn unsupported(name: &str) -> io::Error {
    let problem = format!("{name}: this program supports only the resolver of the system");
    io::Error::new(io::ErrorKind::Unsupported, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn asks_the_system_and_rejects_lookups_that_need_dns() {
        let found = HostNames.addresses("localhost", None).await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
        let server = Some("127.0.0.1:53".parse().unwrap());
        let refused = [
            HostNames.addresses("collectors.test", server).await.unwrap_err(),
            HostNames.services("_aqueduct._tcp.test", None).await.unwrap_err(),
        ];
        assert!(refused.iter().all(|error| error.kind() == io::ErrorKind::Unsupported));
    }
}
