//! The agents of the demo: real processes, with configurations that a user could write.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pipeline::settings::Settings;
use pipeline::{Account, Env};
use program::cli::{self, AgentArgs, CollectorArgs, Common, EdgeArgs, LogFormat};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::input;
use crate::metrics::Metrics;
use crate::{DemoError, Layout};

/// Files become visible after this time, so that the demo is short. A real store needs much more.
const ROLL_AGE: &str = "1s";

/// Time limit for the start of an agent, and for its stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent; dropping it kills the process.
pub struct Agent {
    /// Its name.
    pub name: &'static str,
    kind: &'static str,
    config: PathBuf,
    log: PathBuf,
    admin: String,
    child: Option<Child>,
}

/// The folder of a demo.
pub struct Folder {
    /// Its path.
    pub root: PathBuf,
    /// The disk that it is on.
    pub env: Env,
}

impl Folder {
    /// The directory of an agent's channel.
    pub(crate) fn channel(&self, name: &str) -> PathBuf {
        self.root.join("data").join(name).join("channels/main")
    }

    fn common(&self, name: &str, admin: &str) -> Common {
        Common {
            config: None,
            data_dir: Some(self.root.join("data").join(name)),
            name: Some(name.into()),
            admin: Some(admin.into()),
            // All connections stay on loopback.
            ca: None,
            certificate: None,
            key: None,
            insecure: false,
            log_format: LogFormat::Text,
            print_config: false,
        }
    }

    /// An edge that tails `patterns` and sends to `collectors`.
    pub(crate) fn edge(
        &self,
        patterns: &[String],
        collectors: &[String],
        admin: &str,
    ) -> Result<Agent, DemoError> {
        let common = self.common("edge", admin);
        let (tail, to) = (patterns.to_vec(), collectors.to_vec());
        let plan = self.plan(&EdgeArgs { tail, to, token_file: None, common })?;
        self.configured("edge", "edge", admin, &config::to_toml(&plan))
    }

    /// A collector that listens on `address`.
    pub(crate) fn collector(
        &self,
        name: &'static str,
        address: &str,
        admin: &str,
        layout: &dyn Layout,
    ) -> Result<Agent, DemoError> {
        let common = self.common(name, admin);
        let (listen, store) = (Some(address.into()), Some(store_url(layout, &self.root)));
        let mut plan = self.plan(&CollectorArgs { listen, store, tokens_file: None, common })?;
        let mut roll = Settings::empty();
        roll.set("age_max", Settings::text(ROLL_AGE));
        // A collector has one sink: the store.
        for sink in plan.groups.iter_mut().flat_map(|group| &mut group.sinks) {
            sink.settings.set("roll", roll.clone());
            for (name, value) in layout.settings(&self.root) {
                sink.settings.set(name, value);
            }
        }
        self.configured(name, "collector", admin, &config::to_toml(&plan))
    }

    /// The configuration behind the flags of an agent.
    fn plan<A: AgentArgs>(&self, args: &A) -> Result<config::Plan, DemoError> {
        let (plan, errors) = cli::plan(args, &self.env)?;
        config::ConfigErrors::check(errors)?;
        Ok(plan)
    }

    /// An agent with this configuration: the subcommand `kind` of the running program.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn configured(
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
    /// Starts the process, without waiting for it.
    ///
    /// # Errors
    /// The process or its log cannot be created.
    pub fn start(&mut self) -> Result<(), DemoError> {
        let failed = |source| DemoError::Start { name: self.name, source };
        let program = std::env::current_exe().map_err(failed)?;
        let log = open_log(&self.log).map_err(failed)?;
        let errors = log.try_clone().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg(self.kind).arg("--config").arg(&self.config);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        // A group of its own, so that Ctrl-C reaches only the demo, which stops its agents.
        command.process_group(0);
        self.child = Some(command.spawn().map_err(failed)?);
        Ok(())
    }

    /// Waits until the agent reports that it is ready.
    ///
    /// # Errors
    /// The agent exits, or is not ready in time.
    pub async fn ready(&mut self, env: &Env) -> Result<(), DemoError> {
        let since = Instant::now();
        while self.get(env, "/readyz").await.is_none() {
            self.must_run(env)?;
            if since.elapsed() > PATIENCE {
                return Err(DemoError::TooLong {
                    what: "starting an agent",
                    seconds: PATIENCE.as_secs(),
                });
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// A page of the agent, if it answers.
    async fn get(&self, env: &Env, page: &str) -> Option<String> {
        admin::page(env, &self.admin, page).await.ok()
    }

    /// The URL of its live page.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.admin)
    }

    /// The accounts of its channels.
    ///
    /// # Errors
    /// The agent does not answer.
    pub(crate) async fn accounts(&self, env: &Env) -> Result<Vec<Account>, DemoError> {
        let failed = |source| DemoError::Page { name: self.name, source };
        let text = admin::page(env, &self.admin, "/account").await.map_err(failed)?;
        Account::from_json(text.as_bytes()).map_err(|error| failed(io::Error::other(error)))
    }

    /// The metrics of the agent, if it answers.
    pub(crate) async fn metrics(&self, env: &Env) -> Option<Metrics> {
        self.child.as_ref()?;
        self.get(env, "/metrics").await.map(Metrics)
    }

    /// Checks that the process has not exited.
    ///
    /// # Errors
    /// It has exited.
    pub fn must_run(&mut self, env: &Env) -> Result<(), DemoError> {
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
    pub fn log_end(&self, env: &Env) -> String {
        input::read_end(env, &self.log)
    }

    /// Its process ID; 0 if it is stopped.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Kills the process (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if the process has exited.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends SIGTERM, and waits for the exit.
    ///
    /// # Errors
    /// The agent has exited before, or does not exit in time.
    pub async fn stop(&mut self, env: &Env) -> Result<(), DemoError> {
        self.must_run(env)?;
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It fails only if the process has exited.
            let _ = kill_process(pid, Signal::TERM);
        }
        let since = Instant::now();
        while let Some(child) = &mut self.child {
            if !matches!(child.try_wait(), Ok(None)) {
                self.child = None;
            } else if since.elapsed() > PATIENCE {
                return Err(DemoError::TooLong {
                    what: "stopping an agent",
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

/// Returns the URL of the store.
pub(crate) fn store_url(layout: &dyn Layout, root: &Path) -> String {
    format!("file://{}/{}", layout.files(root).display(), layout.folders())
}

/// Opens the log of a child process.
///
/// # Errors
/// The file cannot be created or written.
#[expect(clippy::disallowed_methods, reason = "a child writes to a file of the system")]
pub fn open_log(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().create(true).append(true).open(path)
}
