//! Connections of hyper's HTTP client, over the network and the TLS of an agent: kept open between
//! requests, and opened within a time limit.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Body;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{HeaderMap, Method, Request, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pipeline::env::Stream;
use pipeline::{BuildError, Env};
use support::causes::chain;
use tls::{ClientTls, Dialer, refused_by_http};
use tokio::time::timeout;
use tower::Service;

use crate::Client;
use crate::settings::address;

/// Time limit for connecting, including the handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection stays open without a request: servers close theirs after 20 s.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// Interval and timeout of probes of an HTTP/2 connection while it has a request: all requests
/// share it, so a dead connection would block them all.
const PROBE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));
/// Connections that stay open without a request.
const IDLE_CONNECTIONS_MAX: usize = 32;

/// Makes the connections of a client; with TLS to `https://` and `wss://`.
#[derive(Clone)]
pub struct Connector {
    plain: Dialer,
    secure: Dialer,
    is_http2: bool,
}

impl Connector {
    /// With these settings of TLS for `https://`; unless set, the authorities of the host.
    ///
    /// # Errors
    /// Settings that do not go together.
    pub fn new(tls: Option<ClientTls>, env: &Env) -> Result<Self, BuildError> {
        Self::build(tls, env, false)
    }

    /// The same for HTTP/2 only, also without TLS, as gRPC needs it.
    ///
    /// # Errors
    /// An invalid combination of settings.
    pub fn http2(tls: Option<ClientTls>, env: &Env) -> Result<Self, BuildError> {
        Self::build(tls, env, true)
    }

    fn build(tls: Option<ClientTls>, env: &Env, is_http2: bool) -> Result<Self, BuildError> {
        let plain = Dialer::new(env, None, &[])?;
        let protocol = if is_http2 { "h2" } else { "http/1.1" };
        let secure = Dialer::new(env, Some(tls.unwrap_or_default()), &[protocol])?;
        Ok(Self { plain, secure, is_http2 })
    }

    /// Returns a client with separate connections. It follows no redirection and repeats no request
    /// that may have reached its server.
    pub fn client<B>(&self) -> Client<B>
    where
        B: Body + Send,
        B::Data: Send,
    {
        hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .timer(TokioTimer::new())
            .http2_only(self.is_http2)
            .http2_keep_alive_interval(PROBE.0)
            .http2_keep_alive_timeout(PROBE.1)
            .build(self.clone())
    }

    /// Returns the log text for the server of a URL after a successful connection.
    ///
    /// # Errors
    /// The URL has no host.
    pub fn connected_text(&self, uri: &Uri) -> io::Result<String> {
        let (dialer, address) = self.target(uri)?;
        Ok(dialer.connected_text(&address))
    }

    /// Sends `OPTIONS` to the server of a URL, and waits for the response.
    ///
    /// # Errors
    /// The server does not respond, or rejects the kind of connection.
    pub async fn probe(&self, uri: &Uri, headers: &HeaderMap) -> io::Result<String> {
        let reached = self.connected_text(uri)?;
        let mut request = Request::new(String::new());
        *request.method_mut() = Method::OPTIONS;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        let asked = self.client().request(request).await;
        let answer = asked.map_err(|error| io::Error::other(chain(&error)))?;
        let status = answer.status();
        match refused_by_http(status.as_u16(), "") {
            false => Ok(reached),
            true => Err(io::Error::other(format!("the server responded with {status}"))),
        }
    }

    /// Returns the dialer and the address for the server of a URL.
    fn target(&self, uri: &Uri) -> io::Result<(&Dialer, String)> {
        let of_url = address(uri).ok_or_else(|| io::Error::other("the URL has no host"))?;
        let (address, is_secure) = of_url;
        Ok((if is_secure { &self.secure } else { &self.plain }, address))
    }

    async fn dial(self, uri: Uri) -> io::Result<Wire> {
        let (dialer, address) = self.target(&uri)?;
        match timeout(CONNECT_LIMIT, dialer.connect(&address)).await {
            Ok(stream) => Ok(Wire(TokioIo::new(stream?))),
            Err(_) => {
                let problem = format!(
                    "cannot connect to {address} within {CONNECT_LIMIT:?}; check that the server \
                     is running and reachable from this host"
                );
                Err(io::Error::new(io::ErrorKind::TimedOut, problem))
            }
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

/// A connection in the form that hyper needs.
pub struct Wire(TokioIo<Box<dyn Stream>>);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
