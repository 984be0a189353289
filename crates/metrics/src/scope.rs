//! Metrics of single components, in addition to those that all sources, channels and sinks have.
//!
//! A component declares them in a table, and registers them when it is built. From then on they are
//! shown as `aqueduct_<kind>_<name>{component="<name>"}`, with 0 before anything is counted.
//!
//! ```
//! # use aqueduct_metrics as metrics;
//! use metrics::{Metrics, MetricSpec};
//!
//! const METRICS: &[MetricSpec] =
//!     &[MetricSpec::counter("dropped_events", "Events that were dropped.")];
//!
//! let metrics = Metrics::default();
//! let dropped = metrics.scope("sampler", "access-0", METRICS).counter("dropped_events")?;
//! dropped.inc_by(2);
//! let line = "aqueduct_sampler_dropped_events_total{component=\"access-0\"} 2\n";
//! assert!(metrics.text().contains(line));
//! # Ok::<(), metrics::MetricError>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Metric, Registry};

use crate::{Counter, FloatGauge, Metrics, Seconds, Text};

/// One metric of a component: a row of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricSpec {
    /// Its name in snake case, with its unit, without prefix and `_total`: `dropped_events`.
    pub name: &'static str,
    /// A description, as one sentence.
    pub help: &'static str,
    /// Its type.
    pub form: MetricForm,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricForm {
    /// Only increases; `_total` is added to its name.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// A distribution of durations, in seconds.
    Seconds,
}

impl MetricSpec {
    /// Something that is counted.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, form: MetricForm::Counter }
    }

    /// A value that increases and decreases.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, form: MetricForm::Gauge }
    }

    /// A distribution of durations.
    pub const fn seconds(name: &'static str, help: &'static str) -> Self {
        Self { name, help, form: MetricForm::Seconds }
    }

    /// Its name and its type for a component of this kind, as [`Metrics::catalogue`] has them.
    pub fn described(&self, kind: &str) -> (String, &'static str) {
        let form = match self.form {
            MetricForm::Counter => "counter",
            MetricForm::Gauge => "gauge",
            MetricForm::Seconds => "histogram",
        };
        (format!("aqueduct_{kind}_{}", self.name), form)
    }
}

/// Why a component cannot have a metric: a mistake in its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricError {
    metric: String,
    problem: &'static str,
}

impl fmt::Display for MetricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the metric `{}` {}", self.metric, self.problem)
    }
}

impl std::error::Error for MetricError {}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ComponentLabel {
    component: Text,
}

type Of<M> = Family<ComponentLabel, M>;

#[derive(Clone)]
enum Series {
    Counter(Of<Counter>),
    Gauge(Of<FloatGauge>),
    Seconds(Of<Seconds>),
}

/// The metrics of all components, by full name. Clones are the same table.
#[derive(Clone)]
pub(crate) struct ScopeTable {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    registry: Registry,
    by_name: BTreeMap<String, Series>,
}

impl Default for ScopeTable {
    fn default() -> Self {
        let inner = Inner { registry: Registry::with_prefix("aqueduct"), by_name: BTreeMap::new() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }
}

impl ScopeTable {
    /// Runs `show` on the registry.
    pub(crate) fn show<T>(&self, show: impl FnOnce(&Registry) -> T) -> T {
        show(&self.inner().registry)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A family is registered before it is listed: at worst it appears twice.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Returns the series with this name; creates it if necessary.
    fn series<M>(&mut self, (name, help): (String, &str), wrap: fn(Of<M>) -> Series) -> Series
    where
        Of<M>: Metric + Default + Clone,
    {
        if let Some(series) = self.by_name.get(&name) {
            return series.clone();
        }
        let family = Of::<M>::default();
        self.registry.register(name.clone(), help.trim_end_matches('.'), family.clone());
        self.by_name.entry(name).or_insert(wrap(family)).clone()
    }
}

/// The metrics of one component.
#[derive(Clone)]
pub struct Scope {
    table: ScopeTable,
    kind: String,
    component: String,
    declared: &'static [MetricSpec],
}

impl Metrics {
    /// The metrics of the component of this kind and name; `declared` is the table of its kind.
    pub fn scope(&self, kind: &str, component: &str, declared: &'static [MetricSpec]) -> Scope {
        let (kind, component) = (kind.to_owned(), component.to_owned());
        Scope { table: self.scopes.clone(), kind, component, declared }
    }
}

impl Scope {
    /// The counter of this name.
    ///
    /// # Errors
    /// It is not declared as a counter, or its name is not one.
    pub fn counter(&self, name: &str) -> Result<Counter, MetricError> {
        match self.series(name, MetricForm::Counter, |inner, named| {
            inner.series(named, Series::Counter)
        })? {
            Series::Counter(family) => Ok(family.get_or_create(&self.label()).clone()),
            Series::Gauge(_) | Series::Seconds(_) => Err(self.wrong(name, OTHER_FORM)),
        }
    }

    /// The gauge of this name.
    ///
    /// # Errors
    /// It is not declared as a gauge, or its name is not one.
    pub fn gauge(&self, name: &str) -> Result<FloatGauge, MetricError> {
        match self
            .series(name, MetricForm::Gauge, |inner, named| inner.series(named, Series::Gauge))?
        {
            Series::Gauge(family) => Ok(family.get_or_create(&self.label()).clone()),
            Series::Counter(_) | Series::Seconds(_) => Err(self.wrong(name, OTHER_FORM)),
        }
    }

    /// The distribution of durations of this name.
    ///
    /// # Errors
    /// It is not declared as one, or its name is not one.
    pub fn seconds(&self, name: &str) -> Result<Seconds, MetricError> {
        match self.series(name, MetricForm::Seconds, |inner, named| {
            inner.series(named, Series::Seconds)
        })? {
            Series::Seconds(family) => Ok(family.get_or_create(&self.label()).clone()),
            Series::Counter(_) | Series::Gauge(_) => Err(self.wrong(name, OTHER_FORM)),
        }
    }

    fn series(
        &self,
        name: &str,
        form: MetricForm,
        find: impl FnOnce(&mut Inner, (String, &str)) -> Series,
    ) -> Result<Series, MetricError> {
        let spec = self.declared.iter().find(|spec| spec.name == name);
        let spec =
            spec.ok_or_else(|| self.wrong(name, "is missing in `METRICS` of its component"))?;
        if spec.form != form {
            return Err(self.wrong(name, OTHER_FORM));
        }
        if !is_name(&self.kind) || !is_name(name) || name.ends_with("_total") {
            let problem = "must have a name in snake case without `_total`";
            return Err(self.wrong(name, problem));
        }
        let (full, _) = spec.described(&self.kind);
        if Metrics::catalogue().iter().any(|(known, _)| *known == full) {
            return Err(self.wrong(name, "has the same name as a metric of every agent"));
        }
        let name = format!("{}_{name}", self.kind);
        Ok(find(&mut self.table.inner(), (name, spec.help)))
    }

    fn label(&self) -> ComponentLabel {
        ComponentLabel { component: Text(self.component.clone()) }
    }

    fn wrong(&self, name: &str, problem: &'static str) -> MetricError {
        MetricError { metric: format!("{}_{name}", self.kind), problem }
    }
}

const OTHER_FORM: &str = "has another type in `METRICS`";

fn is_name(name: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(inside)
}

#[cfg(test)]
mod tests;
