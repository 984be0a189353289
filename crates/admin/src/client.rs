//! Reads a page of the admin address of a running agent.

use std::io;
use std::time::Duration;

use http_body_util::Full;
use hyper::{Request, StatusCode};
use pipeline::Env;
use tls::Dialer;
use tokio::time::timeout;
use web::{Reply, once};

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
    let request = Request::get(path).body(Full::default()).map_err(io::Error::other)?;
    let answered = async { Reply::read(once(dialer, address, request).await?, bytes_max).await };
    let reply = answered.await.map_err(|lost| io::Error::other(lost.cause()))?;
    match reply.is_cut {
        true => Err(io::Error::other(format!("the response is over {bytes_max} bytes"))),
        false => {
            let text = String::from_utf8_lossy(&reply.body).trim_end().to_owned();
            Ok((reply.head.status, text))
        }
    }
}
