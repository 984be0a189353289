//! Access to a bucket of S3.

use std::sync::Arc;

use hyper::Method;
use hyper::header::{HeaderValue, IF_NONE_MATCH};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3CopyIfNotExists};
use object_store::client::HttpRequest;
use pipeline::{Env, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ClientTls;

use crate::access::{self, Wrong, check_endpoint, clients, one_try, variable};
use crate::bucket::Bucket;
use crate::provider;
use crate::signatures::Signatures;

/// How a bucket of S3 is reached.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// URL of a server other than Amazon's, without the bucket: `https://minio.example.com:9000`.
    /// Default: `AWS_ENDPOINT_URL`, or Amazon's server of the region.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Region of the bucket. Default: `AWS_REGION`, or `us-east-1`.
    #[serde(default)]
    pub region: Option<String>,
    /// Access key id. Without it: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, then a web
    /// identity or the role of the container, then the role of the machine.
    #[serde(default)]
    pub access_key: Option<String>,
    /// Secret access key.
    #[serde(default)]
    pub secret_key: Option<Secret>,
    /// Whether requests have the bucket in the path instead of the host name.
    #[serde(default = "path_style")]
    pub path_style: bool,
    /// TLS of an endpoint that begins with `https://`. Default: the certificate authorities of the
    /// host.
    #[serde(default)]
    pub tls: Option<ClientTls>,
}

fn path_style() -> bool {
    true
}

impl Default for S3 {
    /// Everything comes from the environment.
    fn default() -> Self {
        let (endpoint, region, access_key, secret_key, tls) = Default::default();
        Self { endpoint, region, access_key, secret_key, path_style: path_style(), tls }
    }
}

/// Variables that are read if no access key is set.
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

impl S3 {
    /// Checks the settings, without any I/O.
    ///
    /// # Errors
    /// An invalid combination: the setting below `s3`, and the remedy.
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        match (&self.access_key, &self.secret_key) {
            (Some(_), None) => {
                return Err(("secret_key", "must be set together with `access_key`".into()));
            }
            (None, Some(_)) => {
                return Err(("access_key", "must be set together with `secret_key`".into()));
            }
            _ => {}
        }
        let example = "scheme and host, as in https://s3.example.com:9000, and the bucket in `url`";
        check_endpoint(self.endpoint.as_deref(), self.tls.as_ref(), false, example)
    }

    /// The bucket of this name.
    ///
    /// # Errors
    /// Settings or environment do not go together.
    pub(crate) fn open(&self, bucket: &str, env: &Env) -> Result<Bucket, String> {
        let clients = clients(self.tls.as_ref(), &provider::S3, env)?.amending(never_replaces);
        let odd_keys = clients.odd_keys();
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_http_connector(clients)
            .with_crypto_provider(Arc::new(Signatures))
            .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
            .with_disable_bulk_delete(true)
            .with_retry(one_try());
        if let (Some(key), Some(secret)) = (&self.access_key, &self.secret_key) {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret.expose());
        } else {
            for name in CREDENTIALS {
                let key: Result<AmazonS3ConfigKey, _> = name.to_ascii_lowercase().parse();
                if let (Ok(key), Some(value)) = (key, variable(env, name)) {
                    builder = builder.with_config(key, value);
                }
            }
        }
        let region = self.region.clone().or_else(|| variable(env, "AWS_REGION"));
        let region = region.or_else(|| variable(env, "AWS_DEFAULT_REGION"));
        if let Some(region) = region {
            builder = builder.with_region(region);
        }
        let endpoint = self.endpoint.clone().or_else(|| variable(env, "AWS_ENDPOINT_URL"));
        if let Some(endpoint) = endpoint {
            let endpoint = endpoint.trim_end_matches('/');
            let endpoint = match (self.path_style, endpoint.split_once("://")) {
                (false, Some((scheme, host))) => format!("{scheme}://{bucket}.{host}"),
                _ => endpoint.to_owned(),
            };
            builder = builder.with_endpoint(endpoint);
        }
        let builder = builder.with_virtual_hosted_style_request(!self.path_style);
        access::bucket(builder.build(), &provider::S3, odd_keys, env)
    }
}

/// Adds the condition, which the library uses only for its copies, to the end of an upload.
/// Signatures do not cover this header.
fn never_replaces(request: &mut HttpRequest) -> object_store::Result<()> {
    let query = request.uri().query().unwrap_or_default();
    if request.method() == Method::POST && query.contains("uploadId=") {
        request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_do_not_go_together_are_refused_with_their_remedy() {
        let key = || Some("key".to_owned());
        let endpoint = |text: &str| S3 { endpoint: Some(text.into()), ..S3::default() };
        for (setting, access) in [
            ("secret_key", S3 { access_key: key(), ..S3::default() }),
            ("access_key", S3 { secret_key: Some("s".to_owned().into()), ..S3::default() }),
            ("endpoint", endpoint("minio:9000")),
            ("endpoint", endpoint("https://minio:9000/bucket")),
            ("tls", S3 { tls: Some(ClientTls::default()), ..endpoint("http://minio:9000") }),
        ] {
            assert_eq!(access.check().unwrap_err().0, setting);
        }
        assert_eq!(endpoint("http://minio:9000/").check(), Ok(()));
        assert_eq!(S3::default().check(), Ok(()));
    }
}
