//! The command line that the edge and the collector share: arguments → plan → a running agent.
//!
//! Flags are a short way to write a configuration: they become the same [`Settings`] that a file
//! would, and `--print-config` shows them.

mod collector;
mod edge;
mod health;
mod log_fields;
mod log_filter;
mod logging;
mod server;
mod startup;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Command, FromArgMatches};
use config::{CONFIG_BYTES_MAX, ConfigError, ConfigErrors, FileMode, Plan};
use pipeline::settings::{Place, Settings, SettingsErrorKind, Value};
use pipeline::{Catalogue, Env, SettingsError};

pub use collector::CollectorArgs;
pub use edge::EdgeArgs;
pub use logging::LogFormat;
pub use server::serve;
pub use startup::begin;

use health::HealthArgs;

use agent::{AgentError, Draft, checked};
use control::configuration::{Managed, Reread};
use control::fleet::files;
use support::causes::chain;

use crate::{RunError, Watch};

/// Something went wrong while running.
pub const EXIT_RUNTIME: u8 = 1;

/// Invalid command line; the same code as clap's.
pub const EXIT_USAGE: u8 = 2;

/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// The name of the flags in messages about them.
const FLAGS: &str = "command line";

/// Arguments of one kind of agent.
pub trait AgentArgs: Args + Clone + Send + Sync + 'static {
    /// Returns the arguments that both agents have.
    fn common(&self) -> &Common;

    /// The flags as a configuration, without its `agent` table. Asked for only without `--config`.
    fn settings(&self) -> Settings;
}

/// Arguments of both agents.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Configuration file: .toml, .yaml or .yml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Directory for channels and positions; one agent owns it
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub data_dir: Option<PathBuf>,

    /// Name of this agent [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Serve the live page, /metrics, /livez and /readyz on this address [default: off]
    #[arg(long, value_name = "HOST:PORT")]
    pub admin: Option<String>,

    /// TLS between the tiers: PEM file of the authority that signed the certificates of both sides
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub ca: Option<PathBuf>,

    /// TLS between the tiers: PEM file with the certificate of this agent
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "config")]
    pub certificate: Option<PathBuf>,

    /// TLS between the tiers: PEM file with the key of that certificate
    #[arg(long, value_name = "FILE", requires = "certificate", conflicts_with = "config")]
    pub key: Option<PathBuf>,

    /// Allow plain text over the network, for the addresses of these flags that have no TLS
    #[arg(long)]
    pub insecure: bool,

    /// Format of log lines; RUST_LOG=debug logs more
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// Print the configuration that these arguments mean, as one TOML file, and exit
    #[arg(long)]
    pub print_config: bool,
}

impl Common {
    /// Puts TLS between the tiers, with the authority as the setting `ca`, or that there is none on
    /// purpose, into the table of a component.
    fn secure(&self, component: &mut Settings, ca: &str) {
        let files = [("certificate", &self.certificate), ("key", &self.key), (ca, &self.ca)];
        let files = files.into_iter().filter_map(|(setting, file)| {
            Some((setting, Settings::text(file.as_ref()?.display().to_string())))
        });
        let files: Vec<_> = files.collect();
        if !files.is_empty() {
            component.set("tls", table(&files));
        } else if self.insecure {
            component.set("insecure", Settings::new(Value::Flag(true)));
        }
    }
}

/// Runs a program that is one agent: reads `arguments` (the program's name first), runs the agent,
/// and returns the exit code. `version` includes the commit.
pub fn main<A: AgentArgs>(
    name: &'static str,
    version: &'static str,
    arguments: impl IntoIterator<Item = OsString>,
    catalogue: Catalogue,
) -> ExitCode {
    let version = match begin(version) {
        Ok(version) => version,
        Err(code) => return code,
    };
    let matches = match program::<A>(name).version(version).try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    if let Some(matches) = matches.subcommand_matches(health::NAME) {
        return match HealthArgs::from_arg_matches(matches) {
            Ok(args) => health::run::<A>(name, &args, &env::real()),
            Err(error) => usage(&error),
        };
    }
    match A::from_arg_matches(&matches) {
        Ok(args) => execute(&args, catalogue),
        Err(error) => usage(&error),
    }
}

/// The command line of a program that is one agent.
pub fn program<A: AgentArgs>(name: &'static str) -> Command {
    let command = A::augment_args(Command::new(name)).subcommand(HealthArgs::command());
    command.args_conflicts_with_subcommands(true).subcommand_negates_reqs(true)
}

/// The agents as subcommands of `aqueduct`: their examples call them so.
pub fn as_subcommands(program: Command) -> Command {
    let called = |examples: &str, name: &str| {
        examples.replace(&format!("aqueduct-{name} "), &format!("aqueduct {name} "))
    };
    let (edge, collector) =
        (called(edge::EXAMPLES, "edge"), called(collector::EXAMPLES, "collector"));
    let program = program.mut_subcommand("edge", |it| it.after_help(edge));
    program.mut_subcommand("collector", |it| it.after_help(collector))
}

/// Prints clap's message: help and version are not failures.
pub fn usage(error: &clap::Error) -> ExitCode {
    // There is no other place to report that printing failed.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE))
}

/// Runs an agent, or prints its configuration, depending on the arguments.
pub fn execute<A: AgentArgs>(args: &A, catalogue: Catalogue) -> ExitCode {
    let common = args.common();
    let again = args.clone();
    let reread: Reread = Arc::new(move |env, managed| plan_with(&again, managed, env));
    let reread = common.config.is_some().then_some(reread);
    let draft = |env: &Env| plan(args, env);
    launch(common.log_format, common.print_config, catalogue, draft, reread)
}

/// Runs the agent of a draft, or prints its configuration. The draft is made after the log has
/// started. `reread` makes it again, without logging.
pub fn launch(
    log_format: LogFormat,
    print_config: bool,
    catalogue: Catalogue,
    draft: impl FnOnce(&Env) -> Result<Draft, ConfigErrors>,
    reread: Option<Reread>,
) -> ExitCode {
    in_process(log_format, |env| {
        let (plan, _) = match draft(env).and_then(|drafted| checked(drafted, catalogue, env)) {
            Ok(checked) => checked,
            Err(errors) => return print_errors(&errors),
        };
        if print_config {
            return print(&config::to_toml(&config::redacted(&plan, catalogue)));
        }
        close_to_others(&plan);
        work(crate::run(plan, catalogue, env.clone(), reread))
    })
}

/// Runs the agent of a plan for work that has an end, which `watch` detects. Then `ended` receives
/// the result of the agent and returns the exit code. Success only means that the agent has stopped
/// in order, and not that the work has succeeded.
pub fn launch_watched(
    plan: Plan,
    catalogue: Catalogue,
    watch: Watch<'_>,
    ended: impl FnOnce(ExitCode) -> ExitCode,
) -> ExitCode {
    in_process(LogFormat::Text, |env| {
        close_to_others(&plan);
        ended(work(crate::run_watched(plan, catalogue, env.clone(), watch)))
    })
}

/// Runs `work` while the log is running.
fn in_process(log_format: LogFormat, work: impl FnOnce(&Env) -> ExitCode) -> ExitCode {
    // Must run before a second thread exists.
    let raised = env::raise_file_limit();
    // Dropped last: it waits for the last lines.
    let _log = match logging::start(log_format) {
        Ok(log) => log,
        Err(problem) => {
            print_line(&problem);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files, so opening files or \
                                connections may fail; raise it with `ulimit -n` or `LimitNOFILE=`");
    }
    work(&env::real())
}

/// Applies settings of the process before it creates a file or reads a key.
fn close_to_others(plan: &Plan) {
    if plan.agent.file_mode == FileMode::Owner {
        env::keep_files_to_owner();
    }
    if !plan.agent.core_dumps
        && let Err(error) = env::forbid_core_dumps()
    {
        tracing::warn!(%error, "cannot disable core dumps, which may contain secrets: disable them \
                                with `ulimit -c 0` or `LimitCORE=0`");
    }
}

/// Runs an agent to its end.
fn work(run: impl Future<Output = Result<(), RunError>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print_line(&format!(
                "cannot start the threads of the agent: {error}; raise the limit of processes \
                 (`ulimit -u`, TasksMax= of systemd)"
            ));
            return ExitCode::from(EXIT_RUNTIME);
        }
    };
    match runtime.block_on(Box::pin(run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(RunError::Agent(AgentError::Config(errors))) => print_errors(&errors),
        Err(error) => {
            tracing::error!(
                error = chain(&error),
                "the agent has stopped because of `error`; fix it and start the agent again"
            );
            // Blocking work may hang on a dead disk; the process must end anyway.
            runtime.shutdown_background();
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// The plan that the arguments mean: a file, or the flags, with the flags of [`Common`] over it.
///
/// # Errors
/// The file cannot be read, or is not of its format.
pub fn plan<A: AgentArgs>(args: &A, env: &Env) -> Result<Draft, ConfigErrors> {
    plan_with(args, Managed::InForce, env)
}

fn plan_with<A: AgentArgs>(args: &A, managed: Managed, env: &Env) -> Result<Draft, ConfigErrors> {
    let common = args.common();
    let (file, mut settings) = match &common.config {
        Some(path) => (path.display().to_string(), read(path, env)?),
        None => (FLAGS.to_owned(), args.settings()),
    };
    // A root that is no table is refused below.
    let is_table = matches!(settings.value, Value::Table(_));
    let overrides = [
        ("name", common.name.clone()),
        ("data_dir", common.data_dir.as_ref().map(|dir| dir.display().to_string())),
        ("admin", common.admin.clone()),
    ];
    for (key, value) in overrides {
        if let Some(value) = value.filter(|_| is_table) {
            set_agent(&mut settings, key, Settings::text(value));
        }
    }
    // With a file, the flag applies only to `--admin`; without `--admin` it is rejected.
    if common.insecure && is_table && (common.admin.is_some() || common.config.is_some()) {
        set_agent(&mut settings, "insecure", Settings::new(Value::Flag(true)));
    }
    if let Some(path) = files::path(&settings, managed, env) {
        config::merge_file(&mut settings, &path, &["agent"], env)?;
    }
    Ok(config::examine(&file, settings, &env.host))
}

/// Reads the settings in a file, and in the files that it includes.
///
/// # Errors
/// A file cannot be read or has an invalid format, or a reference cannot be resolved.
pub fn read(path: &Path, env: &Env) -> Result<Settings, ConfigErrors> {
    config::read_file(path, env)
}

/// Reads settings from standard input; `format` is an extension. Includes are relative to `.`.
///
/// # Errors
/// It cannot be read, has an invalid format, or a reference cannot be resolved.
pub fn read_stdin(format: &str, env: &Env) -> Result<Settings, ConfigErrors> {
    let refused = |problem: String| {
        let error = SettingsError::new(SettingsErrorKind::Unreadable, Place::default(), problem);
        ConfigError::at("-", "", error)
    };
    let mut text = String::new();
    let most = CONFIG_BYTES_MAX + 1;
    let read = io::stdin().lock().take(most).read_to_string(&mut text);
    read.map_err(|error| refused(format!("standard input cannot be read: {error}; pass a file")))?;
    if text.len() as u64 == most {
        let problem = format!("a configuration must have at most {CONFIG_BYTES_MAX} bytes");
        return Err(refused(problem).into());
    }
    config::read_text("-", &Path::new("-").with_extension(format), &text, env)
}

/// Sets a key of the table `agent`, and creates the table if necessary. A flag has no place.
fn set_agent(settings: &mut Settings, key: &str, value: Settings) {
    let mut agent = settings.take("agent").unwrap_or_else(Settings::empty);
    if matches!(agent.value, Value::Table(_)) {
        agent.set(key, value);
    }
    settings.set("agent", agent);
}

/// Prints the problems of a configuration.
pub fn print_errors(errors: &ConfigErrors) -> ExitCode {
    print_line(&errors.to_string());
    ExitCode::from(EXIT_CONFIG)
}

/// Prints to standard output, which may be closed.
pub fn print(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_RUNTIME),
    }
}

/// Prints a line for people to standard error.
pub fn print_line(text: &str) {
    let line = format!("{text}\n");
    match agent::stderr::lines() {
        Some(lines) => lines.push(line.as_bytes()),
        // It may be closed.
        None => drop(io::stderr().lock().write_all(line.as_bytes())),
    }
}

/// Creates a component's table from flags.
fn component(kind: &str, settings: &[(&str, Settings)]) -> Settings {
    let mut table = table(&[("type", Settings::text(kind))]);
    for (name, value) in settings {
        table.set(name, value.clone());
    }
    table
}

fn table(entries: &[(&str, Settings)]) -> Settings {
    let mut table = Settings::empty();
    for (name, value) in entries {
        table.set(name, value.clone());
    }
    table
}

fn texts<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Settings {
    Settings::list(items.into_iter().map(|item| Settings::text(item.as_ref())))
}

#[cfg(test)]
mod tests;
