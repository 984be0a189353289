//! Problems of a configuration, all reported together, each with its place.

use std::fmt;

use pipeline::SettingsError;
use pipeline::settings::{Place, SettingsErrorKind, shortened};
use thiserror::Error;

/// Problems of one configuration that are shown.
pub(crate) const PROBLEMS_MAX: usize = 100;

/// Bytes of a problem that are shown: a value may have megabytes.
const PROBLEM_BYTES_MAX: usize = 4 << 10;

/// Bytes of the path of a setting that are shown.
const PATH_BYTES_MAX: usize = 512;

/// One problem, printed as `file:line:column: path: problem`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigError {
    /// Its kind.
    pub kind: SettingsErrorKind,
    /// Its place; the file is `command line` for flags.
    pub place: Place,
    /// The setting, dotted from the root: `sinks.store.roll.age_max`; empty for the whole file.
    pub path: String,
    /// The problem and the remedy.
    pub problem: String,
}

/// Problems of one configuration, in the order of their places; never empty. A long list ends with
/// the number of omitted ones.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigError {
    /// Returns the problem of a component's own settings; `path` is the component's
    /// ([`ComponentPlan::path`](crate::ComponentPlan::path)), `file` is for problems without a
    /// place.
    pub fn at(file: &str, path: &str, error: SettingsError) -> Self {
        let path = match (path.is_empty(), error.path.is_empty()) {
            (_, true) => path.to_owned(),
            (true, false) => error.path.clone(),
            (false, false) => format!("{path}.{}", error.path),
        };
        Self { path, ..Self::from_settings(file, error) }
    }

    /// A problem of a file, or with its whole path.
    pub(crate) fn from_settings(file: &str, error: SettingsError) -> Self {
        let SettingsError { kind, path, mut place, problem } = error;
        if place.file.is_empty() {
            place.file = file.into();
        }
        let path = shortened(&path, PATH_BYTES_MAX).into_owned();
        let problem = shortened(&problem, PROBLEM_BYTES_MAX).into_owned();
        Self { kind, place, path, problem }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, path, problem, .. } = self;
        write!(f, "{place}:")?;
        if !path.is_empty() {
            write!(f, " {path}:")?;
        }
        write!(f, " {problem}")
    }
}

impl ConfigErrors {
    /// Returns `Ok` without problems, else the first hundred by place, and the number of the
    /// others.
    ///
    /// # Errors
    /// `found` is not empty.
    pub fn check(mut found: Vec<ConfigError>) -> Result<(), Self> {
        if found.is_empty() {
            return Ok(());
        }
        found.sort_by(|left, right| left.place.cmp(&right.place));
        let more = found.len().saturating_sub(PROBLEMS_MAX);
        found.truncate(PROBLEMS_MAX);
        if more > 0 {
            let place = Place { file: found[0].place.file.clone(), ..Place::default() };
            let problem = format!("{more} more problems are not shown; fix those above first");
            let kind = SettingsErrorKind::Invalid;
            found.push(ConfigError { kind, place, path: String::new(), problem });
        }
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
        let error = |place| SettingsError::new(SettingsErrorKind::Invalid, place, "no");
        let place = Place { file: "b.toml".into(), line: 7, column: 3 };
        let at = ConfigError::at("a.toml", "sinks.store", error(place).below("age").below("roll"));
        assert_eq!(at.to_string(), "b.toml:7:3: sinks.store.roll.age: no");

        let nowhere = error(Place::default());
        assert_eq!(ConfigError::at("command line", "", nowhere).to_string(), "command line: no");
    }
}
