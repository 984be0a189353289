//! Which directories the settings of a sink make of events, for a test that looks at nothing else.

use pipeline::{BuildError, Events};
use storage::StoreUrl;

use super::Config;
use super::bucket::{AnyHost, Rules};

/// The rules by which a sink finds directories. `%[IP]` and its like are a name that no host has.
#[derive(Debug)]
pub struct Paths(Rules);

/// A batch by directory.
#[derive(Debug)]
pub struct Parted {
    /// Directories below the prefix, and their events.
    pub parts: Vec<(String, Events)>,
    /// Events that the rules reject.
    pub rejected: usize,
}

impl Paths {
    /// Those of these settings.
    ///
    /// # Errors
    /// What is wrong with a setting.
    pub fn of(settings: &Config) -> Result<Self, BuildError> {
        let url = StoreUrl::parse(&settings.url);
        let url = url.map_err(|error| BuildError::invalid("url", error))?;
        settings.rules(url.path(), &AnyHost).map(Self)
    }

    /// The names in front of the first escape.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.0.template.prefix()
    }

    /// The events by directory: `parts_max` of them at most, and one for what is over. `now` is in
    /// milliseconds since 1970.
    #[must_use]
    pub fn part(&self, events: &Events, now: i64, parts_max: usize) -> Parted {
        let routed = self.0.route(events, now, parts_max);
        Parted { parts: routed.parts, rejected: routed.rejected.len() }
    }
}
