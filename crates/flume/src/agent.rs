//! One agent in Flume's file: its components by role, each with its own keys.

use std::collections::BTreeMap;

use pipeline::settings::Place;

use crate::ConvertError;
use crate::lookup::{Text, Value};
use crate::properties::Property;
use crate::report::{Outcome, Report};

/// The sections of an agent.
const SECTIONS: [&str; 5] = ["sources", "channels", "sinks", "sinkgroups", "configfilters"];

/// The agents that the properties configure, in the order of their names.
pub fn agents(all: &[Property]) -> Vec<String> {
    let mut names: Vec<&str> = all
        .iter()
        .filter_map(|it| it.key.split_once('.'))
        .filter(|(_, rest)| matches!(*rest, "sources" | "channels" | "sinks"))
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(str::to_owned).collect()
}

/// Returns the agent with this name, or the only one.
///
/// # Errors
/// There is no agent, or there are several and no name was given.
pub(crate) fn choose(all: &[Property], name: Option<&str>) -> Result<String, ConvertError> {
    let mut found = agents(all);
    let known = found.join(", ");
    match name {
        _ if found.is_empty() => Err(ConvertError::NoAgent),
        Some(name) if found.iter().any(|it| it == name) => Ok(name.to_owned()),
        Some(name) => Err(ConvertError::UnknownAgent { name: name.into(), known }),
        None if found.len() == 1 => Ok(found.remove(0)),
        None => Err(ConvertError::SeveralAgents { known }),
    }
}

/// Reports keys of an agent that the file does not configure, and whose name is close to this one.
pub(crate) fn misspelled(all: &[Property], name: &str, report: &mut Report) {
    let known = agents(all);
    for it in all {
        let Some((other, rest)) = it.key.split_once('.') else { continue };
        let is_key = rest.split_once('.').is_some_and(|(first, _)| SECTIONS.contains(&first));
        if !is_key || known.iter().any(|it| it == other) {
            continue;
        }
        let problem = pipeline::settings::unknown("agent", other, &[name]);
        if problem.contains("did you mean") {
            report.add(Outcome::Unknown, &it.place, &it.key, problem);
        }
    }
}

/// A key of a component, and its value.
#[derive(Debug, Clone)]
pub(crate) struct Prop {
    /// The whole key, from the agent's name on.
    pub(crate) key: String,
    /// The key after the component's name.
    pub(crate) name: String,
    /// The value.
    pub(crate) text: Text,
    /// The place of the key.
    pub(crate) place: Place,
}

/// The keys of a component that are not translated yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bag {
    /// The component's whole key: `a1.sources.r1`.
    pub(crate) path: String,
    /// The place of its name in a list, or of its first key.
    pub(crate) place: Place,
    /// Its keys, in the order of the file.
    pub(crate) props: Vec<Prop>,
}

impl Bag {
    /// The key of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Prop> {
        self.props.iter().find(|it| it.name == name)
    }

    /// Takes the key of this name out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Prop> {
        let at = self.props.iter().position(|it| it.name == name)?;
        Some(self.props.remove(at))
    }

    /// Returns the value with this name, or Flume's default.
    pub(crate) fn value<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.get(name).map_or(default, |it| it.text.value.as_str())
    }

    /// Removes names from the list in a key; returns `true` if no name is left of some.
    fn loses(&mut self, name: &str, gone: &[String]) -> bool {
        let Some(prop) = self.props.iter_mut().find(|it| it.name == name) else { return false };
        let is_gone = |word: &str| gone.iter().any(|it| it == word);
        if !prop.text.value.split_whitespace().any(is_gone) {
            return false;
        }
        prop.text = prop.text.map(|text| {
            let left: Vec<&str> = text.split_whitespace().filter(|word| !is_gone(word)).collect();
            left.join(" ")
        });
        prop.text.value.is_empty()
    }

    /// Takes out the keys below `prefix`, which ends in a dot; their names lose it.
    pub(crate) fn below(&mut self, prefix: &str) -> Self {
        let is_below = |it: &Prop| it.name.starts_with(prefix);
        let (below, rest) = std::mem::take(&mut self.props).into_iter().partition(is_below);
        self.props = rest;
        let mut below = Self { path: String::new(), place: self.place.clone(), props: below };
        for prop in &mut below.props {
            prop.name.drain(..prefix.len());
        }
        below.path = format!("{}.{}", self.path, prefix.trim_end_matches('.'));
        if let Some(first) = below.props.first() {
            below.place = first.place.clone();
        }
        below
    }
}

/// A component with its name.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) bag: Bag,
}

/// One agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) sources: Vec<Named>,
    pub(crate) channels: Vec<Named>,
    pub(crate) sinks: Vec<Named>,
    pub(crate) groups: Vec<Named>,
}

impl Agent {
    /// Groups the keys by component; reports keys of components that the agent does not list.
    pub(crate) fn of(name: &str, values: Vec<Value>, report: &mut Report) -> Self {
        let mut all = Bag { path: name.to_owned(), ..Bag::default() };
        all.props = values
            .into_iter()
            .map(|Value { key, text, place }| Prop {
                key: format!("{name}.{key}"),
                name: key,
                text,
                place,
            })
            .collect();
        let mut sections: BTreeMap<&str, Vec<Named>> = BTreeMap::new();
        for section in SECTIONS {
            sections.insert(section, listed(&mut all, section, report));
        }
        drop_empty(&mut sections, report);
        drop_unknown_channels(&mut sections, report);
        drop_unfilled(&mut sections, report);
        for prop in all.props {
            let section = prop.name.split('.').next().unwrap_or_default();
            let problem = pipeline::settings::unknown("section", section, &SECTIONS);
            report.add(Outcome::Unknown, &prop.place, &prop.key, problem);
        }
        let mut take = |section: &str| sections.remove(section).unwrap_or_default();
        Self {
            name: name.to_owned(),
            sources: take("sources"),
            channels: take("channels"),
            sinks: take("sinks"),
            groups: take("sinkgroups"),
        }
    }
}

/// Drops listed components without keys, and what uses only them, as Flume does.
fn drop_empty(sections: &mut BTreeMap<&str, Vec<Named>>, report: &mut Report) {
    let why = "the component is listed, but neither it nor its channel or sinks have keys; Flume \
               also skips it";
    let gone = without(sections, "channels", why, report, |it| it.bag.props.is_empty());
    without(sections, "sources", why, report, |it| {
        it.bag.props.is_empty() || it.bag.loses("channels", &gone)
    });
    let gone = without(sections, "sinks", why, report, |it| {
        it.bag.props.is_empty() || it.bag.loses("channel", &gone)
    });
    without(sections, "sinkgroups", why, report, |it| {
        it.bag.props.is_empty() || it.bag.loses("sinks", &gone)
    });
}

/// Removes names from the channels of a source that are not channels, if others are left.
fn drop_unknown_channels(sections: &mut BTreeMap<&str, Vec<Named>>, report: &mut Report) {
    let channels = sections.get("channels").into_iter().flatten();
    let known: Vec<String> = channels.map(|it| it.name.clone()).collect();
    for Named { bag, .. } in sections.get_mut("sources").into_iter().flatten() {
        let Some(prop) = bag.get("channels").cloned() else { continue };
        let is_known = |word: &&str| known.iter().any(|it| it == word);
        let words = prop.text.value.split_whitespace();
        let (found, unknown): (Vec<&str>, Vec<&str>) = words.partition(is_known);
        if found.is_empty() || unknown.is_empty() {
            continue;
        }
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        for word in &unknown {
            let problem = pipeline::settings::unknown("channel", word, &names);
            let text = format!("{problem} Flume also skips it; separate names with spaces");
            report.add(Outcome::Advice, &prop.place, &prop.key, text);
        }
        let unknown: Vec<String> = unknown.into_iter().map(str::to_owned).collect();
        bag.loses("channels", &unknown);
    }
}

/// Drops channels that no source fills, and their sinks, if other channels are left: in Flume these
/// sinks wait forever. A Kafka channel is also filled by its topic.
fn drop_unfilled(sections: &mut BTreeMap<&str, Vec<Named>>, report: &mut Report) {
    let sources = sections.get("sources").into_iter().flatten();
    let lists = sources.filter_map(|it| it.bag.get("channels"));
    let mut filled: Vec<String> =
        lists.flat_map(|it| it.text.value.split_whitespace()).map(str::to_owned).collect();
    for it in sections.get("channels").into_iter().flatten() {
        if it.bag.value("type", "").to_lowercase().contains("kafka") {
            filled.push(it.name.clone());
        }
    }
    let sinks = sections.get("sinks").into_iter().flatten();
    let drained: Vec<String> = sinks.map(|it| it.bag.value("channel", "").to_owned()).collect();
    let is_unfilled = |name: &String| !filled.contains(name) && drained.contains(name);
    let channels = sections.get("channels").map_or(&[][..], Vec::as_slice);
    let unfilled: Vec<String> =
        channels.iter().map(|it| &it.name).filter(|it| is_unfilled(it)).cloned().collect();
    if unfilled.is_empty() || unfilled.len() == channels.len() {
        return;
    }
    let why = "no source writes to this channel, so its sinks receive no events, as in Flume; \
               remove them, or add a source";
    without(sections, "channels", why, report, |it| unfilled.contains(&it.name));
    let gone = without(sections, "sinks", why, report, |it| it.bag.loses("channel", &unfilled));
    let why = "the sinks of this group are not used, because no source writes to their channel; \
               remove the group, or add a source";
    without(sections, "sinkgroups", why, report, |it| it.bag.loses("sinks", &gone));
}

/// Removes the components for which this is true; returns their names.
fn without(
    sections: &mut BTreeMap<&str, Vec<Named>>,
    section: &str,
    why: &str,
    report: &mut Report,
    mut is_dropped: impl FnMut(&mut Named) -> bool,
) -> Vec<String> {
    let mut gone = Vec::new();
    let Some(all) = sections.get_mut(section) else { return gone };
    all.retain_mut(|it| {
        if !is_dropped(it) {
            return true;
        }
        report.add(Outcome::Ignored, &it.bag.place, &it.bag.path, why);
        for prop in &it.bag.props {
            let why = "the component of this key is not used; remove the key";
            report.add(Outcome::Ignored, &prop.place, &prop.key, why);
        }
        gone.push(it.name.clone());
        false
    });
    gone
}

/// The components that a section lists, in its order.
fn listed(all: &mut Bag, section: &str, report: &mut Report) -> Vec<Named> {
    let list = all.take(section);
    let mut keys = all.below(&format!("{section}."));
    let Some(list) = list else {
        for prop in keys.props {
            let why = format!(
                "`{}` is missing, so this component is not used; list its name there, or remove \
                 the key",
                keys.path
            );
            report.add(Outcome::Ignored, &prop.place, &prop.key, why);
        }
        return Vec::new();
    };
    let mut found: Vec<Named> = Vec::new();
    for name in list.text.value.split_whitespace() {
        if found.iter().any(|it| it.name == name) {
            report.add(
                Outcome::Ignored,
                &list.place,
                &list.key,
                format!("`{name}` is listed twice; the second entry has no effect; remove it"),
            );
            continue;
        }
        let mut bag = keys.below(&format!("{name}."));
        if bag.props.is_empty() {
            bag.place = list.place.clone();
        }
        found.push(Named { name: name.to_owned(), bag });
    }
    for prop in keys.props {
        let name = prop.name.split('.').next().unwrap_or_default();
        let why = format!(
            "`{name}` is not listed in `{}`; Flume also skips it; list it there, or remove the key",
            list.key
        );
        report.add(Outcome::Ignored, &prop.place, &prop.key, why);
    }
    found
}
