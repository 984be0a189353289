//! Discovery of the agents of a tier, such as `srv:collector` and `srv:relay`, without the hidden
//! ones. Returns no agent during an outage.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use pipeline::env::{Names, Service};

use crate::machine::Machine;

/// Discovery from one machine.
pub(crate) struct SimNames(pub(crate) Arc<Machine>);

#[async_trait]
impl Names for SimNames {
    async fn addresses(&self, host: &str, _: Option<SocketAddr>) -> io::Result<Vec<IpAddr>> {
        Err(io::Error::new(io::ErrorKind::NotFound, host.to_owned()))
    }

    async fn services(&self, name: &str, _: Option<SocketAddr>) -> io::Result<Vec<Service>> {
        self.0.pause_for_names().await;
        let found = self.0.world.names.tier(name);
        self.0.world.note(&self.0.name, format_args!("{name} is {found:?}"));
        let service = |name: &Arc<str>| Service {
            host: name.to_string(),
            port: 4141,
            priority: 0,
            weight: 1,
        };
        Ok(found?.iter().map(service).collect())
    }
}
