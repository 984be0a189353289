//! TCP and UDP.

use std::io;

use async_trait::async_trait;
use pipeline::env::{Datagrams, Listener, Net, Stream};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::limits;

/// TCP and UDP of this host.
#[derive(Debug, Clone, Copy)]
pub struct RealNet;

fn named(address: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

#[async_trait]
impl Net for RealNet {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(address).await.map_err(|e| named(address, &e))?;
        // A batch goes out when it is ready; what follows it must not wait for its answer.
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let listener = TcpListener::bind(address).await.map_err(|e| named(address, &e))?;
        let local = listener.local_addr()?.to_string();
        Ok(Box::new(RealListener { listener, local }))
    }

    async fn bind(&self, address: &str) -> io::Result<Box<dyn Datagrams>> {
        let socket = UdpSocket::bind(address).await.map_err(|e| named(address, &e))?;
        let local = socket.local_addr()?.to_string();
        Ok(Box::new(RealDatagrams { socket, local }))
    }

    fn connections_max(&self) -> Option<u64> {
        limits::files_max()
    }
}

struct RealListener {
    listener: TcpListener,
    local: String,
}

#[async_trait]
impl Listener for RealListener {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, String)> {
        let (stream, peer) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream), peer.to_string()))
    }

    fn local_address(&self) -> String {
        self.local.clone()
    }
}

struct RealDatagrams {
    socket: UdpSocket,
    local: String,
}

#[async_trait]
impl Datagrams for RealDatagrams {
    async fn receive(&self, room: &mut [u8]) -> io::Result<(usize, String)> {
        let (bytes, sender) = self.socket.recv_from(room).await?;
        Ok((bytes, sender.to_string()))
    }

    fn local_address(&self) -> String {
        self.local.clone()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_is_written_at_one_end_is_read_at_the_other() {
        let listener = RealNet.listen("127.0.0.1:0").await.unwrap();
        let mut near = RealNet.connect(&listener.local_address()).await.unwrap();
        let (mut far, _peer) = listener.accept().await.unwrap();
        near.write_all(b"hello").await.unwrap();
        let mut read = [0; 5];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"hello");
    }

    #[tokio::test]
    async fn a_refused_address_is_named() {
        let error = RealNet.connect("127.0.0.1:1").await.err().unwrap();
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    }
}
