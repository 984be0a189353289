//! The settings of a server of OpenLineage.

use pipeline::Secret;
use pipeline::units::Period;
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ClientTls;

/// The server of OpenLineage that gets receipts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenLineageConfig {
    /// URL that accepts events by `POST`, such as `https://marquez:5000/api/v1/lineage`.
    pub(super) url: String,
    /// Namespace of the job in the events.
    #[serde(default = "default_namespace")]
    pub(super) namespace: String,
    /// Name of the job in the events. Default: the name of the sink.
    #[serde(default)]
    pub(super) job: Option<String>,
    /// Namespace of the dataset in the events. Default: scheme and host of the sink's `url`; `file`
    /// for a `file://` URL.
    #[serde(default)]
    pub(super) dataset_namespace: Option<String>,
    /// Name of the dataset in the events. Default: the fixed part of the path of the sink's `url`,
    /// before the first escape.
    #[serde(default)]
    pub(super) dataset: Option<String>,
    /// Token that is sent as `Authorization: Bearer`. Use a reference, such as
    /// `"${file:/run/secrets/lineage}"`.
    #[serde(default)]
    pub(super) token: Option<Secret>,
    /// TLS of an `https://` URL. Default: the certificate authorities of the host.
    #[serde(default)]
    pub(super) tls: Option<ClientTls>,
    /// Timeout for a response.
    #[serde(default = "pipeline::units::seconds::<30>")]
    pub(super) timeout: Period,
}

fn default_namespace() -> String {
    "aqueduct".to_owned()
}
