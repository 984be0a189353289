//! Requests over the network and the TLS of this program, with keep-alive connections.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hyper::header::{CONTENT_RANGE, RANGE};
use hyper::{HeaderMap, StatusCode};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpService,
};
use storage::READ_BYTES_MAX;
use web::{Cause, Client, Connector, Lost, Reply, send};

use crate::odd_keys::{OddKeys, is_listing};
use crate::provider::Provider;
use crate::request_error::{RequestError, address};

/// Hosts that a machine asks for its role.
const METADATA_HOSTS: [&str; 2] = ["169.254.169.254", "metadata.google.internal"];

/// Maximum size of an error answer, and of the overhead around the content of a part.
const REFUSAL_BYTES_MAX: usize = 1 << 20;

/// A change of a request before it is sent.
pub(crate) type Amend = dyn Fn(&mut HttpRequest) -> object_store::Result<()> + Send + Sync;

/// Makes clients of the network that an agent has.
pub(crate) struct Clients {
    connector: Connector,
    provider: &'static Provider,
    amend: Arc<Amend>,
    odd_keys: Arc<OddKeys>,
}

impl Clients {
    /// Creates clients that send requests unchanged.
    pub(crate) fn new(connector: Connector, provider: &'static Provider) -> Self {
        let (amend, odd_keys) = (Arc::new(|_: &mut HttpRequest| Ok(())), Arc::default());
        Self { connector, provider, amend, odd_keys }
    }

    /// Returns clients that change each request.
    pub(crate) fn amending(
        self,
        amend: impl Fn(&mut HttpRequest) -> object_store::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { amend: Arc::new(amend), ..self }
    }

    /// The keys that were left out of listings.
    pub(crate) fn odd_keys(&self) -> Arc<OddKeys> {
        self.odd_keys.clone()
    }

    /// Creates one client.
    pub(crate) fn client(&self) -> HttpClient {
        let (client, provider) = (self.connector.client(), self.provider);
        let (amend, odd_keys) = (self.amend.clone(), self.odd_keys.clone());
        HttpClient::new(Requests { client, provider, amend, odd_keys })
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl HttpConnector for Clients {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.client())
    }
}

/// One client.
struct Requests {
    client: Client<HttpRequestBody>,
    provider: &'static Provider,
    amend: Arc<Amend>,
    odd_keys: Arc<OddKeys>,
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requests")
    }
}

#[async_trait]
impl HttpService for Requests {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        (self.amend)(&mut request)
            .map_err(|error| HttpError::new(HttpErrorKind::Request, error))?;
        let uri = request.uri().clone();
        // For a part of an upload to Google, 308 reports how much has arrived.
        let is_listing = is_listing(request.method(), &uri);
        let is_part = request.headers().contains_key(CONTENT_RANGE);
        let bytes_max = bytes_max(request.headers());
        let address = address(&uri);
        let error = |lost: Lost| match lost {
            Lost::Connect(_) if uri.host().is_some_and(|host| METADATA_HOSTS.contains(&host)) => {
                let trouble = RequestError::NoCredentials(self.provider.no_credentials);
                HttpError::new(HttpErrorKind::Connect, trouble)
            }
            Lost::Connect(source) => {
                let trouble = RequestError::Unreached { address: address.clone(), source };
                HttpError::new(HttpErrorKind::Connect, trouble)
            }
            Lost::Broken(source) => broken(&address, source),
        };
        let response = send(&self.client, request).await.map_err(error)?;
        let is_success = response.status().is_success();
        let bytes_max = if is_success { bytes_max } else { REFUSAL_BYTES_MAX };
        let Reply { head, body, is_cut, .. } =
            Reply::read(response, bytes_max).await.map_err(error)?;
        if is_cut {
            let problem = format!("the response is over {bytes_max} bytes");
            return Err(broken(&address, problem.into()));
        }
        match head.status {
            // Answers that the library turns into errors.
            StatusCode::PRECONDITION_FAILED | StatusCode::NOT_MODIFIED => {}
            StatusCode::PERMANENT_REDIRECT if is_part => {}
            status if status.is_success() && is_listing => {
                let body = self.odd_keys.filter_listing(body);
                return Ok(HttpResponse::from_parts(head, body.into()));
            }
            status if status.is_success() => {}
            status => {
                let answer = (status, &head.headers);
                let trouble = RequestError::answered(self.provider, &address, answer, &body);
                if !trouble.is_no_object() {
                    return Err(HttpError::new(HttpErrorKind::Unknown, trouble));
                }
            }
        }
        Ok(HttpResponse::from_parts(head, body.into()))
    }
}

fn broken(address: &str, source: Cause) -> HttpError {
    // An error that the library does not retry.
    let trouble = RequestError::Broken { address: address.to_owned(), source };
    HttpError::new(HttpErrorKind::Unknown, trouble)
}

/// Bytes of the answer to a request with these headers: of the range that it asks for, else of the
/// largest object that is read whole.
fn bytes_max(headers: &HeaderMap) -> usize {
    let range = headers.get(RANGE).and_then(|it| it.to_str().ok());
    let range = range.and_then(|it| it.strip_prefix("bytes=")?.split_once('-'));
    let bytes = range.and_then(|(first, last)| {
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        last.checked_sub(first)?.checked_add(1 + REFUSAL_BYTES_MAX)
    });
    bytes.unwrap_or(READ_BYTES_MAX)
}
