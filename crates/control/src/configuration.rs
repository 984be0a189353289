//! The running configuration, and the comparison with its file.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use config::{ConfigErrors, Plan};
use pipeline::{Catalogue, Env};
use serde::Serialize;

use agent::status::{Cause, Finding, Level};
use agent::{Draft, checked};

/// Problems that are listed.
const PROBLEMS_MAX: usize = 20;

/// The text of a fleet server that is read with the agent's own file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Managed {
    /// The one in force, if there is one.
    InForce,
    /// The one that the server offers.
    Offered,
}

/// Reads the configuration again, as it was read at the start. Blocks.
pub type Reread = Arc<dyn Fn(&Env, Managed) -> Result<Draft, ConfigErrors> + Send + Sync>;

/// The running configuration, and its source.
pub struct Configuration {
    plan: RwLock<Arc<Plan>>,
    /// The components that a changed plan may use.
    pub catalogue: Catalogue,
    /// `None`: there is no file that could have changed.
    pub reread: Option<Reread>,
}

/// The contents of the page.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// The file as it was named, or `command line`.
    file: String,
    /// The running configuration as TOML, without secrets.
    running: String,
    /// The current state of the file.
    on_disk: OnDisk,
}

/// The current state of a file.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
enum OnDisk {
    /// There is no file.
    None,
    /// It equals the running configuration.
    Same,
    /// Something else, which is right.
    Differs {
        /// Dotted names of the differences: `sources.in`, `agent`.
        changed: Vec<String>,
    },
    /// It cannot be read, or is invalid.
    Wrong {
        /// Each with its place; at most 20.
        problems: Vec<String>,
    },
}

impl Compared {
    /// Returns the finding about the file, if any.
    pub fn finding(&self) -> Option<Finding> {
        let (level, what, more) = match &self.on_disk {
            OnDisk::None | OnDisk::Same => return None,
            OnDisk::Differs { changed } => {
                (Level::Note, "differs from the running configuration", changed.join(", "))
            }
            OnDisk::Wrong { problems } => {
                let first = problems.first().cloned().unwrap_or_default();
                (Level::Warn, "is invalid: the next start would fail", first)
            }
        };
        let brief = format!("the configuration file {what}");
        Some(Finding::new((level, Cause::Configuration), "configuration", brief, &more))
    }
}

impl Configuration {
    /// Creates the state for a plan that is about to run.
    pub fn new(plan: Plan, catalogue: Catalogue, reread: Option<Reread>) -> Self {
        Self { plan: RwLock::new(Arc::new(plan)), catalogue, reread }
    }

    /// Returns the running plan.
    pub fn plan(&self) -> Arc<Plan> {
        // Each change is whole.
        self.plan.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another plan runs from now on.
    pub fn exchange(&self, plan: Plan) {
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plan);
    }

    /// Compares the running configuration with its file. Reads and checks the file.
    pub async fn compared(&self, env: &Env) -> Compared {
        let plan = self.plan();
        let on_disk = match self.reread.clone() {
            None => OnDisk::None,
            Some(reread) => {
                let (catalogue, running, world) = (self.catalogue, plan.clone(), env.clone());
                env.offload(move || compare(&running, &reread, catalogue, &world)).await
            }
        };
        let running = config::to_toml(&config::redacted(&plan, self.catalogue));
        Compared { file: plan.file.clone(), running, on_disk }
    }
}

fn compare(running: &Plan, reread: &Reread, catalogue: Catalogue, env: &Env) -> OnDisk {
    match reread(env, Managed::InForce).and_then(|draft| checked(draft, catalogue, env)) {
        Ok((plan, _)) => {
            let changed = changed(running, &plan);
            if changed.is_empty() { OnDisk::Same } else { OnDisk::Differs { changed } }
        }
        Err(errors) => {
            let problems = errors.0.iter().take(PROBLEMS_MAX).map(ToString::to_string);
            OnDisk::Wrong { problems: problems.collect() }
        }
    }
}

/// Returns the dotted names of the differences.
fn changed(one: &Plan, other: &Plan) -> Vec<String> {
    let digests = |plan: &Plan| {
        let sources = plan.sources.iter();
        let sources = sources.map(|it| (format!("sources.{}", it.component.name), it.digest()));
        let channels = plan.channels.iter();
        let channels = channels.map(|it| (format!("channels.{}", it.component.name), it.digest()));
        let groups = plan.groups.iter().map(|it| (it.processor.path.clone(), it.digest()));
        sources.chain(channels).chain(groups).collect::<BTreeMap<String, u64>>()
    };
    let (before, after) = (digests(one), digests(other));
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let mut changed: Vec<String> =
        names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect();
    for (name, differs) in [
        ("agent", one.agent != other.agent),
        ("dead_letters", one.dead_letters != other.dead_letters),
    ] {
        if differs {
            changed.push(name.to_owned());
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    //! Method: a file that is changed under a configuration made of it.
    #![allow(clippy::disallowed_methods, reason = "the test is the operator that changes the file")]

    use std::fs;
    use std::path::Path;

    use catalogue::FULL;

    use super::*;

    const TEXT: &str = r#"
[agent]
data_dir = "/nowhere"
admin = "127.0.0.1:9464"
admin_token = "hunter2-hunter2-hunter2"
[sources.in]
type = "sequence"
channels = ["main"]
[channels.main]
type = "memory"
capacity = "1MiB"
[sinks.out]
type = "logger"
channel = "main"
"#;

    fn read(path: &Path) -> Configuration {
        let path = path.to_owned();
        let reread: Reread = Arc::new(move |env: &Env, _| {
            let settings = config::read_file(&path, env)?;
            Ok(config::examine("a.toml", settings, "host"))
        });
        let (plan, errors) = reread(&env::real(), Managed::InForce).unwrap();
        assert!(errors.is_empty(), "{errors:?}");
        Configuration::new(plan, FULL, Some(reread))
    }

    #[tokio::test]
    async fn file_is_compared_name_by_name_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        fs::write(&path, TEXT).unwrap();
        let configuration = read(&path);
        let env = env::real();
        let now = |text: String| {
            fs::write(&path, text).unwrap();
            configuration.compared(&env)
        };
        let same = now(format!("# A comment\n{TEXT}")).await;
        assert_eq!((&same.on_disk, same.finding()), (&OnDisk::Same, None));
        let shown = serde_json::to_string(&same).unwrap();
        assert!(!shown.contains("hunter2") && shown.contains("admin_token"), "{shown}");
        let differs = |names: &[&str]| OnDisk::Differs {
            changed: names.iter().map(|&name| name.to_owned()).collect(),
        };
        for (from, to, names) in [
            ("1MiB", "2MiB", &["channels.main"][..]),
            ("[sinks.out]", "[sinks.other]", &["sinks.out", "sinks.other"]),
            ("hunter2-hunter2-hunter2", "hunter3-hunter3-hunter3", &["agent"]),
            ("\"sequence\"", "\"sequence\"\ncount = 5", &["sources.in"]),
        ] {
            let changed = now(TEXT.replace(from, to)).await;
            assert_eq!(changed.on_disk, differs(names), "{to}");
            let trouble = changed.finding().unwrap();
            assert!(trouble.level == Level::Note && trouble.text.contains(names[0]), "{trouble:?}");
        }
        let wrong = now(TEXT.replace("\"memory\"", "\"memori\"")).await;
        assert_eq!(wrong.finding().unwrap().level, Level::Warn);
        let OnDisk::Wrong { problems } = wrong.on_disk else { panic!("{wrong:?}") };
        assert!(problems[0].contains("a.toml:10:8: channels.main.type: "), "{problems:?}");
        fs::remove_file(&path).unwrap();
        let gone = configuration.compared(&env::real()).await;
        assert!(matches!(gone.on_disk, OnDisk::Wrong { .. }), "{gone:?}");
    }
}
