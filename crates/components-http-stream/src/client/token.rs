//! Tokens by the client credentials of OAuth 2 (RFC 6749, 4.4).

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
use tokio::time::Instant;

use super::access::{hidden, name_plain_text, token_url};
use super::{HttpError, Sender, answer, parsed, refusal, shown_url, whole};

/// Bytes of the answer of a server of tokens.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// How long before it expires a token is not used any more.
const EARLY: Duration = Duration::from_secs(30);

/// How long a token counts of which the server does not say it.
const LIFE: Duration = Duration::from_secs(3600);

/// Where a token is fetched by the client credentials of OAuth 2.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OAuth {
    /// URL of the server of tokens.
    url: String,
    /// Name of the client.
    client_id: String,
    /// Secret of the client. Best a reference, `"${file:/run/secrets/client}"`.
    client_secret: Secret,
    /// What the token is to be good for, as the server names it.
    #[serde(default)]
    scope: Option<String>,
    /// TLS of the server of tokens. Unless set: the authorities of the host.
    #[serde(default)]
    tls: Option<ClientTls>,
}

/// The token that counts now.
pub(super) struct Token {
    uri: Uri,
    credentials: HeaderValue,
    form: Bytes,
    sender: Sender,
    kept: Option<(HeaderValue, Instant)>,
}

impl Token {
    /// None yet.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(super) fn new(oauth: OAuth, cx: &BuildContext) -> Result<Self, BuildError> {
        let uri = token_url(&oauth.url)?;
        let encoded =
            |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let user = encoded(&oauth.client_id);
        let pair = STANDARD.encode(format!("{user}:{}", encoded(oauth.client_secret.expose())));
        let credentials = hidden("access.oauth.client_secret", &format!("Basic {pair}"))?;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = &oauth.scope {
            form.append_pair("scope", scope);
        }
        name_plain_text("access.oauth.url", &uri, cx);
        let connector =
            Connector::new(oauth.tls, &cx.env).map_err(|error| error.below("access.oauth"))?;
        let (sender, form) = (connector.client(), form.finish().into());
        Ok(Self { uri, credentials, form, sender, kept: None })
    }

    /// Whether a token is there that was fetched before and has not expired.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.as_ref().is_some_and(|(_, until)| Instant::now() < *until)
    }

    /// The server does not take it.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// The value of `Authorization`; fetched where none is there.
    ///
    /// # Errors
    /// The server of tokens gives none.
    pub(super) async fn current(
        &mut self,
        limit: Duration,
        clock: &dyn Clock,
    ) -> Result<HeaderValue, HttpError> {
        if let Some((value, until)) = &self.kept
            && Instant::now() < *until
        {
            return Ok(value.clone());
        }
        let (value, life) = self.fetch(limit, clock).await?;
        self.kept = Some((value.clone(), Instant::now() + life));
        Ok(value)
    }

    async fn fetch(
        &self,
        limit: Duration,
        clock: &dyn Clock,
    ) -> Result<(HeaderValue, Duration), HttpError> {
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
        let value = hidden("access_token", &format!("Bearer {text}"));
        let Some(value) = value.ok().filter(|_| !text.is_empty()) else {
            let problem = "the answer has no `access_token` that can be sent".to_owned();
            return Err(HttpError::Unexpected { url, problem });
        };
        let life = token.get("expires_in").and_then(|it| it.as_u64()).map(Duration::from_secs);
        // A token that lives shorter than that is used all the same, for half of its life.
        let life =
            life.map_or(LIFE, |life| life.saturating_sub(EARLY).max(life / 2).min(LIFE * 24));
        Ok((value, life))
    }
}
