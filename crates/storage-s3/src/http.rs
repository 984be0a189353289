//! Requests over the network and the TLS of this program, with connections that are kept open.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use hyper::header::{HeaderValue, IF_NONE_MATCH};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Method, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpService,
};
use pipeline::env::Stream;
use pipeline::{BuildError, Env};
use tls::{ClientTls, Dialer};
use tokio::time::timeout;
use tower::Service;

use crate::trouble::Trouble;

/// How long a connection may take, its handshake included.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection stays open without a request: servers close theirs after 20 s.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// Connections that stay open without a request.
const IDLE_CONNECTIONS_MAX: usize = 32;
/// Where a machine asks for its role.
const METADATA_HOST: &str = "169.254.169.254";

/// Makes clients of the network that an agent has.
#[derive(Clone)]
pub(crate) struct Connector {
    plain: Dialer,
    secure: Dialer,
}

impl Connector {
    /// With these settings of TLS for `https://`.
    ///
    /// # Errors
    /// Settings that do not go together.
    pub(crate) fn new(tls: Option<ClientTls>, env: &Env) -> Result<Self, BuildError> {
        let plain = Dialer::new(env, None, &[])?;
        let secure = Dialer::new(env, Some(tls.unwrap_or_default()), &["http/1.1"])?;
        Ok(Self { plain, secure })
    }

    async fn dial(self, uri: Uri) -> io::Result<Wire> {
        let host = uri.host().ok_or_else(|| io::Error::other("a URL without a host"))?;
        let is_secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let dialer = if is_secure { &self.secure } else { &self.plain };
        let address = format!("{host}:{port}");
        match timeout(CONNECT_LIMIT, dialer.connect(&address)).await {
            Ok(stream) => Ok(Wire(TokioIo::new(stream?))),
            Err(_) => {
                let problem = format!("no connection to {address} within {CONNECT_LIMIT:?}");
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

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(self.clone());
        Ok(HttpClient::new(Requests { client }))
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

/// A connection as hyper wants it.
pub(crate) struct Wire(TokioIo<Box<dyn Stream>>);

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

/// One client.
struct Requests {
    client: Client<Connector, HttpRequestBody>,
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requests")
    }
}

#[async_trait]
impl HttpService for Requests {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        // The library completes an upload with this condition for its copies alone. The header is
        // none of those that a signature covers.
        if request.method() == Method::POST && query.contains("uploadId=") {
            request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let uri = request.uri().clone();
        let address = uri.authority().map_or_else(String::new, ToString::to_string);
        let response = self.client.request(request).await.map_err(|error| {
            let (is_connect, source) = (error.is_connect(), Box::new(error));
            if is_connect && uri.host() == Some(METADATA_HOST) {
                return HttpError::new(HttpErrorKind::Connect, Trouble::NoKey);
            }
            match is_connect {
                true => {
                    let trouble = Trouble::Unreached { address: address.clone(), source };
                    HttpError::new(HttpErrorKind::Connect, trouble)
                }
                false => broken(&address, source),
            }
        })?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| broken(&address, Box::new(error)))?;
        let body = body.to_bytes();
        match head.status {
            // What the library makes an error of its own of.
            StatusCode::PRECONDITION_FAILED | StatusCode::NOT_MODIFIED => {}
            StatusCode::NOT_FOUND => {
                let trouble = Trouble::answered(head.status, &body);
                if let Trouble::Answered { code, .. } = &trouble
                    && !matches!(code.as_str(), "" | "NoSuchKey")
                {
                    return Err(HttpError::new(HttpErrorKind::Unknown, trouble));
                }
            }
            status if status.is_success() => {}
            status => {
                let trouble = Trouble::answered(status, &body);
                return Err(HttpError::new(HttpErrorKind::Unknown, trouble));
            }
        }
        Ok(HttpResponse::from_parts(head, body.into()))
    }
}

fn broken(address: &str, source: Box<dyn std::error::Error + Send + Sync>) -> HttpError {
    // Not of a kind that the library tries again.
    let trouble = Trouble::Broken { address: address.to_owned(), source };
    HttpError::new(HttpErrorKind::Unknown, trouble)
}
