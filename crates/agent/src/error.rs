//! The reasons why an agent cannot start, or has to stop.

use config::ConfigErrors;
use pipeline::ChannelError;
use thiserror::Error;

/// Why an agent cannot start, or has to stop.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The configuration is wrong; nothing was started.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {problem}")]
    DataDir {
        /// The directory.
        path: String,
        /// The cause and the remedy.
        problem: String,
    },
    /// A channel cannot be opened.
    #[error("cannot open a channel, so the agent exits; fix the cause and restart the agent")]
    Channel(#[from] ChannelError),
    /// A source cannot do its work until an operator acts.
    #[error("source `{source_name}` cannot continue and stops the agent: {problem}")]
    Source {
        /// Its name.
        source_name: String,
        /// Its error.
        problem: String,
    },
}
