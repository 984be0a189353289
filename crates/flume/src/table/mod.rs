//! What each component of Flume and each of its keys becomes: the tables.
//!
//! One row is one component, with its alias, its class names, and its keys with Flume's defaults.
//! The translation follows the rows, the reference page is printed from them, and a test holds the
//! settings that they name against the schema of our components.

mod chain;
mod channels;
mod formats;
mod hbase;
mod hdfs;
mod jms;
mod kafka;
mod keys;
mod other_sinks;
mod sinks;
mod sources;

use pipeline::settings::unknown;

/// A component of Flume.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The role, in our words: `source`, `channel`, `sink`, `interceptor`, `selector`, `processor`,
    /// `encoder`, `decoder`.
    pub role: &'static str,
    /// Its alias, as `type` names it, in lower case; for a component without one a short name.
    pub name: &'static str,
    /// The class names that `type` may have instead, without `$Builder`.
    pub classes: &'static [&'static str],
    /// What it becomes.
    pub becomes: Becomes,
    /// How the component as a whole differs from Flume's; empty where it does not.
    pub differs: &'static str,
    /// Its keys, in parts that rows share.
    pub keys: &'static [&'static [Key]],
}

/// What a component becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Becomes {
    /// A component of this kind, where the program has it.
    Kind(&'static str),
    /// Several components, by what its keys say: which, for the reference.
    Several(&'static str),
    /// There is none yet: what to do until then.
    Later(&'static str),
    /// There will be none: what replaces it.
    Never(&'static str),
}

/// A key of a component.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name; one that ends in `*` is any name with this beginning.
    pub name: &'static str,
    /// What Flume takes where the file is silent; `*` for a key that must be there.
    pub default: &'static str,
    /// What it becomes.
    pub becomes: Use,
}

/// What a key becomes.
#[derive(Debug, Clone, Copy)]
pub enum Use {
    /// This setting. Flume's default is written where the file is silent.
    Set(&'static str, As),
    /// This setting, whose default is Flume's: it is written only where the file has the key.
    Same(&'static str, As),
    /// This setting, which does not do quite the same: how it differs.
    Differs(&'static str, As, &'static str),
    /// Several settings, or one that depends on other keys: what, for the reference.
    By(&'static str),
    /// Nothing, and nothing is missing: why.
    Ignored(&'static str),
    /// Nothing, and its effect is missing unless it has Flume's default: what to do.
    Decision(&'static str),
}

/// How a value is written in our configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// Text as it is.
    Text,
    /// A list of the words.
    Words,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count,
    /// Bytes, with their unit.
    Bytes,
    /// Milliseconds, with their unit.
    Millis,
    /// Seconds, with their unit.
    Seconds,
    /// One of these values, in any case: Flume's, then ours.
    OneOf(&'static [(&'static str, &'static str)]),
}

const fn key(name: &'static str, default: &'static str, becomes: Use) -> Key {
    Key { name, default, becomes }
}

const fn set(name: &'static str, default: &'static str, setting: &'static str, how: As) -> Key {
    key(name, default, Use::Set(setting, how))
}

const fn same(name: &'static str, default: &'static str, setting: &'static str, how: As) -> Key {
    key(name, default, Use::Same(setting, how))
}

const fn by(name: &'static str, default: &'static str, what: &'static str) -> Key {
    key(name, default, Use::By(what))
}

const fn ignored(name: &'static str, default: &'static str, why: &'static str) -> Key {
    key(name, default, Use::Ignored(why))
}

const fn decision(name: &'static str, default: &'static str, what: &'static str) -> Key {
    key(name, default, Use::Decision(what))
}

/// The rows, by part.
const PARTS: &[&[Row]] = &[
    sources::ROWS,
    channels::ROWS,
    hdfs::ROWS,
    hbase::ROWS,
    sinks::ROWS,
    kafka::ROWS,
    jms::ROWS,
    other_sinks::ROWS,
    chain::ROWS,
    formats::ROWS,
];

/// All rows, role by role.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    PARTS.iter().flat_map(|part| part.iter())
}

/// The row of a component, by its alias or class, in any case.
///
/// # Errors
/// There is none: the closest name, or what to do with a class of the user's own.
pub fn find(role: &str, kind: &str) -> Result<&'static Row, String> {
    let wanted = kind.trim_end_matches("$Builder").to_lowercase();
    let of_role = || rows().filter(|row| row.role == role);
    let is_it = |row: &&Row| {
        row.name == wanted || row.classes.iter().any(|class| class.to_lowercase() == wanted)
    };
    if let Some(row) = of_role().find(is_it) {
        return Ok(row);
    }
    if kind.contains('.') {
        return Err(format!(
            "`{kind}` is a class that Flume itself does not have; Java classes are not run here, \
             so choose a component that replaces it"
        ));
    }
    let known: Vec<&str> = of_role().map(|row| row.name).collect();
    Err(unknown("type", &kind.to_lowercase(), &known))
}

/// Our sources that give no event again which some of their channels have: there a selector may
/// choose anew each time.
const GIVE_NOTHING_AGAIN: &[&str] =
    &["amqp", "avro", "exec", "http", "netcat", "netcat_udp", "stress", "syslog", "thrift"];

impl Row {
    /// Whether it becomes a source that gives no event again.
    pub fn gives_nothing_again(&self) -> bool {
        matches!(self.becomes, Becomes::Kind(kind) if GIVE_NOTHING_AGAIN.contains(&kind))
    }

    /// Its keys.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().flat_map(|part| part.iter())
    }

    /// The key of this name: as it is, or by its beginning.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        let exact = self.keys().find(|key| key.name == name);
        exact.or_else(|| {
            self.keys().find(|key| {
                let start = key.name.strip_suffix('*');
                start.is_some_and(|start| name.starts_with(start) && name.len() > start.len())
            })
        })
    }
}

impl Key {
    /// What the reference says of it.
    pub fn described(&self) -> String {
        match self.becomes {
            Use::Set(setting, _) | Use::Same(setting, _) => format!("`{setting}`"),
            Use::Differs(setting, _, how) => format!("`{setting}`; {how}"),
            Use::By(what) => what.to_owned(),
            Use::Ignored(why) => format!("ignored: {why}"),
            Use::Decision(what) => format!("needs a decision: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_and_no_key_is_in_a_table_twice() {
        let mut names = BTreeSet::new();
        for row in rows() {
            for name in row.classes.iter().chain([&row.name]) {
                let name = name.to_lowercase();
                assert!(names.insert((row.role, name)), "{} `{}`", row.role, row.name);
            }
            let mut keys = BTreeSet::new();
            for key in row.keys() {
                assert!(keys.insert(key.name), "{} `{}`: {}", row.role, row.name, key.name);
            }
        }
    }

    #[test]
    fn a_component_is_found_by_alias_and_class_in_any_case() {
        for (role, kind, name) in [
            ("source", "TAILDIR", "taildir"),
            ("source", "org.apache.flume.source.taildir.TaildirSource", "taildir"),
            ("source", "org.apache.flume.source.StressSource", "stress"),
            ("channel", "Memory", "memory"),
            ("sink", "org.apache.flume.sink.hdfs.HDFSEventSink", "hdfs"),
            ("interceptor", "org.apache.flume.interceptor.HostInterceptor$Builder", "host"),
            ("encoder", "HEADER_AND_TEXT", "header_and_text"),
        ] {
            assert_eq!(find(role, kind).map(|row| row.name), Ok(name));
        }
        assert!(find("sink", "hdsf").unwrap_err().contains("did you mean `hdfs`?"));
        assert!(find("sink", "com.example.MySink").unwrap_err().contains("Java classes"));
    }
}
