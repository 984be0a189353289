//! The network: connections and datagrams.

use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// A two-way stream of bytes.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connections. Addresses are `host:port`.
#[async_trait]
pub trait Net: Send + Sync {
    /// Connects; resolves names again each time.
    ///
    /// # Errors
    /// The system's error.
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>>;

    /// Listens. Port 0 selects a free one.
    ///
    /// # Errors
    /// The system's error, with the address in the message.
    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>>;

    /// Receives datagrams (UDP). Port 0 selects a free one. A world without datagrams fails.
    ///
    /// # Errors
    /// The system's error, with the address in the message.
    async fn bind(&self, address: &str) -> io::Result<Box<dyn Datagrams>> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{address}: datagrams are not supported here"),
        ))
    }

    /// Returns the maximum number of connections of this process: each one is an open file. `None`
    /// without a limit.
    fn connections_max(&self) -> Option<u64> {
        None
    }
}

/// Accepts connections.
#[async_trait]
pub trait Listener: Send + Sync {
    /// Returns the next connection and its peer's address. Cancel safe.
    ///
    /// # Errors
    /// The system's error; the listener stays usable.
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, String)>;

    /// The address listened on, with its real port.
    fn local_address(&self) -> String;
}

/// Receives datagrams.
#[async_trait]
pub trait Datagrams: Send + Sync {
    /// Receives the next datagram into `room`; returns its full length and its sender's address.
    /// Bytes that do not fit into `room` are lost. Cancel safe.
    ///
    /// # Errors
    /// The system's error; the receiver stays usable.
    async fn receive(&self, room: &mut [u8]) -> io::Result<(usize, String)>;

    /// The address that is listened on, with its real port.
    fn local_address(&self) -> String;

    /// Requests a receive buffer of this size; returns the actual size.
    ///
    /// # Errors
    /// The system's error.
    fn set_receive_buffer(&self, bytes: usize) -> io::Result<usize> {
        Ok(bytes)
    }

    /// Returns the number of datagrams that the system has dropped since the receiver was bound,
    /// usually because the receive buffer was full.
    ///
    /// # Errors
    /// The system does not report it.
    async fn dropped(&self) -> io::Result<u64> {
        Ok(0)
    }
}
