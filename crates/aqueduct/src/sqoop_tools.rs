//! `aqueduct sqoop`: the tools of Sqoop by their names, so that a script changes one word.
//!
//! ```text
//!   sqoop ─┬─► import, export       as `aqueduct import` and `aqueduct export`
//!          ├─► import-all-tables    one process with `aqueduct import` for each table
//!          ├─► job                  files with calls; `--exec` runs one
//!          └─► eval, list-…         one statement, whose rows are printed
//! ```

mod ask;
mod jobs;
mod tables;

use std::process::ExitCode;

use clap::Args;
use pipeline::Env;
use program::cli::{self, EXIT_USAGE};
use sqoop::{Job, Task};

use crate::ending::translated;
use crate::{export, import};

const EXAMPLES: &str = "\
Examples:
  aqueduct sqoop import --connect jdbc:postgresql://db-1/shop --username etl \\
    --password-file /etc/aqueduct/shop.password --table orders --target-dir hdfs://nn:8020/orders
  aqueduct sqoop import-all-tables --connect jdbc:mysql://db-2/shop --username etl -P \\
    --warehouse-dir hdfs://nn:8020/shop --exclude-tables audit,log
  aqueduct sqoop job --create nightly -- import --connect ... --table orders \\
    --incremental append --check-column id --target-dir hdfs://nn:8020/orders
  aqueduct sqoop job --exec nightly
  aqueduct sqoop eval --connect jdbc:mysql://db-2/shop --username etl -P --query 'SELECT 1'
  alias sqoop='aqueduct sqoop'

Tools: import, export, import-all-tables, job, eval, list-tables, list-databases, version.
docs/migrate-from-sqoop.md describes their options. Jobs are files in ~/.aqueduct/jobs, and have
no passwords.

Exit codes: 0 done, 1 failed or stopped, 2 an option is refused, 78 the configuration is wrong";

/// Run a tool of Apache Sqoop: import, export, import-all-tables, job, eval, list-tables.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct SqoopArgs {
    /// The tool and its options
    #[arg(
        value_name = "TOOL",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

/// Runs a tool.
pub(crate) fn run(args: &SqoopArgs) -> ExitCode {
    match args.words.split_first() {
        Some((tool, options)) => {
            let call = Job { tool: tool.clone(), options: options.to_vec() };
            execute(&call, &env::real())
        }
        None => ExitCode::from(EXIT_USAGE),
    }
}

/// Runs a call.
fn execute(call: &Job, env: &Env) -> ExitCode {
    let options = &call.options;
    match call.tool.as_str() {
        "import" => import::call(options, env),
        "export" => export::call(options, env),
        "job" => jobs::run(options, env),
        "version" => cli::print(concat!("aqueduct ", env!("AQUEDUCT_VERSION"), "\n")),
        tool => match translated(tool, options, env) {
            Some(Task::AllTables(all)) => tables::run(&all, env),
            Some(Task::Question(question)) => ask::run(tool, &question, env),
            Some(Task::Import(_) | Task::Export(_)) | None => ExitCode::from(EXIT_USAGE),
        },
    }
}
