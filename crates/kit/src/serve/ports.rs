//! The ports of a source with their limits, as its settings define them.

use std::sync::Arc;
use std::time::Duration;

use metrics::Metrics;
use peers::TenantBoard;
use pipeline::env::Listener;
use pipeline::units::ByteSize;
use pipeline::{BuildContext, BuildError, Env, Resource, SourceContext, SourceError};
use tracing::info;

use super::{Connections, Put};
use crate::listening::{self, Allowed, DRAIN, Guard};
use crate::tenants::{Sharing, Tenants};

/// Limits of the messages of a source.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest message, and the name of its setting.
    pub message_max: (&'static str, ByteSize),
    /// Shared memory of the messages of all connections.
    pub in_flight_max: ByteSize,
    /// How long a put waits for room in the channels.
    pub wait_max: Duration,
}

impl Limits {
    /// Checks the sizes.
    fn check(self) -> Result<(), BuildError> {
        let Self { message_max: (setting, message_max), in_flight_max, .. } = self;
        if message_max.0 == 0 || message_max > ByteSize::mib(1024) {
            return Err(BuildError::invalid(setting, "must be greater than 0 and at most 1GiB"));
        }
        if in_flight_max < message_max {
            let problem = format!("must be at least `{setting}`, {message_max}");
            return Err(BuildError::invalid("in_flight_max", problem));
        }
        Ok(())
    }
}

/// The ports of a source with their limits.
pub struct Ports {
    name: Arc<str>,
    env: Env,
    metrics: Metrics,
    board: TenantBoard,
    addresses: Vec<String>,
    guard: Option<Guard>,
    connections_max: usize,
    tenants: Tenants,
    limits: Limits,
}

impl Ports {
    /// Creates the ports at these addresses, each with the name of its setting. `protocols` are
    /// offered by ALPN.
    ///
    /// # Errors
    /// A setting is invalid.
    pub fn new<P>(
        addresses: &[(&str, &str)],
        connections: Connections<P>,
        limits: Limits,
        protocols: &[&str],
        cx: &BuildContext,
    ) -> Result<Self, BuildError> {
        for (setting, address) in addresses {
            listening::check_address(setting, address)?;
        }
        if connections.connections_max == 0 {
            return Err(BuildError::invalid("connections_max", "must be at least 1"));
        }
        limits.check()?;
        connections.tenants.check(limits.message_max)?;
        Ok(Self {
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            board: cx.get(),
            addresses: addresses.iter().map(|(_, address)| (*address).to_owned()).collect(),
            guard: Guard::new(connections.tls, addresses, cx, protocols)?,
            connections_max: connections.connections_max as usize,
            tenants: connections.tenants,
            limits,
        })
    }

    /// Returns true if clients must use TLS.
    pub fn has_tls(&self) -> bool {
        self.guard.is_some()
    }

    /// Adds an action on each stream before its TLS handshake.
    pub fn with_prelude(self, prelude: tls::Prelude) -> Self {
        Self { guard: self.guard.map(|guard| guard.with_prelude(prelude)), ..self }
    }

    /// Returns the addresses as resources of the host.
    pub(super) fn resources(&self) -> Vec<Resource> {
        let listen =
            |address: &String| Resource::Listen { setting: "listen", address: address.clone() };
        self.addresses.iter().map(listen).collect()
    }

    /// Opens all ports or none.
    pub(super) async fn open(&self) -> Result<Vec<Box<dyn Listener>>, SourceError> {
        let mut listeners = Vec::new();
        for address in &self.addresses {
            let listener = listening::listen(&*self.env.net, address, self.guard.as_ref()).await?;
            info!(source = %self.name, address = %listener.local_address(), "listening");
            listeners.push(listener);
        }
        Ok(listeners)
    }

    /// Returns the limits of the connections of a port.
    pub(super) fn allowed(&self) -> Allowed<'_> {
        Allowed { connections: self.connections_max, drain: DRAIN, tls: self.guard.as_ref() }
    }

    /// Creates the way to the channels of a run.
    pub(super) fn put(&self, cx: SourceContext) -> Put {
        let (of, in_flight_max) = ((&self.name, &self.metrics), self.limits.in_flight_max.0);
        let sharing = Sharing::new(of, &self.tenants, in_flight_max, &self.board);
        let (env, metrics) = (self.env.clone(), self.metrics.clone());
        Put::new((self.name.clone(), env, metrics), cx, sharing, self.limits.wait_max)
    }
}
