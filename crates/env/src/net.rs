//! TCP and UDP.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use pipeline::env::{Datagrams, Listener, Net, Stream};
use socket2::SockRef;
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
        // Send a batch when it is ready; the next one must not wait for its answer.
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
        let local = socket.local_addr()?;
        let inode = rustix::fs::fstat(&socket)?.st_ino;
        Ok(Box::new(RealDatagrams { socket, local, inode }))
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
    local: SocketAddr,
    /// Its number in the kernel's table of sockets.
    inode: u64,
}

#[async_trait]
impl Datagrams for RealDatagrams {
    async fn receive(&self, room: &mut [u8]) -> io::Result<(usize, String)> {
        let (bytes, sender) = self.socket.recv_from(room).await?;
        Ok((bytes, sender.to_string()))
    }

    fn local_address(&self) -> String {
        self.local.to_string()
    }

    fn set_receive_buffer(&self, bytes: usize) -> io::Result<usize> {
        let socket = SockRef::from(&self.socket);
        socket.set_recv_buffer_size(bytes)?;
        // Linux doubles the requested size for its own needs, and returns the double.
        Ok(socket.recv_buffer_size()? / 2)
    }

    /// Reads the table of sockets. `SO_RXQ_OVFL` has the same number, but only with the next
    /// datagram that has room: the end of a burst would not be counted.
    async fn dropped(&self) -> io::Result<u64> {
        let table = if self.local.is_ipv4() { "/proc/self/net/udp" } else { "/proc/self/net/udp6" };
        let text = tokio::task::spawn_blocking(move || std::fs::read_to_string(table)).await??;
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("not listed in {table}"));
        dropped_of(&text, self.inode).ok_or_else(missing)
    }
}

/// The drops of the socket with this number, in the kernel's table of UDP sockets: its columns 10
/// and 13.
fn dropped_of(table: &str, inode: u64) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(9);
        let is_it = columns.next()?.parse() == Ok(inode);
        is_it.then(|| columns.nth(2)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_written_at_one_end_are_read_at_the_other() {
        let listener = RealNet.listen("127.0.0.1:0").await.unwrap();
        let mut near = RealNet.connect(&listener.local_address()).await.unwrap();
        let (mut far, _peer) = listener.accept().await.unwrap();
        near.write_all(b"hello").await.unwrap();
        let mut read = [0; 5];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"hello");
    }

    #[tokio::test]
    async fn datagrams_without_room_in_the_receive_buffer_are_counted() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = RealNet.bind(address).await else { continue };
            let small = socket.set_receive_buffer(4_096).unwrap();
            assert!((2_048..65_536).contains(&small), "{small}");
            let sender = UdpSocket::bind(address).await.unwrap();
            assert_eq!(socket.dropped().await.unwrap(), 0);
            for _ in 0..200 {
                sender.send_to(&[b'x'; 500], socket.local_address()).await.unwrap();
            }
            let (mut received, mut room) = (0, [0; 1_000]);
            let mut receive = async || socket.receive(&mut room).await.unwrap();
            let quiet = std::time::Duration::from_millis(200);
            while tokio::time::timeout(quiet, receive()).await.is_ok() {
                received += 1;
            }
            let dropped = socket.dropped().await.unwrap();
            assert!(received > 0 && dropped > 0, "{received} {dropped}");
            assert_eq!(received + dropped, 200, "{address}");
            let large = socket.set_receive_buffer(100_000).unwrap();
            assert!(large >= 100_000, "{large}");
        }
    }

    #[tokio::test]
    async fn a_refused_address_is_named() {
        let error = RealNet.connect("127.0.0.1:1").await.err().unwrap();
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    }
}
