//! Tokens by the client credentials of OAuth 2 (RFC 6749, 4.4), for servers of any protocol.
//!
//! ```text
//!   settings ─► TokenServer ─ POST, id and secret ─► token server
//!                    ▲                                    │
//!                    └─ Fetched: token, lifetime ─────────┘
//! ```
//!
//! The caller decides how long it keeps a token; [`Authorization`](crate::Authorization) does so
//! for requests of HTTP. No error, log line or `Debug` contains a token or a secret.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Uri};
use pipeline::env::Clock;
use pipeline::{BuildContext, BuildError, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ClientTls;

use crate::authorization::basic;
use crate::failure::{Failure, answer, parsed, refusal, whole};
use crate::settings::{HTTP, name_plain_text, shown_url, url_of};
use crate::{Client, Connector};

/// Maximum size of a response of a token server.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// Where a token is fetched by the client credentials of OAuth 2.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth {
    /// URL of the token server.
    url: String,
    /// Client id.
    client_id: String,
    /// Client secret. Use a reference, such as `"${file:/run/secrets/client}"`.
    client_secret: Secret,
    /// Scope of the token, as the server names it.
    #[serde(default)]
    scope: Option<String>,
    /// TLS of the token server. Default: the certificate authorities of the host.
    #[serde(default)]
    tls: Option<ClientTls>,
}

/// A new token.
#[derive(Debug)]
pub struct Fetched {
    /// The token.
    pub token: Secret,
    /// Its lifetime, if the token server reports one.
    pub life: Option<Duration>,
}

/// Fetches tokens.
pub struct TokenServer {
    uri: Uri,
    credentials: HeaderValue,
    form: Bytes,
    sender: Client,
}

impl TokenServer {
    /// Creates the client of a token server from the table `setting`.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(oauth: OAuth, setting: &str, cx: &BuildContext) -> Result<Self, BuildError> {
        let login = "`client_id` and `client_secret`";
        let uri = url_of(&format!("{setting}.url"), &oauth.url, HTTP, login)?;
        let encoded =
            |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let user = encoded(&oauth.client_id);
        let secret = encoded(oauth.client_secret.expose());
        let credentials = basic(&user, &secret);
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = &oauth.scope {
            form.append_pair("scope", scope);
        }
        name_plain_text(&format!("{setting}.url"), &uri, cx);
        let connector = Connector::new(oauth.tls, &cx.env).map_err(|error| error.below(setting))?;
        let (sender, form) = (connector.client(), form.finish().into());
        Ok(Self { uri, credentials, form, sender })
    }

    /// Fetches a token.
    ///
    /// # Errors
    /// The server returns no token within `limit`.
    pub async fn fetch(&self, limit: Duration, clock: &dyn Clock) -> Result<Fetched, Failure> {
        let url = shown_url(&self.uri);
        let mut request = Request::new(Full::new(self.form.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.credentials.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        let response = answer(&self.sender, request, &url, limit).await?;
        if !response.status().is_success() {
            return Err(refusal(url, response, limit, clock).await);
        }
        let bytes = whole(response.into_body(), &url, ANSWER_BYTES_MAX, limit).await?;
        let token = parsed(&bytes, &url)?;
        let text = token.get("access_token").and_then(|it| it.as_str()).unwrap_or_default();
        if text.is_empty() {
            return Err(self.unexpected(
                "the response has no `access_token`; check the URL of the token server",
            ));
        }
        let life = token.get("expires_in").and_then(|it| it.as_u64()).map(Duration::from_secs);
        Ok(Fetched { token: Secret::from(text.to_owned()), life })
    }

    /// Returns the error for a response that cannot be used.
    pub fn unexpected(&self, problem: &str) -> Failure {
        Failure::Unexpected { url: shown_url(&self.uri), problem: problem.to_owned() }
    }
}
