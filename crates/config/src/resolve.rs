//! Settings → [`Plan`]: names are resolved and the graph is checked; all problems are collected.

mod agent;
mod graph;
mod limits;

use pipeline::SettingsError;
use pipeline::settings::{Key, Place, Settings, SettingsErrorKind as Kind, Value, unknown};

use crate::error::{ConfigError, ConfigErrors, PROBLEMS_MAX};
use crate::plan::{AgentSettings, ChannelPlan, ComponentPlan, GroupPlan, Plan, SourcePlan};
pub(crate) use agent::AgentTable;
use limits::check_name;
pub(crate) use limits::{COMPONENTS_MAX, too_many};

/// Valid names at the root of a configuration.
const SECTIONS: [&str; 7] =
    ["agent", "sources", "channels", "sinks", "groups", "dead_letters", "include"];

/// Makes a plan of the settings in `file`; `host` is the agent's name by default.
///
/// # Errors
/// Every problem that was found.
pub fn resolve(file: &str, root: Settings, host: &str) -> Result<Plan, ConfigErrors> {
    let (plan, errors) = examine(file, root, host);
    ConfigErrors::check(errors)?;
    Ok(plan)
}

/// As [`resolve`], but always returns the plan, together with the problems: its components can be
/// built to find further problems, and must not run unless none was found.
pub fn examine(file: &str, mut root: Settings, host: &str) -> (Plan, Vec<ConfigError>) {
    let mut found = Findings { file, errors: Vec::new() };
    let agent = agent::agent(&mut found, root.take("agent"), &root.place, host);
    let sources: Vec<_> =
        named(&mut found, &mut root, "sources").into_iter().map(|n| n.source(&mut found)).collect();
    let channels: Vec<_> = named(&mut found, &mut root, "channels")
        .into_iter()
        .map(|n| n.channel(&mut found))
        .collect();
    let sinks: Vec<_> =
        named(&mut found, &mut root, "sinks").into_iter().map(|n| n.sink(&mut found)).collect();
    let groups: Vec<_> =
        named(&mut found, &mut root, "groups").into_iter().map(|n| n.group(&mut found)).collect();
    let dead_letters = root.take("dead_letters").unwrap_or_else(Settings::empty);
    refuse_others(&mut found, &root);

    let groups = graph::join(&mut found, sinks, groups);
    let may_be_empty = agent.fleet.is_some();
    graph::check(&mut found, &sources, &channels, &groups, may_be_empty);
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

/// Removes components without a kind: they have a finding, and cannot be built.
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
    fn add(
        &mut self,
        kind: Kind,
        place: &Place,
        path: impl Into<String>,
        problem: impl Into<String>,
    ) {
        if self.is_full() {
            return;
        }
        let error = SettingsError::new(kind, place.clone(), problem);
        self.errors.push(ConfigError::from_settings(
            self.file,
            SettingsError { path: path.into(), ..error },
        ));
    }

    /// Returns `true` if no further problems are collected. That is far more than are shown.
    fn is_full(&self) -> bool {
        self.errors.len() >= 10 * PROBLEMS_MAX
    }

    /// Adds a problem: a name that is not `known`.
    fn unknown(&mut self, what: &str, name: &Reference, path: &str, known: &[&str]) {
        if !self.is_full() {
            let problem = unknown(what, &name.name, known);
            self.add(Kind::UnknownName, &name.place, path, problem);
        }
    }

    /// The value, or nothing and a problem below `path`.
    fn record<T>(&mut self, path: &str, result: Result<T, SettingsError>) -> Option<T> {
        result.map_err(|error| self.errors.push(ConfigError::at(self.file, path, error))).ok()
    }
}

/// A reference to a name, and its place.
struct Reference {
    name: String,
    place: Place,
}

/// A source whose names are not checked yet.
struct SourceDraft {
    plan: SourcePlan,
    references: Vec<Reference>,
}

/// A sink that may belong to a group.
struct SinkDraft {
    component: ComponentPlan,
    place: Place,
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
    place: Place,
}

/// The components of one section.
fn named(found: &mut Findings<'_>, root: &mut Settings, section: &str) -> Vec<Named> {
    let Some(table) = root.take(section) else { return Vec::new() };
    let Value::Table(mut entries) = table.value else {
        let problem = "must contain a table for each component, with its name and a `type`";
        found.add(Kind::WrongType, &table.place, section, problem);
        return Vec::new();
    };
    if let Some((key, _)) = entries.get(COMPONENTS_MAX) {
        let problem = too_many(section, entries.len());
        found.add(Kind::Invalid, &key.place, section, problem);
        entries.truncate(COMPONENTS_MAX);
    }
    let read = |(key, value): (Key, Settings)| {
        let path = format!("{section}.{}", key.name);
        if let Err(problem) = check_name(&key.name) {
            found.add(Kind::Invalid, &key.place, &path, problem);
        }
        let place = key.place;
        component(found, path, key.name, value).map(|component| Named { component, place })
    };
    entries.into_iter().filter_map(read).collect()
}

/// Removes `type` from a table; the rest are the component's own settings.
fn component(
    found: &mut Findings<'_>,
    path: String,
    name: String,
    mut settings: Settings,
) -> Option<ComponentPlan> {
    if !matches!(settings.value, Value::Table(_)) {
        found.add(Kind::WrongType, &settings.place, path, "must be a table with a `type`");
        return None;
    }
    // Without a kind the plan is never used; it stays, so that its name is known.
    let (kind, kind_place) = match settings.take("type") {
        Some(Settings { value: Value::Text(kind), place, .. }) => (kind, place),
        Some(Settings { place, .. }) => {
            let problem = "must be a string: the type of the component";
            found.add(Kind::WrongType, &place, format!("{path}.type"), problem);
            (String::new(), place)
        }
        None => {
            found.add(Kind::Missing, &settings.place, &path, "key `type` is missing");
            (String::new(), settings.place.clone())
        }
    };
    Some(ComponentPlan { name, kind, kind_place, path, settings, insecure: None })
}

impl Named {
    fn source(self, found: &mut Findings<'_>) -> SourceDraft {
        let Self { mut component, place } = self;
        component.insecure = insecure(found, &mut component);
        let (path, before) = (component.path.clone(), found.errors.len());
        let required = references(found, &mut component, "channels").unwrap_or_default();
        if required.is_empty() && found.errors.len() == before {
            let problem = "`channels` is missing or empty: name at least one channel";
            found.add(Kind::Missing, &place, &path, problem);
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

    fn channel(self, found: &mut Findings<'_>) -> (ComponentPlan, Place) {
        let Self { mut component, place } = self;
        component.insecure = insecure(found, &mut component);
        (component, place)
    }

    fn sink(self, found: &mut Findings<'_>) -> SinkDraft {
        let Self { mut component, place } = self;
        component.insecure = insecure(found, &mut component);
        let channel = reference(found, &mut component, "channel");
        SinkDraft { component, place, channel }
    }

    fn group(self, found: &mut Findings<'_>) -> GroupDraft {
        let Self { mut component, place } = self;
        let before = found.errors.len();
        let channel = reference(found, &mut component, "channel");
        let is_wrong = found.errors.len() > before;
        if channel.is_none() && !is_wrong {
            let problem = "key `channel` is missing: set it to the channel that the group reads";
            found.add(Kind::Missing, &place, &component.path, problem);
        }
        let before = found.errors.len();
        let sinks = references(found, &mut component, "sinks").unwrap_or_default();
        if sinks.is_empty() && found.errors.len() == before {
            let problem = "`sinks` is missing or empty: name at least one sink";
            found.add(Kind::Missing, &place, &component.path, problem);
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

/// Removes `insecure` from a component's settings; returns its place if it is true.
fn insecure(found: &mut Findings<'_>, component: &mut ComponentPlan) -> Option<Place> {
    let given = component.settings.take("insecure")?;
    let path = format!("{}.insecure", component.path);
    let is_meant = given.read::<bool>();
    found.record(&path, is_meant)?.then_some(given.place)
}

/// The interceptors of a source, named by their place.
fn interceptors(found: &mut Findings<'_>, source: &mut ComponentPlan) -> Vec<ComponentPlan> {
    let Some(list) = source.settings.take("interceptors") else { return Vec::new() };
    let path = format!("{}.interceptors", source.path);
    let Value::List(items) = list.value else {
        let problem = "must be a list of tables, each with a `type`";
        found.add(Kind::WrongType, &list.place, path, problem);
        return Vec::new();
    };
    let items = items.into_iter().enumerate().filter_map(|(index, item)| {
        let name = format!("{}-{index}", source.name);
        component(found, format!("{path}.{index}"), name, item)
    });
    items.collect()
}

/// The selector of a source; it gets the source's channels.
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
        kind_place: Place::default(),
        path,
        settings: Settings::empty(),
        insecure: None,
    });
    if let Some(given) = selector.settings.take("channels") {
        let problem = "must not be set, because a selector uses the channels of its source; remove \
                       this";
        let path = format!("{}.channels", selector.path);
        found.add(Kind::Invalid, &given.place, path, problem);
    }
    selector.settings.set("channels", names(channels));
    selector
}

/// Names as a list in settings.
fn names<'a>(references: impl IntoIterator<Item = &'a Reference>) -> Settings {
    let text = |it: &Reference| Settings::at(Value::Text(it.name.clone()), it.place.clone());
    Settings::list(references.into_iter().map(text))
}

/// Takes a list of names out of a component's settings.
fn references(
    found: &mut Findings<'_>,
    component: &mut ComponentPlan,
    key: &str,
) -> Option<Vec<Reference>> {
    let list = component.settings.take(key)?;
    let path = format!("{}.{key}", component.path);
    let items = match list.value {
        Value::List(items) => items,
        // The intention is clear, so add no other problem.
        Value::Text(name) => {
            let problem = format!("must be a list of names; write `{key} = [\"{name}\"]`");
            found.add(Kind::WrongType, &list.place, path, problem);
            return Some(vec![Reference { name, place: list.place }]);
        }
        _ => {
            found.add(Kind::WrongType, &list.place, path, "must be a list of names: [\"…\"]");
            return None;
        }
    };
    let items = items.into_iter().filter_map(|item| match item.value {
        Value::Text(name) => Some(Reference { name, place: item.place }),
        _ => {
            found.add(Kind::WrongType, &item.place, &path, "must be a string: a name");
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
        Value::Text(name) => Some(Reference { name, place: value.place }),
        _ => {
            let path = format!("{}.{key}", component.path);
            found.add(Kind::WrongType, &value.place, path, "must be a string: a name");
            None
        }
    }
}

/// Rejects the remaining names at the root.
fn refuse_others(found: &mut Findings<'_>, root: &Settings) {
    let Value::Table(entries) = &root.value else {
        let problem = "must contain tables: `agent`, `sources`, `channels` and `sinks`";
        found.add(Kind::WrongType, &root.place, "", problem);
        return;
    };
    for (key, _) in entries {
        if found.is_full() {
            return;
        }
        let problem = match key.name.as_str() {
            "include" => "this configuration is not a file and cannot include files".to_owned(),
            name => unknown("key", name, &SECTIONS),
        };
        found.add(Kind::UnknownName, &key.place, &key.name, problem);
    }
}
