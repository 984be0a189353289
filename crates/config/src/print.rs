//! [`Plan`] → TOML, as a file that loads to the same plan.

use pipeline::settings::{Settings, Value};
use pipeline::units::Period;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value as TomlValue};

use crate::plan::{ComponentPlan, FileMode, GroupPlan, Plan, Reload, SourcePlan};
use crate::substitute::escape;

/// The plan as a TOML file. References (`${…}`) are printed as they are written.
pub fn to_toml(plan: &Plan) -> String {
    let mut document = DocumentMut::new();
    let mut agent = Table::new();
    agent.insert("name", escape(&plan.agent.name).into());
    let data_dir = plan.agent.data_dir.display().to_string();
    agent.insert("data_dir", escape(&data_dir).into());
    agent.insert("grace", Period(plan.agent.grace).to_string().into());
    if let Some(admin) = &plan.agent.admin {
        agent.insert("admin", escape(admin).into());
    }
    if let Some(token) = &plan.agent.admin_token {
        agent.insert("admin_token", item(token));
    }
    if let Some(tls) = &plan.agent.admin_tls {
        agent.insert("admin_tls", inline_value(tls).into());
    }
    if let Some(address) = &plan.agent.flume_metrics {
        agent.insert("flume_metrics", escape(address).into());
    }
    if plan.agent.insecure.is_some() {
        agent.insert("insecure", insecure());
    }
    if let Some(traces) = &plan.agent.traces {
        agent.insert("traces", inline_value(traces).into());
    }
    if let Some(fleet) = &plan.agent.fleet {
        agent.insert("fleet", inline_value(fleet).into());
    }
    if plan.agent.reload == Reload::Watch {
        agent.insert("reload", "watch".into());
    }
    if plan.agent.file_mode == FileMode::Owner {
        agent.insert("file_mode", "0600".into());
    }
    if plan.agent.core_dumps {
        agent.insert("core_dumps", true.into());
    }
    document.insert("agent", Item::Table(agent));
    section(&mut document, "sources", plan.sources.iter().map(source));
    let channels = plan.channels.iter().map(|channel| {
        let component = &channel.component;
        (component.name.as_str(), table(component, &[]))
    });
    section(&mut document, "channels", channels);
    let sinks = plan.groups.iter().flat_map(|group| group.sinks.iter().map(|s| sink(group, s)));
    section(&mut document, "sinks", sinks);
    let groups = plan.groups.iter().filter(|group| !is_implied(group)).map(group);
    section(&mut document, "groups", groups);
    if let Item::Table(letters) = item(&plan.dead_letters)
        && !letters.is_empty()
    {
        document.insert("dead_letters", Item::Table(letters));
    }
    document.to_string()
}

/// Returns `insecure = true`, with its meaning.
fn insecure() -> Item {
    let mut value = TomlValue::from(true);
    value.decor_mut().set_suffix(" # plain text leaves this host: docs/tls.md");
    Item::Value(value)
}

/// Adds `[name.…]` with its tables, if there are any.
fn section<'a>(
    document: &mut DocumentMut,
    name: &str,
    tables: impl Iterator<Item = (&'a str, Table)>,
) {
    let mut all = Table::new();
    all.set_implicit(true);
    for (name, table) in tables {
        all.insert(name, Item::Table(table));
    }
    if !all.is_empty() {
        document.insert(name, Item::Table(all));
    }
}

fn source(source: &SourcePlan) -> (&str, Table) {
    let mut table = table(&source.component, &[]);
    table.insert("channels", texts(&source.channels).into());
    if !source.optional_channels.is_empty() {
        table.insert("optional_channels", texts(&source.optional_channels).into());
    }
    let selector = &source.selector;
    if selector.kind != "replicating" || own(selector, &["channels"]).next().is_some() {
        table.insert("selector", inline(selector, &["channels"]).into());
    }
    if !source.interceptors.is_empty() {
        let items = source.interceptors.iter().map(|interceptor| inline(interceptor, &[]));
        table.insert("interceptors", items.collect::<Array>().into());
    }
    (&source.component.name, table)
}

fn sink<'a>(group: &GroupPlan, sink: &'a ComponentPlan) -> (&'a str, Table) {
    let mut table = table(sink, &[]);
    if is_implied(group) {
        table.insert("channel", group.channel.as_str().into());
    }
    (&sink.name, table)
}

fn group(group: &GroupPlan) -> (&str, Table) {
    let mut table = table(&group.processor, &["sinks"]);
    table.insert("channel", group.channel.as_str().into());
    table.insert("sinks", texts(group.sinks.iter().map(|sink| &sink.name)).into());
    (&group.name, table)
}

/// Returns `true` if the group is a sink that names its channel itself.
fn is_implied(group: &GroupPlan) -> bool {
    group.processor.path.starts_with("sinks.")
}

/// A component's table, without the settings that the plan put into it.
fn table(component: &ComponentPlan, hidden: &[&str]) -> Table {
    let mut table = Table::new();
    table.insert("type", component.kind.as_str().into());
    if component.insecure.is_some() {
        table.insert("insecure", insecure());
    }
    for (name, value) in own(component, hidden) {
        table.insert(name, item(value));
    }
    table
}

fn inline(component: &ComponentPlan, hidden: &[&str]) -> TomlValue {
    let mut table = InlineTable::new();
    table.insert("type", component.kind.as_str().into());
    for (name, value) in own(component, hidden) {
        table.insert(name, inline_value(value));
    }
    table.into()
}

fn own<'a>(
    component: &'a ComponentPlan,
    hidden: &[&str],
) -> impl Iterator<Item = (&'a str, &'a Settings)> {
    let Value::Table(entries) = &component.settings.value else {
        unreachable!("a component's settings are a table")
    };
    let shown = entries.iter().filter(|(key, _)| !hidden.contains(&key.name.as_str()));
    shown.map(|(key, value)| (key.name.as_str(), value))
}

fn item(settings: &Settings) -> Item {
    let Value::Table(entries) = &settings.value else { return inline_value(settings).into() };
    let mut table = Table::new();
    for (key, value) in entries {
        table.insert(&key.name, item(value));
    }
    Item::Table(table)
}

fn inline_value(settings: &Settings) -> TomlValue {
    match &settings.value {
        Value::Flag(flag) => (*flag).into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Text(text) => match &settings.written {
            Some(written) => (&**written).into(),
            None => escape(text).into(),
        },
        Value::List(items) => items.iter().map(inline_value).collect::<Array>().into(),
        Value::Table(entries) => {
            let entries =
                entries.iter().map(|(key, value)| (key.name.as_str(), inline_value(value)));
            entries.collect::<InlineTable>().into()
        }
    }
}

fn texts<'a>(names: impl IntoIterator<Item = &'a String>) -> TomlValue {
    names.into_iter().map(String::as_str).collect::<Array>().into()
}
