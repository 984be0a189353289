//! Flume's configuration: `.properties` files → an agent of Flume → [`Settings`], as from
//! Aqueduct's own files.
//!
//! ```text
//!   flume.conf ─► properties ─► lookups ─► Agent ─► translate ─► Settings ─► config::examine
//!   (several)     key, value,   ${env:X}   names,       │
//!                 place         filters    components   └─► Report: what became of each key
//! ```
//!
//! Everything here is synchronous and without I/O: the input is texts; [`World`] provides the
//! environment, programs and files in them. The tables of [`table`] define the translation of each
//! component and each of its keys; the reference in `docs/migrate-from-flume.md` is generated from
//! them.

mod agent;
mod credentials;
mod hadoop;
mod hocon;
mod lookup;
mod morphline;
pub mod page;
pub mod properties;
mod report;
pub mod table;
mod translate;

use std::sync::Arc;

use pipeline::Settings;
use thiserror::Error;

pub use agent::agents;
pub use hadoop::{property as site_property, site_default_fs};
pub use properties::{Property, SyntaxError};
pub use report::{Finding, Outcome, Report};
pub use translate::is_plain_text;

/// The services that a translation needs from its program. The defaults are a program with every
/// component on a host without variables and files.
pub trait World {
    /// Returns an environment variable; `None` if it is not set.
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    /// A system property of the JVM, as `-Dname=value` sets it.
    fn system(&self, _name: &str) -> Option<String> {
        None
    }

    /// Runs a program for the config filter `external`, and returns its output. `None` if programs
    /// must not run: the value is then a reference to a file.
    ///
    /// # Errors
    /// It failed: the reason, for the user.
    fn run(&self, _program: &str, _argument: &str) -> Option<Result<String, String>> {
        None
    }

    /// The content of a file that the configuration names: a credential store, a morphline.
    ///
    /// # Errors
    /// It cannot be read: why, for people.
    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("{path} does not exist; pass another file"))
    }

    /// Returns the name of this host's time zone, such as `Europe/Berlin`; `None` if it is unknown.
    fn zone(&self) -> Option<String> {
        None
    }

    /// Returns `true` if the program has a component of this role and kind.
    fn has(&self, _role: &str, _kind: &str) -> bool {
        true
    }
}

/// Options of a translation, besides the files.
#[derive(Debug, Clone)]
pub struct Options {
    /// The agent of the file; the only one unless set.
    pub agent: Option<String>,
    /// The data directory of the agent.
    pub data_dir: String,
    /// Host and port of the metrics; off unless set.
    pub admin: Option<String>,
    /// Host and port of Flume's own page of counters; off unless set.
    pub flume_metrics: Option<String>,
    /// The prefix of an HDFS path without a scheme: `hdfs://namenode:8020`.
    pub default_fs: Option<String>,
    /// True if references without a value here stay: the result is printed and not run.
    pub keep_references: bool,
    /// Runs Java classes; without it they need a decision.
    pub jvm: Option<Jvm>,
}

/// The Java virtual machine for classes that are not part of Flume.
#[derive(Debug, Clone)]
pub struct Jvm {
    /// The command that starts the bridge, with the class path.
    pub command: Vec<String>,
    /// `memory_max` of the process; the component's default unless set.
    pub memory_max: Option<String>,
    /// Interceptors whose result depends on the event and their keys only.
    pub pure: Vec<String>,
    /// Why the bridge cannot start, and the remedy.
    pub problem: Option<String>,
}

/// A file of properties: its name, and its text.
#[derive(Debug, Clone)]
pub struct File {
    /// The name, as the user wrote it.
    pub name: Arc<str>,
    /// The text.
    pub text: String,
}

/// The result of a translation.
#[derive(Debug)]
pub struct Conversion {
    /// The name of the agent in Flume's file.
    pub agent: String,
    /// The settings, as from a file of Aqueduct.
    pub settings: Settings,
    /// The result for each key.
    pub report: Report,
}

/// Why nothing can be translated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConvertError {
    /// A file is not of its format.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// No file names an agent.
    #[error(
        "no agent is configured: there is no key such as `a1.sources`; pass the configuration file \
         of a Flume agent"
    )]
    NoAgent,
    /// The agent does not exist.
    #[error("no agent named `{name}` is configured; pass one of these with `-n`: {known}")]
    UnknownAgent {
        /// The name that was asked for.
        name: String,
        /// Existing agents, separated by commas.
        known: String,
    },
    /// Several agents, and none was named.
    #[error("several agents are configured, choose one with `-n`: {known}")]
    SeveralAgents {
        /// Existing agents, separated by commas.
        known: String,
    },
}

/// Reads the files in order (a later one replaces keys of an earlier one), and translates one of
/// their agents.
///
/// # Errors
/// A file has an invalid format, or the agent does not exist. All other problems are in the
/// [`Report`].
pub fn convert(
    files: &[File],
    options: &Options,
    world: &dyn World,
) -> Result<Conversion, ConvertError> {
    let mut report = Report::default();
    let mut all = Vec::new();
    for file in files {
        all.extend(properties::read(&file.name, &file.text)?);
    }
    let all = properties::merged(all, &mut report);
    let name = agent::choose(&all, options.agent.as_deref())?;
    agent::misspelled(&all, &name, &mut report);
    let values = lookup::resolve(&all, &name, options, world, &mut report);
    let agent = agent::Agent::of(&name, values, &mut report);
    let settings = translate::translate(agent, options, world, &mut report);
    report.sort(files);
    Ok(Conversion { agent: name, settings, report })
}
