//! A stream inside TLS, also before its handshake.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::BoxFuture;
use pipeline::env::Stream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsStream;

/// Called once with the error of the handshake.
pub(crate) type Failed = Box<dyn FnOnce(&io::Error) + Send>;

type Open = TlsStream<Box<dyn Stream>>;

/// A stream inside TLS.
pub(crate) struct Secured(State);

enum State {
    /// The handshake is not over.
    Shaking(BoxFuture<'static, io::Result<Open>>, Option<Failed>),
    Open(Box<Open>),
    /// The handshake failed, and the error was handed out.
    Over,
}

impl Secured {
    /// One whose handshake is made by what reads and writes.
    pub(crate) fn shaking(handshake: BoxFuture<'static, io::Result<Open>>, failed: Failed) -> Self {
        Self(State::Shaking(handshake, Some(failed)))
    }

    /// One whose handshake is over.
    pub(crate) fn open(stream: Open) -> Self {
        Self(State::Open(Box::new(stream)))
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut Open>>> {
        if let State::Shaking(handshake, failed) = &mut self.0 {
            match ready!(handshake.as_mut().poll(cx)) {
                Ok(stream) => self.0 = State::Open(Box::new(stream)),
                Err(error) => {
                    // What checks a port opens a connection and closes it.
                    let is_check = error.kind() == io::ErrorKind::UnexpectedEof;
                    if let Some(failed) = failed.take().filter(|_| !is_check) {
                        failed(&error);
                    }
                    self.0 = State::Over;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(match &mut self.0 {
            State::Open(stream) => Ok(Pin::new(&mut **stream)),
            State::Shaking(..) | State::Over => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_open(cx))?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.get_mut().poll_open(cx))?.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_open(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            State::Open(stream) => Pin::new(stream).poll_shutdown(cx),
            // Nothing was said, and the stream is closed when it is dropped.
            State::Shaking(..) | State::Over => Poll::Ready(Ok(())),
        }
    }
}

/// Says goodbye, as TLS wants it, if that takes no waiting: without it the other side cannot tell
/// the end from a connection that was cut.
impl Drop for Secured {
    fn drop(&mut self) {
        if let State::Open(stream) = &mut self.0 {
            let _ = stream.shutdown().now_or_never();
        }
    }
}
