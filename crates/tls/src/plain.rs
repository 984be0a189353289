//! A stream without TLS, which notices that the server speaks TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use peers::RefusalReason;
use pipeline::env::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::problem::Failure;

/// The first bytes of the alert that a server of TLS answers to plain text: the type, the major
/// version, any minor version, and the high byte of the length.
const ALERT: [u8; 4] = [0x15, 3, 0, 0];

/// The largest minor version.
const MINOR_MAX: u8 = 4;

/// A stream without TLS.
pub(crate) struct Plain {
    stream: Box<dyn Stream>,
    /// Number of matching bytes of an alert at the beginning; `None` after a mismatch.
    matched: Option<usize>,
}

impl Plain {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, matched: Some(0) }
    }

    /// Returns `true` if an alert has begun, with these bytes.
    fn is_alert(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            let Some(at) = self.matched else { return false };
            let fits = if at == 2 { *byte <= MINOR_MAX } else { *byte == ALERT[at] };
            self.matched = fits.then_some(at + 1);
            if self.matched == Some(ALERT.len()) {
                return true;
            }
        }
        false
    }
}

impl Plain {
    fn alert() -> io::Error {
        let text = "the server uses TLS, but this client does not: set the table `tls`, or use a \
                    URL with `https://`, `wss://` or `amqps://`";
        Failure::error(io::ErrorKind::InvalidData, RefusalReason::NotTls, text.into())
    }

    /// Returns the error of a write. A TLS server sends the reason and closes the connection: then
    /// its alert can still be read.
    fn failed_write(&mut self, cx: &mut Context<'_>, error: io::Error) -> io::Error {
        let mut room = [0; 16];
        let mut room = ReadBuf::new(&mut room);
        if self.matched.is_some()
            && let Poll::Ready(Ok(())) = Pin::new(&mut self.stream).poll_read(cx, &mut room)
            && self.is_alert(room.filled())
        {
            return Self::alert();
        }
        error
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        if this.matched.is_some() && this.is_alert(&buffer.filled()[before..]) {
            return Poll::Ready(Err(Self::alert()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes));
        Poll::Ready(written.map_err(|error| this.failed_write(cx, error)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices));
        Poll::Ready(written.map_err(|error| this.failed_write(cx, error)))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn an_alert_is_noticed_however_it_arrives_and_other_bytes_pass() {
        for (bytes, piece, is_alert) in [
            (&[0x15, 3, 3, 0, 2, 2, 50][..], 7, true),
            (&[0x15, 3, 1, 0, 2, 2, 10], 1, true),
            (&[0x15, 3, 9, 0, 2, 2, 50], 7, false),
            (&[0, 0x15, 3, 3, 0, 2, 2], 7, false),
            (b"HTTP/1.", 7, false),
            (&[0x15, 3, 3], 3, false),
        ] {
            let (mut server, client) = duplex(64);
            let mut client = Plain::new(Box::new(client));
            server.write_all(bytes).await.unwrap();
            drop(server);
            let (mut all, mut room) = (Vec::new(), vec![0; piece]);
            let outcome = loop {
                match client.read(&mut room).await {
                    Ok(0) => break Ok(()),
                    Ok(read) => all.extend_from_slice(&room[..read]),
                    Err(error) => break Err(error),
                }
            };
            match outcome {
                Ok(()) => assert!(!is_alert && all == bytes, "{bytes:?}: {all:?}"),
                Err(error) => assert!(is_alert && error.to_string().contains("`tls`"), "{error}"),
            }
        }
    }
}
