//! Requests to a REST catalog.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use iceberg::metadata::Table;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use pipeline::{BuildContext, BuildError, Env, Secret};
use serde_json::{Value, json};
use tls::ClientTls;
use tokio::sync::OnceCell;
use web::failure::{answer, parsed, refusal, whole};
use web::oauth::{OAuth, TokenServer};
use web::settings::shown_url;
use web::{Authorization, Client, Connector, Failure, bearer};

use super::{Catalog, CatalogError, CommitAnswer};

/// Maximum size of an answer: it contains all snapshots of a table.
const ANSWER_BYTES_MAX: usize = 64 << 20;
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
    client: Client,
    url: String,
    warehouse: Option<String>,
    authorization: Authorization,
    timeout: Duration,
    name: TableName,
    /// Paths of the namespaces, and of this namespace, once the catalog was asked for its settings.
    paths: OnceCell<Paths>,
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
        let fixed = token.map(|token| bearer("iceberg.token", &token)).transpose()?;
        let authorization = match oauth {
            Some(oauth) => Authorization::tokens(TokenServer::new(oauth, "iceberg.oauth", cx)?),
            None => Authorization::fixed(fixed),
        };
        let connector = Connector::new(tls, &cx.env).map_err(|error| error.below("iceberg"))?;
        Ok(Self {
            env: cx.env.clone(),
            client: connector.client(),
            url,
            warehouse,
            authorization,
            timeout,
            name,
            paths: OnceCell::new(),
        })
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
        let value = self.authorization.value(self.timeout, &*self.env.clock).await;
        if let Some(value) = value.map_err(CatalogError::Token)? {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let response = answer(&self.client, request, &url, self.timeout).await?;
        if response.status().is_success() {
            return Ok(whole(response.into_body(), &url, ANSWER_BYTES_MAX, self.timeout).await?);
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            self.authorization.forget().await;
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
                let problem = "the response to /v1/config has no `defaults`".to_owned();
                return Err(CatalogError::Foreign { url, problem });
            }
            let setting = |name: &str| {
                let of = |part: &str| config.get(part)?.get(name)?.as_str();
                of("overrides").or_else(|| of("defaults"))
            };
            let prefix = setting("prefix").map_or_else(String::new, |prefix| format!("/{prefix}"));
            let separator = setting("namespace-separator").unwrap_or(SEPARATOR);
            let levels: Vec<String> =
                self.name.namespace.iter().map(|it| encoded(it).to_string()).collect();
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

/// Encodes one part of a path; also dots, because `..` is a directory.
fn encoded(text: &str) -> PercentEncode<'_> {
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');
    utf8_percent_encode(text, PLAIN)
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
        assert_eq!(encoded("a b/ü.c").to_string(), "a%20b%2F%C3%BC%2Ec");
    }
}
