//! Builds roles from settings. A new component is one file with a `Config`, and one line in its
//! role's table.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metrics::{MetricError, MetricSpec, Metrics, Scope};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::catalogue::{Catalogue, Role};
use crate::env::Env;
use crate::extensions::Extensions;
use crate::plain_text::PlainText;
use crate::settings::{Settings, SettingsError, SettingsErrorKind};

/// Implemented by a component's settings.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use pipeline::component::entry;
/// use pipeline::sink::{Observer, ObserverSink};
/// use pipeline::{Batch, BuildContext, BuildError, Component, Entry, Sink};
/// use schemars::JsonSchema;
/// use serde::Deserialize;
///
/// /// Settings of the `print` sink.
/// #[derive(Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct Config {
///     /// Stands before each body.
///     prefix: String,
/// }
///
/// impl Component for Config {
///     const KIND: &'static str = "print";
///     type Role = dyn Sink;
///
///     fn build(self, _cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
///         if self.prefix.contains('\n') {
///             return Err(BuildError::invalid("prefix", "it must be one line"));
///         }
///         Ok(Box::new(ObserverSink::new(Print(self.prefix))))
///     }
/// }
///
/// struct Print(String);
///
/// impl Observer for Print {
///     fn observe(&mut self, batch: &Batch) {
///         for event in batch.iter() {
///             println!("{}{}", self.0, String::from_utf8_lossy(event.body()));
///         }
///     }
/// }
///
/// /// The table of a program's own sinks.
/// static SINKS: &[Entry<dyn Sink>] = &[entry::<Config>()];
/// assert_eq!(SINKS[0].kind, "print");
/// ```
pub trait Component: DeserializeOwned + JsonSchema + Send + 'static {
    /// The value of `type = "…"` in a configuration.
    const KIND: &'static str;
    /// The metrics that only this component has, for [`BuildContext::scope`].
    const METRICS: &'static [MetricSpec] = &[];
    /// Values of `reason` with which it counts anomalies: a source in
    /// `aqueduct_source_anomalies_total`, a channel in `aqueduct_channel_anomalies_total`.
    const ANOMALIES: &'static [&'static str] = &[];
    /// Values of `reason` of its dead letters: those of a sink in
    /// `aqueduct_dead_letter_events_total`, of an interceptor in
    /// `aqueduct_source_dead_letter_events_total`.
    const LETTERS: &'static [&'static str] = &[];
    /// Values of the required settings, as TOML without `type`. Its addresses are on 127.0.0.1, so
    /// that tests of all components can start from it.
    const EXAMPLE: &'static str = "";
    /// What it builds: `dyn Source`, `dyn Sink`, `dyn Channel`, ….
    type Role: ?Sized + 'static;

    /// Builds the component, without any I/O: settings that build are valid.
    ///
    /// # Errors
    /// A setting is wrong in a way that its type does not exclude.
    fn build(self, cx: &BuildContext) -> Result<Box<Self::Role>, BuildError>;
}

/// The context in which a component is built.
#[derive(Debug, Clone)]
pub struct BuildContext {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Directory for its own files, below the agent's data directory; not created yet.
    pub directory: PathBuf,
    /// The world.
    pub env: Env,
    /// Its metrics.
    pub metrics: Metrics,
    /// The components that it can use: conditions, encoders, codecs, decoders, framings.
    pub catalogue: Catalogue,
    /// Values shared with the other components along its channel and in its group, by type.
    pub extensions: Extensions,
    /// The addresses to which it sends plain text: it must report each of them.
    pub plain_text: PlainText,
}

impl BuildContext {
    /// Creates the context of a component outside an agent: it has separate metrics, shares no
    /// channel, and knows no other components.
    pub fn alone(name: &str, directory: &Path, env: Env) -> Self {
        Self {
            name: name.into(),
            directory: directory.to_owned(),
            env,
            metrics: Metrics::default(),
            catalogue: Catalogue::EMPTY,
            extensions: Extensions::default(),
            plain_text: PlainText::default(),
        }
    }

    /// Returns the metrics of a component of this type: those in [`Component::METRICS`].
    pub fn scope<C: Component>(&self) -> Scope {
        self.metrics.scope(C::KIND, &self.name, C::METRICS)
    }

    /// Returns the shared value of this type: as [`Extensions::get`]. Outside an agent it is the
    /// default.
    pub fn get<T: Any + Send + Sync + Clone + Default>(&self) -> T {
        self.extensions.get()
    }
}

/// A setting that is wrong.
#[derive(Debug, Error)]
#[error("setting `{setting}` is invalid: {problem}")]
pub struct BuildError {
    /// The kind of the problem.
    pub kind: SettingsErrorKind,
    /// The setting, dotted.
    pub setting: String,
    /// The problem and the remedy.
    pub problem: String,
}

impl BuildError {
    /// `setting` is wrong because of `problem`.
    #[expect(clippy::needless_pass_by_value, reason = "an error at hand is given away")]
    pub fn invalid(setting: impl Into<String>, problem: impl ToString) -> Self {
        let kind = SettingsErrorKind::Invalid;
        Self { kind, setting: setting.into(), problem: problem.to_string() }
    }

    /// The same for a setting in the table `table`, dotted.
    #[must_use]
    pub fn below(self, table: &str) -> Self {
        Self { setting: format!("{table}.{}", self.setting), ..self }
    }
}

/// A mistake in the code of a component, and none of its settings: reported at its `type`.
impl From<MetricError> for BuildError {
    fn from(error: MetricError) -> Self {
        Self::invalid("type", error)
    }
}

/// One line of a role's table.
pub struct Entry<R: ?Sized> {
    /// The value of `type = "…"`.
    pub kind: &'static str,
    /// The metrics that only this component has.
    pub metrics: &'static [MetricSpec],
    /// As [`Component::ANOMALIES`].
    pub anomalies: &'static [&'static str],
    /// As [`Component::LETTERS`].
    pub letters: &'static [&'static str],
    /// As [`Component::EXAMPLE`].
    pub example: &'static str,
    /// The schema of its settings.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Reads its settings and builds it, without I/O. The settings do not contain `type`.
    pub build: fn(&Settings, &BuildContext) -> Result<Box<R>, SettingsError>,
}

/// The line for a component in its role's table.
pub const fn entry<C: Component>() -> Entry<C::Role> {
    Entry {
        kind: C::KIND,
        metrics: C::METRICS,
        anomalies: C::ANOMALIES,
        letters: C::LETTERS,
        example: C::EXAMPLE,
        schema: C::json_schema,
        build: |settings, cx| {
            let config: C = settings.read()?;
            config
                .build(cx)
                .map_err(|error| settings.error(error.kind, &error.setting, &error.problem))
        },
    }
}

/// A component of role `R` within the settings of another one: only its kind, `decoder = "json"`,
/// or with its settings, `decoder = { type = "lines", keep_empty = true }`.
pub struct Choice<R: ?Sized> {
    kind: String,
    settings: serde_json::Map<String, serde_json::Value>,
    role: PhantomData<fn() -> Box<R>>,
}

/// The forms of a [`Choice`] in a configuration.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    /// The kind, with default settings.
    Kind(String),
    /// `type`, and the settings of that kind.
    Table(serde_json::Map<String, serde_json::Value>),
}

/// Keyword of a schema: the role of the component that a setting chooses.
pub const CHOICE: &str = "x-aqueduct-role";

impl<R: Role + ?Sized> Choice<R> {
    /// This kind with default settings.
    pub fn from_kind(kind: &str) -> Self {
        Self::with(kind.to_owned(), serde_json::Map::new())
    }

    /// This kind with these settings, `type` not among them.
    pub fn with(kind: String, settings: serde_json::Map<String, serde_json::Value>) -> Self {
        Self { kind, settings, role: PhantomData }
    }

    /// Returns the value of `type = "…"`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Builds it from the catalogue; `setting` is the path of the choice.
    ///
    /// # Errors
    /// The kind is not in the catalogue, or one of its settings is wrong.
    pub fn build(&self, setting: &str, cx: &BuildContext) -> Result<Box<R>, BuildError> {
        let entry = cx.catalogue.find::<R>(&self.kind);
        let entry = entry.map_err(|problem| {
            let kind = SettingsErrorKind::UnknownName;
            BuildError { kind, setting: setting.to_owned(), problem }
        })?;
        let settings = Settings::from_json(&serde_json::Value::Object(self.settings.clone()));
        (entry.build)(&settings, cx).map_err(|error| {
            let below =
                if error.path.is_empty() { String::new() } else { format!(".{}", error.path) };
            let setting = format!("{setting}{below}");
            BuildError { kind: error.kind, setting, problem: error.problem }
        })
    }
}

impl<R: Role + ?Sized> fmt::Debug for Choice<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", R::NAME, self.kind, self.settings)
    }
}

impl<R: Role + ?Sized> JsonSchema for Choice<R> {
    fn schema_name() -> Cow<'static, str> {
        format!("Choice_{}", R::NAME).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": format!("{}: its kind, or a table with `type`", R::NAME),
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "type": { "type": "string" } },
                    "required": ["type"],
                },
            ],
            CHOICE: R::NAME,
        })
    }
}

/// Only the kind if it has no settings, as in a configuration.
impl<R: Role + ?Sized> Serialize for Choice<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.settings.is_empty() {
            return serializer.serialize_str(&self.kind);
        }
        let mut table = self.settings.clone();
        table.insert("type".to_owned(), self.kind.clone().into());
        table.serialize(serializer)
    }
}

impl<'de, R: Role + ?Sized> Deserialize<'de> for Choice<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer) {
            Ok(Written::Kind(kind)) => Ok(Self::from_kind(&kind)),
            Ok(Written::Table(mut settings)) => match settings.remove("type") {
                Some(serde_json::Value::String(kind)) => Ok(Self::with(kind, settings)),
                _ => Err(de::Error::custom("a table here needs `type`, as text")),
            },
            Err(_) => Err(de::Error::custom("expected a type as text, or a table with `type`")),
        }
    }
}
