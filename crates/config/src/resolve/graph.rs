//! The graph: every name exists, every channel is filled and emptied, every sink has one place.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::settings::{Place, Settings, SettingsErrorKind as Kind, Value};

use super::{ComponentPlan, Findings, GroupDraft, GroupPlan, Reference, SinkDraft, SourceDraft};

/// Puts the sinks into their groups; a sink outside a group becomes a group with its own name.
pub(super) fn join(
    found: &mut Findings<'_>,
    sinks: Vec<SinkDraft>,
    mut groups: Vec<GroupDraft>,
) -> Vec<GroupDraft> {
    let known: Vec<String> = sinks.iter().map(|sink| sink.component.name.clone()).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let mut sinks: BTreeMap<String, SinkDraft> =
        sinks.into_iter().map(|sink| (sink.component.name.clone(), sink)).collect();
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for group in &mut groups {
        let path = format!("{}.sinks", group.plan.processor.path);
        for reference in std::mem::take(&mut group.sinks) {
            if let Some(owner) = owners.get(&reference.name) {
                let problem = format!(
                    "sink `{}` is already in group `{owner}`; a sink can be in only one group, \
                     once; remove one of the entries",
                    reference.name
                );
                found.add(Kind::Duplicate, &reference.place, &path, problem);
            } else if let Some(sink) = sinks.remove(&reference.name) {
                member(found, &sink, &group.plan.name);
                owners.insert(reference.name, group.plan.name.clone());
                group.plan.sinks.push(sink.component);
            } else {
                found.unknown("sink", &reference, &path, &known);
            }
        }
    }
    // In the order of the file, which is then also the order of building and printing.
    for name in known {
        if let Some(sink) = sinks.remove(name) {
            let group = alone(found, sink, &groups);
            groups.extend(group);
        }
    }
    groups
}

/// Checks that a sink in a group does not name a channel.
fn member(found: &mut Findings<'_>, sink: &SinkDraft, group: &str) {
    if let Some(channel) = &sink.channel {
        let problem = format!("remove `channel`: group `{group}` of this sink sets it");
        let path = format!("{}.channel", sink.component.path);
        found.add(Kind::Invalid, &channel.place, path, problem);
    }
}

/// A sink outside a group, as a group of its name.
fn alone(found: &mut Findings<'_>, sink: SinkDraft, groups: &[GroupDraft]) -> Option<GroupDraft> {
    let SinkDraft { component, place, channel } = sink;
    let Some(channel) = channel else {
        let problem = "this sink is not used: give it a `channel`, or name it in a group's `sinks`";
        found.add(Kind::Invalid, &place, &component.path, problem);
        return None;
    };
    if groups.iter().any(|group| group.plan.name == component.name) {
        let problem = "a sink with `channel` forms a group of its name, but a group with this \
                       name exists; rename one";
        found.add(Kind::Duplicate, &place, &component.path, problem);
    }
    let mut settings = Settings::empty();
    let only = Settings::at(Value::Text(component.name.clone()), place.clone());
    settings.set("sinks", Settings::at(Value::List(vec![only]), place));
    let processor = ComponentPlan {
        name: component.name.clone(),
        kind: "single".into(),
        kind_place: Place::default(),
        path: component.path.clone(),
        settings,
        insecure: None,
    };
    let plan = GroupPlan {
        name: component.name.clone(),
        processor,
        channel: channel.name.clone(),
        sinks: vec![component],
    };
    Some(GroupDraft { plan, channel: Some(channel), sinks: Vec::new() })
}

/// Every channel that is named exists, and every channel is filled and emptied. An agent of a fleet
/// may have no component yet.
pub(super) fn check(
    found: &mut Findings<'_>,
    sources: &[SourceDraft],
    channels: &[(ComponentPlan, Place)],
    groups: &[GroupDraft],
    may_be_empty: bool,
) {
    let known: Vec<&str> = channels.iter().map(|(channel, _)| channel.name.as_str()).collect();
    let mut filled = BTreeSet::new();
    let mut emptied = BTreeSet::new();
    for source in sources {
        let path = format!("{}.channels", source.plan.component.path);
        let mut own = BTreeSet::new();
        for channel in &source.references {
            exists(found, &path, channel, &known);
            if !own.insert(channel.name.as_str()) {
                let problem = format!("channel `{}` is named twice here; remove one", channel.name);
                found.add(Kind::Duplicate, &channel.place, &path, problem);
            }
        }
        filled.append(&mut own);
    }
    for group in groups {
        let Some(channel) = &group.channel else { continue };
        exists(found, &format!("{}.channel", group.plan.processor.path), channel, &known);
        emptied.insert(channel.name.as_str());
    }
    for (channel, place) in channels {
        if !filled.contains(channel.name.as_str()) {
            let problem = "no source writes to this channel: add it to `channels` of a source, or \
                           remove the channel";
            found.add(Kind::Invalid, place, &channel.path, problem);
        }
        if !emptied.contains(channel.name.as_str()) {
            let problem = "no sink reads this channel: set it as `channel` of a sink, or remove \
                           the channel";
            found.add(Kind::Invalid, place, &channel.path, problem);
        }
    }
    let is_empty = may_be_empty && sources.is_empty() && channels.is_empty() && groups.is_empty();
    for (section, missing) in [("sources", sources.is_empty()), ("channels", channels.is_empty())] {
        if missing && !is_empty {
            let problem = format!("nothing to run: add a table `[{section}.NAME]`");
            found.add(Kind::Missing, &Place::default(), "", problem);
        }
    }
}

fn exists(found: &mut Findings<'_>, path: &str, channel: &Reference, known: &[&str]) {
    if !known.contains(&channel.name.as_str()) {
        found.unknown("channel", channel, path, known);
    }
}
