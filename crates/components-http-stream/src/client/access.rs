//! Connection and authentication settings of the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT, AUTHORIZATION, COOKIE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Uri};
use oauth::OAuth;
use oauth::exchange::{hidden, name_plain_text};
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ClientTls;
use tls::http::Connector;

use super::Client;
use super::token::Token;

/// Access to the server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Access {
    /// Further headers of each request.
    headers: BTreeMap<String, String>,
    /// Headers whose values are never shown, such as `x-api-key`.
    secret_headers: BTreeMap<String, Secret>,
    /// Token that is sent as `Authorization: Bearer`. Use a reference, such as
    /// `"${file:/run/secrets/x}"`.
    bearer: Option<Secret>,
    /// OAuth 2 client credentials that fetch a token, instead of `bearer`. The token is used until
    /// it expires or the server rejects it.
    oauth: Option<OAuth>,
    /// TLS of `https://` URLs. Default: the certificate authorities of the host.
    tls: Option<ClientTls>,
    /// Timeout of a request, including the connection: for the whole response, or for the head of a
    /// stream.
    timeout: Period,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            headers: BTreeMap::new(),
            secret_headers: BTreeMap::new(),
            bearer: None,
            oauth: None,
            tls: None,
            timeout: Period(Duration::from_secs(30)),
        }
    }
}

impl Access {
    /// Creates a client of this server. `accept` is the requested event format.
    ///
    /// # Errors
    /// A setting is wrong, or two settings conflict.
    pub(crate) fn client(
        self,
        uri: Uri,
        accept: &'static str,
        cx: &BuildContext,
    ) -> Result<Client, BuildError> {
        let invalid = |setting: &str, problem: &str| {
            Err(BuildError::invalid(format!("access.{setting}"), problem))
        };
        if self.timeout.0.is_zero() {
            return invalid("timeout", "must be greater than 0s");
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let agent = concat!("aqueduct/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        for (name, text) in &self.headers {
            let setting = format!("access.headers.{name}");
            let name = header_name(&setting, name)?;
            if name == AUTHORIZATION || name == COOKIE {
                let problem = "is a secret: move it to `secret_headers`, whose values are never \
                               shown";
                return Err(BuildError::invalid(setting, problem));
            }
            headers.insert(name, value(&setting, text)?);
        }
        for (name, secret) in &self.secret_headers {
            let setting = format!("access.secret_headers.{name}");
            headers.insert(header_name(&setting, name)?, hidden(&setting, secret.expose())?);
        }
        if let Some(bearer) = &self.bearer {
            let text = format!("Bearer {}", bearer.expose().trim());
            headers.insert(AUTHORIZATION, hidden("access.bearer", &text)?);
        }
        let token = self.oauth.map(|oauth| Token::new(oauth, cx)).transpose()?;
        name_plain_text("url", &uri, cx);
        let connector = Connector::new(self.tls, &cx.env).map_err(|error| error.below("access"))?;
        let clock = Arc::clone(&cx.env.clock);
        let sender = connector.client();
        Ok(Client { sender, uri, headers, token, timeout: self.timeout.0, clock })
    }
}

fn header_name(setting: &str, name: &str) -> Result<HeaderName, BuildError> {
    HeaderName::try_from(name).map_err(|error| BuildError::invalid(setting, error))
}

fn value(setting: &str, text: &str) -> Result<HeaderValue, BuildError> {
    HeaderValue::from_str(text).map_err(|error| BuildError::invalid(setting, error))
}
