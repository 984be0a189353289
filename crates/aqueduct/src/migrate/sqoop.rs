//! `aqueduct convert sqoop`: translates Sqoop calls into the configuration of a permanent agent.

use std::collections::BTreeSet;
use std::process::ExitCode;

use ::program::cli::{self, EXIT_RUNTIME};
use clap::Args;
use pipeline::Env;
use sqoop::{Call, Layout, Task, World};

use super::convert::EXIT_DECISION;

const EXAMPLES: &str = "\
Examples:
  aqueduct convert sqoop 'sqoop import --connect jdbc:mysql://db/shop --table orders -m 4 ...'
  aqueduct convert sqoop /etc/cron.daily/import-orders > orders.toml
  aqueduct convert sqoop --data-dir /srv/aqueduct sqoop import --connect ... --table orders

All calls of a script become one configuration. It goes to standard output, and the report on the
options to standard error. The command runs nothing and connects to no database.
docs/migrate-from-sqoop.md lists all options.

Exit codes: 0 translated, 1 not translated, 2 translated and something needs a decision,
64 wrong arguments";

/// Translate calls of Apache Sqoop into a configuration.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct SqoopArgs {
    /// Data directory of the agent
    #[arg(long, value_name = "DIR", default_value = "/var/lib/aqueduct")]
    data_dir: String,

    /// A quoted call, the words of a call, or a script with calls
    #[arg(
        value_name = "CALL",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    call: Vec<String>,
}

/// Prints the translation.
pub(super) fn convert(args: &SqoopArgs) -> ExitCode {
    let env = env::real();
    let calls = match calls(&args.call, &env) {
        Ok(calls) => calls,
        Err(problem) => {
            cli::print_line(&problem);
            return ExitCode::from(EXIT_RUNTIME);
        }
    };
    let (text, is_refused) = translated(&calls, &args.data_dir, &env);
    if cli::print(&text) != ExitCode::SUCCESS {
        return ExitCode::from(EXIT_RUNTIME);
    }
    match is_refused {
        true => ExitCode::from(EXIT_DECISION),
        false => ExitCode::SUCCESS,
    }
}

/// Splits the arguments into calls.
fn calls(words: &[String], env: &Env) -> Result<Vec<Call>, String> {
    let none = "found no call of `sqoop import` or `sqoop export`; pass the call in quotes, or the \
                file that contains it";
    let [only] = words else {
        let call = Call::of(words, 1);
        return call.map(|call| vec![call]).ok_or_else(|| none.to_owned());
    };
    let found = match only.contains(char::is_whitespace) {
        true => sqoop::calls(only),
        false => {
            let text = crate::ending::HostContext(env).file(only);
            let text = text.map_err(|problem| format!("{only}: {problem}"))?;
            sqoop::calls(&text).map_err(|problem| format!("{only}: {problem}"))
        }
    }?;
    match found.is_empty() {
        true => Err(none.to_owned()),
        false => Ok(found),
    }
}

/// Returns one configuration for all calls, and whether something needs a decision.
fn translated(calls: &[Call], data_dir: &str, env: &Env) -> (String, bool) {
    let mut text = sqoop::agent(data_dir);
    let (mut names, mut is_refused) = (BTreeSet::new(), false);
    for call in calls {
        let (task, mut notes) = sqoop::translate(call, &crate::ending::HostContext(env));
        let mut name = match &task {
            Some(Task::Import(import)) => import.name().to_owned(),
            Some(Task::Export(export)) => export.name().to_owned(),
            Some(Task::AllTables(_) | Task::Question(_)) | None => String::new(),
        };
        match &task {
            Some(Task::Import(import)) => import.note_on(&mut notes),
            Some(Task::Export(export)) => export.note_on(&mut notes),
            Some(Task::AllTables(_) | Task::Question(_)) => notes.note_on(&call.tool),
            None => {}
        }
        let plain = name.clone();
        let mut number = 2;
        while task.is_some() && !names.insert(name.clone()) {
            name = format!("{plain}_{number}");
            number += 1;
        }
        is_refused |= notes.is_refused();
        for note in &notes.0 {
            cli::print_line(&format!("line {}: {note}", call.line));
        }
        text += &format!("\n# Line {}: sqoop {}\n", call.line, call.tool);
        match task {
            Some(Task::Import(import)) => text += &import.to_toml(Layout::On(&name), &notes),
            Some(Task::Export(export)) => text += &export.to_toml(Layout::On(&name), &notes),
            Some(Task::AllTables(_) | Task::Question(_)) | None => text += &notes.comments(),
        }
    }
    (text, is_refused)
}
