//! Requests to a REST catalog.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use iceberg::metadata::Table;
use oauth::exchange::{Failure, Sender, answer, hidden, parsed, refusal, shown_url, whole};
use oauth::{OAuth, TokenServer};
use pipeline::{BuildContext, BuildError, Env, Secret};
use serde_json::{Value, json};
use tls::ClientTls;
use tls::http::Connector;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use super::{Catalog, CatalogError, CommitAnswer};

/// Maximum size of an answer: it contains all snapshots of a table.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// A token is not used this long before it expires.
const EARLY: Duration = Duration::from_secs(30);
/// Assumed lifetime of a token if the server does not report one.
const LIFE: Duration = Duration::from_secs(3_600);
/// The separator of the levels of a namespace, unless the catalog has another one.
const SEPARATOR: &str = "%1F";

/// How to access a catalog.
pub(crate) struct Access {
    /// URL without a slash at its end.
    pub(crate) url: String,
    pub(crate) warehouse: Option<String>,
    pub(crate) token: Option<Secret>,
    pub(crate) oauth: Option<OAuth>,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) timeout: Duration,
}

/// Name of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableName {
    pub(crate) namespace: Vec<String>,
    pub(crate) table: String,
}

impl TableName {
    /// Parses `namespace.table`; a namespace may have several levels.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut levels: Vec<String> = text.split('.').map(str::to_owned).collect();
        let table = levels.pop()?;
        let is_name = |name: &String| !name.is_empty() && !name.contains(char::is_control);
        (!levels.is_empty() && levels.iter().chain([&table]).all(is_name))
            .then_some(Self { namespace: levels, table })
    }
}

/// A catalog, reached by HTTP.
pub(crate) struct RestCatalog {
    env: Env,
    sender: Sender,
    url: String,
    warehouse: Option<String>,
    authorization: Option<HeaderValue>,
    tokens: Option<Tokens>,
    timeout: Duration,
    name: TableName,
    /// Paths of the namespaces, and of this namespace, once the catalog was asked for its settings.
    paths: OnceCell<Paths>,
}

/// Tokens of a server.
struct Tokens {
    server: TokenServer,
    /// The last one, and when it is replaced.
    kept: Mutex<Option<(HeaderValue, Instant)>>,
}

struct Paths {
    namespaces: String,
    tables: String,
}

impl RestCatalog {
    /// Creates the client of a table.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(crate) fn new(
        access: Access,
        name: TableName,
        cx: &BuildContext,
    ) -> Result<Self, BuildError> {
        let Access { url, warehouse, token, oauth, tls, timeout } = access;
        let bearer =
            |token: Secret| hidden("iceberg.token", &format!("Bearer {}", token.expose().trim()));
        let authorization = token.map(bearer).transpose()?;
        let tokens = oauth.map(|oauth| TokenServer::new(oauth, "iceberg.oauth", cx)).transpose()?;
        let connector = Connector::new(tls, &cx.env).map_err(|error| error.below("iceberg"))?;
        Ok(Self {
            env: cx.env.clone(),
            sender: connector.client(),
            url,
            warehouse,
            authorization,
            tokens: tokens.map(|server| Tokens { server, kept: Mutex::default() }),
            timeout,
            name,
            paths: OnceCell::new(),
        })
    }

    /// Returns the value of `Authorization`, and fetches a token if necessary.
    async fn authorization(&self) -> Result<Option<HeaderValue>, CatalogError> {
        let Some(Tokens { server, kept }) = &self.tokens else {
            return Ok(self.authorization.clone());
        };
        let mut kept = kept.lock().await;
        if let Some((value, until)) = &*kept
            && Instant::now() < *until
        {
            return Ok(Some(value.clone()));
        }
        let fetched = server.fetch(self.timeout, &*self.env.clock).await;
        let fetched = fetched.map_err(CatalogError::Token)?;
        let value = hidden("access_token", &format!("Bearer {}", fetched.token.expose()));
        let value = value.map_err(|_| {
            let problem = "the response contains a token with invalid characters";
            CatalogError::Token(server.unexpected(problem))
        })?;
        let life = fetched.life.map_or(LIFE, |life| life.saturating_sub(EARLY).max(life / 2));
        *kept = Some((value.clone(), Instant::now() + life.min(LIFE * 24)));
        Ok(Some(value))
    }

    /// Sends a request. Returns the body of a success.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Bytes, CatalogError> {
        let uri: Uri = format!("{}{path}", self.url).parse().map_err(|error| {
            let problem = format!("`{path}` is not a valid path: {error}");
            CatalogError::Foreign { url: self.url.as_str().into(), problem }
        })?;
        let url = shown_url(&uri);
        let content = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let mut request = Request::new(Full::new(content));
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        if body.is_some() {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
        }
        if let Some(value) = self.authorization().await? {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let response = answer(&self.sender, request, &url, self.timeout).await?;
        if response.status().is_success() {
            return Ok(whole(response.into_body(), &url, ANSWER_BYTES_MAX, self.timeout).await?);
        }
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(Tokens { kept, .. }) = &self.tokens
        {
            *kept.lock().await = None;
        }
        Err(refusal(url, response, self.timeout, &*self.env.clock).await.into())
    }

    /// Returns the paths of the catalog; asks it once.
    async fn paths(&self) -> Result<&Paths, CatalogError> {
        let asked = async {
            let query = self
                .warehouse
                .as_deref()
                .map_or_else(String::new, |warehouse| format!("?warehouse={}", encoded(warehouse)));
            let answer = self.send(Method::GET, &format!("/v1/config{query}"), None).await?;
            let url: Arc<str> = self.url.as_str().into();
            let config = parsed(&answer, &url)?;
            if !config.get("defaults").is_some_and(Value::is_object) {
                let problem = "its answer to /v1/config has no `defaults`".to_owned();
                return Err(CatalogError::Foreign { url, problem });
            }
            let setting = |name: &str| {
                let of = |part: &str| config.get(part)?.get(name)?.as_str();
                of("overrides").or_else(|| of("defaults"))
            };
            let prefix = setting("prefix").map_or_else(String::new, |prefix| format!("/{prefix}"));
            let separator = setting("namespace-separator").unwrap_or(SEPARATOR);
            let levels: Vec<String> = self.name.namespace.iter().map(|it| encoded(it)).collect();
            let namespaces = format!("/v1{prefix}/namespaces");
            let tables = format!("{namespaces}/{}/tables", levels.join(separator));
            Ok(Paths { namespaces, tables })
        };
        self.paths.get_or_try_init(|| asked).await
    }

    async fn table_path(&self) -> Result<String, CatalogError> {
        Ok(format!("{}/{}", self.paths().await?.tables, encoded(&self.name.table)))
    }
}

#[async_trait]
impl Catalog for RestCatalog {
    async fn load(&self) -> Result<Option<Table>, CatalogError> {
        // Old snapshots are not needed.
        let path = format!("{}?snapshots=refs", self.table_path().await?);
        match self.send(Method::GET, &path, None).await {
            Ok(answer) => Ok(Some(Table::from_answer(&answer)?)),
            Err(error) if status(&error) == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create(&self, request: &Value) -> Result<(), CatalogError> {
        let Paths { namespaces, tables } = self.paths().await?;
        let namespace = json!({"namespace": self.name.namespace});
        for (path, body) in [(namespaces, &namespace), (tables, request)] {
            match self.send(Method::POST, path, Some(body)).await {
                Ok(_) => {}
                // It exists.
                Err(error) if status(&error) == Some(StatusCode::CONFLICT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn commit(&self, request: &Value) -> Result<CommitAnswer, CatalogError> {
        let path = self.table_path().await?;
        match self.send(Method::POST, &path, Some(request)).await {
            Ok(_) => Ok(CommitAnswer::Done),
            // Also no answer, an incomplete one, and each 5xx: the commit may have happened.
            Err(error) => match status(&error) {
                Some(status) if status.is_client_error() && status != StatusCode::CONFLICT => {
                    Err(error)
                }
                _ => Ok(CommitAnswer::Unsettled(error)),
            },
        }
    }
}

/// Returns the status of an answer of the catalog.
fn status(error: &CatalogError) -> Option<StatusCode> {
    match error {
        CatalogError::Request(Failure::Status { status, .. }) => Some(*status),
        _ => None,
    }
}

/// Encodes one part of a path.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_name_has_a_namespace() {
        let name = TableName::parse("a.b.web logs").unwrap();
        assert_eq!((name.namespace, &*name.table), (vec!["a".into(), "b".into()], "web logs"));
        for none in ["web", "", ".web", "db.", "a..b"] {
            assert_eq!(TableName::parse(none), None, "{none}");
        }
        assert_eq!(encoded("a b/ü.c"), "a%20b%2F%C3%BC%2Ec");
    }
}
