//! A broker that is only reachable through wires.

use std::net::SocketAddr;
use std::path::Path;

use super::Kafka;
use crate::http;

impl Kafka {
    /// Like [`Kafka::start`], with additional listeners: each listens at the first address, and
    /// announces the second one to its clients, which belongs to a wire to it. All further
    /// connections then use the wire.
    ///
    /// # Panics
    ///
    /// Same as [`Kafka::start`].
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
