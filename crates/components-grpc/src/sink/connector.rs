//! Connections through [`pipeline::Env`], as tonic requires them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use pipeline::env::Stream;
use tls::Dialer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service;

use super::GrpcError;

/// Interval of probes on a silent connection, and the time limit for a reply.
const PROBE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));

/// Connects to one address. If TLS is used, it is inside the stream that tonic gets.
pub(super) struct Connector {
    dialer: Dialer,
    address: Arc<str>,
    ending: Ending,
}

/// The error that ended a connection. The transport sometimes hides it and reports only that the
/// stream of the request is closed.
#[derive(Clone, Default)]
pub(super) struct Ending(Arc<OnceLock<String>>);

impl Ending {
    /// Returns the status of a request, with the connection's error as the cause if there is one.
    pub(super) fn status(&self, status: Status) -> Status {
        match self.0.get() {
            Some(text) => Status::from_error(Box::new(io::Error::other(text.clone()))),
            None => status,
        }
    }

    fn note<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        let error = outcome.as_ref().err().map(ToString::to_string);
        if let Some(text) = error.filter(|text| tls::is_explained(text)) {
            let _ = self.0.set(text);
        }
        outcome
    }
}

/// A stream that records its errors.
pub(super) struct Noted {
    stream: Box<dyn Stream>,
    ending: Ending,
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        Poll::Ready(self.ending.note(read))
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        Poll::Ready(self.ending.note(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices));
        Poll::Ready(self.ending.note(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.ending.note(flushed))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connector {
    pub(super) fn new(dialer: Dialer, address: Arc<str>) -> Self {
        Self { dialer, address, ending: Ending::default() }
    }

    /// Opens a connection; returns it with its future error.
    pub(super) async fn open(self, endpoint: &Endpoint) -> Result<(Channel, Ending), GrpcError> {
        let (address, ending) = (self.address.clone(), self.ending.clone());
        let endpoint = endpoint
            .clone()
            .http2_keep_alive_interval(PROBE.0)
            .keep_alive_timeout(PROBE.1)
            .keep_alive_while_idle(true);
        let opened = endpoint.connect_with_connector(self).await;
        let opened =
            opened.map_err(|cause| GrpcError::Connect { address: address.to_string(), cause })?;
        Ok((opened, ending))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Noted>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let Self { dialer, address, ending } = self;
        let (dialer, address, ending) = (dialer.clone(), address.clone(), ending.clone());
        Box::pin(async move {
            let stream = dialer.connect(&address).await?;
            Ok(TokioIo::new(Noted { stream, ending }))
        })
    }
}
