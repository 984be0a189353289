//! Settings of the `journald` source.

use std::collections::BTreeMap;
use std::time::Duration;

use formats::decoders::check_names;
use jiff::Timestamp;
use pipeline::BuildError;
use pipeline::units::{ByteSize, Period};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::command::Selection;
use super::event::Form;

/// The longest message that may be set.
const MESSAGE_MAX: ByteSize = ByteSize::mib(16);

/// The shortest one: a cursor has its place.
const MESSAGE_MIN: ByteSize = ByteSize(4 << 10);

/// Settings of the `journald` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Program that reads the journal: a path, or a name in `PATH`.
    #[serde(default = "defaults::journalctl")]
    journalctl: String,
    /// Directory of journal files, instead of the journal of this host: of a mounted host, or of
    /// `systemd-journal-remote`.
    #[serde(default)]
    directory: Option<String>,
    /// Single journal files, instead of the journal of this host; wildcards are allowed.
    #[serde(default)]
    files: Vec<String>,
    /// Namespace of the journal: a name, `+name` for this and the default namespace, or `*` for
    /// all.
    #[serde(default)]
    namespace: Option<String>,
    /// Units whose entries are read, including messages of systemd about them: names, or patterns
    /// such as `nginx*`. Default: all.
    #[serde(default)]
    units: Vec<String>,
    /// Identifiers whose entries are read, as set by `logger -t` and `SyslogIdentifier=`. Default:
    /// all.
    #[serde(default)]
    identifiers: Vec<String>,
    /// Fields that an entry must have, as `FIELD=value`. An entry must match one value of each
    /// field.
    #[serde(default)]
    matches: Vec<String>,
    /// Lowest priority to read, or a range: `warning`, `4`, `emerg..err`.
    #[serde(default)]
    priority: Option<String>,
    /// Boots to read: `all`, or only the current one, `this`.
    #[serde(default)]
    boots: Boots,
    /// Position of the first start: `start` or `end` of the journal, or a time such as
    /// `2026-11-28T06:00:00Z`.
    #[serde(default = "defaults::begin")]
    begin: String,
    /// Body of an event: the field MESSAGE, `message`, or all fields as a JSON object, `json`.
    #[serde(default)]
    body: Body,
    /// Headers from fields, if the entry has them: the name of the header, and the field. Default:
    /// `Facility`, `Severity`, `host`, `identifier`, `pid` and `unit`. `timestamp` is always set.
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    /// Size limit of a message, and of all other fields of an entry together; from 4 KiB to 16 MiB.
    /// Longer values are cut, get the header `truncated`, and are counted.
    #[serde(default = "pipeline::units::mib::<1>")]
    message_max: ByteSize,
    /// Limit of events in a batch.
    #[serde(default = "pipeline::units::number::<1000>")]
    batch_events: usize,
    /// Longest time that an entry waits for others of its batch.
    #[serde(default = "pipeline::units::millis::<200>")]
    batch_timeout: Period,
}

/// Which boots are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Boots {
    /// All boots in the journal.
    #[default]
    All,
    /// Only the current boot.
    This,
}

/// What the body of an event is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Body {
    /// The field MESSAGE.
    #[default]
    Message,
    /// All fields.
    Json,
}

mod defaults {
    use std::collections::BTreeMap;

    pub(super) fn journalctl() -> String {
        "journalctl".to_owned()
    }

    pub(super) fn begin() -> String {
        "start".to_owned()
    }

    pub(super) fn headers() -> BTreeMap<String, String> {
        let headers = [
            ("Facility", "SYSLOG_FACILITY"),
            ("Severity", "PRIORITY"),
            ("host", "_HOSTNAME"),
            ("identifier", "SYSLOG_IDENTIFIER"),
            ("pid", "_PID"),
            ("unit", "_SYSTEMD_UNIT"),
        ];
        headers.map(|(header, field)| (header.to_owned(), field.to_owned())).into()
    }
}

/// Where a source begins that has no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    Start,
    End,
    /// Microseconds since 1970.
    At(u64),
}

/// What the settings say.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) journalctl: String,
    pub(super) selection: Selection,
    pub(super) begin: Begin,
    pub(super) form: Form,
    pub(super) value_max: usize,
    pub(super) batch_events: usize,
    pub(super) batch_timeout: Duration,
}

impl Config {
    pub(super) fn options(self) -> Result<Options, BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        if self.journalctl.is_empty() {
            return invalid("journalctl", "must name a program");
        }
        if self.directory.is_some() && !self.files.is_empty() {
            return invalid("files", "cannot be combined with `directory`: remove one of the two");
        }
        if self.namespace.is_some() && (self.directory.is_some() || !self.files.is_empty()) {
            let problem = "cannot be combined with `directory` or `files`, because only the \
                           journal of this host has namespaces: remove them, or this";
            return invalid("namespace", problem);
        }
        let limits = MESSAGE_MIN..=MESSAGE_MAX;
        if !limits.contains(&self.message_max) {
            let problem = format!("must be from {MESSAGE_MIN} to {MESSAGE_MAX}");
            return Err(BuildError::invalid("message_max", problem));
        }
        if self.batch_events == 0 {
            return invalid("batch_events", "must be at least 1");
        }
        for (n, text) in self.matches.iter().enumerate() {
            if !text.split_once('=').is_some_and(|(field, _)| is_field(field)) {
                let problem = format!("`{text}` is not a match; write for example \"_UID=0\"");
                return Err(BuildError::invalid(format!("matches.{n}"), problem));
            }
        }
        let headers = self.headers.unwrap_or_else(defaults::headers);
        check_names(headers.keys().map(String::as_str))
            .map_err(|error| BuildError::invalid("headers", error))?;
        for (header, field) in &headers {
            if header == "timestamp" || header == "truncated" {
                let problem = "cannot be `timestamp` or `truncated`, which the source sets: choose \
                               another name";
                return Err(BuildError::invalid(format!("headers.{header}"), problem));
            }
            if !is_field(field) {
                let problem = format!(
                    "`{field}` is not a field name of the journal; write for example \"_COMM\""
                );
                return Err(BuildError::invalid(format!("headers.{header}"), problem));
            }
        }
        Ok(Options {
            begin: begin(&self.begin)?,
            journalctl: self.journalctl,
            selection: Selection {
                directory: self.directory,
                files: self.files,
                namespace: self.namespace,
                units: self.units,
                identifiers: self.identifiers,
                priority: self.priority,
                matches: self.matches,
                this_boot: self.boots == Boots::This,
            },
            form: Form { is_json: self.body == Body::Json, headers: headers.into_iter().collect() },
            value_max: self.message_max.0 as usize,
            batch_events: self.batch_events,
            batch_timeout: self.batch_timeout.0,
        })
    }
}

/// Whether it can be the name of a field.
fn is_field(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(is_part)
}

fn begin(text: &str) -> Result<Begin, BuildError> {
    match text {
        "start" => Ok(Begin::Start),
        "end" => Ok(Begin::End),
        time => {
            let micros = time.parse::<Timestamp>().map(Timestamp::as_microsecond).ok();
            let micros = micros.and_then(|micros| u64::try_from(micros).ok());
            micros.map(Begin::At).ok_or_else(|| {
                let problem = format!(
                    "`{time}` is neither `start`, `end` nor a time since 1970 such as \
                     \"2026-11-28T06:00:00Z\""
                );
                BuildError::invalid("begin", problem)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pipeline::testkit::build;
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_that_can_never_work_are_named() {
        let cx = crate::alone("in", Path::new("unused"), env::real());
        for (settings, named) in [
            (json!({ "journalctl": "" }), "journalctl"),
            (json!({ "directory": "/a", "files": ["/b"] }), "files"),
            (json!({ "directory": "/a", "namespace": "b" }), "namespace"),
            (json!({ "matches": ["_UID=0", "uid=0"] }), "matches.1"),
            (json!({ "matches": ["+"] }), "matches.0"),
            (json!({ "begin": "yesterday" }), "begin"),
            (json!({ "begin": "1960-01-01T00:00:00Z" }), "begin"),
            (json!({ "message_max": "1KiB" }), "message_max"),
            (json!({ "message_max": "17MiB" }), "message_max"),
            (json!({ "batch_events": 0 }), "batch_events"),
            (json!({ "headers": { "timestamp": "_COMM" } }), "headers.timestamp"),
            (json!({ "headers": { "command": "comm" } }), "headers.command"),
            (json!({ "headers": { "": "_COMM" } }), "headers"),
        ] {
            let error = build::<Config>(&settings, &cx).err().unwrap();
            assert_eq!(error.path, named, "{error}");
        }
        build::<Config>(&json!({}), &cx).unwrap();
        assert_eq!(begin("1970-01-01T00:00:01.5Z").unwrap(), Begin::At(1_500_000));
    }
}
