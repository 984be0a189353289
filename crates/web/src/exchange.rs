//! One request and its response. The body of a response is read up to a limit.

use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, RETRY_AFTER};
use hyper::http::response::Parts;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tls::Dialer;

use crate::Connector;

/// Maximum number of characters of a response in a message.
const SHOWN_CHARS_MAX: usize = 200;

/// Sends requests, and keeps connections open between them.
pub type Client<B = Full<Bytes>> = hyper_util::client::legacy::Client<Connector, B>;

/// The cause of an error.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a response is missing or incomplete.
#[derive(Debug, Error)]
pub enum Lost {
    /// Connecting failed: the server does not have the request.
    #[error("cannot connect")]
    Connect(#[source] Cause),
    /// The connection broke: the server may have executed the request.
    #[error("lost the connection before the response")]
    Broken(#[source] Cause),
}

impl Lost {
    /// Returns the cause.
    pub fn cause(self) -> Cause {
        match self {
            Self::Connect(cause) | Self::Broken(cause) => cause,
        }
    }
}

impl From<hyper_util::client::legacy::Error> for Lost {
    fn from(error: hyper_util::client::legacy::Error) -> Self {
        match error.is_connect() {
            true => Self::Connect(error.into()),
            false => Self::Broken(error.into()),
        }
    }
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    /// Status and headers.
    pub head: Parts,
    /// The body, or its beginning if it is over the limit.
    pub body: Bytes,
    /// Whether the body is over the limit.
    pub is_cut: bool,
    /// Headers after the body.
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    /// Reads at most `bytes_max` bytes of the body of a response.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn read(response: Response<Incoming>, bytes_max: usize) -> Result<Self, Lost> {
        let (head, body) = response.into_parts();
        let mut reply = Self { head, body: Bytes::new(), is_cut: false, trailers: None };
        let announced = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
        let mut read = BytesMut::with_capacity(announced.unwrap_or_default().min(bytes_max));
        let mut body = pin!(body);
        while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let frame = frame.map_err(|error| Lost::Broken(error.into()))?;
            match frame.into_data() {
                Ok(data) if data.len() > bytes_max - read.len() => {
                    read.extend_from_slice(&data[..bytes_max - read.len()]);
                    reply.is_cut = true;
                    break;
                }
                Ok(data) => read.extend_from_slice(&data),
                Err(frame) => reply.trailers = frame.into_trailers().ok(),
            }
        }
        reply.body = read.freeze();
        Ok(reply)
    }

    /// Returns the beginning of the body for messages: one line.
    pub fn text(&self) -> String {
        shown(&self.body)
    }

    /// Returns the delay in `Retry-After`, if it is a number of seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.head.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

/// Sends a request; returns the response before its body has arrived.
///
/// # Errors
/// There is no response.
pub async fn send<B>(client: &Client<B>, request: Request<B>) -> Result<Response<Incoming>, Lost>
where
    B: Body<Data: Send, Error: Into<Cause>> + Send + Unpin + 'static,
{
    Ok(client.request(request).await?)
}

/// Sends a request, and reads at most `bytes_max` bytes of the body of the response.
///
/// # Errors
/// There is no complete response.
pub async fn exchange<B>(
    client: &Client<B>,
    request: Request<B>,
    bytes_max: usize,
) -> Result<Reply, Lost>
where
    B: Body<Data: Send, Error: Into<Cause>> + Send + Unpin + 'static,
{
    Reply::read(send(client, request).await?, bytes_max).await
}

/// Sends a request over a new connection to `address` (`host:port`), which closes after the
/// response. The target of the request is a path.
///
/// # Errors
/// There is no response.
pub async fn once(
    dialer: &Dialer,
    address: &str,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Lost> {
    let host = HeaderValue::from_str(address).map_err(|error| Lost::Connect(error.into()))?;
    request.headers_mut().insert(HOST, host);
    let stream = dialer.connect(address).await.map_err(|error| Lost::Connect(error.into()))?;
    let broken = |error: hyper::Error| Lost::Broken(error.into());
    let (mut connection, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(async move {
        // The request reports a broken connection.
        let _ = driver.with_upgrades().await;
    });
    connection.send_request(request).await.map_err(broken)
}

/// Returns the beginning of a response as one line without control characters.
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    let shown: String = shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.is_empty() { "no reason given".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Reads a response of 12 bytes, which the server sends in two parts, with a limit.
    async fn read(bytes_max: usize, is_once: bool) -> Reply {
        let env = env::real();
        let listener = env.net.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_address();
        let serving = tokio::spawn(async move {
            let mut stream = listener.accept().await.unwrap().0;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let head = "HTTP/1.1 429 X\r\nretry-after: 7\r\ncontent-length: 12\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            for part in [b"first ", b"second"] {
                tokio::task::yield_now().await;
                // A client that has reached its limit disconnects.
                let _ = stream.write_all(part).await;
            }
            String::from_utf8(request).unwrap()
        });
        let request = Request::get("/p").body(Full::default()).unwrap();
        let reply = if is_once {
            let dialer = Dialer::new(&env, None, &[]).unwrap();
            let response = once(&dialer, &address, request).await.unwrap();
            // The connection outlives its sender.
            tokio::task::yield_now().await;
            Reply::read(response, bytes_max).await.unwrap()
        } else {
            let mut request = request;
            *request.uri_mut() = format!("http://{address}/p").parse().unwrap();
            let client = Connector::new(None, &env).unwrap().client();
            exchange(&client, request, bytes_max).await.unwrap()
        };
        let request = serving.await.unwrap();
        assert!(request.starts_with("GET /p HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("\r\nhost: {address}\r\n")), "{request}");
        reply
    }

    #[tokio::test]
    async fn reads_a_response_up_to_the_limit() {
        for is_once in [true, false] {
            for (bytes_max, text, is_cut) in [
                (12, "first second", false),
                (11, "first secon", true),
                (0, "no reason given", true),
            ] {
                let reply = read(bytes_max, is_once).await;
                assert_eq!((&*reply.text(), reply.is_cut), (text, is_cut), "{is_once}");
                assert_eq!(reply.retry_after(), Some(Duration::from_secs(7)));
            }
        }
    }

    #[tokio::test]
    async fn an_unreachable_server_does_not_have_the_request() {
        let env = env::real();
        // Nothing listens on port 1 of this address.
        let request = Request::get("http://127.0.0.77:1/").body(Full::default()).unwrap();
        let client: Client = Connector::new(None, &env).unwrap().client();
        assert!(matches!(exchange(&client, request, 1).await, Err(Lost::Connect(_))));
    }
}
