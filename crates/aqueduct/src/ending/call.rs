//! Prepares a call of a Sqoop tool, up to the start of its work.

use std::process::ExitCode;

use config::ConfigErrors;
use pipeline::{Env, SinkError, SourceError};
use program::cli::{self, EXIT_RUNTIME};
use sqoop::{Call, Task, World};

use super::waited;

/// The part of this host that a call reads.
pub(crate) struct HostContext<'a>(pub(crate) &'a Env);

impl World for HostContext<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.blocking.variable(name)?.into_string().ok()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        config::file_text(path.as_ref(), config::CONFIG_BYTES_MAX, self.0)
    }

    fn default_fs(&self) -> Option<String> {
        let file = |path: &str| self.file(path).ok().map(String::into_bytes);
        flume::site_default_fs(|name| self.variable(name), file)
    }

    fn hive_metastore(&self) -> Option<String> {
        let named = [("HIVE_CONF_DIR", ""), ("HIVE_HOME", "/conf")];
        let named = named.into_iter().filter_map(|(name, below)| {
            self.variable(name).map(|directory| format!("{directory}{below}"))
        });
        let site = named
            .chain(["/etc/hive/conf".to_owned()])
            .find_map(|directory| self.file(&format!("{directory}/hive-site.xml")).ok())?;
        sqoop::METASTORE_PROPERTIES.iter().find_map(|name| flume::site_property(&site, name))
    }
}

/// Why the work of a call cannot start.
pub(crate) enum Problem {
    /// The configuration is wrong.
    Config(ConfigErrors),
    /// Any other reason, as a message.
    Other(String),
}

impl From<ConfigErrors> for Problem {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

impl From<SourceError> for Problem {
    fn from(error: SourceError) -> Self {
        Self::Other(agent::chain(&error))
    }
}

impl From<SinkError> for Problem {
    fn from(error: SinkError) -> Self {
        Self::Other(agent::chain(&*error.source))
    }
}

/// Translates the options of a tool and prints notes. Returns `None` if an option is rejected.
pub(crate) fn translated(tool: &str, options: &[String], env: &Env) -> Option<Task> {
    let (tool, arguments) = (tool.to_owned(), options.to_vec());
    let call = Call { line: 1, tool, arguments, shell: Vec::new() };
    let (task, notes) = sqoop::translate(&call, &HostContext(env));
    for note in &notes.0 {
        cli::print_line(&note.to_string());
    }
    task.filter(|_| !notes.is_refused())
}

/// Runs the preparation. On failure, prints the reason and returns the exit code.
pub(crate) fn prepared<T>(
    tool: &str,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, ExitCode> {
    match waited(work) {
        Ok(Ok(ready)) => Ok(ready),
        Ok(Err(Problem::Config(errors))) => Err(cli::print_errors(&errors)),
        Ok(Err(Problem::Other(problem))) | Err(problem) => {
            cli::print_line(&format!("{tool}: {problem}"));
            Err(ExitCode::from(EXIT_RUNTIME))
        }
    }
}
