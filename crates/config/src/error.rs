//! What is wrong with a configuration: every problem at once, each with its place.

use std::fmt;

use pipeline::SettingsError;
use thiserror::Error;

/// One problem, printed as `file:line: path: problem`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigError {
    /// The file as the user named it, or `command line`.
    pub file: String,
    /// Line in it, from 1; 0 where there is none.
    pub line: u32,
    /// The setting, dotted from the root: `sinks.store.roll.age_max`; empty for the whole file.
    pub path: String,
    /// What is wrong, and what helps.
    pub problem: String,
}

/// All problems of one configuration, in the order of their lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigError {
    /// What a component said about its own settings; `path` is the component's place
    /// ([`ComponentPlan::path`](crate::ComponentPlan::path)).
    pub fn at(file: &str, path: &str, error: SettingsError) -> Self {
        let path = match (path.is_empty(), error.path.is_empty()) {
            (_, true) => path.to_owned(),
            (true, false) => error.path,
            (false, false) => format!("{path}.{}", error.path),
        };
        Self { file: file.into(), line: error.line, path, problem: error.problem }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, path, problem } = self;
        write!(f, "{file}:")?;
        if *line > 0 {
            write!(f, "{line}:")?;
        }
        if !path.is_empty() {
            write!(f, " {path}:")?;
        }
        write!(f, " {problem}")
    }
}

impl ConfigErrors {
    /// `Ok` if nothing was found, else all of it, sorted by line.
    ///
    /// # Errors
    /// `found` is not empty.
    pub fn check(mut found: Vec<ConfigError>) -> Result<(), Self> {
        if found.is_empty() {
            return Ok(());
        }
        found.sort_by_key(|error| error.line);
        Err(Self(found))
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_printed_with_the_place_that_it_has() {
        let error = SettingsError { path: "roll.age".into(), line: 7, problem: "no".into() };
        let at = ConfigError::at("a.toml", "sinks.store", error);
        assert_eq!(at.to_string(), "a.toml:7: sinks.store.roll.age: no");

        let error = SettingsError { path: String::new(), line: 0, problem: "no".into() };
        assert_eq!(ConfigError::at("command line", "", error).to_string(), "command line: no");
    }
}
