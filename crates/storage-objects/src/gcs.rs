//! Access to a bucket of Google.

use std::sync::Arc;

use object_store::gcp::GoogleCloudStorageBuilder;
use pipeline::Env;
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ClientTls;

use crate::access::{self, Wrong, check_endpoint, clients, endpoint_of, one_try, variable};
use crate::bucket::Bucket;
use crate::google::Google;
use crate::provider;
use crate::signatures::Signatures;

/// The form of an endpoint.
const EXAMPLE: &str =
    "scheme and host, as in https://storage.googleapis.com, and the bucket in `url`";
/// Google's own server.
const GOOGLE: &str = "https://storage.googleapis.com";

/// How a bucket of Google is reached.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gcs {
    /// File with the key of a service account, in JSON. Without it: the file in
    /// `GOOGLE_APPLICATION_CREDENTIALS`, then the file of `gcloud auth application-default login`,
    /// then the service account of the machine.
    #[serde(default)]
    pub key_file: Option<String>,
    /// URL of a server other than Google's, without the bucket. Default: `STORAGE_EMULATOR_HOST`,
    /// or `https://storage.googleapis.com`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// TLS of an endpoint that begins with `https://`. Default: the certificate authorities of the
    /// host.
    #[serde(default)]
    pub tls: Option<ClientTls>,
}

impl Gcs {
    /// Checks the settings, without any I/O.
    ///
    /// # Errors
    /// An invalid combination: the setting below `gcs`, and the remedy.
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        check_endpoint(self.endpoint.as_deref(), self.tls.as_ref(), false, EXAMPLE)
    }

    /// The bucket of this name.
    ///
    /// # Errors
    /// Settings or environment do not go together, or the file with the key cannot be read.
    pub(crate) fn open(&self, bucket: &str, env: &Env) -> Result<Bucket, String> {
        let named = endpoint_of(env, "STORAGE_EMULATOR_HOST", false, EXAMPLE)?;
        let endpoint = self.endpoint.clone().or(named).unwrap_or_else(|| GOOGLE.into());
        let endpoint = endpoint.trim_end_matches('/');
        let clients = clients(self.tls.as_ref(), &provider::GCS, env)?;
        let (client, odd_keys) = (clients.client(), clients.odd_keys());
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(bucket)
            .with_base_url(endpoint)
            .with_http_connector(clients)
            .with_crypto_provider(Arc::new(Signatures))
            .with_retry(one_try());
        if let Some(file) = &self.key_file {
            builder = builder.with_service_account_path(file);
        } else if let Some(file) = variable(env, "GOOGLE_APPLICATION_CREDENTIALS") {
            builder = builder.with_application_credentials(file);
        }
        let store = builder.build().map(|reads| Google::new(reads, client, endpoint, bucket));
        access::bucket(store, &provider::GCS, odd_keys, env)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_do_not_go_together_are_refused_with_their_remedy() {
        let endpoint = |text: &str| Gcs { endpoint: Some(text.into()), ..Gcs::default() };
        for (setting, gcs) in [
            ("endpoint", endpoint("localhost:4443")),
            ("endpoint", endpoint("http://localhost:4443/bucket")),
            ("tls", Gcs { tls: Some(ClientTls::default()), ..endpoint("http://localhost:4443") }),
        ] {
            assert_eq!(gcs.check().unwrap_err().0, setting);
        }
        assert_eq!(endpoint("http://localhost:4443").check(), Ok(()));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the library reads the file as it is")]
    fn a_key_that_cannot_be_used_is_refused_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.json");
        let gcs = Gcs { key_file: Some(file.display().to_string()), ..Gcs::default() };
        let problem = |gcs: &Gcs| gcs.open("bucket", &env::real()).err().unwrap();
        assert!(problem(&gcs).contains("key.json"), "{}", problem(&gcs));
        std::fs::write(&file, "{}").unwrap();
        assert!(problem(&gcs).contains("missing field"), "{}", problem(&gcs));
        let key = r#"{"private_key": "no key", "private_key_id": "1", "client_email": "a@b"}"#;
        std::fs::write(&file, key).unwrap();
        assert!(problem(&gcs).contains("PEM"), "{}", problem(&gcs));
    }
}
