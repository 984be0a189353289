//! Tokens by the client credentials of OAuth 2 (RFC 6749, 4.4), for what has to show one to a
//! server of any protocol.
//!
//! ```text
//!   settings ─► TokenServer ─ POST, id and secret ─► server of tokens
//!                    ▲                                    │
//!                    └─ Fetched: token, how long it lives ┘
//! ```
//!
//! Whether a token is kept, and until when, is the matter of what uses it. No error, log line or
//! `Debug` holds a token or a secret.

pub mod exchange;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Uri};
use pipeline::env::Clock;
use pipeline::{BuildContext, BuildError, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ClientTls;
use tls::http::Connector;

use exchange::{
    Failure, HTTP, Sender, answer, hidden, name_plain_text, parsed, refusal, shown_url, url_of,
    whole,
};

/// Bytes of the answer of a server of tokens.
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

/// A token as it came.
#[derive(Debug)]
pub struct Fetched {
    /// What is shown to a server.
    pub token: Secret,
    /// How long it lives, where the server of tokens says it.
    pub life: Option<Duration>,
}

/// Hands out tokens.
pub struct TokenServer {
    uri: Uri,
    credentials: HeaderValue,
    form: Bytes,
    sender: Sender,
}

impl TokenServer {
    /// Of these settings, which stand in the table `setting`.
    ///
    /// # Errors
    /// One of them is wrong.
    pub fn new(oauth: OAuth, setting: &str, cx: &BuildContext) -> Result<Self, BuildError> {
        let uri = url_of(&format!("{setting}.url"), &oauth.url, HTTP)?;
        let encoded =
            |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let user = encoded(&oauth.client_id);
        let pair = STANDARD.encode(format!("{user}:{}", encoded(oauth.client_secret.expose())));
        let credentials = hidden(&format!("{setting}.client_secret"), &format!("Basic {pair}"))?;
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
    /// The server gives none within `limit`.
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
            return Err(self.unexpected("the response has no `access_token`"));
        }
        let life = token.get("expires_in").and_then(|it| it.as_u64()).map(Duration::from_secs);
        Ok(Fetched { token: Secret::from(text.to_owned()), life })
    }

    /// An answer that cannot be used.
    pub fn unexpected(&self, problem: &str) -> Failure {
        Failure::Unexpected { url: shown_url(&self.uri), problem: problem.to_owned() }
    }
}
