//! Passwords of `aqueduct import` and `aqueduct export` that are not in a file: the configuration
//! refers to a variable, whose value only this process knows.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use pipeline::Env;
use pipeline::env::{Blocking, Started, Usage};
use program::cli::{self, EXIT_RUNTIME};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use sqoop::{PASSWORD_VARIABLE, Password};
use tokio::runtime::Handle;

/// Returns the environment in which the variable has the password of a call of this tool.
///
/// # Errors
/// The password cannot be read; this is printed.
pub(crate) fn with_password(
    tool: &str,
    password: Option<&Password>,
    env: &Env,
) -> Result<Env, ExitCode> {
    let value = match password {
        Some(Password::Given(value)) => value.clone(),
        Some(Password::Prompt) => asked().map_err(|error| {
            cli::print_line(&format!(
                "{tool}: cannot read the password from the terminal or standard input: {error}; \
                 pass --password-file"
            ));
            ExitCode::from(EXIT_RUNTIME)
        })?,
        Some(Password::File(_) | Password::Variable) | None => return Ok(env.clone()),
    };
    let blocking = Arc::new(WithPassword { inner: env.blocking.clone(), value });
    Ok(Env { blocking, ..env.clone() })
}

/// Reads the password from the terminal, without showing it, or a line of standard input.
fn asked() -> io::Result<String> {
    let input = io::stdin();
    let shown = match input.is_terminal() {
        true => {
            cli::print_line("Enter password:");
            let shown = tcgetattr(&input)?;
            let mut hidden = shown.clone();
            hidden.local_modes.remove(LocalModes::ECHO);
            tcsetattr(&input, OptionalActions::Flush, &hidden)?;
            Some(shown)
        }
        false => None,
    };
    let mut line = String::new();
    let read = input.lock().read_line(&mut line);
    if let Some(shown) = shown {
        tcsetattr(&input, OptionalActions::Flush, &shown)?;
    }
    read?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// The environment of this process, and the password.
struct WithPassword {
    inner: Arc<dyn Blocking>,
    value: String,
}

impl Blocking for WithPassword {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        self.inner.run(work);
    }

    fn here(&self, work: &mut dyn FnMut()) -> bool {
        self.inner.here(work)
    }

    fn run_behind(&self, work: Box<dyn FnOnce() + Send>) {
        self.inner.run_behind(work);
    }

    fn behind(&self) -> Handle {
        self.inner.behind()
    }

    fn output(&self, program: &str, arguments: &[String], limit: Duration) -> io::Result<Vec<u8>> {
        self.inner.output(program, arguments, limit)
    }

    fn cores(&self) -> usize {
        self.inner.cores()
    }

    fn start(&self, program: &str, arguments: &[String]) -> io::Result<Started> {
        self.inner.start(program, arguments)
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        match name {
            PASSWORD_VARIABLE => Some(self.value.clone().into()),
            name => self.inner.variable(name),
        }
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }
}
