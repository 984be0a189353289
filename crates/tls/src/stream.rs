//! A stream inside TLS, also before its handshake.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::BoxFuture;
use pipeline::env::{Env, Stream};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsStream;

use crate::problem::{ended_with_expired, refused_by_peer};
use crate::validity::OwnCertificate;

/// Called once with the error of the handshake.
pub(crate) type Failed = Box<dyn FnOnce(&io::Error) + Send>;

type Open = TlsStream<Box<dyn Stream>>;

/// The knowledge of a client that explains the end of its connection.
pub(crate) struct Explain {
    /// The certificate that it shows.
    pub(crate) own: Option<Arc<OwnCertificate>>,
    pub(crate) env: Env,
}

impl Explain {
    /// Returns the error with its cause, which for a TLS 1.3 server appears after the handshake.
    fn error(&self, error: io::Error, is_first: bool) -> io::Error {
        let now = self.env.clock.now();
        if let Some(explained) = refused_by_peer(&error, self.own.as_deref(), now) {
            return explained;
        }
        let is_end = matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        );
        match self.own.as_ref().filter(|own| is_first && is_end && own.has_expired(now)) {
            Some(own) => ended_with_expired(error.kind(), own),
            None => error,
        }
    }
}

/// A stream inside TLS.
pub(crate) struct Secured {
    state: State,
    /// Of a client.
    explain: Option<Explain>,
    /// Something was read.
    has_read: bool,
}

enum State {
    /// The handshake is not over.
    Shaking(BoxFuture<'static, io::Result<Open>>, Option<Failed>),
    Open(Box<Open>),
    /// The handshake failed, and the error was handed out.
    Over,
}

impl Secured {
    /// Creates a stream whose reads and writes make the handshake.
    pub(crate) fn shaking(handshake: BoxFuture<'static, io::Result<Open>>, failed: Failed) -> Self {
        let state = State::Shaking(handshake, Some(failed));
        Self { state, explain: None, has_read: false }
    }

    /// Creates a client's stream after its handshake.
    pub(crate) fn open(stream: Open, explain: Explain) -> Self {
        Self { state: State::Open(Box::new(stream)), explain: Some(explain), has_read: false }
    }

    /// The error of a read.
    fn explained(&self, error: io::Error) -> io::Error {
        match &self.explain {
            Some(explain) => explain.error(error, !self.has_read),
            None => error,
        }
    }

    /// Returns the error of a write. A server that refuses a certificate sends the reason and
    /// closes the connection: then its alert can still be read.
    fn failed_write(&mut self, cx: &mut Context<'_>, error: io::Error) -> io::Error {
        let mut error = error;
        if !self.has_read
            && self.explain.is_some()
            && let State::Open(stream) = &mut self.state
        {
            let mut room = [0; 64];
            let read = Pin::new(&mut **stream).poll_read(cx, &mut ReadBuf::new(&mut room));
            if let Poll::Ready(Err(alert)) = read
                && alert.get_ref().is_some_and(|it| it.is::<rustls::Error>())
            {
                error = alert;
            }
        }
        self.explained(error)
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut Open>>> {
        if let State::Shaking(handshake, failed) = &mut self.state {
            match ready!(handshake.as_mut().poll(cx)) {
                Ok(stream) => self.state = State::Open(Box::new(stream)),
                Err(error) => {
                    // A port check opens a connection and closes it.
                    let is_check = error.kind() == io::ErrorKind::UnexpectedEof;
                    if let Some(failed) = failed.take().filter(|_| !is_check) {
                        failed(&error);
                    }
                    self.state = State::Over;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(match &mut self.state {
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
        let this = self.get_mut();
        let before = buffer.filled().len();
        match ready!(ready!(this.poll_open(cx))?.poll_read(cx, buffer)) {
            Ok(()) => {
                this.has_read |= buffer.filled().len() > before;
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(this.explained(error))),
        }
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(ready!(this.poll_open(cx))?.poll_write(cx, bytes));
        Poll::Ready(written.map_err(|error| this.failed_write(cx, error)))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = ready!(ready!(this.poll_open(cx))?.poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| this.failed_write(cx, error)))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().state {
            State::Open(stream) => Pin::new(stream).poll_shutdown(cx),
            // Nothing was sent, and dropping closes the stream.
            State::Shaking(..) | State::Over => Poll::Ready(Ok(())),
        }
    }
}

/// Sends TLS's closing alert, if that needs no waiting: without it the other side cannot
/// distinguish the end from a broken connection.
impl Drop for Secured {
    fn drop(&mut self) {
        if let State::Open(stream) = &mut self.state {
            let _ = stream.shutdown().now_or_never();
        }
    }
}
