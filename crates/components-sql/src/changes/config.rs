//! The settings, and the options derived from them.

use std::num::NonZeroU32;
use std::time::Duration;

use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::connection::Via;
use crate::database::{Database, Target};

/// Settings of the `sql_changes` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The database and its connection settings: PostgreSQL, MySQL or MariaDB. The user needs
    /// replication rights, and read access to the tables of the snapshot.
    database: Database,
    /// Tables whose changes are read, optionally with their schema: `shop.orders`. PostgreSQL: the
    /// publication is created for these tables, or must contain them; without tables, the
    /// publication must exist. MySQL and MariaDB: a schema is a database, by default the one of the
    /// URL.
    #[serde(default)]
    tables: Vec<String>,
    /// PostgreSQL: name of the publication, which defines in the database what is sent. Default:
    /// `aqueduct_` and the name of the source.
    #[serde(default)]
    publication: Option<String>,
    /// PostgreSQL: name of the replication slot, which retains unstored changes in the database. No
    /// other reader may use it. Default: `aqueduct_` and the name of the source.
    #[serde(default)]
    slot: Option<String>,
    /// MySQL and MariaDB: server id of this reader, unique among the replicas of the server.
    /// Default: derived from the names of the source and of the database.
    #[serde(default)]
    server_id: Option<NonZeroU32>,
    /// PostgreSQL: whether a missing publication and slot are created. From then on the database
    /// keeps its log for the slot, until the slot is dropped.
    #[serde(default)]
    create: bool,
    /// Reads the existing rows before the changes, at the first start of the source.
    #[serde(default = "pipeline::units::yes")]
    snapshot: bool,
    /// Reaction to a missing slot, or to unstored changes that the database has removed.
    #[serde(default)]
    on_lost: OnLost,
    /// Interval at which the position advances if no table changes, and at which the database is
    /// asked how much of its log is not stored yet.
    #[serde(default = "pipeline::units::seconds::<10>")]
    heartbeat: Period,
    /// Approximate size limit of the bodies of a batch; a larger row is a batch of its own.
    #[serde(default = "pipeline::units::mib::<1>")]
    batch_bytes: ByteSize,
}

/// What to do when changes are lost in the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnLost {
    /// Reading stops until an operator acts.
    #[default]
    Stop,
    /// A new snapshot, after a `truncate` event for each table, and in PostgreSQL a new slot. Needs
    /// `snapshot`, and in PostgreSQL `create`.
    Snapshot,
}

/// Maximum length of a name in PostgreSQL.
const NAME_MAX: usize = 63;

/// Options of the source.
pub(super) struct Options {
    pub(super) target: Target,
    /// Schema and name.
    pub(super) tables: Vec<(String, String)>,
    /// PostgreSQL.
    pub(super) publication: String,
    /// PostgreSQL.
    pub(super) slot: String,
    /// PostgreSQL.
    pub(super) create: bool,
    /// MySQL and MariaDB.
    pub(super) server_id: u32,
    pub(super) snapshot: bool,
    pub(super) on_lost: OnLost,
    pub(super) heartbeat: Duration,
    pub(super) batch_bytes: usize,
}

impl Options {
    /// Returns a digest of the captured tables: positions are only valid for the same digest.
    pub(super) fn digest(&self) -> u64 {
        let target = &self.target;
        let what = format!("{:?}", (&target.name, &self.slot, &self.publication));
        xxhash_rust::xxh3::xxh3_64(what.as_bytes())
    }
}

impl Config {
    /// Checks that the settings match the kind of database.
    fn check_kind(&self, target: &Target) -> Result<(), BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        let has_binlog = target.via == Via::Mysql;
        if matches!(target.via, Via::Sqlite | Via::Odbc) {
            let problem = "must be a `postgres://`, `mysql://` or `mariadb://` URL; read tables of \
                           other databases with the source `sql` and `mode = \"modified\"`";
            return invalid("database.url", problem);
        }
        for (setting, is_set) in [
            ("publication", self.publication.is_some()),
            ("slot", self.slot.is_some()),
            ("create", self.create),
        ] {
            if has_binlog && is_set {
                return invalid(setting, "does not apply to MySQL and MariaDB: remove it");
            }
        }
        if has_binlog && self.tables.is_empty() {
            return invalid("tables", "must list the tables whose changes the source reads");
        }
        Ok(())
    }

    pub(super) fn options(self, cx: &BuildContext) -> Result<Options, BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        let target = self.database.clone().target(cx)?;
        self.check_kind(&target)?;
        let has_binlog = target.via == Via::Mysql;
        if self.create && self.tables.is_empty() && self.publication.is_none() {
            return invalid("tables", "must list the tables for the new publication");
        }
        let mut tables = Vec::new();
        for table in &self.tables {
            let usual = if has_binlog { &*target.name } else { "public" };
            let (schema, name) = table.split_once('.').unwrap_or((usual, table));
            if schema.is_empty() || name.is_empty() {
                let problem = format!(
                    "must have names such as `table` or `schema.table`, but `{table}` has an empty \
                     part"
                );
                return invalid("tables", &problem);
            }
            tables.push((schema.to_owned(), name.to_owned()));
        }
        let usual = usual_name(&cx.name);
        let slot = self.slot.unwrap_or_else(|| usual.clone());
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if slot.is_empty() || slot.len() > NAME_MAX || !slot.chars().all(is_plain) {
            let problem = "must have 1 to 63 characters: lower case letters, digits and `_`";
            return invalid("slot", problem);
        }
        let publication = self.publication.unwrap_or(usual);
        if publication.is_empty() || publication.len() > NAME_MAX || publication.contains('\0') {
            return invalid("publication", "must have 1 to 63 bytes");
        }
        let makes = (has_binlog || self.create) && self.snapshot;
        if self.on_lost == OnLost::Snapshot && !makes {
            let problem = match has_binlog {
                true => "must not be \"snapshot\" with `snapshot = false`: change one of them",
                false => {
                    "must not be \"snapshot\" without `create = true` and `snapshot = true`: set \
                     these, or change `on_lost`"
                }
            };
            return invalid("on_lost", problem);
        }
        if self.heartbeat.0 < Duration::from_millis(100) {
            return invalid("heartbeat", "must be at least 100ms");
        }
        if self.batch_bytes > ByteSize::mib(64) {
            return invalid("batch_bytes", "must be at most 64MiB");
        }
        let server_id = self.server_id.map_or_else(|| number(&cx.name, &target), NonZeroU32::get);
        Ok(Options {
            server_id,
            target,
            tables,
            publication,
            slot,
            create: self.create,
            snapshot: self.snapshot,
            on_lost: self.on_lost,
            heartbeat: self.heartbeat.0,
            batch_bytes: self.batch_bytes.0 as usize,
        })
    }
}

/// Returns a server id that is unlikely to be in use. Operators usually assign small numbers.
fn number(source: &str, target: &Target) -> u32 {
    let what = format!("{:?}", (source, &target.address, &target.name));
    (xxhash_rust::xxh3::xxh3_64(what.as_bytes()) as u32) | 1 << 30
}

/// Returns `aqueduct_` and the name of the source, reduced to the characters of a slot name.
fn usual_name(source: &str) -> String {
    let plain = source.chars().map(|c| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => '_',
    });
    let name = format!("aqueduct_{}", plain.collect::<String>());
    name.chars().take(NAME_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use pipeline::testkit::build;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn settings_that_do_not_go_together_are_refused_with_the_remedy() {
        let problem = |changes: &Value| {
            let mut settings = json!({
                "database": { "url": "postgres://db/shop", "user": "a" }, "tables": ["orders"],
                "create": true,
            });
            let all = settings.as_object_mut().unwrap();
            all.extend(changes.as_object().unwrap().clone());
            let cx = BuildContext::alone("in", Path::new("unused"), env::real());
            build::<Config>(&settings, &cx).err().map(|error| error.to_string())
        };
        let mysql = |mut changes: Value| {
            changes["database"] = json!({ "url": "mysql://db/shop", "user": "a" });
            changes
        };
        assert_eq!(problem(&json!({})), None);
        assert_eq!(problem(&mysql(json!({ "create": false, "on_lost": "snapshot" }))), None);
        let mut seen = BTreeSet::new();
        for (changes, expected) in [
            (json!({ "database": { "url": "sqlite:/a.db" } }), "source `sql`"),
            (mysql(json!({ "create": true })), "does not apply to MySQL"),
            (mysql(json!({ "create": false, "tables": [] })), "tables whose changes"),
            (
                mysql(json!({ "create": false, "snapshot": false, "on_lost": "snapshot" })),
                "must not be \"snapshot\" with `snapshot = false`: change one of them",
            ),
            (json!({ "tables": [] }), "tables for the new publication"),
            (json!({ "tables": ["shop."] }), "`shop.` has an empty part"),
            (json!({ "slot": "Orders" }), "lower case letters"),
            (json!({ "publication": "" }), "63 bytes"),
            (json!({ "on_lost": "snapshot", "snapshot": false }), "without `create = true`"),
            (json!({ "heartbeat": "1ms" }), "at least 100ms"),
            (json!({ "batch_bytes": "65MiB" }), "at most 64MiB"),
        ] {
            let said = problem(&changes).unwrap_or_default();
            assert!(said.contains(expected), "{changes}: {said}");
            assert!(seen.insert(said));
        }
        assert_eq!(usual_name("Orders-1"), "aqueduct_orders_1");
        assert_eq!(usual_name(&"ä".repeat(80)).len(), NAME_MAX);
    }
}
