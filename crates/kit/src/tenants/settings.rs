//! The table `tenants` of a source: what each sender may take.

use std::collections::BTreeMap;

use pipeline::BuildError;
use pipeline::units::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What each sender may take, known by the first name in its certificate, or without one by the
/// host of its address.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tenants {
    /// Whether senders get equal shares of the memory and of the room in the channels. `false`:
    /// first come, first served.
    pub fair: bool,
    /// Connection limit of one sender.
    pub connections_max: Option<u32>,
    /// Limit of events per second of one sender.
    pub events_per_second: Option<u64>,
    /// Limit of bytes per second of one sender, before compression.
    pub bytes_per_second: Option<ByteSize>,
    /// Size limit of a message of one sender, before compression. At most the limit of the source.
    pub message_max: Option<ByteSize>,
    /// Limits of single senders by name, instead of the common ones.
    pub names: BTreeMap<String, Quota>,
}

/// What one sender may take.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Number of shares of this sender. Default: 1.
    pub weight: Option<u32>,
    /// Connection limit of this sender.
    pub connections_max: Option<u32>,
    /// Limit of events per second.
    pub events_per_second: Option<u64>,
    /// Limit of bytes per second, before compression.
    pub bytes_per_second: Option<ByteSize>,
    /// Size limit of a message, before compression.
    pub message_max: Option<ByteSize>,
}

/// How much of the channels each sender may fill, known as for the table `tenants`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BacklogLimits {
    /// Limit of bytes in the channels of one sender, before compression, that no sink has delivered
    /// yet. More waits unread.
    pub max: Option<ByteSize>,
    /// Limits of single senders by name, instead of the common ones.
    pub names: BTreeMap<String, ByteSize>,
}

impl BacklogLimits {
    /// Whether the settings can work, below the table of this name.
    pub fn check(&self, table: &str) -> Result<(), BuildError> {
        let named = self.names.iter().map(|(name, max)| (format!("{table}.names.{name}"), *max));
        let mut all = self.max.map(|max| (format!("{table}.max"), max)).into_iter().chain(named);
        match all.find(|(_, max)| max.0 == 0) {
            Some((setting, _)) => Err(BuildError::invalid(setting, "must be greater than 0")),
            None => Ok(()),
        }
    }

    /// Returns true if any sender has a limit.
    pub(super) fn is_set(&self) -> bool {
        self.max.is_some() || !self.names.is_empty()
    }

    /// Bytes that this sender may have.
    pub(super) fn of(&self, name: &str) -> Option<u64> {
        let own = self.names.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        own.map(|(_, max)| *max).or(self.max).map(|max| max.0)
    }
}

impl Default for Tenants {
    fn default() -> Self {
        Self {
            fair: true,
            connections_max: None,
            events_per_second: None,
            bytes_per_second: None,
            message_max: None,
            names: BTreeMap::new(),
        }
    }
}

/// The largest weight: a round is not to be one tenant's.
const WEIGHT_MAX: u32 = 100;

impl Tenants {
    /// Checks the settings for a source with this setting for its largest message.
    pub fn check(&self, (setting, largest): (&str, ByteSize)) -> Result<(), BuildError> {
        let common = Quota { weight: None, ..self.quota("") };
        let named = self.names.iter().map(|(name, quota)| (format!("tenants.names.{name}"), quota));
        for (table, quota) in [("tenants".to_owned(), &common)].into_iter().chain(named) {
            let counts = [
                ("weight", quota.weight.map(u64::from)),
                ("connections_max", quota.connections_max.map(u64::from)),
                ("events_per_second", quota.events_per_second),
                ("bytes_per_second", quota.bytes_per_second.map(|bytes| bytes.0)),
                ("message_max", quota.message_max.map(|bytes| bytes.0)),
            ];
            if let Some((setting, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
                return Err(BuildError::invalid(
                    format!("{table}.{setting}"),
                    "must be greater than 0",
                ));
            }
            if quota.weight.is_some_and(|weight| weight > WEIGHT_MAX) {
                let problem = format!("must be at most {WEIGHT_MAX}");
                return Err(BuildError::invalid(format!("{table}.weight"), problem));
            }
            if quota.message_max.is_some_and(|max| max > largest) {
                let problem = format!("must be at most `{setting}` of the source, {largest}");
                return Err(BuildError::invalid(format!("{table}.message_max"), problem));
            }
        }
        Ok(())
    }

    /// What counts for this sender.
    pub(super) fn quota(&self, name: &str) -> Quota {
        let own = self.names.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        let own = own.map(|(_, quota)| quota.clone()).unwrap_or_default();
        Quota {
            weight: own.weight,
            connections_max: own.connections_max.or(self.connections_max),
            events_per_second: own.events_per_second.or(self.events_per_second),
            bytes_per_second: own.bytes_per_second.or(self.bytes_per_second),
            message_max: own.message_max.or(self.message_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_work_is_named() {
        let check = |wrong: serde_json::Value| {
            let settings: Tenants = serde_json::from_value(wrong).unwrap();
            settings.check(("body_max", ByteSize::mib(8)))
        };
        for (wrong, named) in [
            (serde_json::json!({ "connections_max": 0 }), "tenants.connections_max"),
            (serde_json::json!({ "names": { "a": { "weight": 101 } } }), "tenants.names.a.weight"),
            (serde_json::json!({ "message_max": "9MiB" }), "tenants.message_max"),
        ] {
            assert_eq!(check(wrong).unwrap_err().setting, named);
        }
        assert!(check(serde_json::json!({ "message_max": "8MiB" })).is_ok());
    }
}
