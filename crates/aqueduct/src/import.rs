//! `aqueduct import`: loads a database table into files, with the options of `sqoop import`. Exits
//! when every row is stored and visible.
//!
//! ```text
//!   options ─► translation ─► survey of the table ─► configuration ─► an agent in this process
//!    notes       sqoop          key, columns                        │ watched until the source
//!                                                                   │ has ended and all is stored
//!                                                                   ▼
//!                 rows counted (--validate), values compared (--checksum), exit code
//! ```
//!
//! The agent is the usual one: source `sql`, a durable channel, sink `hdfs`. Channel and position
//! are in a data directory, whose name is derived from the table and the target. The same call
//! after a kill therefore continues.

mod checksum;
mod columns;
pub(crate) mod prepare;
mod sums;
mod validate;

use std::process::ExitCode;

use clap::Args;
use pipeline::Env;
use program::cli::{self, EXIT_RUNTIME, EXIT_USAGE};
use sqoop::Task;

use crate::ending::{Labels, Watch, follow, prepared, translated, waited, with_password};
use prepare::PreparedImport;

const EXAMPLES: &str = "\
Examples:
  aqueduct import --connect jdbc:postgresql://db-1/shop --username etl \\
    --password-file /etc/aqueduct/shop.password --table orders \\
    --target-dir hdfs://namenode:8020/shop/orders/2026-11-26
  aqueduct import --connect jdbc:mysql://db-2/shop --username etl --password-file /etc/pw \\
    --table orders --incremental append --check-column id --last-value 1000 \\
    --target-dir /shop/orders --default-fs hdfs://namenode:8020
  aqueduct import --checksum --connect ... --table orders --target-dir ...
  aqueduct import --dry-run --connect ... --table orders --target-dir ...

Options are those of `sqoop import`; docs/migrate-from-sqoop.md describes each. Further options:
  --checksum         read table and files again at the end, and compare all values
  --dry-run          print plan and configuration; ask for keys and columns, and read no row
  --data-dir DIR     directory of channel and position [default: below ~/.aqueduct/import]
  --default-fs URL   prefix of paths without a scheme
  --key COLUMNS      columns that identify a row [default: the primary key]

If a call was killed, repeat it to resume: no row is lost or repeated.

Exit codes: 0 all rows are stored and visible, 1 failed or stopped, 2 an option is refused, 78 the
configuration is wrong";

/// Import a table of a database into files, once, with the options of `sqoop import`.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct ImportArgs {
    /// Options of `sqoop import`
    #[arg(
        value_name = "OPTION",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    options: Vec<String>,
}

/// Runs the import and prints the result.
pub(crate) fn run(args: &ImportArgs) -> ExitCode {
    call(&args.options, &env::real())
}

/// Runs an import with these options.
pub(crate) fn call(options: &[String], env: &Env) -> ExitCode {
    let Some(Task::Import(import)) = translated("import", options, env) else {
        return ExitCode::from(EXIT_USAGE);
    };
    let env = match with_password("import", import.password(), env) {
        Ok(env) => env,
        Err(code) => return code,
    };
    let ready = match prepared("import", prepare::prepare(*import, &env)) {
        Ok(ready) => ready,
        Err(code) => return code,
    };
    if ready.import.is_dry {
        return cli::print(&ready.text);
    }
    cli::print_line(&ready.description());
    let words = Labels { tool: "import", done: "stored" };
    follow(ready.plan.clone(), words, |seen| ended(&ready, seen, &env))
}

/// Prints the result of a complete import, and returns the exit code.
fn ended(ready: &PreparedImport, seen: &Watch, env: &Env) -> ExitCode {
    cli::print_line(&match seen.is_empty() && !ready.is_new {
        true => "import: complete; there was nothing more to read. A whole table is read once \
                 for each directory: use another --target-dir or --data-dir to read it again"
            .to_owned(),
        false => seen.final_line(),
    });
    if seen.refused > 0 {
        let (rows, dir) = (seen.refused, ready.data_dir.display());
        cli::print_line(&format!(
            "import: {rows} rows do not match the format and are in the dead letters: `aqueduct \
             dlq list {dir}` names the reasons"
        ));
        return ExitCode::from(EXIT_RUNTIME);
    }
    let checked = waited(async {
        if ready.import.validates {
            cli::print_line(&validate::validate(ready, env).await?);
        }
        if ready.import.checks_sums {
            cli::print_line(&checksum::compare(ready, env).await?);
        }
        Ok(())
    });
    match checked {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(problem)) | Err(problem) => {
            cli::print_line(&format!("import: {problem}"));
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}
