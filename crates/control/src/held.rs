//! The file of the parts that an operator has stopped.
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
use std::io;
use std::path::Path;

use agent::checked;
use agent::held::{Hold, Holds, Part};
use config::Plan;
use pipeline::Env;
use pipeline::env::{Disk, small_file};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

/// Its name.
const FILE: &str = "held";

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
pub fn load(plan: &Plan, env: &Env) -> Holds {
    let path = plan.agent.data_dir.join(FILE);
    let problem = match read(&*env.disk, &path) {
        Ok(Some(mut holds)) => {
            forget(&mut holds, plan);
            for part in holds.keys() {
                let target = match part {
                    Part::Source(name) => format!("--source {name}"),
                    Part::Group(name) => format!("--group {name}"),
                };
                let start = command("start", plan, &target);
                warn!(%part, "this part stays stopped, because an operator stopped it before the \
                              restart; start it with `{start}`");
            }
            return holds;
        }
        Ok(None) => "the file is damaged".to_owned(),
        Err(error) => error.to_string(),
    };
    let stop = command("stop", plan, "--source NAME");
    error!(
        path = %path.display(), problem,
        "cannot read which parts an operator has stopped; starting all parts; stop a part again \
         with `{stop}` (or `--group NAME`)",
    );
    Holds::new()
}

/// `` aqueduct start 127.0.0.1:9464 --source web ``: a command for the admin address of this agent.
pub(crate) fn command(name: &str, plan: &Plan, target: &str) -> String {
    let scheme = if plan.agent.admin_tls.is_some() { "https://" } else { "" };
    let address = plan.agent.admin.as_deref().unwrap_or("ADDRESS");
    let space = if target.is_empty() { "" } else { " " };
    format!("aqueduct {name} {scheme}{address}{space}{target}")
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
    use agent::actor::Actor;

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
}
