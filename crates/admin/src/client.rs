//! Reads a page of the admin address of a running agent.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use pipeline::Env;
use tls::Dialer;
use tokio::time::timeout;

/// Time limit for a page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// Most bytes of a page.
const PAGE_MAX: usize = 16 << 20;

/// Reads a page of the agent at `address` (`host:port`), without TLS and without a token.
///
/// # Errors
/// The agent does not respond within two seconds, or its response is not `200 OK`.
pub async fn page(env: &Env, address: &str, path: &str) -> io::Result<String> {
    let dialer = Dialer::new(env, None, &["http/1.1"]).map_err(io::Error::other)?;
    let asked = timeout(PAGE_TIMEOUT, ask(&dialer, address, path, PAGE_MAX)).await;
    match asked.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
        (StatusCode::OK, text) => Ok(text),
        (status, text) => Err(io::Error::other(format!("{path}: {status}: {text}"))),
    }
}

/// Returns the status of a page, and at most `bytes_max` of its text.
///
/// # Errors
/// The address cannot be reached, or its answer is not HTTP or too long.
pub async fn ask(
    dialer: &Dialer,
    address: &str,
    path: &str,
    bytes_max: usize,
) -> io::Result<(StatusCode, String)> {
    let stream = dialer.connect(address).await?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut connection, driver) = handshake.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // The request reports a broken connection.
        let _ = driver.await;
    });
    let request = Request::get(path).header(header::HOST, address).body(Full::<Bytes>::default());
    let request = request.map_err(io::Error::other)?;
    let answer = connection.send_request(request).await.map_err(io::Error::other)?;
    let status = answer.status();
    let text = Limited::new(answer.into_body(), bytes_max).collect().await;
    let text = text.map_err(io::Error::other)?.to_bytes();
    Ok((status, String::from_utf8_lossy(&text).trim_end().to_owned()))
}
