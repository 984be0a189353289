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
    /// Connects; names are resolved anew each time.
    ///
    /// # Errors
    /// As the system says.
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>>;

    /// Listens. Port 0 takes a free one.
    ///
    /// # Errors
    /// As the system says, with the address in the message.
    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>>;

    /// Receives datagrams (UDP). Port 0 takes a free one. A world without them refuses.
    ///
    /// # Errors
    /// As the system says, with the address in the message.
    async fn bind(&self, address: &str) -> io::Result<Box<dyn Datagrams>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("{address}: no datagrams here")))
    }

    /// More connections than this the process can never have, whatever it does: each is an open
    /// file. `None` without a limit.
    fn connections_max(&self) -> Option<u64> {
        None
    }
}

/// Accepts connections.
#[async_trait]
pub trait Listener: Send + Sync {
    /// The next connection and its peer's address. Cancel safe.
    ///
    /// # Errors
    /// As the system says; the listener goes on.
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, String)>;

    /// The address listened on, with its real port.
    fn local_address(&self) -> String;
}

/// Receives datagrams.
#[async_trait]
pub trait Datagrams: Send + Sync {
    /// The next datagram, its first bytes in `room`; how many there are, and its sender's address.
    /// What does not fit into `room` is lost. Cancel safe.
    ///
    /// # Errors
    /// As the system says; the receiver goes on.
    async fn receive(&self, room: &mut [u8]) -> io::Result<(usize, String)>;

    /// The address that is listened on, with its real port.
    fn local_address(&self) -> String;

    /// Asks the system for a receive buffer of so many bytes; returns what it gives.
    ///
    /// # Errors
    /// As the system says.
    fn set_receive_buffer(&self, bytes: usize) -> io::Result<usize> {
        Ok(bytes)
    }

    /// Datagrams that the system has dropped since the receiver was bound, most often because the
    /// receive buffer was full.
    ///
    /// # Errors
    /// The system does not say.
    async fn dropped(&self) -> io::Result<u64> {
        Ok(0)
    }
}
