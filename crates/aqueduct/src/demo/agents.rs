//! The agents of the demo: real processes with configurations that a user could have written.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agent::cli::{self, AgentArgs, CollectorArgs, Common, EdgeArgs, LogFormat};
use pipeline::Env;
use pipeline::settings::Settings;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::DemoError;
use super::input;
use super::metrics::Metrics;
use crate::admin::{Access, Admin};

/// Files become visible this soon, so that the demo is over soon; far too small for a real store.
const ROLL_AGE: &str = "1s";

/// Agents have this long to become ready, and to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// One agent: killed with its owner.
pub(super) struct Agent {
    pub(super) name: &'static str,
    kind: &'static str,
    config: PathBuf,
    log: PathBuf,
    admin: String,
    child: Option<Child>,
}

/// Where everything of a demo lies.
pub(super) struct Folder {
    pub(super) root: PathBuf,
    pub(super) env: Env,
}

impl Folder {
    pub(super) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// The URL of the store.
    pub(super) fn store_url(&self) -> String {
        format!("file://{}/%Y-%m-%d", self.store().display())
    }

    /// Where the channel of an agent lies.
    pub(super) fn channel(&self, name: &str) -> PathBuf {
        self.root.join("data").join(name).join("channels/main")
    }

    fn common(&self, name: &str, admin: &str) -> Common {
        Common {
            config: None,
            data_dir: Some(self.root.join("data").join(name)),
            name: Some(name.into()),
            admin: Some(admin.into()),
            // Everything is on this host.
            ca: None,
            certificate: None,
            key: None,
            insecure: false,
            log_format: LogFormat::Text,
            print_config: false,
        }
    }

    /// An edge that tails `patterns` and sends to `collectors`.
    pub(super) fn edge(
        &self,
        patterns: &[String],
        collectors: &[String],
        admin: &str,
    ) -> Result<Agent, DemoError> {
        let common = self.common("edge", admin);
        let args =
            EdgeArgs { tail: patterns.to_vec(), to: collectors.to_vec(), token_file: None, common };
        self.agent("edge", "edge", admin, &args)
    }

    /// A collector that listens on `address`.
    pub(super) fn collector(
        &self,
        name: &'static str,
        address: &str,
        admin: &str,
    ) -> Result<Agent, DemoError> {
        let common = self.common(name, admin);
        let store = Some(self.store_url());
        let args = CollectorArgs { listen: Some(address.into()), store, tokens_file: None, common };
        self.agent(name, "collector", admin, &args)
    }

    /// Writes the configuration that the flags mean, with files that become visible soon.
    fn agent<A: AgentArgs>(
        &self,
        name: &'static str,
        kind: &'static str,
        admin: &str,
        args: &A,
    ) -> Result<Agent, DemoError> {
        let (mut plan, errors) = cli::plan(args, &self.env)?;
        config::ConfigErrors::check(errors)?;
        for sink in plan.groups.iter_mut().flat_map(|group| &mut group.sinks) {
            if sink.kind == "hdfs" {
                let mut roll = Settings::empty();
                roll.set("age_max", Settings::text(ROLL_AGE));
                sink.settings.set("roll", roll);
            }
        }
        self.configured(name, kind, admin, &config::to_toml(&plan))
    }

    /// An agent of this kind with a configuration.
    pub(super) fn configured(
        &self,
        name: &'static str,
        kind: &'static str,
        admin: &str,
        text: &str,
    ) -> Result<Agent, DemoError> {
        let config = self.root.join(format!("{name}.toml"));
        input::write(&self.env, &config, text.as_bytes())?;
        let log = self.root.join(format!("{name}.log"));
        Ok(Agent { name, kind, config, log, admin: admin.into(), child: None })
    }
}

impl Agent {
    /// Starts the process; it is not ready yet.
    pub(super) fn start(&mut self) -> Result<(), DemoError> {
        let failed = |source| DemoError::Start { name: self.name, source };
        let program = std::env::current_exe().map_err(failed)?;
        let log = open_log(&self.log).map_err(failed)?;
        let errors = log.try_clone().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg(self.kind).arg("--config").arg(&self.config);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        // Its own group: Ctrl-C is for the demo, which ends its agents itself.
        command.process_group(0);
        self.child = Some(command.spawn().map_err(failed)?);
        Ok(())
    }

    /// Waits until the agent answers that it is ready.
    pub(super) async fn ready(&mut self, env: &Env) -> Result<(), DemoError> {
        let since = Instant::now();
        while self.get(env, "/readyz").await.is_none() {
            self.must_run(env)?;
            if since.elapsed() > PATIENCE {
                return Err(DemoError::TooLong {
                    what: "the start of an agent",
                    seconds: PATIENCE.as_secs(),
                });
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// A page of the agent, if it answers.
    async fn get(&self, env: &Env, page: &str) -> Option<String> {
        Admin::new(env, &self.admin, &Access::default()).ok()?.get(page).await.ok()
    }

    /// What the agent counts now, if it answers.
    pub(super) async fn metrics(&self, env: &Env) -> Option<Metrics> {
        self.child.as_ref()?;
        self.get(env, "/metrics").await.map(Metrics)
    }

    /// An error if it has ended by itself.
    pub(super) fn must_run(&mut self, env: &Env) -> Result<(), DemoError> {
        let ended = match &mut self.child {
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => false,
        };
        if ended {
            return Err(DemoError::Ended { name: self.name, log: self.log_end(env) });
        }
        Ok(())
    }

    /// The last lines of its log.
    pub(super) fn log_end(&self, env: &Env) -> String {
        input::read_end(env, &self.log)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Kills it with -9.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to stop, and waits until it has.
    pub(super) async fn stop(&mut self, env: &Env) -> Result<(), DemoError> {
        self.must_run(env)?;
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It fails only when the process is gone already.
            let _ = kill_process(pid, Signal::TERM);
        }
        let since = Instant::now();
        while let Some(child) = &mut self.child {
            if !matches!(child.try_wait(), Ok(None)) {
                self.child = None;
            } else if since.elapsed() > PATIENCE {
                return Err(DemoError::TooLong {
                    what: "the stop of an agent",
                    seconds: PATIENCE.as_secs(),
                });
            } else {
                sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

#[expect(clippy::disallowed_methods, reason = "a child writes to a file of the system")]
pub(super) fn open_log(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().create(true).append(true).open(path)
}
