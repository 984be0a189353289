//! Parts that an operator has stopped: sources and groups that stay stopped until they are started
//! by name, whatever the configuration contains.
//!
//! ```text
//!   POST /stop, /drain ─► file `held` ─► Parts::held ─► reload: not wanted, so it is stopped
//!   POST /start ────────► file `held` ─► Parts::held ─► reload: wanted again, so it is started
//!   a start of the agent ◄── file `held`
//! ```
//!
//! The file in the data directory is written before a part stops, so that no restart starts a
//! stopped part automatically:
//!
//! ```text
//! {"parts":{"groups.store":{"since_unix_ms":1764212411000,"by":"admin token"}}}
//! 5f0e91c2a1b3d4e6                                    xxh3 of the line above
//! ```
//!
//! A part that is removed from the configuration is forgotten.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use config::Plan;
use pipeline::Env;
use pipeline::env::{Disk, small_file, unix_millis};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::audit::Actor;
use crate::checked;
use crate::status::HeldStatus;

/// Its name.
const FILE: &str = "held";

/// A source or a group. It is shown as its place in the configuration: `sources.web`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
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
    fn parse(shown: &str) -> Option<Self> {
        let source = shown.strip_prefix("sources.").map(|name| Self::Source(name.into()));
        source.or_else(|| Some(Self::Group(shown.strip_prefix("groups.")?.into())))
    }

    /// Returns `true` if the configuration has it.
    pub(crate) fn is_in(&self, plan: &Plan) -> bool {
        match self {
            Self::Source(name) => plan.sources.iter().any(|it| *it.component.name == **name),
            Self::Group(name) => plan.groups.iter().any(|it| *it.name == **name),
        }
    }
}

/// Since when a part is stopped, and by which operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    since_unix_ms: u64,
    #[serde(flatten)]
    by: Actor,
    /// A drain has stopped it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) by_drain: bool,
}

impl Hold {
    /// From now on.
    pub(crate) fn new(env: &Env, by: &Actor, by_drain: bool) -> Self {
        Self { since_unix_ms: unix_millis(env.clock.now()), by: by.clone(), by_drain }
    }

    /// The time in seconds since 1970.
    pub(crate) fn since_unix_seconds(&self) -> f64 {
        self.since_unix_ms as f64 / 1_000.0
    }

    /// As it is shown.
    pub(crate) fn status(&self, part: &Part, env: &Env) -> HeldStatus {
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
pub(crate) type Holds = BTreeMap<Part, Hold>;

/// As all of them are shown.
pub(crate) fn shown(holds: &Holds, env: &Env) -> Vec<HeldStatus> {
    holds.iter().map(|(part, hold)| hold.status(part, env)).collect()
}

#[derive(Default, Serialize, Deserialize)]
struct Content {
    parts: BTreeMap<String, Hold>,
}

fn text(holds: &Holds) -> String {
    let parts = holds.iter().map(|(part, hold)| (part.to_string(), hold.clone())).collect();
    checked::text(&Content { parts })
}

impl Content {
    /// `None`: an entry does not name a part.
    fn holds(self) -> Option<Holds> {
        let parts = self.parts.into_iter();
        parts.map(|(part, hold)| Some((Part::parse(&part)?, hold))).collect()
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Holds>> {
    Ok(checked::read(disk, path)?.and_then(Content::holds))
}

/// Returns the parts of `plan` that were stopped before this process started.
pub(crate) fn load(plan: &Plan, env: &Env) -> Holds {
    let path = plan.agent.data_dir.join(FILE);
    let problem = match read(&*env.disk, &path) {
        Ok(Some(mut holds)) => {
            forget(&mut holds, plan);
            for part in holds.keys() {
                warn!(%part, "this part stays stopped, because an operator stopped it before the \
                              restart; start it with `aqueduct start`");
            }
            return holds;
        }
        Ok(None) => "the file is damaged".to_owned(),
        Err(error) => error.to_string(),
    };
    error!(
        path = %path.display(), problem,
        "cannot read which parts an operator has stopped; starting all parts; stop them again with \
         `aqueduct stop`",
    );
    Holds::new()
}

/// Forgets the parts that `plan` does not have.
pub(crate) fn forget(holds: &mut Holds, plan: &Plan) -> bool {
    let before = holds.len();
    holds.retain(|part, _| {
        let stays = part.is_in(plan);
        if !stays {
            warn!(%part, "this part is no longer configured; it will start if you configure it \
                          again, although an operator stopped it");
        }
        stays
    });
    holds.len() < before
}

/// Writes the file, durably.
///
/// # Errors
/// The disk failed; the old content stays.
pub(crate) async fn save(holds: &Holds, data_dir: &Path, env: &Env) -> io::Result<()> {
    let (path, text, disk) = (data_dir.join(FILE), text(holds), env.disk.clone());
    env.offload(move || small_file::replace(&*disk, &path, text.as_bytes())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(env: &Env) -> Holds {
        let by = Actor::new("admin token", Some("10.0.0.1:4711".into()));
        let hold = |by_drain| Hold::new(env, &by, by_drain);
        let parts = [Part::Source("a.b".into()), Part::Group("a.b".into())];
        parts.into_iter().zip([true, false].map(hold)).collect()
    }

    #[tokio::test]
    async fn held_parts_are_restored_and_damage_is_detected() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let path = dir.path().join(FILE);
        assert_eq!(read(&*env.disk, &path).unwrap(), Some(Holds::new()));
        let held = holds(&env);
        save(&held, dir.path(), &env).await.unwrap();
        assert_eq!(read(&*env.disk, &path).unwrap(), Some(held.clone()));
        let whole = text(&held);
        assert!(whole.contains(r#""groups.a.b":{"since_unix_ms""#), "{whole}");
        for cut in 0..whole.len() - 1 {
            let damaged = checked::parse(&whole.as_bytes()[..cut]).and_then(Content::holds);
            assert_eq!(damaged, None, "cut at {cut}");
        }
        let other = whole.replace("a.b", "a.c");
        assert_eq!(checked::parse(other.as_bytes()).and_then(Content::holds), None);
    }

    #[test]
    fn hold_shows_its_age_and_actor() {
        let env = env::real();
        let shown = shown(&holds(&env), &env);
        let by = "admin token at 10.0.0.1:4711";
        assert_eq!((&*shown[0].part, &*shown[0].by, shown[0].by_drain), ("sources.a.b", by, true));
        assert!((0.0..9.0).contains(&shown[0].since_seconds_ago), "{shown:?}");
    }
}
