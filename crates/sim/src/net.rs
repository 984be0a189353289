//! Connections of an agent over turmoil, which can be reset on one side.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use pipeline::env::{Listener, Net, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};
use xxhash_rust::xxh3::xxh3_64;

use crate::machine::Machine;
use crate::world::lock;

/// One side of a connection that can be reset. Data in flight to the other side still arrives; data
/// in the other direction is lost.
pub(crate) struct Cut {
    /// The host at the other end.
    pub(crate) peer: String,
    state: Mutex<CutState>,
}

#[derive(Default)]
struct CutState {
    is_cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Cut {
    /// Resets this side.
    pub(crate) fn cut(&self) {
        let mut state = lock(&self.state);
        state.is_cut = true;
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// The network of one machine.
pub(crate) struct SimNet {
    pub(crate) machine: Arc<Machine>,
}

impl SimNet {
    fn wrap(&self, inner: TcpStream, peer: &str) -> Box<dyn Stream> {
        let mut connections = lock(&self.machine.connections);
        connections.retain(|_, cut| Arc::strong_count(cut) > 1);
        let number = connections.last_key_value().map_or(0, |(number, _)| number + 1);
        let cut = Arc::new(Cut { peer: peer.to_owned(), state: Mutex::default() });
        connections.insert(number, cut.clone());
        Box::new(SimStream { inner, cut, machine: self.machine.clone() })
    }
}

#[async_trait]
impl Net for SimNet {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(address).await?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        self.machine.world.note(&self.machine.name, format_args!("connected to {address}"));
        Ok(self.wrap(stream, host))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?.to_string();
        let net = Self { machine: self.machine.clone() };
        Ok(Box::new(SimListener { listener, local, net }))
    }
}

struct SimListener {
    listener: TcpListener,
    local: String,
    net: SimNet,
}

#[async_trait]
impl Listener for SimListener {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, String)> {
        let (stream, address) = self.listener.accept().await?;
        let peer = turmoil::reverse_lookup(address.ip()).unwrap_or_default();
        Ok((self.net.wrap(stream, &peer), address.to_string()))
    }

    fn local_address(&self) -> String {
        self.local.clone()
    }
}

struct SimStream {
    inner: TcpStream,
    cut: Arc<Cut>,
    machine: Arc<Machine>,
}

impl SimStream {
    /// Registers a waker, unless the connection is already reset.
    fn check(&self, waker: &Waker, reads: bool) -> io::Result<()> {
        let mut state = lock(&self.cut.state);
        if state.is_cut {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let place = if reads { &mut state.reader } else { &mut state.writer };
        *place = Some(waker.clone());
        Ok(())
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx.waker(), true)?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if let Poll::Ready(Ok(())) = polled {
            let read = &buffer.filled()[before..];
            let (peer, len, hash) = (&self.cut.peer, read.len(), xxh3_64(read));
            let what = format_args!("read {len} bytes ({hash:016x}) from {peer}");
            self.machine.world.note(&self.machine.name, what);
        }
        polled
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx.waker(), false)?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx.waker(), false)?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx.waker(), false)?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
