//! Parts that an operator has stopped: sources and groups that stay stopped until they are started
//! by name, whatever the configuration contains.
//!
//! ```text
//!   POST /stop, /drain ─► file `held` ─► Parts::held ─► reload: not wanted, so it is stopped
//!   POST /start ────────► file `held` ─► Parts::held ─► reload: wanted again, so it is started
//!   a start of the agent ◄── file `held`
//! ```
//!
//! The crate `control` keeps the file, and starts and stops the parts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use config::Plan;
use pipeline::Env;
use pipeline::env::unix_millis;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::status::HeldStatus;

/// A source or a group. It is shown as its place in the configuration: `sources.web`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Receives events.
    Source(Arc<str>),
    /// Delivers events.
    Group(Arc<str>),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(name) => write!(f, "sources.{name}"),
            Self::Group(name) => write!(f, "groups.{name}"),
        }
    }
}

impl Part {
    /// Parses the place of a part in the configuration.
    pub fn parse(shown: &str) -> Option<Self> {
        let source = shown.strip_prefix("sources.").map(|name| Self::Source(name.into()));
        source.or_else(|| Some(Self::Group(shown.strip_prefix("groups.")?.into())))
    }

    /// Returns `true` if the configuration has it.
    pub fn is_in(&self, plan: &Plan) -> bool {
        match self {
            Self::Source(name) => plan.sources.iter().any(|it| *it.component.name == **name),
            Self::Group(name) => plan.groups.iter().any(|it| *it.name == **name),
        }
    }
}

/// Since when a part is stopped, and by which operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    since_unix_ms: u64,
    #[serde(flatten)]
    by: Actor,
    /// A drain has stopped it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_drain: bool,
}

impl Hold {
    /// From now on.
    pub fn new(env: &Env, by: &Actor, by_drain: bool) -> Self {
        Self { since_unix_ms: unix_millis(env.clock.now()), by: by.clone(), by_drain }
    }

    /// The time in seconds since 1970.
    pub fn since_unix_seconds(&self) -> f64 {
        self.since_unix_ms as f64 / 1_000.0
    }

    /// As it is shown.
    pub fn status(&self, part: &Part, env: &Env) -> HeldStatus {
        let since = UNIX_EPOCH + Duration::from_millis(self.since_unix_ms);
        let lasts = env.clock.now().duration_since(since).unwrap_or_default();
        HeldStatus {
            part: part.to_string(),
            since_seconds_ago: lasts.as_secs_f64(),
            by: self.by.to_string(),
            by_drain: self.by_drain,
        }
    }
}

/// The parts that are stopped.
pub type Holds = BTreeMap<Part, Hold>;

/// As all of them are shown.
pub fn shown(holds: &Holds, env: &Env) -> Vec<HeldStatus> {
    holds.iter().map(|(part, hold)| hold.status(part, env)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_shows_its_age_and_actor() {
        let env = env::real();
        let by = Actor::new("admin token", Some("10.0.0.1:4711".into()));
        let hold = Hold::new(&env, &by, true);
        let shown = shown(&[(Part::Source("a.b".into()), hold)].into(), &env);
        let by = "admin token at 10.0.0.1:4711";
        assert_eq!((&*shown[0].part, &*shown[0].by, shown[0].by_drain), ("sources.a.b", by, true));
        assert!((0.0..9.0).contains(&shown[0].since_seconds_ago), "{shown:?}");
    }
}
