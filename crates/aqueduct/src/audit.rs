//! `aqueduct audit`: lists the changes that operators made to a running agent.

use std::fmt::Write as _;
use std::process::ExitCode;

use agent::status::words::printable;
use clap::Args;
use control::audit::{Line, Outcome};
use program::cli;

use crate::admin::{Access, Admin};
use crate::runtime;
use crate::status::EXIT_UNREACHABLE;

const EXAMPLES: &str = "\
Examples:
  aqueduct audit 127.0.0.1:9464
  aqueduct audit 127.0.0.1:9464 --newest 200 --json | jq -r 'select(.outcome == \"refused\")'
  aqueduct audit https://collector-1:9464 --ca ca.pem --token-file /run/secrets/admin

The newest line is first. The files audit.log and audit.log.1 to audit.log.4 of the data directory
contain the same lines, newest last; read them when the agent is stopped.

Exit codes: 0 shown, 2 the agent does not answer, or wrong arguments";

/// Show the changes that operators made to a running agent: stops, starts, drains, reloads
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct AuditArgs {
    /// The admin address of the agent: HOST:PORT, or https://HOST:PORT
    address: String,
    /// Access to the address
    #[command(flatten)]
    access: Access,
    /// Maximum number of lines, up to 1000
    #[arg(long, value_name = "N", default_value_t = 20)]
    newest: usize,
    /// Print each as a line of JSON
    #[arg(long)]
    json: bool,
}

/// Queries the agent and prints the response.
pub(crate) fn run(args: &AuditArgs) -> ExitCode {
    match ask(args) {
        Ok(lines) => {
            cli::print(&lines.iter().map(|line| shown(line, args.json)).collect::<String>())
        }
        Err(problem) => {
            cli::print_line(&problem);
            ExitCode::from(EXIT_UNREACHABLE)
        }
    }
}

fn ask(args: &AuditArgs) -> Result<Vec<Line>, String> {
    let admin = Admin::new(&env::real(), &args.address, &args.access)?;
    let answer = runtime::block_on(admin.get(&format!("/audit?newest={}", args.newest)));
    let answer = answer.map_err(|error| admin.unanswered(&error))?;
    serde_json::from_str(&answer).map_err(|error| {
        format!(
            "{}: cannot parse its /audit ({error}); use the same version as the agent",
            admin.address()
        )
    })
}

/// Formats a line of the log for printing.
fn shown(line: &Line, json: bool) -> String {
    if json {
        return serde_json::to_string(line).expect("texts and numbers") + "\n";
    }
    let Line { at, action, part, actor, outcome, detail, left_out } = line;
    let outcome = match outcome {
        Outcome::Done => "done",
        Outcome::Unchanged => "unchanged",
        Outcome::Failed => "FAILED",
        Outcome::Refused => "REFUSED",
    };
    let mut text = format!("{}  {outcome:9}  {}", printable(at), printable(action));
    if let Some(part) = part {
        let _ = write!(text, " {}", printable(part));
    }
    let _ = write!(text, ", by {}", printable(&actor.to_string()));
    if let Some(detail) = detail {
        let _ = write!(text, ": {}", printable(detail));
    }
    if *left_out > 0 {
        let _ = write!(text, " ({left_out} earlier refused calls are not listed)");
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use agent::actor::Actor;

    use super::*;

    #[test]
    fn a_line_is_short_and_no_command_for_a_terminal() {
        let actor = Actor::new("admin token", Some("10.0.0.1:4711".into()));
        let part = Some("groups.a\u{1b}[2J".to_owned());
        let line = Line {
            at: "2026-11-27T03:00:00.000Z".into(),
            left_out: 2,
            ..Line::new("stop", part, actor, Outcome::Refused)
        };
        let line = line.because(Some("without the header".into()));
        assert_eq!(
            shown(&line, false),
            "2026-11-27T03:00:00.000Z  REFUSED    stop groups.a?[2J, by admin token at \
             10.0.0.1:4711: without the header (2 earlier refused calls are not listed)\n"
        );
        assert_eq!(serde_json::from_str::<Line>(&shown(&line, true)).ok(), Some(line));
    }
}
