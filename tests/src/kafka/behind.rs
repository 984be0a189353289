//! A broker that is reached through wires alone.

use std::net::SocketAddr;
use std::path::Path;

use super::Kafka;
use crate::http;

impl Kafka {
    /// As [`Kafka::start`], with more listeners: each listens at the first address, and gives its
    /// clients the second one, that of a wire to it. Every further connection goes through that
    /// wire, too.
    ///
    /// # Panics
    ///
    /// As [`Kafka::start`].
    pub fn start_behind(dir: &Path, wires: &[(SocketAddr, SocketAddr)]) -> Self {
        let (open, controller) = (http::free_address(), http::free_address());
        let mut listeners = format!("PLAINTEXT://{open},CONTROLLER://{controller}");
        let mut advertised = format!("PLAINTEXT://{open}");
        let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
        for (number, (at, wire)) in wires.iter().enumerate() {
            listeners += &format!(",WIRE{number}://{at}");
            advertised += &format!(",WIRE{number}://{wire}");
            protocols += &format!(",WIRE{number}:PLAINTEXT");
        }
        let more = format!(
            "listeners={listeners}\nadvertised.listeners={advertised}\n\
             listener.security.protocol.map={protocols}\n"
        );
        Self::start_at(dir, open, controller, &more, &[])
    }
}
