//! Metrics of refused requests and of certificates.

use prometheus_client::encoding::EncodeLabelSet;

use crate::Metrics;

/// `reason` of `aqueduct_admin_refusals_total`.
pub const ADMIN_REASONS: [&str; 3] = ["no_token", "tls_failed", "wrong_token"];

/// Label of a request that the admin address refuses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AdminReason {
    /// Why, in snake case.
    pub reason: &'static str,
}

/// Label of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CertificateLabel {
    /// Its user: `source NAME`, `sink NAME`, `channel NAME` or `agent`.
    pub component: String,
    /// Its file.
    pub path: String,
}

impl Metrics {
    /// Creates the counters of the admin address.
    pub fn begin_admin(&self) {
        for reason in ADMIN_REASONS {
            drop(self.admin_refusals.get_or_create(&AdminReason { reason }));
        }
    }
}
