//! Metrics of single tenants. Names of tenants come from outside, so the number of series is
//! bounded: the first names of a source have separate series, and all others are counted together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;

use crate::{Counter, Gauge, Metrics, Text};

/// Number of tenants of one source with separate series, from the start of the agent on.
pub const TENANTS_MAX: usize = 32;

/// The common name of all further tenants.
pub const OTHER: &str = "other";

/// Label of a tenant of a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TenantLabel {
    /// The source's name in the configuration.
    pub source: String,
    /// The name of the tenant, or [`OTHER`].
    pub tenant: Text,
}

/// Label of a limit that a tenant has reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TenantReason {
    /// The source's name in the configuration.
    pub source: String,
    /// The name of the tenant, or [`OTHER`].
    pub tenant: Text,
    /// The limit.
    pub reason: &'static str,
}

/// The names that have series, by source.
#[derive(Debug, Clone, Default)]
pub(crate) struct TenantNames(Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>);

impl TenantNames {
    fn shown<'a>(&self, source: &str, tenant: &'a str) -> &'a str {
        // Each change is one insertion.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = all.entry(source.to_owned()).or_default();
        if names.contains(tenant) {
            return tenant;
        }
        if names.len() >= TENANTS_MAX {
            return OTHER;
        }
        names.insert(tenant.to_owned());
        tenant
    }
}

/// The metrics of a tenant.
#[derive(Debug, Clone)]
pub struct TenantSeries {
    label: TenantLabel,
    /// Its connections.
    pub connections: Gauge,
    /// Events from it.
    pub events: Counter,
    /// Bytes of its batches.
    pub bytes: Counter,
}

impl Metrics {
    /// Returns the series of a tenant of `source`, or the common series of further tenants.
    pub fn tenant(&self, source: &str, tenant: &str) -> TenantSeries {
        let tenant = Text(self.tenants.shown(source, tenant).to_owned());
        let label = TenantLabel { source: source.to_owned(), tenant };
        TenantSeries {
            connections: self.tenant_connections.get_or_create(&label).clone(),
            events: self.tenant_events.get_or_create(&label).clone(),
            bytes: self.tenant_bytes.get_or_create(&label).clone(),
            label,
        }
    }

    /// Counts that a tenant was held back by a limit.
    pub fn count_limited(&self, of: &TenantSeries, reason: &'static str) {
        let TenantLabel { source, tenant } = of.label.clone();
        self.tenant_limited.get_or_create(&TenantReason { source, tenant, reason }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tenants_have_series_and_all_others_share_one() {
        let metrics = Metrics::default();
        for n in 0..1_000 {
            let series = metrics.tenant("in", &format!("10.0.0.{n}"));
            series.events.inc();
            metrics.count_limited(&series, "rate");
            metrics.tenant("out", "10.0.0.1").events.inc();
        }
        metrics.tenant("in", "10.0.0.0").events.inc();
        let text = metrics.text();
        let line = |tenant: &str, count: u32| {
            let name = format!("{{source=\"in\",tenant=\"{tenant}\"}} {count}\n");
            assert!(text.contains(&format!("aqueduct_tenant_events_total{name}")), "{name}{text}");
        };
        line("10.0.0.0", 2);
        line("10.0.0.31", 1);
        line(OTHER, 1_000 - TENANTS_MAX as u32);
        let series = text.lines().filter(|it| it.starts_with("aqueduct_tenant_limited_total{"));
        assert_eq!(series.count(), TENANTS_MAX + 1);
    }
}
