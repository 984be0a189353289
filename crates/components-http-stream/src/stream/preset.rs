//! Presets of some public streams.

use std::time::Duration;

use pipeline::units::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::Format;

/// A public stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Preset {
    /// Filtered stream of X, API version 2.
    X,
    /// EventStreams of Wikimedia.
    Wikimedia,
    /// Streams of a Mastodon server.
    Mastodon,
}

/// Settings filled in by a preset.
#[derive(Debug, Default)]
pub(super) struct Filled {
    pub(super) url: Option<&'static str>,
    pub(super) format: Option<Format>,
    pub(super) idle_timeout: Option<Period>,
    pub(super) id: Option<&'static str>,
}

impl Preset {
    pub(super) fn filled(self) -> Filled {
        let seconds = |seconds| Some(Period(Duration::from_secs(seconds)));
        match self {
            // The server sends an empty line every 20 s, and recommends reconnecting without one.
            Self::X => Filled {
                url: Some("https://api.x.com/2/tweets/search/stream"),
                format: Some(Format::Ndjson),
                idle_timeout: seconds(25),
                id: Some("/data/id"),
            },
            // Delivery is at least once: the id of an event stays the same.
            Self::Wikimedia => Filled {
                url: Some("https://stream.wikimedia.org/v2/stream/recentchange"),
                format: Some(Format::Sse),
                idle_timeout: seconds(60),
                id: Some("/meta/id"),
            },
            // A heartbeat every 15 s. An edited status keeps its id, so ids are not used.
            Self::Mastodon => {
                Filled { url: None, format: Some(Format::Sse), idle_timeout: seconds(40), id: None }
            }
        }
    }
}
