//! `aqueduct convert`: translates a Flume configuration and reports the result for each key.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::program::cli::{self, EXIT_RUNTIME};
use clap::Args;
#[cfg(all(feature = "hdfs", feature = "sql"))]
use clap::Subcommand;
use flume::{Options, Outcome, Report};
use pipeline::Env;
use pipeline::env::OpenMode;

use super::jvm::JvmArgs;
use super::monitoring::monitoring;
use super::{EXIT_CONVERT_USAGE, HostContext, translated};

/// Exit code: something needs a decision.
pub(super) const EXIT_DECISION: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  aqueduct convert flume.conf > aqueduct.toml
  aqueduct convert -n a1 --report report.txt flume.conf > a1.toml
  aqueduct convert -n a1 --json --report report.json common.conf a1.conf > a1.toml
  aqueduct convert --default-fs hdfs://namenode:8020 flume.conf > collector.toml
  aqueduct convert --classpath /opt/flume/lib:/opt/jars/etl.jar flume.conf > own-classes.toml
  aqueduct convert sqoop /etc/cron.daily/import-orders > orders.toml

The configuration goes to standard output, the report to standard error. Nothing is started.

Exit codes: 0 translated, 1 not translated, 2 translated and something needs a decision,
64 wrong arguments";

/// Translate a configuration of Apache Flume, and report the result for each key.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct ConvertArgs {
    #[cfg(all(feature = "hdfs", feature = "sql"))]
    #[command(subcommand)]
    of: Option<Input>,

    /// Flume's configuration; of several a later one replaces keys of an earlier one
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// The agent to translate [default: the only one]
    #[arg(short, long, value_name = "AGENT")]
    name: Option<String>,

    /// Translate nothing if there is a key that Flume does not have
    #[arg(long)]
    strict: bool,

    /// Write the report into this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Write the report as JSON: outcome, file, line, key and text of each finding
    #[arg(long)]
    json: bool,

    /// Data directory of the agent
    #[arg(long, value_name = "DIR", default_value = "/var/lib/aqueduct")]
    data_dir: String,

    /// Prefix of HDFS paths without a name node [default: fs.defaultFS of core-site.xml]
    #[arg(long, value_name = "URL")]
    default_fs: Option<String>,

    /// Serve /metrics and /status on this address [default: off]
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,

    /// A system property that the configuration refers to as ${sys:NAME};
    /// flume.monitoring.type=http and flume.monitoring.port set `flume_metrics`
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    defines: Vec<String>,

    #[command(flatten)]
    jvm: JvmArgs,
}

/// What is translated in the place of a configuration of Flume.
#[cfg(all(feature = "hdfs", feature = "sql"))]
#[derive(Debug, Subcommand)]
enum Input {
    Sqoop(super::sqoop::SqoopArgs),
}

/// Prints the translation and its report.
pub(crate) fn convert(args: &ConvertArgs) -> ExitCode {
    #[cfg(all(feature = "hdfs", feature = "sql"))]
    if let Some(Input::Sqoop(args)) = &args.of {
        return super::sqoop::convert(args);
    }
    let env = env::real();
    let here = HostContext::new(&env, &args.defines, false);
    let monitoring = match monitoring(&here) {
        Ok(monitoring) => monitoring,
        Err(problem) => {
            cli::print_line(&problem);
            return ExitCode::from(EXIT_CONVERT_USAGE);
        }
    };
    if let Some(warning) = &monitoring.warning {
        cli::print_line(warning);
    }
    let jvm = match args.jvm.jvm(None, &here) {
        Ok(jvm) => jvm,
        Err(problem) => {
            cli::print_line(&problem);
            return ExitCode::from(EXIT_CONVERT_USAGE);
        }
    };
    let options = Options {
        agent: args.name.clone(),
        data_dir: args.data_dir.clone(),
        admin: args.admin.clone(),
        flume_metrics: monitoring.address,
        default_fs: args.default_fs.clone(),
        keep_references: true,
        jvm,
    };
    let (conversion, plan) = match translated(&args.files, &options, &here) {
        Ok(translated) => translated,
        Err(problem) => {
            cli::print_line(&problem);
            return ExitCode::from(EXIT_RUNTIME);
        }
    };
    if let Err(problem) = write_report(&conversion.report, args, &env) {
        cli::print_line(&problem);
        return ExitCode::from(EXIT_RUNTIME);
    }
    if args.strict && conversion.report.has(Outcome::Unknown) {
        cli::print_line(
            "not translated: with --strict each key must be a key of Flume; correct or remove the \
             keys under `unknown key` above",
        );
        return ExitCode::from(EXIT_RUNTIME);
    }
    if cli::print(&config::to_toml(&plan)) != ExitCode::SUCCESS {
        return ExitCode::from(EXIT_RUNTIME);
    }
    match conversion.report.has(Outcome::Decision) {
        true => ExitCode::from(EXIT_DECISION),
        false => ExitCode::SUCCESS,
    }
}

/// Writes the report to the requested place.
fn write_report(report: &Report, args: &ConvertArgs, env: &Env) -> Result<(), String> {
    let text = match args.json {
        true => {
            let json = serde_json::to_string_pretty(&report.lines());
            json.map_err(|error| {
                format!(
                    "cannot write the report: {error}; pass a file in a directory that you may \
                     write to as --report"
                )
            })? + "\n"
        }
        false => report.to_string(),
    };
    match &args.report {
        None => cli::print_line(text.trim_end()),
        Some(path) => {
            let cannot = |error| {
                format!(
                    "cannot write {}: {error}; pass a file in a directory that you may write to as \
                     --report",
                    path.display()
                )
            };
            write(path, text.as_bytes(), env).map_err(cannot)?;
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8], env: &Env) -> std::io::Result<()> {
    let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
    let file = env.disk.open(path, mode)?;
    file.set_len(bytes.len() as u64)?;
    file.write_at(&[IoSlice::new(bytes)], 0, false).map(|_| ())
}
