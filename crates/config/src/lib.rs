//! Configuration: text → [`Settings`] → [`Plan`], pure and synchronous.
//!
//! ```text
//!   TOML ─┐
//!   YAML ─┼─► Settings (values with lines) ─► resolve ─► Plan (names resolved, graph sound)
//!   flags ┘                                                │
//!                                 Plan ─► to_toml          └─► the agent builds its components
//! ```
//!
//! Every problem that can be told is told at once, each as `file:line: path: problem`, with the
//! closest name that is known. What a component thinks of its own settings is found when the agent
//! builds it, which needs no I/O either, and is printed in the same form ([`ConfigError::at`]).

mod error;
mod flume;
mod plan;
mod print;
mod resolve;
pub mod schema;
mod toml;
mod yaml;

use std::path::Path;

use pipeline::{Settings, SettingsError};

pub use error::{ConfigError, ConfigErrors};
pub use plan::{AgentSettings, ChannelPlan, ComponentPlan, GroupPlan, Plan, SourcePlan};
pub use print::to_toml;
pub use resolve::{examine, resolve};

/// Reads a configuration; the extension of `path` tells the format. `host` is the agent's name
/// unless the text gives one.
///
/// # Errors
/// Every problem that was found.
pub fn load(path: &Path, text: &str, host: &str) -> Result<Plan, ConfigErrors> {
    resolve(&path.display().to_string(), read(path, text)?, host)
}

/// Reads the values alone; the extension of `path` tells the format.
///
/// # Errors
/// The text is not of its format.
pub fn read(path: &Path, text: &str) -> Result<Settings, ConfigErrors> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let is_ours = matches!(extension, Some("yaml" | "yml"));
    if let Some(problem) = (!is_ours).then(|| flume::recognise(text)).flatten() {
        let error = SettingsError { path: String::new(), line: 0, problem };
        return Err(ConfigError::at(&path.display().to_string(), "", error).into());
    }
    let read = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => toml::read(text),
        Some("yaml" | "yml") => yaml::read(text),
        _ => Err(SettingsError {
            path: String::new(),
            line: 0,
            problem: "the extension must tell the format: .toml, .yaml or .yml".into(),
        }),
    };
    read.map_err(|error| ConfigError::at(&path.display().to_string(), "", error).into())
}

#[cfg(test)]
mod tests;
