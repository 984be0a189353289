//! `aqueduct agent`: runs a Flume configuration unchanged, with the flags of `flume-ng agent`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ::agent::Draft;
use ::control::configuration::Reread;
use ::program::cli::{self, EXIT_USAGE, LogFormat};
use clap::Args;
use config::{ConfigError, ConfigErrors, Plan};
use flume::{Options, Outcome, Report};
use pipeline::Env;
use pipeline::settings::{Place, SettingsErrorKind};

use super::jvm::JvmArgs;
use super::monitoring::monitoring;
use super::{HostContext, translated};

const EXAMPLES: &str = "\
Examples:
  aqueduct agent -n a1 -f flume.conf
  aqueduct agent --conf conf --conf-file conf/flume.conf --name a1 -Dflume.root.logger=INFO,console
  aqueduct agent -n a1 -f flume.conf --default-fs hdfs://namenode:8020 --admin 127.0.0.1:9464
  aqueduct agent -n a1 -f flume.conf -Dflume.monitoring.type=http -Dflume.monitoring.port=41414
  aqueduct agent -n a1 -f flume.conf --classpath /opt/flume/lib:/opt/jars/etl.jar
  aqueduct agent -n a1 -f flume.conf --print-config

Differences from Flume are logged as warnings. If a key needs a decision, the agent does not start;
`aqueduct convert` lists these keys.

Exit codes: 0 stopped as asked, 1 failed while running, 2 wrong arguments, 78 wrong configuration";

/// Names of configuration files to look for in a directory.
const FILES: [&str; 2] = ["flume.conf", "flume-conf.properties"];

/// Run a configuration of Apache Flume as it is.
#[derive(Debug, Clone, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct FlumeAgentArgs {
    /// Name of the agent in the configuration
    #[arg(short, long, value_name = "AGENT")]
    name: String,

    /// Flume's configuration; of several a later one replaces keys of an earlier one
    /// [default: flume.conf or flume-conf.properties in the directory of --conf]
    #[arg(short = 'f', long, value_name = "FILE")]
    conf_file: Vec<PathBuf>,

    /// Directory of the configuration; flume-env.sh and log4j's files in it are not read
    #[arg(short, long, value_name = "DIR")]
    conf: Option<PathBuf>,

    /// A system property: used for ${sys:NAME}; flume.monitoring.type=http and
    /// flume.monitoring.port serve Flume's page of counters; others are ignored
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    defines: Vec<String>,

    /// Do not start if there is a key that Flume does not have
    #[arg(long)]
    strict: bool,

    /// Directory for channels and positions [default: ~/.aqueduct/AGENT]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Prefix of HDFS paths without a name node [default: fs.defaultFS of core-site.xml]
    #[arg(long, value_name = "URL")]
    default_fs: Option<String>,

    /// Serve /metrics, /livez and /readyz on this address [default: off]
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,

    /// Format of log lines; RUST_LOG=debug logs more
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,

    /// Print the translated configuration as one TOML file, and exit
    #[arg(long)]
    print_config: bool,

    #[command(flatten)]
    jvm: JvmArgs,

    /// The configuration is read again when SIGHUP or `aqueduct reload` asks for it
    #[arg(long, hide = true)]
    no_reload_conf: bool,

    /// The file is not polled
    #[arg(short = 'i', long, value_name = "SECONDS", hide = true)]
    poll_interval: Option<String>,

    /// Configurations in ZooKeeper are not read
    #[arg(short = 'z', long = "zkConnString", value_name = "HOSTS", hide = true)]
    zookeeper: Option<String>,

    /// Configurations behind a URL are not read
    #[arg(short = 'u', long, value_name = "URL", hide = true)]
    conf_uri: Option<String>,
}

/// Runs the agent.
pub(crate) fn run(args: &FlumeAgentArgs) -> ExitCode {
    let unread = [("-z", "ZooKeeper", &args.zookeeper), ("-u", "a URL", &args.conf_uri)];
    if let Some((flag, what, _)) = unread.iter().find(|(_, _, given)| given.is_some()) {
        let problem =
            format!("{flag}: cannot read a configuration from {what}; write it to a file");
        cli::print_line(&problem);
        return ExitCode::from(EXIT_USAGE);
    }
    let again = args.clone();
    let reread: Reread = Arc::new(move |env, _| Translated::from_args(&again, env)?.draft());
    let draft = |env: &Env| draft(args, env);
    cli::launch(args.log_format, args.print_config, catalogue::FULL, draft, Some(reread))
}

/// A translated Flume configuration.
struct Translated {
    report: Report,
    plan: Plan,
    /// Warning about Flume's counters page.
    warning: Option<String>,
    is_strict: bool,
}

/// Returns the plan, or everything that needs a decision. Logs differences from Flume.
fn draft(args: &FlumeAgentArgs, env: &Env) -> Result<Draft, ConfigErrors> {
    note_ignored(args);
    let translated = Translated::from_args(args, env)?;
    translated.log();
    translated.draft()
}

impl Translated {
    /// Reads and translates the configuration. Logs nothing.
    fn from_args(args: &FlumeAgentArgs, env: &Env) -> Result<Self, ConfigErrors> {
        let refused = |problem: String| {
            let place = Place { file: "command line".into(), ..Place::default() };
            let kind = SettingsErrorKind::Unreadable;
            ConfigErrors(vec![ConfigError { kind, place, path: String::new(), problem }])
        };
        let files = files(args, env).map_err(refused)?;
        let here = HostContext::new(env, &args.defines, true);
        let data_dir = match &args.data_dir {
            Some(directory) => directory.display().to_string(),
            None => {
                let home = flume::World::variable(&here, "HOME");
                let unset = || refused("HOME is not set: set it, or pass --data-dir".into());
                format!("{}/.aqueduct/{}", home.ok_or_else(unset)?, args.name)
            }
        };
        let monitoring = monitoring(&here).map_err(refused)?;
        let options = Options {
            agent: Some(args.name.clone()),
            data_dir,
            admin: args.admin.clone(),
            flume_metrics: monitoring.address,
            default_fs: args.default_fs.clone(),
            keep_references: false,
            jvm: args.jvm.jvm(args.conf.as_deref(), &here).map_err(refused)?,
        };
        let (conversion, plan) = translated(&files, &options, &here).map_err(refused)?;
        let (report, warning) = (conversion.report, monitoring.warning);
        Ok(Self { report, plan, warning, is_strict: args.strict })
    }

    fn log(&self) {
        if let Some(warning) = &self.warning {
            tracing::warn!("{warning}");
        }
        for outcome in [Outcome::Unknown, Outcome::Differs, Outcome::Advice] {
            let is_logged = |it: &&flume::Finding| !flume::is_plain_text(it);
            for finding in self.report.of(outcome).filter(is_logged) {
                let (place, key, text) = (&finding.place, &finding.key, &finding.text);
                tracing::warn!(%place, key, "{}: {text}", outcome.name());
            }
        }
    }

    /// Returns the plan, or everything that needs a decision.
    fn draft(self) -> Result<Draft, ConfigErrors> {
        let is_refused = |it: &&flume::Finding| {
            it.outcome == Outcome::Decision || (self.is_strict && it.outcome == Outcome::Unknown)
        };
        let errors = self.report.0.iter().filter(is_refused).map(|it| ConfigError {
            kind: SettingsErrorKind::Invalid,
            place: it.place.clone(),
            path: it.key.clone(),
            problem: it.text.clone(),
        });
        ConfigErrors::check(errors.collect())?;
        Ok((self.plan, Vec::new()))
    }
}

/// Logs the `flume-ng` flags that have no effect here.
fn note_ignored(args: &FlumeAgentArgs) {
    let named: Vec<&str> =
        [("--no-reload-conf", args.no_reload_conf), ("-i", args.poll_interval.is_some())]
            .iter()
            .filter(|(_, given)| *given)
            .map(|(flag, _)| *flag)
            .collect();
    if !named.is_empty() {
        tracing::info!(flags = named.join(" "), "these flags have no effect");
    }
    for define in &args.defines {
        let note = match define.split('=').next().unwrap_or_default() {
            "flume.root.logger" => "RUST_LOG selects what is logged",
            name if name.starts_with("flume.monitoring.") => continue,
            _ => "affects only references ${sys:…}",
        };
        tracing::info!(property = define.split('=').next(), "{note}");
    }
}

/// Finds the files of the configuration.
fn files(args: &FlumeAgentArgs, env: &Env) -> Result<Vec<PathBuf>, String> {
    if !args.conf_file.is_empty() {
        return Ok(args.conf_file.clone());
    }
    let Some(directory) = &args.conf else {
        return Err(
            "no configuration was given: pass its file with -f FILE, or its directory with -c DIR"
                .into(),
        );
    };
    let mut found = FILES.iter().map(|name| directory.join(name));
    let found = found.find(|path| env.disk.stat(path).is_ok());
    let shown = directory.display();
    let [first, second] = FILES;
    let missing =
        || format!("{shown} contains neither {first} nor {second}: pass the file with -f FILE");
    found.map(|file| vec![file]).ok_or_else(missing)
}
