//! `aqueduct export`: loads files of a store into a database table, with the options of `sqoop
//! export`. Exits when every row is applied.
//!
//! ```text
//!   options ─► translation ─► look at files and table ─► configuration ─► an agent in this process
//!    notes       sqoop         form, columns, ledger                       │ until all is applied
//!                                                                          ▼
//!                        rows in the dead letters counted, staged rows moved (--staging-table),
//!                                                                                  exit code
//! ```
//!
//! The agent is the usual one: source `hdfs`, a durable channel, sink `sql`. Channel and position
//! are in a data directory, whose name is derived from the files and the table. The same call after
//! a kill therefore continues, and the ledger in the database knows the applied rows.

mod prepare;

use std::process::ExitCode;

use clap::Args;
use demo::grouped;
use pipeline::Env;
use program::cli::{self, EXIT_RUNTIME, EXIT_USAGE};
use sqoop::Task;

use crate::ending::{Labels, Watch, follow, prepared, translated, with_password};
use prepare::PreparedExport;

const EXAMPLES: &str = "\
Examples:
  aqueduct export --connect jdbc:postgresql://db-1/shop --username etl \\
    --password-file /etc/aqueduct/shop.password --table orders \\
    --export-dir hdfs://namenode:8020/shop/orders/2026-11-26
  aqueduct export --connect jdbc:mysql://db-2/shop --username etl --password-file /etc/pw \\
    --table orders --update-key id --update-mode allowinsert --columns id,part,n \\
    --export-dir /shop/orders --default-fs hdfs://namenode:8020 \\
    --input-fields-terminated-by '\\t' --input-null-string '\\\\N'
  aqueduct export --dry-run --connect ... --table orders --export-dir ...

Options are those of `sqoop export`; docs/migrate-from-sqoop.md describes each. Further options:
  --dry-run          print plan and configuration, and apply nothing
  --data-dir DIR     directory of channel and position [default: below ~/.aqueduct/export]
  --default-fs URL   prefix of paths without a scheme

If a call was killed, repeat it to resume: no row is lost or repeated.

Exit codes: 0 all rows are applied, 1 failed, stopped, or rows are in the dead letters, 2 an option
is refused, 78 the configuration is wrong";

/// Export files of a store into a table of a database, with the options of `sqoop export`.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// Options of `sqoop export`
    #[arg(
        value_name = "OPTION",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    options: Vec<String>,
}

/// Runs the export and prints the result.
pub(crate) fn run(args: &ExportArgs) -> ExitCode {
    call(&args.options, &env::real())
}

/// Runs an export with these options.
pub(crate) fn call(options: &[String], env: &Env) -> ExitCode {
    let Some(Task::Export(export)) = translated("export", options, env) else {
        return ExitCode::from(EXIT_USAGE);
    };
    let env = match with_password("export", export.password(), env) {
        Ok(env) => env,
        Err(code) => return code,
    };
    let ready = match prepared("export", prepare::prepare(*export, &env)) {
        Ok(ready) => ready,
        Err(code) => return code,
    };
    if ready.export.is_dry {
        return cli::print(&ready.text);
    }
    cli::print_line(&ready.description());
    let words = Labels { tool: "export", done: "applied" };
    follow(ready.plan.clone(), words, |seen| ended(&ready, seen, &env))
}

/// Prints the result when all rows are read, and returns the exit code.
fn ended(ready: &PreparedExport, seen: &Watch, env: &Env) -> ExitCode {
    cli::print_line(&match seen.is_empty() && !ready.is_new {
        true => {
            "export: complete; there was nothing more to read. Files are applied once for each \
             table: use another --data-dir to apply them again"
                .to_owned()
        }
        false => seen.final_line(),
    });
    if seen.refused == 0 {
        return moved(ready, env);
    }
    let (rows, dir) = (seen.refused, ready.data_dir.display());
    cli::print_line(&format!(
        "export: {rows} rows are not applied and are in the dead letters: `aqueduct dlq list \
         {dir}` names the reasons"
    ));
    if let Some(staging) = ready.export.staging() {
        let table = ready.export.what();
        cli::print_line(&format!(
            "export: nothing was moved from {staging} into {table}; fix the files, and export \
             them again with --clear-staging-table and another --data-dir"
        ));
    }
    ExitCode::from(EXIT_RUNTIME)
}

/// Moves the rows of a staging table as the last step.
fn moved(ready: &PreparedExport, env: &Env) -> ExitCode {
    let rows = match prepared("export", ready.move_rows(env)) {
        Ok(Some(rows)) => grouped(rows),
        Ok(None) => return ExitCode::SUCCESS,
        Err(code) => return code,
    };
    let (table, staging) = (ready.export.what(), ready.export.staging().unwrap_or_default());
    cli::print_line(&format!(
        "export: {rows} rows moved from {staging} into {table} by one transaction"
    ));
    ExitCode::SUCCESS
}
