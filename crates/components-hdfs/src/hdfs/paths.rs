//! Computes the directories of events from a sink's settings, for tests.

use pipeline::{BuildError, Events};
use storage::StoreUrl;

use super::Config;
use super::bucket::{AnyHost, Rules};

/// The directory rules of a sink. `%[IP]` and similar give a name that no host has.
#[derive(Debug)]
pub struct Paths(Rules);

/// A batch, split by directory.
#[derive(Debug)]
pub struct Parted {
    /// Directories below the prefix, and their events.
    pub parts: Vec<(String, Events)>,
    /// Number of events that the rules reject.
    pub rejected: usize,
}

impl Paths {
    /// Creates the rules of these settings.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn from_config(settings: &Config) -> Result<Self, BuildError> {
        let url = StoreUrl::parse(&settings.url);
        let url = url.map_err(|error| BuildError::invalid("url", error))?;
        settings.rules(url.path(), &AnyHost).map(Self)
    }

    /// Returns the path before the first escape.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.0.template.prefix()
    }

    /// Splits events by directory: at most `parts_max`, and an overflow. `now` is in milliseconds
    /// since 1970.
    #[must_use]
    pub fn part(&self, events: &Events, now: i64, parts_max: usize) -> Parted {
        let routed = self.0.route(events, now, parts_max);
        Parted { parts: routed.parts, rejected: routed.rejected.len() }
    }
}
