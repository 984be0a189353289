//! Access to buckets of any provider; and the common checks of their settings.

use std::sync::Arc;

use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use pipeline::Env;
use storage::{FileSystem, FsError, StoreUrl};
use tls::ClientTls;
use web::Connector;

use crate::azure::Azure;
use crate::bucket::Bucket;
use crate::gcs::Gcs;
use crate::http::Clients;
use crate::odd_keys::OddKeys;
use crate::provider::Provider;
use crate::s3::S3;

/// An invalid setting: its name, and the remedy.
pub type Wrong = (&'static str, String);

/// Access to buckets; by default all of it comes from the environment.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Settings of `s3://`.
    pub s3: S3,
    /// Settings of `gs://`.
    pub gcs: Gcs,
    /// Containers of `abfs://` and `abfss://`.
    pub azure: Azure,
}

impl Access {
    /// Checks the settings, without any I/O.
    ///
    /// # Errors
    /// The table, and its invalid setting.
    pub fn check(&self) -> Result<(), (&'static str, Wrong)> {
        self.s3.check().map_err(|wrong| ("s3", wrong))?;
        self.gcs.check().map_err(|wrong| ("gcs", wrong))?;
        self.azure.check().map_err(|wrong| ("azure", wrong))
    }

    /// The setting and the value of an endpoint that is reached without TLS, of a store of this
    /// scheme. One of the environment is not looked at.
    pub fn plain_text(&self, scheme: &str) -> Option<(&'static str, &str)> {
        let (setting, endpoint) = match scheme {
            "s3" => ("s3.endpoint", &self.s3.endpoint),
            "gs" => ("gcs.endpoint", &self.gcs.endpoint),
            _ if is_bucket(scheme) => ("azure.endpoint", &self.azure.endpoint),
            _ => return None,
        };
        let endpoint = endpoint.as_deref().filter(|server| server.starts_with("http://"))?;
        Some((setting, endpoint))
    }
}

/// Returns `true` if URLs of this scheme name a bucket.
pub fn is_bucket(scheme: &str) -> bool {
    matches!(scheme, "s3" | "gs" | "abfs" | "abfss")
}

/// The bucket of a URL. It is reached with the first call only.
///
/// # Errors
/// Settings or environment do not go together.
pub fn open(url: &StoreUrl, access: &Access, env: &Env) -> Result<Arc<dyn FileSystem>, FsError> {
    let unusable = |problem| FsError::Unusable { url: url.to_string(), problem };
    access
        .check()
        .map_err(|(table, (setting, problem))| unusable(format!("{table}.{setting}: {problem}")))?;
    let opened = match url.scheme() {
        "gs" => access.gcs.open(url.authority(), env),
        "abfs" | "abfss" => access.azure.open(url.authority(), env),
        _ => access.s3.open(url.authority(), env),
    };
    Ok(Arc::new(opened.map_err(unusable)?))
}

/// A store of the library as a bucket.
pub(crate) fn bucket(
    store: object_store::Result<impl ObjectStore>,
    provider: &'static Provider,
    odd_keys: Arc<OddKeys>,
    env: &Env,
) -> Result<Bucket, String> {
    let store = store.map_err(|error| error.to_string())?;
    Ok(Bucket::new(Arc::new(store), provider, env.clone()).counting(odd_keys))
}

/// Clients for a store, with these settings of TLS.
pub(crate) fn clients(
    tls: Option<&ClientTls>,
    provider: &'static Provider,
    env: &Env,
) -> Result<Clients, String> {
    let connector = Connector::new(tls.cloned(), env).map_err(|error| error.to_string())?;
    Ok(Clients::new(connector, provider))
}

/// One attempt each: only the caller can find out the meaning of a missing answer.
pub(crate) fn one_try() -> RetryConfig {
    RetryConfig { max_retries: 0, backoff: BackoffConfig::default(), ..Default::default() }
}

/// A variable of the environment that is not empty.
pub(crate) fn variable(env: &Env, name: &str) -> Option<String> {
    env.blocking.variable(name)?.into_string().ok().filter(|value| !value.is_empty())
}

/// Reads an endpoint from an environment variable.
///
/// # Errors
/// It is invalid; the variable, and the remedy.
pub(crate) fn endpoint_of(
    env: &Env,
    name: &str,
    may_have_path: bool,
    example: &str,
) -> Result<Option<String>, String> {
    let endpoint = variable(env, name);
    check_endpoint(endpoint.as_deref(), None, may_have_path, example)
        .map_err(|(_, problem)| format!("{name}: {problem}"))?;
    Ok(endpoint)
}

/// Checks that an endpoint is valid, and that `tls` has an effect on it.
///
/// # Errors
/// The setting, and the remedy.
pub(crate) fn check_endpoint(
    endpoint: Option<&str>,
    tls: Option<&ClientTls>,
    may_have_path: bool,
    example: &str,
) -> Result<(), Wrong> {
    let Some(endpoint) = endpoint else { return Ok(()) };
    let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    let is_server = |host: &str| {
        !host.is_empty() && (may_have_path || !host.trim_end_matches('/').contains('/'))
    };
    if !rest.is_some_and(is_server) {
        let problem = format!("`{endpoint}` is not a server address; write {example}");
        return Err(("endpoint", problem));
    }
    if tls.is_some() && endpoint.starts_with("http://") {
        let problem = "has no effect on an `http://` endpoint; use `https://` there";
        return Err(("tls", problem.into()));
    }
    Ok(())
}
