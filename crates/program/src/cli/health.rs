//! `health`: checks the agent on this host, for the health check of a container.
//!
//! ```text
//!   arguments of the agent ─► agent.admin, agent.admin_tls ─► GET /livez or /readyz ─► 0 or 1
//!        │ none given
//!        └─ arguments of process 1, which is the agent in its own container
//! ```
//!
//! - `/livez` reports problems that a restart can fix. An unreachable store makes an agent unready
//!   and not unhealthy: otherwise the container would be restarted repeatedly.
//! - With TLS every certificate is accepted: no secret is sent, and an attacker between two
//!   processes of one host could as well stop the agent.
//! - An agent without an admin address cannot be checked. The check of an image, which has no
//!   arguments, then succeeds, because process 1 exists. With arguments it is an error.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use admin::ask;
use clap::{Args, Command};
use config::Plan;
use hyper::StatusCode;
use pipeline::Env;
use pipeline::env::OpenMode;
use tls::{Dialer, ServerTls};
use tokio::time::timeout;

use super::{AgentArgs, EXIT_RUNTIME, plan, print, print_line, usage};

/// The name of the subcommand.
pub(super) const NAME: &str = "health";

/// Time limit of a working agent.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer.
const ANSWER_MAX: usize = 64 << 10;

/// Arguments of the first process of a container, each followed by a zero byte.
const FIRST: &str = "/proc/1/cmdline";

/// Bytes of arguments.
const ARGUMENTS_MAX: usize = 1 << 20;

/// Check the agent on this host: exit code 0 if it works, otherwise 1
#[derive(Debug, Clone, Args)]
pub(super) struct HealthArgs {
    /// Check readiness (/readyz) instead of liveness (/livez: fails if a restart would help)
    #[arg(long)]
    ready: bool,
    /// Arguments of the agent, such as --config FILE [default: those of process 1, which is the
    /// agent in a container]
    #[arg(value_name = "ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl HealthArgs {
    /// The subcommand, for the program of an agent.
    pub(super) fn command() -> Command {
        Self::augment_args(Command::new(NAME))
    }
}

/// The result.
enum Found {
    /// It reports that it works.
    Works(String),
    /// It does not work, or does not answer.
    Fails(String),
}

/// Checks the agent, and prints the answer.
pub(super) fn run<A: AgentArgs>(program: &'static str, args: &HealthArgs, env: &Env) -> ExitCode {
    let given = !args.arguments.is_empty();
    let arguments = match given {
        true => args.arguments.clone(),
        false => match of_first_process(program, env) {
            Ok(arguments) => arguments,
            Err(problem) => {
                print_line(&problem);
                return ExitCode::from(EXIT_RUNTIME);
            }
        },
    };
    let command = A::augment_args(Command::new(program).no_binary_name(true));
    let agent = match command.try_get_matches_from(arguments) {
        Ok(matches) => A::from_arg_matches(&matches),
        Err(error) => Err(error),
    };
    let found = match agent.map(|agent| plan(&agent, env)) {
        Ok(Ok((plan, _))) => check(&plan, given, args.ready, env),
        Ok(Err(errors)) => Found::Fails(errors.to_string()),
        Err(error) => return usage(&error),
    };
    match found {
        Found::Works(said) => print(&(said + "\n")),
        Found::Fails(problem) => {
            print_line(&problem);
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// The arguments of `program`, which is process 1 or was started by it.
fn of_first_process(program: &str, env: &Env) -> Result<Vec<OsString>, String> {
    let file = env.disk.open(Path::new(FIRST), OpenMode::default());
    let line = file.and_then(|file| file.read(0, ARGUMENTS_MAX));
    let line = line.map_err(|error| format!("{FIRST}: {error}"))?;
    args_after(program, &line).ok_or_else(|| {
        format!(
            "process 1 is not {program}: give the arguments of the agent, as in `{program} {NAME} \
             --config FILE`"
        )
    })
}

/// Returns the arguments after `program` in a command line.
fn args_after(program: &str, line: &[u8]) -> Option<Vec<OsString>> {
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    let mut words = line.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let is_program = |word: &OsString| Path::new(word).file_name() == Some(OsStr::new(program));
    words.by_ref().find(is_program)?;
    Some(words.collect())
}

fn check(plan: &Plan, given: bool, ready: bool, env: &Env) -> Found {
    let Some(address) = &plan.agent.admin else {
        let said = "cannot ask the agent: it has no admin address; set `agent.admin` or `--admin`";
        return if given { Found::Fails(said.into()) } else { Found::Works(said.into()) };
    };
    let page = if ready { "/readyz" } else { "/livez" };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = runtime.and_then(|runtime| {
        let tls = plan.agent.admin_tls.clone().map(|settings| settings.read::<ServerTls>());
        let tls = tls.transpose().map_err(io::Error::other)?.map(|tls| tls.own_client());
        let dialer = Dialer::new(env, tls, &["http/1.1"]).map_err(io::Error::other)?;
        let asking = async {
            timeout(CHECK_TIMEOUT, ask(&dialer, &reachable(address), page, ANSWER_MAX)).await
        };
        runtime.block_on(asking).unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {CHECK_TIMEOUT:?}; see the log of the agent"),
            ))
        })
    });
    match asked {
        Ok((StatusCode::OK, said)) => Found::Works(said),
        Ok((status, said)) => Found::Fails(format!("{page}: {status}: {said}")),
        Err(error) => Found::Fails(format!(
            "no answer at {address}{page}: {error}; check that the agent is running and that this \
             is its `agent.admin`"
        )),
    }
}

/// Returns the address by which a listener at this address is reached on its own host.
fn reachable(address: &str) -> String {
    for (all, own) in [("0.0.0.0:", "127.0.0.1:"), ("[::]:", "[::1]:")] {
        if let Some(port) = address.strip_prefix(all) {
            return format!("{own}{port}");
        }
    }
    address.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_the_first_process_follow_its_program() {
        let words = |line: &str| {
            let words = args_after("aqueduct-edge", line.as_bytes())?;
            Some(words.iter().map(|it| it.to_string_lossy().into_owned()).collect::<Vec<_>>())
        };
        let own = "/usr/bin/aqueduct-edge\0--config\0/etc/a b.toml\0";
        let expected = Some(vec!["--config".to_owned(), "/etc/a b.toml".to_owned()]);
        assert_eq!(words(own), expected);
        assert_eq!(words(&format!("/sbin/docker-init\0--\0{own}")), expected);
        assert_eq!(words("aqueduct-edge\0"), Some(Vec::new()));
        for other in ["", "/bin/sh\0-c\0aqueduct-edge --config x\0", "/usr/bin/aqueduct-edge2\0"] {
            assert_eq!(words(other), None, "{other:?}");
        }
    }

    #[test]
    fn listener_on_all_addresses_is_reached_on_loopback() {
        assert_eq!(reachable("0.0.0.0:9464"), "127.0.0.1:9464");
        assert_eq!(reachable("[::]:9464"), "[::1]:9464");
        assert_eq!(reachable("10.0.0.7:9464"), "10.0.0.7:9464");
    }
}
