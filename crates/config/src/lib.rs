//! Configuration: text → [`Settings`] → [`Plan`], synchronous.
//!
//! ```text
//!   TOML ─┐
//!   YAML ─┼─► Settings (values with places) ─► resolve ─► Plan (names resolved, graph sound)
//!   flags ┘   + includes, variables, files                  │
//!                                 Plan ─► to_toml           └─► the agent builds its components
//! ```
//!
//! All problems are reported together, each as `file:line:column: path: problem`, with the closest
//! known name. Problems of a component's own settings are found when the agent builds it, which
//! needs no I/O either. They are printed in the same form ([`ConfigError::at`]).

mod digest;
mod error;
mod files;
mod fleet;
mod http_url;
mod include;
mod plan;
mod print;
mod redact;
mod resolve;
pub mod schema;
mod substitute;
mod toml;
mod traces;
mod yaml;

use std::path::Path;
use std::sync::Arc;

use pipeline::settings::{Place, SettingsErrorKind};
use pipeline::{Settings, SettingsError};

pub use error::{ConfigError, ConfigErrors};
pub use files::{CONFIG_BYTES_MAX, bytes as file_bytes, text as file_text};
pub use fleet::{FleetSettings, FleetTarget};
pub use include::{merge_file, read_file, read_text};
pub use plan::{
    AgentSettings, ChannelPlan, ComponentPlan, FileMode, GroupPlan, Plan, Reload, SourcePlan,
};
pub use print::to_toml;
pub use redact::redacted;
pub use resolve::{examine, resolve};
pub use traces::{TraceSettings, TraceTarget};

/// Reads a configuration without other files and variables; the extension of `path` determines the
/// format. `host` is the agent's name unless the text sets one.
///
/// # Errors
/// Every problem that was found.
pub fn load(path: &Path, text: &str, host: &str) -> Result<Plan, ConfigErrors> {
    resolve(&path.display().to_string(), read(path, text)?, host)
}

/// Reads only the literal values of a text: includes and replaces nothing. The extension of `path`
/// determines the format.
///
/// # Errors
/// The text has an invalid format.
pub fn read(path: &Path, text: &str) -> Result<Settings, ConfigErrors> {
    let file: Arc<str> = path.display().to_string().into();
    parse(&file, path, text).map_err(|error| ConfigError::from_settings(&file, error).into())
}

/// Reads the values of a text that is called `file`, in the format of `path`.
fn parse(file: &Arc<str>, path: &Path, text: &str) -> Result<Settings, SettingsError> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => {
            let values = toml::read(file, text)?;
            // YAML counts while it replaces aliases.
            if yaml::count(&values) > files::VALUES_MAX {
                let place = Place { file: file.clone(), ..Place::default() };
                let problem = files::too_many_values();
                return Err(SettingsError::new(SettingsErrorKind::Invalid, place, problem));
            }
            Ok(values)
        }
        Some("yaml" | "yml") => yaml::read(file, text),
        other => {
            let place = Place { file: file.clone(), ..Place::default() };
            let problem = match other {
                Some("properties" | "conf") => format!(
                    "a configuration must have a name that ends in `.toml`, `.yaml` or `.yml`; \
                     to translate a configuration of Flume, run `aqueduct convert {}`",
                    path.display()
                ),
                _ => "a configuration must have a name that ends in `.toml`, `.yaml` or `.yml`"
                    .into(),
            };
            Err(SettingsError::new(SettingsErrorKind::Syntax, place, problem))
        }
    }
}

#[cfg(test)]
mod tests;
