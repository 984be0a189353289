//! Translates an [`Agent`] of Flume into [`Settings`], as from Aqueduct's own files.
//!
//! First each component follows its row: key by key, with Flume's defaults. Then code handles what
//! a row cannot express ([`Use::By`]): addresses, patterns, formats. Last comes the graph: sinks of
//! one channel share its events in Flume, and are one group here.

mod chain;
mod channels;
mod foreign;
mod formats;
mod groups;
mod hbase;
mod hdfs;
mod jaas;
mod java_regex;
mod jms;
mod kafka;
mod kafka_channel;
mod lines;
mod pattern;
mod plain_text;
mod sinks;
mod sources;
mod taildir;
mod tls;
mod value;

pub use plain_text::is_plain_text;

use pipeline::Settings;
use pipeline::plain_text::leaves_host;
use pipeline::settings::{Key as Name, Place, Value, unknown};

use crate::agent::{Agent, Bag, Prop};
use crate::lookup::Text;
use crate::report::{Outcome, Report};
use crate::table::{self, Becomes, Key, Row, Use};
use crate::{Options, World};

/// Translates the agent; the report has the result for each key.
pub(crate) fn translate(
    agent: Agent,
    options: &Options,
    world: &dyn World,
    report: &mut Report,
) -> Settings {
    let mut it = Translator { options, world, report };
    let mut table = Settings::empty();
    table.set("name", Settings::text(agent.name.clone()));
    table.set("data_dir", Settings::text(options.data_dir.clone()));
    for (setting, address) in [("admin", &options.admin), ("flume_metrics", &options.flume_metrics)]
    {
        if let Some(address) = address {
            table.set(setting, Settings::text(address.clone()));
            if leaves_host(address) {
                table.set("insecure", Settings::new(Value::Flag(true)));
            }
        }
    }
    let mut root = Settings::empty();
    root.set("agent", table);
    let used = channels::Used::of(&agent);
    let (channels, joined) = it.channels(agent.channels, &used);
    let (mut sinks, groups) = it.sinks_and_groups(agent.sinks, agent.groups);
    let mut sources = it.sources(agent.sources, &channels);
    sources.extend(joined.sources);
    sinks.extend(joined.sinks);
    root.set("sources", section(sources));
    root.set("channels", section(channels));
    root.set("sinks", section(sinks));
    root.set("groups", section(groups));
    root
}

/// A component of ours, on its way into its section.
struct Made {
    name: String,
    place: Place,
    settings: Settings,
}

fn section(all: Vec<Made>) -> Settings {
    let entry = |it: Made| (Name { name: it.name, place: it.place }, it.settings);
    Settings::new(Value::Table(all.into_iter().map(entry).collect()))
}

/// The state of a translation.
struct Translator<'a> {
    options: &'a Options,
    world: &'a dyn World,
    report: &'a mut Report,
}

impl Translator<'_> {
    fn add(&mut self, outcome: Outcome, prop: &Prop, text: impl Into<String>) {
        self.report.add(outcome, &prop.place, &prop.key, text);
    }

    /// Translates a component by its row: its kind and its keys. Keys that need code ([`Use::By`])
    /// stay in the bag.
    fn component(
        &mut self,
        role: &'static str,
        default: Option<&str>,
        bag: &mut Bag,
        target: &str,
    ) -> (Option<&'static Row>, Settings) {
        let mut made = Settings::at(Value::Table(Vec::new()), bag.place.clone());
        let prop = bag.take("type").or_else(|| {
            let text = Text::plain(default?);
            let key = format!("{}.type", bag.path);
            Some(Prop { key, name: "type".into(), text, place: bag.place.clone() })
        });
        let Some(prop) = prop else {
            let key = format!("{}.type", bag.path);
            let problem = "the key is missing; Flume requires it; add it";
            self.report.add(Outcome::Decision, &bag.place, &key, problem);
            return (None, made);
        };
        let row = table::find(role, &prop.text.value);
        let known = row.as_ref().ok().copied();
        if let Some(jvm) = self.jvm_for(role, known, (&prop.text.value, bag)) {
            return (None, self.class(role, &prop, bag, (jvm, target)));
        }
        let row = match row {
            Ok(row) => row,
            Err(problem) => {
                self.add(Outcome::Decision, &prop, problem);
                made.set("type", text_of(&prop));
                for prop in std::mem::take(&mut bag.props) {
                    self.add(Outcome::Ignored, &prop, "the component is not translated");
                }
                return (None, made);
            }
        };
        let kind = self.kind(row, &prop);
        made.set("type", Settings::at(Value::Text(kind.to_owned()), prop.place.clone()));
        if !row.differs.is_empty() {
            self.add(Outcome::Differs, &prop, row.differs);
        }
        self.keys(row, bag, &mut made, target);
        (Some(row), made)
    }

    /// The kind of a row, and whether the program has it.
    fn kind(&mut self, row: &'static Row, prop: &Prop) -> &'static str {
        match row.becomes {
            Becomes::Kind(kind) if self.world.has(row.role, kind) => {
                self.add(Outcome::Carried, prop, format!("{} `{kind}`", row.role));
                kind
            }
            Becomes::Kind(kind) => {
                let problem = format!(
                    "this build does not contain the {} `{kind}`: use a build that does",
                    row.role
                );
                self.add(Outcome::Decision, prop, problem);
                kind
            }
            Becomes::Several(what) => {
                self.add(Outcome::Carried, prop, what);
                row.name
            }
            Becomes::Later(what) | Becomes::Never(what) => {
                self.add(Outcome::Decision, prop, what);
                row.name
            }
        }
    }

    /// Translates the keys that need only the row. Unknown ones are reported; all of these are
    /// removed from the bag.
    fn keys(&mut self, row: &Row, bag: &mut Bag, made: &mut Settings, target: &str) {
        let exact = row.keys().filter(|key| !key.name.ends_with('*'));
        for key in exact.filter(|key| !matches!(key.becomes, Use::By(_))) {
            let prop = bag.take(key.name);
            self.key(key, prop, bag, made, target);
        }
        let names: Vec<&str> = row.keys().map(|key| key.name).collect();
        for prop in std::mem::take(&mut bag.props) {
            match row.key(&prop.name) {
                Some(Key { becomes: Use::By(_), .. }) => bag.props.push(prop),
                Some(key) => self.key(key, Some(prop), bag, made, target),
                None => {
                    let problem = match prefixed(&prop.name, &names) {
                        Some(name) => {
                            format!("unknown key `{}`; did you mean `{name}`?", prop.name)
                        }
                        None => unknown("key", &prop.name, &names),
                    };
                    // A component has up to 50 keys.
                    let (first, _) = problem.split_once("; known:").unwrap_or((&problem, ""));
                    self.add(Outcome::Unknown, &prop, first);
                }
            }
        }
    }

    fn key(&mut self, key: &Key, prop: Option<Prop>, bag: &Bag, made: &mut Settings, target: &str) {
        let Some(prop) = prop else {
            match key.becomes {
                Use::Set(..) if key.default == "*" => self.missing(bag, key.name),
                Use::Set(setting, how) if !key.default.is_empty() => {
                    let default = Text::plain(key.default);
                    if let Ok(value) = value::read(&default, how, &bag.place) {
                        put(made, setting, value);
                    }
                }
                _ => {}
            }
            return;
        };
        match key.becomes {
            Use::Set(setting, how) | Use::Same(setting, how) => {
                self.put(&prop, how, made, setting, target);
            }
            Use::Differs(setting, how, why) => {
                if self.put(&prop, how, made, setting, target) && prop.text.value != key.default {
                    self.add(Outcome::Differs, &prop, why);
                }
            }
            Use::Ignored(why) => self.add(Outcome::Ignored, &prop, why),
            Use::Decision(_) if prop.text.value.eq_ignore_ascii_case(key.default) => {
                self.add(Outcome::Carried, &prop, "Flume's default");
            }
            Use::Decision(what) => self.add(Outcome::Decision, &prop, what),
            Use::By(_) => unreachable!("these keys stay in the bag"),
        }
    }

    /// Reports that a key that Flume requires is missing.
    fn missing(&mut self, bag: &Bag, name: &str) {
        let key = format!("{}.{name}", bag.path);
        let problem = "the key is missing; Flume requires it; add it";
        self.report.add(Outcome::Decision, &bag.place, &key, problem);
    }

    /// Sets a setting to the value of a key; returns whether the value is valid.
    fn put(
        &mut self,
        prop: &Prop,
        how: table::As,
        made: &mut Settings,
        setting: &str,
        target: &str,
    ) -> bool {
        match value::read(&prop.text, how, &prop.place) {
            Ok(value) => {
                put(made, setting, value);
                self.carried(prop, target, setting);
                true
            }
            Err(problem) => {
                self.add(Outcome::Decision, prop, problem);
                false
            }
        }
    }

    fn carried(&mut self, prop: &Prop, target: &str, setting: &str) {
        self.add(Outcome::Carried, prop, format!("`{target}.{setting}`"));
    }

    /// Reports keys that no code handles: a key in the tables without code is a gap, and never
    /// silent.
    fn rest(&mut self, bag: &Bag) {
        for prop in &bag.props {
            self.add(
                Outcome::Decision,
                prop,
                "the key is not translated; remove it, or configure its effect in Aqueduct",
            );
        }
    }

    /// Handles the charset of bytes that are passed on unchanged. Flume decodes them; with
    /// `encodes_again` it also encodes them with the same charset, which has the same result if LF
    /// is a byte.
    fn charset(&mut self, bag: &mut Bag, name: &str, encodes_again: bool) {
        let Some(prop) = bag.take(name) else { return };
        if is_utf8(&prop.text.value) {
            self.add(Outcome::Carried, &prop, "bodies keep their bytes");
        } else if encodes_again && has_ascii(&prop.text.value) {
            self.add(Outcome::Carried, &prop, "bodies keep their bytes, as in Flume");
        } else {
            let what = "bodies keep their bytes and are not decoded: readers of the data must \
                        decode them";
            self.add(Outcome::Decision, &prop, what);
        }
    }

    /// Returns `true` if a switch is on; any value except `true` is `false`, as in Java.
    fn is_on(bag: &Bag, name: &str) -> bool {
        bag.value(name, "false").eq_ignore_ascii_case("true")
    }
}

/// Returns the known key that differs from a name only by a prefix: `hdfs.batchSize` for
/// `batchSize`, and `flumeBatchSize` for `kafka.flumeBatchSize`.
fn prefixed<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let is_it = |key: &&&str| {
        let (with, without) = if key.len() > name.len() { (**key, name) } else { (name, **key) };
        let prefix = with.len().checked_sub(without.len() + 1);
        prefix.is_some_and(|at| {
            with.is_char_boundary(at)
                && with[at..].starts_with('.')
                && with[at + 1..].eq_ignore_ascii_case(without)
        })
    };
    known.iter().find(is_it).copied()
}

/// Returns `true` if text in this charset is UTF-8.
fn is_utf8(charset: &str) -> bool {
    matches!(&*charset.to_lowercase(), "utf-8" | "utf8" | "us-ascii" | "ascii")
}

/// Prefixes of charset names that encode ASCII characters as the same single bytes, and no other
/// character with these bytes.
const WITH_ASCII: &[&str] = &[
    "iso-8859",
    "iso8859",
    "latin",
    "windows-125",
    "windows-874",
    "cp125",
    "koi8",
    "ibm866",
    "shift_jis",
    "sjis",
    "windows-31j",
    "ms932",
    "gb2312",
    "gbk",
    "gb18030",
    "big5",
    "euc",
];

/// Returns `true` if lines in this charset end with the same bytes as in ASCII.
fn has_ascii(charset: &str) -> bool {
    let charset = charset.to_lowercase();
    WITH_ASCII.iter().any(|begin| charset.starts_with(begin))
}

/// The text of a key, with its references.
fn text_of(prop: &Prop) -> Settings {
    value::text(&prop.text, &prop.place)
}

/// Sets a value at a dotted path.
fn put(made: &mut Settings, path: &str, value: Settings) {
    match path.split_once('.') {
        None => made.set(path, value),
        Some((first, rest)) => {
            let place = value.place.clone();
            let mut table =
                made.take(first).unwrap_or_else(|| Settings::at(Value::Table(Vec::new()), place));
            put(&mut table, rest, value);
            made.set(first, table);
        }
    }
}

/// Returns names as a list, all of them at the place of the key.
fn list<'a>(names: impl IntoIterator<Item = &'a str>, place: &Place) -> Settings {
    let item = |name: &str| Settings::at(Value::Text(name.to_owned()), place.clone());
    Settings::at(Value::List(names.into_iter().map(item).collect()), place.clone())
}

/// Returns a choice such as `encoder`: its kind, and its settings if it has any.
fn plain(text: &str, place: &Place) -> Settings {
    Settings::at(Value::Text(text.to_owned()), place.clone())
}

fn number(value: i64, place: &Place) -> Settings {
    Settings::at(Value::Integer(value), place.clone())
}

fn flag(value: bool, place: &Place) -> Settings {
    Settings::at(Value::Flag(value), place.clone())
}
