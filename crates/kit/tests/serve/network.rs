//! A network in memory: ports, and connections as pairs of pipes.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pipeline::env::{Listener, Net, Stream};
use tokio::io::DuplexStream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Bytes that a connection holds in each direction.
const PIPE_BYTES: usize = 4 << 10;

type Arrival = (DuplexStream, String);

#[derive(Debug, Default)]
struct Inner {
    ports: BTreeMap<String, UnboundedSender<Arrival>>,
    /// Number of calls of `accept` that will fail.
    failures: u32,
}

/// The network.
#[derive(Debug, Default)]
pub(crate) struct Network(Mutex<Inner>);

impl Network {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects a client of this host.
    pub(crate) fn dial(&self, address: &str, host: &str) -> DuplexStream {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let inner = self.inner();
        inner.ports[address].send((far, format!("{host}:40000"))).expect("the port is open");
        near
    }

    /// Whether the port is open.
    pub(crate) fn is_open(&self, address: &str) -> bool {
        self.inner().ports.get(address).is_some_and(|port| !port.is_closed())
    }

    /// Makes the next calls of `accept` fail.
    pub(crate) fn fail(&self, times: u32) {
        self.inner().failures = times;
    }
}

/// The network as a source sees it.
pub(crate) struct Side(pub(crate) Arc<Network>);

#[async_trait]
impl Net for Side {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>> {
        Err(io::Error::new(io::ErrorKind::ConnectionRefused, address))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        if self.0.is_open(address) {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{address}: in use")));
        }
        let (port, arrivals) = mpsc::unbounded_channel();
        self.0.inner().ports.insert(address.to_owned(), port);
        let arrivals = tokio::sync::Mutex::new(arrivals);
        Ok(Box::new(Port { network: self.0.clone(), address: address.to_owned(), arrivals }))
    }
}

struct Port {
    network: Arc<Network>,
    address: String,
    arrivals: tokio::sync::Mutex<UnboundedReceiver<Arrival>>,
}

#[async_trait]
impl Listener for Port {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, String)> {
        let fails = {
            let mut inner = self.network.inner();
            let failures = inner.failures;
            inner.failures = failures.saturating_sub(1);
            failures > 0
        };
        if fails {
            return Err(io::Error::other("too many open files"));
        }
        match self.arrivals.lock().await.recv().await {
            Some((stream, peer)) => Ok((Box::new(stream), peer)),
            None => std::future::pending().await,
        }
    }

    fn local_address(&self) -> String {
        self.address.clone()
    }
}
