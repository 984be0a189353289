//! The plan: the components to run, with all names resolved and a valid graph.

use std::path::PathBuf;
use std::time::Duration;

use pipeline::settings::{Place, Settings, SettingsErrorKind, Value};
use pipeline::{BuildContext, Role, SettingsError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The components that an agent runs. Plans with the same meaning are equal, whatever their lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The file as the user named it, or `command line`, for messages.
    pub file: String,
    /// The agent itself.
    pub agent: AgentSettings,
    /// Sources.
    pub sources: Vec<SourcePlan>,
    /// Channels; each has a source and a group.
    pub channels: Vec<ChannelPlan>,
    /// Groups; a sink outside a group is a group with its own name.
    pub groups: Vec<GroupPlan>,
    /// The table `[dead_letters]`, as the agent reads it: settings of the channel for events that
    /// can never be delivered. Empty unless set.
    pub dead_letters: Settings,
}

/// The table `[agent]`.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// Name of the agent; the host name unless set.
    pub name: String,
    /// Directory for all of its files; one agent owns it.
    pub data_dir: PathBuf,
    /// Time limit of a stop; remaining events stay in the channels.
    pub grace: Duration,
    /// The address of `/metrics`, `/status`, `/livez` and `/readyz`; off unless set.
    pub admin: Option<String>,
    /// The place of that setting.
    pub admin_place: Place,
    /// TLS of that listener: a [`tls::ServerTls`], which has been read once. Plain text unless set.
    pub admin_tls: Option<Settings>,
    /// The token that requests to it need, as written and as text. None required unless set.
    pub admin_token: Option<Settings>,
    /// The address of Flume's page of counters; off unless set.
    pub flume_metrics: Option<String>,
    /// The place of that setting.
    pub flume_metrics_place: Place,
    /// The place of `insecure = true`: data of these listeners may leave this host in plain text.
    pub insecure: Option<Place>,
    /// Traces of sampled batches: a [`TraceSettings`](crate::TraceSettings), which has been read
    /// once. None unless set.
    pub traces: Option<Settings>,
    /// The fleet server: a [`FleetSettings`](crate::FleetSettings), which has been read once. None
    /// unless set.
    pub fleet: Option<Settings>,
    /// The trigger for reading the configuration again.
    pub reload: Reload,
    /// The permissions of files that the agent creates.
    pub file_mode: FileMode,
    /// True if a crash of the process may write a core dump.
    pub core_dumps: bool,
}

/// What may read the files that an agent makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FileMode {
    /// Its user, and the group of that.
    #[default]
    #[serde(rename = "0640")]
    Group,
    /// Its user alone.
    #[serde(rename = "0600")]
    Owner,
}

/// When a running agent reads its configuration again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reload {
    /// When it is asked to: by SIGHUP, or on the admin address.
    #[default]
    Asked,
    /// Also when its files, or those that they include or refer to, have changed.
    Watch,
}

impl AgentSettings {
    /// Returns the settings with another meaning in `other`.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let compared = [
            ("name", self.name == other.name),
            ("data_dir", self.data_dir == other.data_dir),
            ("grace", self.grace == other.grace),
            ("admin", self.admin == other.admin),
            ("admin_tls", self.admin_tls == other.admin_tls),
            ("admin_token", self.admin_token == other.admin_token),
            ("flume_metrics", self.flume_metrics == other.flume_metrics),
            ("insecure", self.insecure.is_some() == other.insecure.is_some()),
            ("traces", self.traces == other.traces),
            ("fleet", self.fleet == other.fleet),
            ("reload", self.reload == other.reload),
            ("file_mode", self.file_mode == other.file_mode),
            ("core_dumps", self.core_dumps == other.core_dumps),
        ];
        compared.into_iter().filter(|(_, equal)| !equal).map(|(setting, _)| setting).collect()
    }
}

/// One component: its name, its kind and its own settings.
#[derive(Debug, Clone)]
pub struct ComponentPlan {
    /// Its name in the configuration.
    pub name: String,
    /// The value of `type = "…"`.
    pub kind: String,
    /// The place of `type`.
    pub kind_place: Place,
    /// Its place in the configuration, dotted: `sinks.store`.
    pub path: String,
    /// Its own settings, without those in the plan.
    pub settings: Settings,
    /// The place of `insecure = true`: plain text may leave this host. Only for sources and sinks.
    pub insecure: Option<Place>,
}

/// One source with its path into its channels.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    /// The source.
    pub component: ComponentPlan,
    /// Channels that must accept each batch before it counts as read; never empty.
    pub channels: Vec<String>,
    /// Channels that accept a batch only if they have room.
    pub optional_channels: Vec<String>,
    /// Interceptors, in order.
    pub interceptors: Vec<ComponentPlan>,
    /// The selector. Its settings have `channels`: the required ones, then the optional.
    pub selector: ComponentPlan,
}

/// One channel.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelPlan {
    /// The channel.
    pub component: ComponentPlan,
}

/// One group of sinks: one consumer of one channel.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupPlan {
    /// The consumer's name in the channel.
    pub name: String,
    /// The processor. Its settings have `sinks`: the names in order.
    pub processor: ComponentPlan,
    /// The channel of the events.
    pub channel: String,
    /// The sinks; never empty.
    pub sinks: Vec<ComponentPlan>,
}

impl PartialEq for AgentSettings {
    fn eq(&self, other: &Self) -> bool {
        self.differences(other).is_empty()
    }
}

impl PartialEq for ComponentPlan {
    fn eq(&self, other: &Self) -> bool {
        let meant = |it: &Self| it.insecure.is_some();
        (&self.name, &self.kind, &self.path, &self.settings, meant(self))
            == (&other.name, &other.kind, &other.path, &other.settings, meant(other))
    }
}

/// Maximum number of problems that are collected for one component.
const PROBLEMS_MAX: usize = 20;

impl ComponentPlan {
    /// Builds the component from the catalogue, without I/O.
    ///
    /// # Errors
    /// The kind is not in the catalogue, or settings are wrong: each that can be found, with its
    /// path relative to the component.
    pub fn build<R: Role + ?Sized>(&self, cx: &BuildContext) -> Result<Box<R>, Vec<SettingsError>> {
        let entry = cx.catalogue.find::<R>(&self.kind).map_err(|problem| {
            let place = self.kind_place.clone();
            vec![SettingsError::new(SettingsErrorKind::UnknownName, place, problem).below("type")]
        })?;
        let first = match (entry.build)(&self.settings, cx) {
            Ok(built) => return Ok(built),
            Err(error) => error,
        };
        // Reading ends at the first problem, so remove that value to find the next one.
        let (mut errors, mut rest) = (vec![first], self.settings.clone());
        while errors.len() < PROBLEMS_MAX && remove(&mut rest, &errors[errors.len() - 1].path) {
            match (entry.build)(&rest, cx) {
                Err(error)
                    if error.kind != SettingsErrorKind::Missing
                        && !is_consequence(&error, &errors) =>
                {
                    errors.push(error);
                }
                // Missing now, perhaps, because it was taken out.
                Err(_) | Ok(_) => break,
            }
        }
        Err(errors)
    }
}

/// Returns `true` if the problem results from the removal of a value. In a list, another item may
/// have taken its index.
fn is_consequence(error: &SettingsError, before: &[SettingsError]) -> bool {
    let last = error.path.rsplit('.').next().unwrap_or_default();
    last.parse::<usize>().is_err() && before.iter().any(|it| it.path == error.path)
}

/// Removes the value at a dotted path; returns whether it existed.
fn remove(settings: &mut Settings, path: &str) -> bool {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    match &mut settings.value {
        Value::Table(entries) => {
            let Some(at) = entries.iter().position(|(key, _)| key.name == first) else {
                return false;
            };
            if rest.is_empty() || !remove(&mut entries[at].1, rest) {
                entries.remove(at);
            }
            true
        }
        Value::List(items) => match first.parse() {
            Ok(at) if at < items.len() => {
                if rest.is_empty() || !remove(&mut items[at], rest) {
                    items.remove(at);
                }
                true
            }
            _ => false,
        },
        Value::Flag(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => false,
    }
}

#[cfg(test)]
mod tests;
