//! Settings → [`Plan`]: names are resolved and the graph is checked; all problems are collected.

mod graph;

use std::path::{Path, PathBuf};

use pipeline::settings::{Key, Settings, Value, unknown};
use pipeline::units::Period;
use pipeline::{SettingsError, address};
use serde::Deserialize;

use crate::error::{ConfigError, ConfigErrors};
use crate::plan::{AgentSettings, ChannelPlan, ComponentPlan, GroupPlan, Plan, SourcePlan};

/// What the root of a configuration may hold.
const SECTIONS: [&str; 6] = ["agent", "sources", "channels", "sinks", "groups", "dead_letters"];

/// Names are directory names too, and part of file names in the store.
const NAME_BYTES_MAX: usize = 64;

/// Makes a plan of what a front end read from `file`; `host` is the agent's name by default.
///
/// # Errors
/// Every problem that was found.
pub fn resolve(file: &str, root: Settings, host: &str) -> Result<Plan, ConfigErrors> {
    let (plan, errors) = examine(file, root, host);
    ConfigErrors::check(errors)?;
    Ok(plan)
}

/// As [`resolve`], but the plan comes in any case, with what is wrong beside it: its components can
/// be built to find what they have to say, and must not be run unless nothing was found.
pub fn examine(file: &str, mut root: Settings, host: &str) -> (Plan, Vec<ConfigError>) {
    let mut found = Findings { file, errors: Vec::new() };
    let agent = agent(&mut found, root.take("agent"), root.line, host);
    let sources: Vec<_> =
        named(&mut found, &mut root, "sources").into_iter().map(|n| n.source(&mut found)).collect();
    let channels: Vec<_> = named(&mut found, &mut root, "channels")
        .into_iter()
        .map(|n| (n.component, n.line))
        .collect();
    let sinks: Vec<_> =
        named(&mut found, &mut root, "sinks").into_iter().map(|n| n.sink(&mut found)).collect();
    let groups: Vec<_> =
        named(&mut found, &mut root, "groups").into_iter().map(|n| n.group(&mut found)).collect();
    let dead_letters = root.take("dead_letters").unwrap_or_else(Settings::empty);
    refuse_others(&mut found, &root);

    let groups = graph::join(&mut found, sinks, groups);
    graph::check(&mut found, &sources, &channels, &groups);
    let mut plan = Plan {
        file: file.into(),
        agent,
        sources: sources.into_iter().map(|source| source.plan).collect(),
        channels: channels.into_iter().map(|(component, _)| ChannelPlan { component }).collect(),
        groups: groups.into_iter().map(|group| group.plan).collect(),
        dead_letters,
    };
    drop_unknowable(&mut plan);
    (plan, found.errors)
}

/// Takes out what has no kind: that is among the findings, and nothing can be built of it.
fn drop_unknowable(plan: &mut Plan) {
    let has_kind = |component: &ComponentPlan| !component.kind.is_empty();
    plan.sources.retain(|source| has_kind(&source.component) && has_kind(&source.selector));
    for source in &mut plan.sources {
        source.interceptors.retain(has_kind);
    }
    plan.channels.retain(|channel| has_kind(&channel.component));
    plan.groups.retain(|group| has_kind(&group.processor));
    for group in &mut plan.groups {
        group.sinks.retain(has_kind);
    }
}

/// The problems so far.
struct Findings<'a> {
    file: &'a str,
    errors: Vec<ConfigError>,
}

impl Findings<'_> {
    fn add(&mut self, line: u32, path: impl Into<String>, problem: impl Into<String>) {
        let (path, problem) = (path.into(), problem.into());
        self.errors.push(ConfigError { file: self.file.into(), line, path, problem });
    }

    /// The value, or nothing and a problem below `path`.
    fn keep<T>(&mut self, path: &str, result: Result<T, SettingsError>) -> Option<T> {
        result.map_err(|error| self.errors.push(ConfigError::at(self.file, path, error))).ok()
    }
}

/// A name that refers to something, and where it stands.
struct Reference {
    name: String,
    line: u32,
}

/// A source whose names are not checked yet.
struct SourceDraft {
    plan: SourcePlan,
    references: Vec<Reference>,
}

/// A sink that may belong to a group.
struct SinkDraft {
    component: ComponentPlan,
    line: u32,
    channel: Option<Reference>,
}

/// A group whose names are not checked yet.
struct GroupDraft {
    plan: GroupPlan,
    channel: Option<Reference>,
    sinks: Vec<Reference>,
}

/// A component's table on its way into the plan.
struct Named {
    component: ComponentPlan,
    line: u32,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentTable {
    /// Name of the agent in logs and metrics. The host name unless set.
    name: Option<String>,
    /// Directory of its channels and positions. One agent owns it.
    data_dir: PathBuf,
    /// How long a stop may take. What is not delivered by then stays in the channels.
    #[serde(default = "grace")]
    grace: Period,
    /// Address of `/metrics`, `/livez` and `/readyz`: `host:port`. Off unless set.
    admin: Option<String>,
}

fn grace() -> Period {
    Period(std::time::Duration::from_secs(20))
}

fn agent(
    found: &mut Findings<'_>,
    table: Option<Settings>,
    line: u32,
    host: &str,
) -> AgentSettings {
    let unknown = AgentSettings {
        name: host.into(),
        data_dir: PathBuf::new(),
        grace: grace().0,
        admin: None,
        admin_line: 0,
    };
    let Some(table) = table else {
        found.add(line, "", "table `agent` is missing; it needs at least `data_dir`");
        return unknown;
    };
    let Some(read) = found.keep("agent", table.read::<AgentTable>()) else { return unknown };
    let name = read.name.unwrap_or_else(|| host.into());
    if let Err(problem) = check_name(&name) {
        found.keep::<()>("agent", Err(table.invalid("name", &problem)));
    }
    if read.data_dir.as_os_str().is_empty() {
        found.keep::<()>("agent", Err(table.invalid("data_dir", "is empty; name a directory")));
    }
    if let Some(problem) = not_replaced(&read.data_dir) {
        found.keep::<()>("agent", Err(table.invalid("data_dir", &problem)));
    }
    let admin = read.admin.as_ref().map(|it| address::check(it, "127.0.0.1:9464", true));
    if let Some(Err(problem)) = admin {
        found.keep::<()>("agent", Err(table.invalid("admin", &problem)));
    }
    let admin_line = table.get("admin").map_or(0, |admin| admin.line);
    let AgentTable { data_dir, grace: Period(grace), admin, .. } = read;
    AgentSettings { name, data_dir, grace, admin, admin_line }
}

/// What a shell would replace in a directory's name, and nothing here does.
fn not_replaced(directory: &Path) -> Option<String> {
    let text = directory.to_string_lossy();
    let what = if text.contains("${") || text.starts_with('$') {
        "environment variables are"
    } else if text == "~" || text.starts_with("~/") {
        "`~` is"
    } else {
        return None;
    };
    Some(format!(
        "`{text}`: {what} not replaced in a configuration; write the path itself, or leave this out and \
         have the shell replace it: --data-dir \"…\""
    ))
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let plain = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(fits);
    if plain && name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(format!(
        "`{name}` is no name: at most {NAME_BYTES_MAX} of a-z, A-Z, 0-9, `-`, `_` and `.`, \
         beginning with a letter or digit"
    ))
}

/// The components of one section.
fn named(found: &mut Findings<'_>, root: &mut Settings, section: &str) -> Vec<Named> {
    let Some(table) = root.take(section) else { return Vec::new() };
    let Value::Table(entries) = table.value else {
        found.add(table.line, section, "expected tables with a name, and in each a `type`");
        return Vec::new();
    };
    let read = |(key, value): (Key, Settings)| {
        let path = format!("{section}.{}", key.name);
        if let Err(problem) = check_name(&key.name) {
            found.add(key.line, &path, problem);
        }
        component(found, path, key.name, value).map(|component| Named { component, line: key.line })
    };
    entries.into_iter().filter_map(read).collect()
}

/// Takes `type` out of a table; what is left are the component's own settings.
fn component(
    found: &mut Findings<'_>,
    path: String,
    name: String,
    mut settings: Settings,
) -> Option<ComponentPlan> {
    if !matches!(settings.value, Value::Table(_)) {
        found.add(settings.line, path, "expected a table with a `type`");
        return None;
    }
    // Without a kind the plan is never used; it stays, so that its name is known.
    let (kind, kind_line) = match settings.take("type") {
        Some(Settings { value: Value::Text(kind), line }) => (kind, line),
        Some(Settings { line, .. }) => {
            found.add(line, format!("{path}.type"), "expected a name, as text");
            (String::new(), line)
        }
        None => {
            found.add(settings.line, &path, "key `type` is missing");
            (String::new(), settings.line)
        }
    };
    Some(ComponentPlan { name, kind, kind_line, path, settings })
}

impl Named {
    fn source(self, found: &mut Findings<'_>) -> SourceDraft {
        let Self { mut component, line } = self;
        let path = component.path.clone();
        let required = references(found, &mut component, "channels").unwrap_or_default();
        if required.is_empty() {
            let problem = "`channels` is missing or empty: name at least one channel";
            found.add(line, &path, problem);
        }
        let optional = references(found, &mut component, "optional_channels").unwrap_or_default();
        let interceptors = interceptors(found, &mut component);
        let selector = selector(found, &mut component, required.iter().chain(&optional));
        let plan = SourcePlan {
            component,
            channels: required.iter().map(|channel| channel.name.clone()).collect(),
            optional_channels: optional.iter().map(|channel| channel.name.clone()).collect(),
            interceptors,
            selector,
        };
        SourceDraft { plan, references: required.into_iter().chain(optional).collect() }
    }

    fn sink(self, found: &mut Findings<'_>) -> SinkDraft {
        let Self { mut component, line } = self;
        let channel = reference(found, &mut component, "channel");
        SinkDraft { component, line, channel }
    }

    fn group(self, found: &mut Findings<'_>) -> GroupDraft {
        let Self { mut component, line } = self;
        let channel = reference(found, &mut component, "channel");
        let sinks = references(found, &mut component, "sinks").unwrap_or_default();
        if channel.is_none() {
            found.add(line, &component.path, "key `channel` is missing: name the channel to empty");
        }
        if sinks.is_empty() {
            let problem = "`sinks` is missing or empty: name at least one sink";
            found.add(line, &component.path, problem);
        }
        component.settings.set("sinks", names(&sinks));
        let plan = GroupPlan {
            name: component.name.clone(),
            processor: component,
            channel: channel.as_ref().map(|channel| channel.name.clone()).unwrap_or_default(),
            sinks: Vec::new(),
        };
        GroupDraft { plan, channel, sinks }
    }
}

/// The interceptors of a source, named by their place.
fn interceptors(found: &mut Findings<'_>, source: &mut ComponentPlan) -> Vec<ComponentPlan> {
    let Some(list) = source.settings.take("interceptors") else { return Vec::new() };
    let path = format!("{}.interceptors", source.path);
    let Value::List(items) = list.value else {
        found.add(list.line, path, "expected a list of tables, each with a `type`");
        return Vec::new();
    };
    let items = items.into_iter().enumerate().filter_map(|(index, item)| {
        let name = format!("{}-{index}", source.name);
        component(found, format!("{path}.{index}"), name, item)
    });
    items.collect()
}

/// The selector of a source; it is told the source's channels.
fn selector<'a>(
    found: &mut Findings<'_>,
    source: &mut ComponentPlan,
    channels: impl Iterator<Item = &'a Reference>,
) -> ComponentPlan {
    let path = format!("{}.selector", source.path);
    let given = source.settings.take("selector");
    let given = given.and_then(|table| component(found, path.clone(), source.name.clone(), table));
    let mut selector = given.unwrap_or_else(|| ComponentPlan {
        name: source.name.clone(),
        kind: "replicating".into(),
        kind_line: 0,
        path,
        settings: Settings::empty(),
    });
    if let Some(given) = selector.settings.take("channels") {
        let problem = "a selector is told the channels of its source; remove this";
        found.add(given.line, format!("{}.channels", selector.path), problem);
    }
    selector.settings.set("channels", names(channels));
    selector
}

/// Names as a list in settings.
fn names<'a>(references: impl IntoIterator<Item = &'a Reference>) -> Settings {
    let texts = references.into_iter().map(|reference| Settings {
        value: Value::Text(reference.name.clone()),
        line: reference.line,
    });
    Settings { value: Value::List(texts.collect()), line: 0 }
}

/// Takes a list of names out of a component's settings.
fn references(
    found: &mut Findings<'_>,
    component: &mut ComponentPlan,
    key: &str,
) -> Option<Vec<Reference>> {
    let list = component.settings.take(key)?;
    let path = format!("{}.{key}", component.path);
    let Value::List(items) = list.value else {
        found.add(list.line, path, "expected a list of names: [\"…\"]");
        return None;
    };
    let items = items.into_iter().filter_map(|item| match item.value {
        Value::Text(name) => Some(Reference { name, line: item.line }),
        _ => {
            found.add(item.line, &path, "expected a name, as text");
            None
        }
    });
    Some(items.collect())
}

/// Takes one name out of a component's settings.
fn reference(
    found: &mut Findings<'_>,
    component: &mut ComponentPlan,
    key: &str,
) -> Option<Reference> {
    let value = component.settings.take(key)?;
    match value.value {
        Value::Text(name) => Some(Reference { name, line: value.line }),
        _ => {
            found.add(value.line, format!("{}.{key}", component.path), "expected a name, as text");
            None
        }
    }
}

/// What is left at the root has no business there.
fn refuse_others(found: &mut Findings<'_>, root: &Settings) {
    let Value::Table(entries) = &root.value else {
        found.add(root.line, "", "expected tables: `agent`, `sources`, `channels`, `sinks`");
        return;
    };
    for (key, _) in entries {
        let mut problem = unknown("key", &key.name, &SECTIONS);
        if matches!(key.name.as_str(), "include" | "includes" | "import" | "imports") {
            problem.push_str("; a configuration is one file: put all of it there");
        }
        found.add(key.line, &key.name, problem);
    }
}
