//! Requests over the network and the TLS of this program, with connections that are kept open.

use std::fmt;

use async_trait::async_trait;
use http_body_util::BodyExt;
use hyper::header::{HeaderValue, IF_NONE_MATCH};
use hyper::{Method, StatusCode};
use hyper_util::client::legacy::Client;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpService,
};
use tls::http::Connector;

use crate::trouble::Trouble;

/// Where a machine asks for its role.
const METADATA_HOST: &str = "169.254.169.254";

/// Makes clients of the network that an agent has.
#[derive(Debug)]
pub(crate) struct Clients(pub(crate) Connector);

impl HttpConnector for Clients {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Requests { client: self.0.client() }))
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
