//! The plan: what an agent is to run, with every name resolved and the graph known to be sound.

use std::path::PathBuf;
use std::time::Duration;

use pipeline::settings::{Settings, Value};
use pipeline::{BuildContext, Role, SettingsError};

use crate::flume;

/// What an agent runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The file as the user named it, or `command line`: where complaints point to.
    pub file: String,
    /// The agent itself.
    pub agent: AgentSettings,
    /// Where events enter.
    pub sources: Vec<SourcePlan>,
    /// What holds events; each has a source and a group.
    pub channels: Vec<ChannelPlan>,
    /// Where events leave; a sink outside a group is a group of its own name.
    pub groups: Vec<GroupPlan>,
    /// The table `[dead_letters]`, as the agent reads it: where events are kept that can never be
    /// delivered. Empty unless set.
    pub dead_letters: Settings,
}

/// The table `[agent]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    /// Name of the agent; the host name unless set.
    pub name: String,
    /// Directory for all of its files; one agent owns it.
    pub data_dir: PathBuf,
    /// How long a stop may take before what is left stays in the channels.
    pub grace: Duration,
    /// Where `/metrics`, `/status`, `/livez` and `/readyz` listen; off unless set.
    pub admin: Option<String>,
    /// Line of that setting; 0 where there is none.
    pub admin_line: u32,
}

/// One component: its name, its kind and its own settings.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentPlan {
    /// Its name in the configuration.
    pub name: String,
    /// What `type = "…"` says.
    pub kind: String,
    /// Line of `type`; 0 where there is none.
    pub kind_line: u32,
    /// Its place in the configuration, dotted: `sinks.store`.
    pub path: String,
    /// Its own settings, without those that the plan holds.
    pub settings: Settings,
}

/// One source with its way into its channels.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    /// The source.
    pub component: ComponentPlan,
    /// Channels that must take each batch before it counts as read; never empty.
    pub channels: Vec<String>,
    /// Channels that take a batch only if they have room.
    pub optional_channels: Vec<String>,
    /// What changes or drops events, in order.
    pub interceptors: Vec<ComponentPlan>,
    /// What splits a batch. Its settings hold `channels`: the required ones, then the optional.
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
    /// What picks the sink. Its settings hold `sinks`: the names in order.
    pub processor: ComponentPlan,
    /// Where the events come from.
    pub channel: String,
    /// The sinks; never empty.
    pub sinks: Vec<ComponentPlan>,
}

/// Problems of one component are looked for this often at most.
const PROBLEMS_MAX: usize = 20;

impl ComponentPlan {
    /// Builds the component from the catalogue, without I/O.
    ///
    /// # Errors
    /// The kind is not in the catalogue, or settings are wrong: each that can be told, with its path
    /// relative to the component.
    pub fn build<R: Role + ?Sized>(&self, cx: &BuildContext) -> Result<Box<R>, Vec<SettingsError>> {
        let entry = cx.catalogue.find::<R>(&self.kind).map_err(|mut problem| {
            let known: Vec<&str> = cx.catalogue.entries::<R>().map(|entry| entry.kind).collect();
            if let Some(hint) = flume::hint(&self.kind, &known) {
                problem = format!("{problem}; {hint}");
            }
            vec![SettingsError { path: "type".into(), line: self.kind_line, problem }]
        })?;
        let first = match (entry.build)(&self.settings, cx) {
            Ok(built) => return Ok(built),
            Err(error) => error,
        };
        // Reading ends at the first problem, so what is wrong is taken out to find the next one.
        let (mut errors, mut rest) = (vec![first], self.settings.clone());
        while errors.len() < PROBLEMS_MAX && remove(&mut rest, &errors[errors.len() - 1].path) {
            match (entry.build)(&rest, cx) {
                Err(error) if !is_missing(&error) && !is_consequence(&error, &errors) => {
                    errors.push(error);
                }
                // Missing now, perhaps, because it was taken out.
                Err(_) | Ok(_) => break,
            }
        }
        Err(errors)
    }
}

/// Whether the problem is about a value that was taken out, because it was. Behind an item of a list
/// there may be another one in its place.
fn is_consequence(error: &SettingsError, before: &[SettingsError]) -> bool {
    let last = error.path.rsplit('.').next().unwrap_or_default();
    last.parse::<usize>().is_err() && before.iter().any(|it| it.path == error.path)
}

/// Takes out the value at a dotted path; says whether it was there.
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

/// As `Settings::read` says it.
fn is_missing(error: &SettingsError) -> bool {
    error.problem.starts_with("key `") && error.problem.ends_with("is missing")
}

#[cfg(test)]
mod tests;
