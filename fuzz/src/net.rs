//! A network with one client: a connection that delivers an input in pieces and then closes, or a
//! datagram for each piece.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use pipeline::env::{Datagrams, Listener, Net, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

const CLIENT: &str = "192.0.2.7:40000";
const LOCAL: &str = "192.0.2.1:514";

/// The client: its input, and the received responses.
#[derive(Clone)]
pub(crate) struct OneClient {
    pieces: Arc<Mutex<VecDeque<Bytes>>>,
    answers: Arc<Mutex<Vec<u8>>>,
    /// Whether it keeps its side open after the last piece, until the source closes.
    waits: bool,
    /// Cancelled when the source closes the connection, or has received the last datagram.
    pub(crate) over: CancellationToken,
}

impl OneClient {
    /// Sends these non-empty pieces.
    pub(crate) fn new(pieces: impl Iterator<Item = Bytes>) -> Self {
        let pieces = pieces.filter(|piece| !piece.is_empty()).collect();
        let pieces = Arc::new(Mutex::new(pieces));
        Self { pieces, answers: Arc::default(), waits: false, over: CancellationToken::new() }
    }

    /// Makes the client wait for the source to close the connection.
    pub(crate) fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }

    /// Returns the responses.
    pub(crate) fn answers(&self) -> Vec<u8> {
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self) -> Option<Bytes> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

#[async_trait]
impl Net for OneClient {
    async fn connect(&self, _address: &str) -> io::Result<Box<dyn Stream>> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn listen(&self, _address: &str) -> io::Result<Box<dyn Listener>> {
        let connection =
            Connection { client: self.clone(), now: Bytes::new(), is_turn: false, is_shut: false };
        Ok(Box::new(OneConnection(Mutex::new(Some(connection)))))
    }

    async fn bind(&self, _address: &str) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Datagrams for OneClient {
    async fn receive(&self, room: &mut [u8]) -> io::Result<(usize, String)> {
        let Some(datagram) = self.take() else {
            self.over.cancel();
            return pending().await;
        };
        let bytes = datagram.len().min(room.len());
        room[..bytes].copy_from_slice(&datagram[..bytes]);
        Ok((bytes, CLIENT.to_owned()))
    }

    fn local_address(&self) -> String {
        LOCAL.to_owned()
    }
}

struct OneConnection(Mutex<Option<Connection>>);

#[async_trait]
impl Listener for OneConnection {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, String)> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match connection {
            Some(connection) => Ok((Box::new(connection), CLIENT.to_owned())),
            None => pending().await,
        }
    }

    fn local_address(&self) -> String {
        LOCAL.to_owned()
    }
}

/// The source's end of the connection.
struct Connection {
    client: OneClient,
    /// The rest of the current piece.
    now: Bytes,
    /// Whether the next piece is available; between pieces, reads are pending once.
    is_turn: bool,
    is_shut: bool,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.now.is_empty() {
            self.is_turn = !self.is_turn;
            if self.is_turn {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.client.take() {
                // Time passes, and the source closes the connection after a timeout.
                None if self.client.waits => return Poll::Pending,
                piece => self.now = piece.unwrap_or_default(),
            }
        }
        let bytes = self.now.len().min(room.remaining());
        room.put_slice(&self.now[..bytes]);
        self.now.advance(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut answers = self.client.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.client.over.cancel();
    }
}
