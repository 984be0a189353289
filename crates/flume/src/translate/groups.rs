//! Groups: sinks of one channel share its events in Flume, and are one group here.

use std::collections::BTreeMap;

use pipeline::Settings;
use pipeline::settings::{Place, Value};

use super::chain::words;
use super::sinks::Drain;
use super::{Made, Translator, flag, hdfs, list, number, plain, value};
use crate::agent::{Bag, Named, Prop};
use crate::report::Outcome;

impl Translator<'_> {
    pub(super) fn sinks_and_groups(
        &mut self,
        sinks: Vec<Named>,
        groups: Vec<Named>,
    ) -> (Vec<Made>, Vec<Made>) {
        let mut drains: Vec<Drain> = sinks.into_iter().map(|it| self.sink(it)).collect();
        let mut made = Vec::new();
        let mut by_channel: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut grouped: Vec<String> = Vec::new();
        for Named { name, bag } in groups {
            let members = bag.get("sinks").map_or_else(Vec::new, words);
            let channel = self.channel_of(&members, &drains, &bag);
            let (group, alone) = self.group(name, bag, &members, channel.as_ref());
            let Some(channel) = channel else {
                grouped.extend(members);
                made.extend(group);
                continue;
            };
            if !alone {
                grouped.extend(members);
                let name = group.as_ref().map_or_else(String::new, |it| it.name.clone());
                by_channel.entry(channel.text.value.clone()).or_default().push(name);
            }
            made.extend(group);
        }
        let mut lone: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, drain) in drains.iter_mut().enumerate() {
            let Some(channel) = &drain.channel else { continue };
            if !grouped.contains(&drain.made.name) {
                drain.made.settings.set("channel", super::text_of(channel));
                lone.entry(channel.text.value.clone()).or_default().push(at);
            }
        }
        let mut merged = Vec::new();
        for (channel, all) in lone {
            let others = by_channel.remove(&channel).unwrap_or_default();
            self.share(&channel, &all, &others, &mut drains, &mut merged, &mut made);
        }
        for (channel, names) in by_channel.into_iter().filter(|(_, names)| names.len() > 1) {
            self.several(&channel, &names, &made);
        }
        let mut at = 0..;
        drains.retain(|_| at.next().is_some_and(|at| !merged.contains(&at)));
        (drains.into_iter().map(|it| it.made).collect(), made)
    }

    /// Returns the channel of a group, which is the channel of its sinks.
    fn channel_of(&mut self, members: &[String], drains: &[Drain], bag: &Bag) -> Option<Prop> {
        let of_group = drains.iter().filter(|it| members.contains(&it.made.name));
        let channels: Vec<&Prop> = of_group.filter_map(|it| it.channel.as_ref()).collect();
        let first = *channels.first()?;
        if channels.iter().any(|it| it.text.value != first.text.value) {
            let what = "the sinks of the group have different channels, but a group reads from one \
                        channel: make one group for each channel";
            self.report.add(Outcome::Decision, &bag.place, &bag.path, what);
        }
        Some(first.clone())
    }

    /// Translates a group; one sink with the default processor needs no group.
    fn group(
        &mut self,
        name: String,
        mut bag: Bag,
        members: &[String],
        channel: Option<&Prop>,
    ) -> (Option<Made>, bool) {
        let target = format!("groups.{name}");
        let place = bag.place.clone();
        match bag.take("sinks") {
            Some(prop) => self.carried(&prop, &target, "sinks"),
            None => self.missing(&bag, "sinks"),
        }
        let mut own = bag.below("processor.");
        let default = Some("default");
        let (row, mut settings) = self.component("processor", default, &mut own, &target);
        let row = row.map_or("", |row| row.name);
        match row {
            "default" if members.len() == 1 => {
                self.rest(&own);
                self.unknown(&bag);
                return (None, true);
            }
            "default" => {
                let what = "the default processor supports only one sink, and Flume rejects this \
                            group: use `failover` or `load_balance`";
                self.report.add(Outcome::Decision, &place, &bag.path, what);
            }
            "failover" => self.priorities(&mut own, &mut settings, members, &target),
            "load_balance" => self.policy(&mut own, &mut settings, &target),
            _ => {}
        }
        self.rest(&own);
        self.unknown(&bag);
        settings.set("sinks", list(members.iter().map(String::as_str), &place));
        if let Some(channel) = channel {
            settings.set("channel", super::text_of(channel));
        }
        (Some(Made { name, place, settings }), false)
    }

    fn unknown(&mut self, bag: &Bag) {
        for prop in &bag.props {
            let known = ["sinks", "processor.type"];
            let problem = pipeline::settings::unknown("key", &prop.name, &known);
            self.add(Outcome::Unknown, prop, problem);
        }
    }

    fn priorities(
        &mut self,
        own: &mut Bag,
        settings: &mut Settings,
        members: &[String],
        target: &str,
    ) {
        let given = own.below("priority.");
        let mut table = Settings::at(Value::Table(Vec::new()), given.place.clone());
        let mut seen: Vec<i64> = Vec::new();
        for prop in &given.props {
            match value::count(&prop.text.value) {
                _ if !members.contains(&prop.name) => {
                    self.add(
                        Outcome::Ignored,
                        prop,
                        "the group has no sink with this name, so the key has no effect; correct \
                         the name, or remove the key",
                    );
                }
                Ok(priority) => {
                    if seen.contains(&priority) {
                        let text = "sinks with the same priority share the events; Flume silently \
                                    uses only one of them";
                        self.add(Outcome::Differs, prop, text);
                    }
                    seen.push(priority);
                    table.set(&prop.name, number(priority, &prop.place));
                    self.carried(prop, target, "priorities");
                }
                Err(problem) => self.add(Outcome::Decision, prop, problem),
            }
        }
        if seen.is_empty() {
            return;
        }
        // Here either all sinks have a priority or none. Flume numbers the others down from 0.
        let mut next = seen.iter().copied().min().unwrap_or_default().min(0) - 1;
        for name in members {
            if table.get(name).is_none() {
                table.set(name, number(next, &given.place));
                next -= 1;
            }
        }
        settings.set("priorities", table);
    }

    fn policy(&mut self, own: &mut Bag, settings: &mut Settings, target: &str) {
        let place = own.place.clone();
        // In Flume no batch stays with a sink.
        settings.set("sticky", flag(false, &place));
        let Some(prop) = own.take("selector") else { return };
        match prop.text.value.to_lowercase().as_str() {
            policy @ ("round_robin" | "random") => {
                settings.set("policy", plain(policy, &prop.place));
                self.carried(&prop, target, "policy");
            }
            _ => {
                let what = "custom selectors are not supported: use `round_robin` or `random`";
                self.add(Outcome::Decision, &prop, what);
            }
        }
    }

    /// The sinks of one channel that are in no group. They share its events.
    fn share(
        &mut self,
        channel: &str,
        all: &[usize],
        groups: &[String],
        drains: &mut [Drain],
        merged: &mut Vec<usize>,
        made: &mut Vec<Made>,
    ) {
        if let [group] = groups
            && let Some(group) = made.iter_mut().find(|it| it.name == *group)
            && self.join(group, all, drains)
        {
            return;
        }
        if !groups.is_empty() {
            let names =
                groups.iter().cloned().chain(all.iter().map(|at| drains[*at].made.name.clone()));
            return self.several_at(
                channel,
                &names.collect::<Vec<_>>(),
                &drains[all[0]].made.place,
            );
        }
        let [first, rest @ ..] = all else { return };
        if rest.is_empty() {
            return;
        }
        let place = drains[*first].made.place.clone();
        if rest
            .iter()
            .all(|at| hdfs::is_same(&drains[*first].made.settings, &drains[*at].made.settings))
        {
            let one = drains[*first].made.name.clone();
            for at in rest {
                let text = format!(
                    "merged into the identical sink `{one}`, which writes several files in \
                     parallel"
                );
                let drain = &drains[*at];
                self.report.add(Outcome::Differs, &drain.made.place, &drain.key, text);
            }
            merged.extend(rest);
            return;
        }
        let names: Vec<String> = all.iter().map(|at| drains[*at].made.name.clone()).collect();
        for at in all {
            drains[*at].made.settings.take("channel");
        }
        let name = format!("{channel}-sinks");
        let text = format!(
            "the sinks of channel `{channel}` share its events, so they become the group `{name}`"
        );
        self.report.add(Outcome::Differs, &place, &drains[*first].key, text);
        let mut group = Settings::at(Value::Table(Vec::new()), place.clone());
        group.set("type", plain("load_balance", &place));
        group.set("sticky", flag(false, &place));
        group.set("sinks", list(names.iter().map(String::as_str), &place));
        group.set("channel", plain(channel, &place));
        made.push(Made { name, place, settings: group });
    }

    /// Adds sinks without a group to the group of the same channel. Both take events at the same
    /// time in Flume, so such a sink gets the highest priority of a failover group.
    fn join(&mut self, group: &mut Made, all: &[usize], drains: &mut [Drain]) -> bool {
        let Some(Value::List(sinks)) = group.settings.get("sinks").map(|it| it.value.clone())
        else {
            return false;
        };
        let mut priorities = group.settings.take("priorities");
        let highest = match &priorities {
            Some(Settings { value: Value::Table(entries), .. }) => {
                let numbers = entries.iter().filter_map(|(_, it)| match it.value {
                    Value::Integer(priority) => Some(priority),
                    _ => None,
                });
                numbers.max()
            }
            _ => None,
        };
        let mut sinks = sinks;
        for at in all {
            let Made { name, place, settings } = &mut drains[*at].made;
            settings.take("channel");
            sinks.push(Settings::at(Value::Text(name.clone()), place.clone()));
            if let (Some(priorities), Some(highest)) = (&mut priorities, highest) {
                priorities.set(name, number(highest, place));
            }
            let text = format!(
                "the sink shares the events of the channel with the group `{}`, so it becomes a \
                 member of that group{}",
                group.name,
                if highest.is_some() { ", with its highest priority" } else { "" }
            );
            self.report.add(Outcome::Differs, place, &drains[*at].key, text);
        }
        let place = group.place.clone();
        group.settings.set("sinks", Settings::at(Value::List(sinks), place));
        if let Some(priorities) = priorities {
            group.settings.set("priorities", priorities);
        }
        true
    }

    fn several(&mut self, channel: &str, names: &[String], made: &[Made]) {
        let place = made.iter().find(|it| names.contains(&it.name)).map(|it| it.place.clone());
        self.several_at(channel, names, &place.unwrap_or_default());
    }

    /// Several groups would each get all events.
    fn several_at(&mut self, channel: &str, names: &[String], place: &Place) {
        let what = format!(
            "`{}` share the events of channel `{channel}` in Flume, but each would receive all \
             events in Aqueduct: combine them into one group, or use one channel for each",
            names.join("`, `")
        );
        self.report.add(Outcome::Decision, place, &format!("channel {channel}"), what);
    }
}
