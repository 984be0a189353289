//! An in-memory network whose connections break on request.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use async_trait::async_trait;
use pipeline::Env;
use pipeline::env::{Listener, Net, Stream};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;

/// Buffer per direction: small, so that one batch takes many steps.
const PIPE_BYTES: usize = 4096;

/// A network with one host: each client reaches each listener.
pub(crate) struct Wire {
    listening: Mutex<Option<mpsc::UnboundedSender<DuplexStream>>>,
    /// Number of connections that break, from the first one on.
    breaking: AtomicU64,
    /// Number of bytes in the direction `side` after which they break.
    after_bytes: u64,
    side: Side,
}

/// Direction of the counted bytes: from the client to the listener, or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    There,
    Back,
}

impl Wire {
    /// Creates a network whose first `breaking` connections break after that many bytes.
    pub(crate) fn new(breaking: u64, after_bytes: u64, side: Side) -> Arc<Self> {
        let breaking = AtomicU64::new(breaking);
        Arc::new(Self { listening: Mutex::new(None), breaking, after_bytes, side })
    }

    /// Returns the real environment with this network.
    pub(crate) fn env(self: &Arc<Self>) -> Env {
        Env { net: Arc::new(Host(self.clone())), ..env::real() }
    }
}

struct Host(Arc<Wire>);

#[async_trait]
impl Net for Host {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>> {
        let listening = self.0.listening.lock().unwrap().clone();
        let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, address.to_owned());
        let (near, far) = duplex(PIPE_BYTES);
        listening.ok_or_else(refused)?.send(far).map_err(|_| refused())?;
        let breaks = self.0.breaking.load(Ordering::Relaxed) > 0;
        if !breaks {
            return Ok(Box::new(near));
        }
        self.0.breaking.fetch_sub(1, Ordering::Relaxed);
        let left = Some(self.0.after_bytes);
        Ok(Box::new(Fragile { stream: near, left, side: self.0.side }))
    }

    async fn listen(&self, _address: &str) -> io::Result<Box<dyn Listener>> {
        let (arrive, arrived) = mpsc::unbounded_channel();
        *self.0.listening.lock().unwrap() = Some(arrive);
        Ok(Box::new(Door(tokio::sync::Mutex::new(arrived))))
    }
}

struct Door(tokio::sync::Mutex<mpsc::UnboundedReceiver<DuplexStream>>);

#[async_trait]
impl Listener for Door {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, String)> {
        match self.0.lock().await.recv().await {
            Some(stream) => Ok((Box::new(stream), "memory:1".to_owned())),
            None => std::future::pending().await,
        }
    }

    fn local_address(&self) -> String {
        "127.0.0.1:4141".to_owned()
    }
}

/// Client end of a connection that breaks after a number of bytes in one direction: earlier bytes
/// have arrived, and no later byte passes in either direction.
struct Fragile {
    stream: DuplexStream,
    left: Option<u64>,
    side: Side,
}

impl Fragile {
    fn spend(&mut self, side: Side, bytes: usize) {
        if self.side == side {
            self.left = self.left.and_then(|left| left.checked_sub(bytes as u64));
        }
    }

    fn broken(&self) -> io::Result<()> {
        if self.left.is_some() { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
    }
}

impl AsyncRead for Fragile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.broken()?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.spend(Side::Back, buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Fragile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.broken()?;
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = &polled {
            self.spend(Side::There, *written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
