//! `import-all-tables`: imports each table of a database by a process of its own, one after the
//! other. A repeated call continues, because each table has its own position.

use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use components_sql::source::Question;
use demo::Signals;
use pipeline::Env;
use program::cli::{self, EXIT_RUNTIME};
use rustix::process::{Pid, Signal, kill_process};
use sqoop::{AllTables, PASSWORD_VARIABLE};
use tokio::time::sleep;

use super::ask::answered;
use crate::ending::{waited, with_password};

const TOOL: &str = "import-all-tables";

/// Interval of checks whether a process has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Imports the tables, and prints which ones failed.
pub(super) fn run(all: &AllTables, env: &Env) -> ExitCode {
    let env = match with_password(TOOL, all.import.password(), env) {
        Ok(env) => env,
        Err(code) => return code,
    };
    let answer = match answered(TOOL, &all.import, Question::Tables, &env) {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let found: Vec<String> =
        answer.rows.into_iter().filter_map(|row| row.into_iter().next()?).collect();
    for excluded in all.excluded.iter().filter(|name| !found.contains(name)) {
        cli::print_line(&format!(
            "{TOOL}: warning: --exclude-tables: the database has no table `{excluded}`"
        ));
    }
    let tables: Vec<&String> = found.iter().filter(|name| !all.excluded.contains(name)).collect();
    let imported = waited(each(all, &tables, &env));
    match imported {
        Ok(Ok(failed)) if failed.is_empty() => {
            cli::print_line(&format!("{TOOL}: complete; {} tables", tables.len()));
            ExitCode::SUCCESS
        }
        Ok(Ok(failed)) => {
            cli::print_line(&format!(
                "{TOOL}: {} of {} tables failed: {}; correct what the lines of each table name, \
                 and run the same command again: complete tables are not read again",
                failed.len(),
                tables.len(),
                failed.join(", ")
            ));
            ExitCode::from(EXIT_RUNTIME)
        }
        Ok(Err(problem)) | Err(problem) => {
            cli::print_line(&format!("{TOOL}: {problem}"));
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// Imports the tables. Returns the names of those that failed.
async fn each(all: &AllTables, tables: &[&String], env: &Env) -> Result<Vec<String>, String> {
    let cannot = |error| {
        format!("cannot start a process: {error}; raise the limit of processes (`ulimit -u`)")
    };
    let mut signals = Signals::listen().map_err(|error| error.to_string())?;
    let password = env.blocking.variable(PASSWORD_VARIABLE);
    let mut failed = Vec::new();
    for (number, table) in (1..).zip(tables) {
        cli::print_line(&format!("{TOOL}: table {number} of {}: {table}", tables.len()));
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command.arg("import").args(all.options(table));
        if let Some(password) = &password {
            command.env(PASSWORD_VARIABLE, password);
        }
        let mut child = command.spawn().map_err(cannot)?;
        match ended(&mut child, &mut signals).await? {
            Ended::Complete => {}
            Ended::Failed => failed.push((*table).clone()),
            Ended::Stopped => {
                let problem = "stopped by a signal before all tables were done; run the same \
                               command again to resume";
                return Err(problem.to_owned());
            }
        }
    }
    Ok(failed)
}

enum Ended {
    Complete,
    Failed,
    Stopped,
}

/// Waits for a process. Stops it when this process must stop.
async fn ended(child: &mut Child, signals: &mut Signals) -> Result<Ended, String> {
    let mut is_stopped = false;
    loop {
        let status = child.try_wait().map_err(|error| {
            format!("lost the process of a table: {error}; run the same command again to resume")
        })?;
        match status {
            Some(_) if is_stopped => return Ok(Ended::Stopped),
            Some(status) if status.success() => return Ok(Ended::Complete),
            Some(_) => return Ok(Ended::Failed),
            None => {}
        }
        tokio::select! {
            () = sleep(POLL_INTERVAL) => {}
            () = signals.next(), if !is_stopped => {
                is_stopped = true;
                // The terminal sends its signal to both. If the process has ended, nothing is lost.
                let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
            }
        }
    }
}
