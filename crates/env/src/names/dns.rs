//! Resolves SRV records, and hosts of a given name server, by DNS.
//!
//! Lookups without a given server use those in `/etc/resolv.conf` at that moment. No result is
//! cached: the caller decides how often to look up.

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData};
use pipeline::env::{Names, Service};

use super::HostNames;

/// Looks up hosts by the system's resolver, and everything else by DNS.
#[derive(Debug, Clone, Copy)]
pub struct DnsNames;

#[async_trait]
impl Names for DnsNames {
    async fn addresses(&self, host: &str, server: Option<SocketAddr>) -> io::Result<Vec<IpAddr>> {
        if server.is_none() {
            return HostNames.addresses(host, server).await;
        }
        let found = resolver(server)?.lookup_ip(host).await;
        let found = found.map_err(|error| io::Error::other(format!("{host}: {error}")))?;
        Ok(found.iter().collect())
    }

    async fn services(&self, name: &str, server: Option<SocketAddr>) -> io::Result<Vec<Service>> {
        let found = resolver(server)?.srv_lookup(name).await;
        let found = found.map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        let services = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Service {
                host: host_of(&srv.target),
                port: srv.port,
                priority: srv.priority,
                weight: srv.weight,
            }),
            _ => None,
        });
        Ok(services.collect())
    }
}

/// Returns the name without its final dot, which not every certificate and server accepts.
fn host_of(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

fn resolver(server: Option<SocketAddr>) -> io::Result<TokioResolver> {
    let mut builder = match server {
        None => TokioResolver::builder_tokio().map_err(io::Error::other)?,
        Some(server) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let at_port = connections.map(|mut connection| {
                connection.port = server.port();
                connection
            });
            let server = NameServerConfig::new(server.ip(), true, at_port.to_vec());
            let config = ResolverConfig::from_name_servers(vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;

    /// Starts a name server that knows two addresses of every host, and no service.
    async fn name_server() -> SocketAddr {
        const A: u8 = 1;
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (len, peer) = socket.recv_from(&mut buffer).await.unwrap();
                let name = buffer[12..len].iter().position(|byte| *byte == 0).unwrap() + 1;
                let question = &buffer[12..12 + name + 4];
                let hosts: &[u8] = if question[name + 1] == A { &[7, 8] } else { &[] };
                let count = u8::try_from(hosts.len()).unwrap();
                let mut answer = vec![buffer[0], buffer[1], 0x85, 0x80, 0, 1, 0, count, 0, 0, 0, 0];
                answer.extend_from_slice(question);
                for host in hosts {
                    answer.extend_from_slice(&[0xc0, 12, 0, A, 0, 1, 0, 0, 0, 1, 0, 4]);
                    answer.extend_from_slice(&[10, 0, 0, *host]);
                }
                socket.send_to(&answer, peer).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn asks_the_given_server_and_otherwise_the_system() {
        let found = DnsNames.addresses("localhost", None).await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
        let server = name_server().await;
        let mut found = DnsNames.addresses("collectors.test.", Some(server)).await.unwrap();
        found.sort();
        assert_eq!(found, ["10.0.0.7", "10.0.0.8"].map(|text| text.parse::<IpAddr>().unwrap()));
    }

    #[tokio::test]
    async fn an_unknown_service_is_an_error_with_its_name() {
        let server = name_server().await;
        let error = DnsNames.services("_aqueduct._tcp.test.", Some(server)).await.unwrap_err();
        assert!(error.to_string().contains("_aqueduct._tcp.test."), "{error}");
    }
}
