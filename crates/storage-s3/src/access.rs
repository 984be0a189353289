//! How a bucket is reached.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3CopyIfNotExists};
use object_store::{BackoffConfig, RetryConfig};
use pipeline::{Env, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use storage::{FileSystem, FsError, StoreUrl};
use tls::ClientTls;
use tls::http::Connector;

use crate::bucket::Bucket;
use crate::crypto::Ring;
use crate::http::Clients;

/// How a bucket of S3 is reached.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// URL of a server that is not Amazon's, without the bucket: `https://minio.example.com:9000`.
    /// By default what `AWS_ENDPOINT_URL` names, or Amazon's server of the region.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Region of the bucket; by default what `AWS_REGION` names, or `us-east-1`.
    #[serde(default)]
    pub region: Option<String>,
    /// Name of the access key. Without it: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, then a
    /// web identity or the role of the container, then the role of the machine.
    #[serde(default)]
    pub access_key: Option<String>,
    /// Its secret.
    #[serde(default)]
    pub secret_key: Option<Secret>,
    /// Whether the bucket stands in the path of a request and not in the name of the host.
    #[serde(default = "path_style")]
    pub path_style: bool,
    /// TLS of an endpoint that begins with `https://`. Unless set: the authorities of the host.
    #[serde(default)]
    pub tls: Option<ClientTls>,
}

fn path_style() -> bool {
    true
}

impl Default for Access {
    /// All of it from the environment.
    fn default() -> Self {
        let (endpoint, region, access_key, secret_key, tls) = Default::default();
        Self { endpoint, region, access_key, secret_key, path_style: path_style(), tls }
    }
}

/// Variables that are read where no access key is set.
const CREDENTIALS: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

impl Access {
    /// What is wrong with it, without any I/O: the setting below `s3`, and the remedy.
    ///
    /// # Errors
    /// Settings that do not go together.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        match (&self.access_key, &self.secret_key) {
            (Some(_), None) => {
                return Err(("secret_key", "it is missing; `access_key` needs its secret".into()));
            }
            (None, Some(_)) => {
                return Err((
                    "access_key",
                    "it is missing; `secret_key` is of no use alone".into(),
                ));
            }
            _ => {}
        }
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
        if rest.is_none_or(|host| host.is_empty() || host.trim_end_matches('/').contains('/')) {
            let problem = format!(
                "`{endpoint}` is no server; write scheme and host, as in \
                 https://s3.example.com:9000, and the bucket in `url`"
            );
            return Err(("endpoint", problem));
        }
        if self.tls.is_some() && endpoint.starts_with("http://") {
            let problem = "it has no effect on an `http://` endpoint; write `https://` there";
            return Err(("tls", problem.into()));
        }
        Ok(())
    }

    fn variable(&self, env: &Env, name: &str) -> Option<String> {
        env.blocking.variable(name)?.into_string().ok().filter(|value| !value.is_empty())
    }

    fn builder(&self, bucket: &str, env: &Env) -> Result<AmazonS3Builder, FsError> {
        let unusable =
            |problem: String| FsError::Unusable { url: format!("s3://{bucket}"), problem };
        self.check().map_err(|(setting, problem)| unusable(format!("s3.{setting}: {problem}")))?;
        let connector = Connector::new(self.tls.clone(), env);
        let connector = connector.map_err(|error| unusable(error.to_string()))?;
        // One try each: what an answer that is missing means, only the caller can find out.
        let retry =
            RetryConfig { max_retries: 0, backoff: BackoffConfig::default(), ..Default::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_http_connector(Clients(connector))
            .with_crypto_provider(Arc::new(Ring))
            .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
            .with_disable_bulk_delete(true)
            .with_retry(retry);
        if let (Some(key), Some(secret)) = (&self.access_key, &self.secret_key) {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret.expose());
        } else {
            for name in CREDENTIALS {
                let key: Result<AmazonS3ConfigKey, _> = name.to_ascii_lowercase().parse();
                if let (Ok(key), Some(value)) = (key, self.variable(env, name)) {
                    builder = builder.with_config(key, value);
                }
            }
        }
        let region = self.region.clone().or_else(|| self.variable(env, "AWS_REGION"));
        let region = region.or_else(|| self.variable(env, "AWS_DEFAULT_REGION"));
        if let Some(region) = region {
            builder = builder.with_region(region);
        }
        let endpoint = self.endpoint.clone().or_else(|| self.variable(env, "AWS_ENDPOINT_URL"));
        if let Some(endpoint) = endpoint {
            let endpoint = endpoint.trim_end_matches('/');
            let endpoint = match (self.path_style, endpoint.split_once("://")) {
                (false, Some((scheme, host))) => format!("{scheme}://{bucket}.{host}"),
                _ => endpoint.to_owned(),
            };
            builder = builder.with_endpoint(endpoint);
        }
        Ok(builder.with_virtual_hosted_style_request(!self.path_style))
    }
}

/// The bucket of an `s3://` URL. It is reached with the first call only.
///
/// # Errors
/// Settings or environment do not go together.
pub fn open(url: &StoreUrl, access: &Access, env: &Env) -> Result<Arc<dyn FileSystem>, FsError> {
    let unusable = |error: object_store::Error| FsError::Unusable {
        url: url.to_string(),
        problem: error.to_string(),
    };
    let store = access.builder(url.authority(), env)?.build().map_err(unusable)?;
    Ok(Arc::new(Bucket::new(store, env.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_do_not_go_together_are_refused_with_their_remedy() {
        let key = || Some("key".to_owned());
        let endpoint = |text: &str| Access { endpoint: Some(text.into()), ..Access::default() };
        for (setting, access) in [
            ("secret_key", Access { access_key: key(), ..Access::default() }),
            ("access_key", Access { secret_key: Some("s".to_owned().into()), ..Access::default() }),
            ("endpoint", endpoint("minio:9000")),
            ("endpoint", endpoint("https://minio:9000/bucket")),
            ("tls", Access { tls: Some(ClientTls::default()), ..endpoint("http://minio:9000") }),
        ] {
            assert_eq!(access.check().unwrap_err().0, setting);
        }
        assert_eq!(endpoint("http://minio:9000/").check(), Ok(()));
        assert_eq!(Access::default().check(), Ok(()));
    }
}
