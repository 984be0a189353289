//! The tables of Flume's components and keys, with their translations.
//!
//! One row is one component, with its alias, its class names, and its keys with Flume's defaults.
//! The translation follows the rows, the reference page is generated from them, and a test compares
//! their settings with the schemas of the components.

mod chain;
mod channels;
mod foreign;
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
    /// The role, in Aqueduct's terms: `source`, `channel`, `sink`, `interceptor`, `selector`,
    /// `processor`, `encoder`, `decoder`.
    pub role: &'static str,
    /// Its alias, as `type` names it, in lower case; for a component without one a short name.
    pub name: &'static str,
    /// The class names that `type` may have instead, without `$Builder`.
    pub classes: &'static [&'static str],
    /// Its translation.
    pub becomes: Becomes,
    /// The difference of the whole component from Flume's; empty without one.
    pub differs: &'static str,
    /// Its keys, in parts that rows share.
    pub keys: &'static [&'static [Key]],
}

/// The translation of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Becomes {
    /// A component of this kind, if the program has it.
    Kind(&'static str),
    /// Several components, depending on its keys: a description for the reference.
    Several(&'static str),
    /// Not supported yet: the workaround.
    Later(&'static str),
    /// Never supported: the replacement.
    Never(&'static str),
}

/// A key of a component.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name; one that ends in `*` is any name with this beginning.
    pub name: &'static str,
    /// Flume's default; `*` for a required key.
    pub default: &'static str,
    /// Its translation.
    pub becomes: Use,
}

/// The translation of a key.
#[derive(Debug, Clone, Copy)]
pub enum Use {
    /// This setting. Flume's default is written if the file has no value.
    Set(&'static str, As),
    /// This setting, with the same default as Flume's: written only if the file has the key.
    Same(&'static str, As),
    /// This setting, which does not do quite the same: how it differs.
    Differs(&'static str, As, &'static str),
    /// Several settings, or one that depends on other keys: a description for the reference.
    By(&'static str),
    /// Not translated, without a loss: the reason.
    Ignored(&'static str),
    /// Not translated, and its effect is missing unless it has Flume's default: the remedy.
    Decision(&'static str),
}

/// The form of a value in Aqueduct's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// Text as it is.
    Text,
    /// A regular expression that is searched for.
    Search,
    /// A regular expression whose matches are replaced.
    Replaced,
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
    /// One of these values, in any case: Flume's, then Aqueduct's.
    OneOf(&'static [(&'static str, &'static str)]),
}

const fn row(
    role: &'static str,
    name: &'static str,
    classes: &'static [&'static str],
    becomes: Becomes,
    keys: &'static [&'static [Key]],
) -> Row {
    Row { role, name, classes, becomes, differs: "", keys }
}

/// A function for the rows of a role.
macro_rules! rows_of {
    ($($role:ident)+) => {$(
        const fn $role(
            name: &'static str,
            classes: &'static [&'static str],
            becomes: Becomes,
            keys: &'static [&'static [Key]],
        ) -> Row {
            row(stringify!($role), name, classes, becomes, keys)
        }
    )+};
}

rows_of! { source channel sink }

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

/// Returns the row of a component, by its alias or class, in any case.
///
/// # Errors
/// It is unknown: the closest name, or the remedy for a custom class.
pub fn find(role: &str, kind: &str) -> Result<&'static Row, String> {
    let wanted = kind.trim_end_matches("$Builder").to_lowercase();
    let of_role = || rows().filter(|row| row.role == role);
    let is_it = |row: &&Row| {
        row.name == wanted || row.classes.iter().any(|class| class.to_lowercase() == wanted)
    };
    if let Some(row) = of_role().find(is_it) {
        return Ok(row);
    }
    if let Some(problem) = foreign::replacement(role, kind) {
        return Err(problem);
    }
    let known: Vec<&str> = of_role().map(|row| row.name).collect();
    Err(unknown("type", &kind.to_lowercase(), &known))
}

/// Sources that never resend an event to some of their channels: their selector may choose
/// differently each time.
const GIVE_NOTHING_AGAIN: &[&str] =
    &["amqp", "avro", "exec", "http", "netcat", "netcat_udp", "stress", "syslog", "thrift"];

impl Row {
    const fn differs(self, differs: &'static str) -> Self {
        Self { differs, ..self }
    }

    /// Returns `true` if it becomes a source that never resends an event.
    pub fn gives_nothing_again(&self) -> bool {
        matches!(self.becomes, Becomes::Kind(kind) if GIVE_NOTHING_AGAIN.contains(&kind))
    }

    /// Its keys.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().flat_map(|part| part.iter())
    }

    /// Returns the key with this name: exact, or by prefix.
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
    /// Returns its description for the reference.
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
        assert!(find("sink", "com.example.MySink").unwrap_err().contains("--classpath"));
    }
}
