//! The settings, and their validation.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, address};
use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tls::Dialer;

use super::row::{Column, Counting, Mapping};
use super::template::{Format, Template};
use crate::cluster::{Registry, Target};

/// The environment variable for the default of `user`, as in Hadoop.
const USER_VARIABLE: &str = "HADOOP_USER_NAME";

/// Settings of the `hbase` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Masters of the cluster, `host:port`, usually port 16000, which locate `hbase:meta` (HBase
    /// 2.3 or later). Set this or `zookeeper`.
    #[serde(default)]
    masters: Option<Vec<String>>,
    /// ZooKeeper of the cluster, which locates `hbase:meta`. Set this or `masters`.
    #[serde(default)]
    zookeeper: Option<ZooKeeper>,
    /// Table of the rows, `table` or `namespace:table`.
    pub(super) table: String,
    /// User name, which the cluster trusts. Default: `HADOOP_USER_NAME`, or the user of the
    /// process.
    #[serde(default)]
    user: Option<String>,
    /// Pattern for the body; `%[…]` is one of its groups. Without it `%[…]` is a field of a JSON
    /// body.
    #[serde(default)]
    pattern: Option<String>,
    /// Row key of an event: text with `%{header}`, `%[field]`, `%body`, and `%id`, which is unique
    /// for each event and the same if its batch is resent.
    #[serde(default = "defaults::row_key")]
    row_key: String,
    /// Columns, `family:qualifier`, and their values, in the form of `row_key`. An event without a
    /// value has no such cell.
    #[serde(default)]
    columns: Option<BTreeMap<String, String>>,
    /// Family in which each header becomes a column of the same name. Default: none.
    #[serde(default)]
    header_family: Option<String>,
    /// Family in which each field of a JSON body becomes a column of the same name. Default: none.
    #[serde(default)]
    field_family: Option<String>,
    /// Header with the timestamp of the cells in milliseconds since 1970, as set by the
    /// interceptors `timestamp` and `event_time`. Default: the clock of the region server.
    #[serde(default)]
    timestamp_header: Option<String>,
    /// Durability at which a region server responds: `table`, as the table defines; `skip_wal`,
    /// without its log; `async_wal`, before its log is written; `sync_wal`, when its log is on
    /// three hosts; `fsync_wal`, when the log is on their disks.
    #[serde(default)]
    durability: Durability,
    /// Counter columns that each written event increments.
    #[serde(default)]
    counters: Vec<Counter>,
    /// Limit of batches in flight, each on its own connections. Batches of one origin are sent one
    /// after the other.
    #[serde(default = "pipeline::units::number::<4>")]
    pub(super) in_flight_max: usize,
    /// Timeout for connecting.
    #[serde(default = "pipeline::units::seconds::<10>")]
    connect_timeout: Period,
    /// Timeout for the response to a request.
    #[serde(default = "pipeline::units::seconds::<20>")]
    request_timeout: Period,
    /// Timeout of a batch, including retries.
    #[serde(default = "pipeline::units::seconds::<60>")]
    pub(super) timeout: Period,
}

/// The ZooKeeper of a cluster.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ZooKeeper {
    /// ZooKeeper servers, `host:port`, usually port 2181.
    quorum: Vec<String>,
    /// Parent node of HBase: `zookeeper.znode.parent` of HBase.
    #[serde(default = "defaults::znode")]
    znode: String,
}

/// When a region server answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Durability {
    /// As the table defines.
    #[default]
    Table,
    /// Without writing the log.
    SkipWal,
    /// Before the log is written.
    AsyncWal,
    /// When the log is on other hosts.
    SyncWal,
    /// When the log is on their disks.
    FsyncWal,
}

/// A column that is raised.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Counter {
    /// Key of the counter's row, in the form of `row_key`. An event without it is not counted.
    row: String,
    /// Column of the counter, `family:qualifier`.
    column: String,
    /// Increment for each event.
    #[serde(default = "defaults::by")]
    by: i64,
}

mod defaults {
    pub(super) fn row_key() -> String {
        "%id".to_owned()
    }

    pub(super) fn znode() -> String {
        "/hbase".to_owned()
    }

    pub(super) fn by() -> i64 {
        1
    }
}

fn invalid<T>(setting: &str, problem: impl ToString) -> Result<T, BuildError> {
    Err(BuildError::invalid(setting, problem))
}

fn addresses(setting: &str, all: &[String], example: &str) -> Result<Vec<Arc<str>>, BuildError> {
    for one in all {
        address::check(one, example, false)
            .map_err(|problem| BuildError::invalid(setting, problem))?;
    }
    Ok(all.iter().map(|one| one.as_str().into()).collect())
}

impl Config {
    /// Returns the cluster to connect to.
    pub(super) fn target(&self, cx: &BuildContext) -> Result<Target, BuildError> {
        let masters = self.masters.as_deref().unwrap_or_default();
        let registry = match &self.zookeeper {
            Some(_) if !masters.is_empty() => {
                return invalid(
                    "zookeeper",
                    "cannot be combined with `masters`: remove one of the two",
                );
            }
            None if masters.is_empty() => {
                return invalid(
                    "masters",
                    "must have at least one address, for example \"master-1:16000\"; or set \
                     `zookeeper` instead",
                );
            }
            None => Registry::Masters(addresses("masters", masters, "master-1:16000")?),
            Some(ZooKeeper { quorum, .. }) if quorum.is_empty() => {
                return invalid(
                    "zookeeper.quorum",
                    "must have at least one address, for example \"zk-1:2181\"",
                );
            }
            Some(ZooKeeper { znode, .. }) if !znode.starts_with('/') || znode.ends_with('/') => {
                return invalid("zookeeper.znode", "must start with `/` and must not end with `/`");
            }
            Some(ZooKeeper { quorum, znode }) => Registry::ZooKeeper {
                quorum: addresses("zookeeper.quorum", quorum, "zk-1:2181")?,
                znode: znode.clone(),
            },
        };
        let named = || cx.env.blocking.variable(USER_VARIABLE)?.into_string().ok();
        let user = self.user.clone().or_else(named).or_else(|| whoami::username().ok());
        let Some(user) = user.filter(|user| !user.is_empty()) else {
            return invalid(
                "user",
                "must be set, because the user name of this process is unknown",
            );
        };
        Ok(Target {
            registry,
            user,
            connect_timeout: self.connect_timeout.0,
            request_timeout: self.request_timeout.0,
            dialer: Dialer::new(&cx.env, None, &[])?,
        })
    }

    /// Returns the table name as in `hbase:meta`.
    pub(super) fn table(&self) -> Result<Arc<str>, BuildError> {
        let name = self.table.strip_prefix("default:").unwrap_or(&self.table);
        let is_word = |part: &str| {
            let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            !part.is_empty() && part.bytes().all(is_good)
        };
        if name.split(':').count() > 2 || !name.split(':').all(is_word) {
            let problem = "must be `table` or `namespace:table`, with letters, digits, `_`, `-` \
                           and `.`";
            return invalid("table", problem);
        }
        Ok(name.into())
    }

    /// Rejects numbers that cannot work.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        if !(1..=64).contains(&self.in_flight_max) {
            return invalid("in_flight_max", "must be from 1 to 64");
        }
        for (setting, period) in [
            ("connect_timeout", self.connect_timeout),
            ("request_timeout", self.request_timeout),
            ("timeout", self.timeout),
        ] {
            if !(1..=86_400_000).contains(&period.0.as_millis()) {
                return invalid(setting, "must be from 1ms to 24h");
            }
        }
        Ok(())
    }

    /// Returns the mapping of events to rows.
    pub(super) fn mapping(&self) -> Result<Mapping, BuildError> {
        let pattern = self.pattern.as_deref().map(Regex::new).transpose();
        let pattern = pattern.map_err(|error| BuildError::invalid("pattern", error))?;
        let template = |setting: &str, text: &str| {
            Template::parse(text, pattern.as_ref())
                .map_err(|problem| BuildError::invalid(setting, problem))
        };
        let parsed = |setting: &str, text: &str| {
            let problem = format!("`{text}` is not a column: write `family:qualifier`");
            Column::parse(text).ok_or_else(|| BuildError::invalid(setting, problem))
        };
        let mut columns = Vec::new();
        for (column, value) in self.columns.iter().flatten() {
            let setting = format!("columns.{column}");
            columns.push((parsed(&setting, column)?, template(&setting, value)?));
        }
        let mut counters = Vec::new();
        for counter in &self.counters {
            let row = template("counters", &counter.row)?;
            if row.has_id() {
                let problem = "must not use `%id` in `row`: it differs for each event, so each \
                               counter would count one event only";
                return invalid("counters", problem);
            }
            let column = parsed("counters", &counter.column)?;
            counters.push(Counting { row, column, by: counter.by });
        }
        for (setting, family) in
            [("header_family", &self.header_family), ("field_family", &self.field_family)]
        {
            if family.as_ref().is_some_and(|family| family.is_empty() || family.contains(':')) {
                return invalid(setting, "must be the name of a column family, without `:`");
            }
        }
        if self.field_family.is_some() && pattern.is_some() {
            return invalid(
                "field_family",
                "cannot be combined with `pattern`, because its fields come from JSON bodies: \
                 remove one of the two",
            );
        }
        let row_key = template("row_key", &self.row_key)?;
        let has_fields = columns.iter().any(|(_, value): &(_, Template)| value.has_fields())
            || counters.iter().any(|counter: &Counting| counter.row.has_fields())
            || row_key.has_fields()
            || self.field_family.is_some();
        let format = match pattern {
            Some(pattern) => Format::Regex(pattern),
            None if has_fields => Format::Json,
            None => Format::None,
        };
        let has_puts =
            !columns.is_empty() || self.header_family.is_some() || self.field_family.is_some();
        if !has_puts && counters.is_empty() {
            let problem = "must not be empty, because the sink would write nothing: set for \
                           example `columns = { \"family:body\" = \"%body\" }`";
            return invalid("columns", problem);
        }
        Ok(Mapping {
            row_key,
            format,
            columns,
            header_family: self.header_family.clone(),
            field_family: self.field_family.clone(),
            has_puts,
            timestamp_header: self.timestamp_header.clone(),
            durability: self.durability as i32,
            counters,
        })
    }
}
