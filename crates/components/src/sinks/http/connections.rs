//! Connections to one server, kept open between requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use kit::http::shown;
use tls::Dialer;

use super::HttpError;

/// Maximum size of a response body that is read: enough for the reason of a refusal.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What a server answered.
pub(super) struct Response {
    /// Its status.
    pub(super) status: StatusCode,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Beginning of its body, for people: one line.
    pub(super) text: String,
}

/// Connections to one server.
pub(super) struct Connections {
    dialer: Dialer,
    address: Arc<str>,
    idle_max: usize,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Connections {
    /// Creates a pool without connections; at most `idle_max` stay open between requests.
    pub(super) fn new(dialer: Dialer, address: Arc<str>, idle_max: usize) -> Self {
        Self { dialer, address, idle_max, idle: Mutex::default() }
    }

    /// Sends a request and reads the response. Replaces a connection that the server closed while
    /// it was idle. Does not retry after a connection broke during a request: the request may have
    /// been applied.
    /// been applied.
    ///
    /// # Errors
    /// Fails if there is no connection or no response.
    pub(super) async fn send(
        &self,
        uri: &Uri,
        request: Request<Bytes>,
    ) -> Result<Response, HttpError> {
        let mut request = request.map(Full::new);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().expect("the path of a URI is a URI");
        let host = uri.authority().map_or(&*self.address, |authority| authority.as_str());
        if let Ok(host) = HeaderValue::from_str(host) {
            request.headers_mut().insert(HOST, host);
        }
        let mut connection = self.connection().await?;
        let broken = |source| HttpError::Broken { address: self.address.clone(), source };
        let (head, mut body) = connection.send_request(request).await.map_err(broken)?.into_parts();
        let mut text = Vec::new();
        let mut whole = true;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(broken)?;
            let Some(data) = frame.data_ref() else { continue };
            if text.len() + data.len() > ANSWER_BYTES_MAX {
                whole = false;
                break;
            }
            text.extend_from_slice(data);
        }
        if whole {
            self.keep(connection);
        }
        Ok(Response { status: head.status, headers: head.headers, text: shown(&text) })
    }

    /// Describes how the server is reached.
    pub(super) fn reached(&self) -> String {
        self.dialer.connected_text(&self.address)
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        loop {
            let idle = self.idle().pop();
            let Some(mut connection) = idle else { break };
            if connection.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        let failed = |source| HttpError::Connect { address: self.address.clone(), source };
        let stream = self.dialer.connect(&self.address).await.map_err(failed)?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(std::io::Error::other(error)))?;
        tokio::spawn(async move {
            // The request on a broken connection reports the error.
            let _ = driver.await;
        });
        Ok(connection)
    }

    fn keep(&self, connection: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle();
        if idle.len() < self.idle_max && !connection.is_closed() {
            idle.push(connection);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        // The list is consistent between calls.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
