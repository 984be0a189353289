//! Connection and authentication settings of the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Uri};
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ClientTls;
use web::oauth::{OAuth, TokenServer};
use web::settings::{add_headers, name_plain_text};
use web::{Authorization, Connector, bearer};

use super::Client;

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
        add_headers(&mut headers, "access.", &self.headers, &self.secret_headers)?;
        let fixed = self.bearer.map(|token| bearer("access.bearer", &token)).transpose()?;
        let authorization = match self.oauth {
            Some(oauth) => Authorization::tokens(TokenServer::new(oauth, "access.oauth", cx)?),
            None => Authorization::fixed(fixed),
        };
        name_plain_text("url", &uri, cx);
        let connector = Connector::new(self.tls, &cx.env).map_err(|error| error.below("access"))?;
        let clock = Arc::clone(&cx.env.clock);
        let sender = connector.client();
        Ok(Client { sender, uri, headers, authorization, timeout: self.timeout.0, clock })
    }
}
