//! What changes or drops events on their way in.

pub mod host;
pub mod regex_filter;
pub mod search_replace;
pub mod static_header;
pub mod timestamp;
pub mod uuid;

use pipeline::component::entry;
use pipeline::{BuildError, Entry, Existing, Interceptor};
use regex::bytes::Regex;

/// All of them.
pub static ALL: &[Entry<dyn Interceptor>] = &[
    entry::<host::Config>(),
    entry::<regex_filter::Config>(),
    entry::<search_replace::Config>(),
    entry::<static_header::Config>(),
    entry::<timestamp::Config>(),
    entry::<uuid::Config>(),
];

/// What `preserve_existing` means for a batch.
fn existing(preserve: bool) -> Existing {
    if preserve { Existing::Keep } else { Existing::Replace }
}

/// How a routing names that a value is written to the header that counts.
fn writes(value: &str, existing: Existing) -> String {
    match existing {
        Existing::Keep => format!("{value:?} where it is missing"),
        Existing::Replace => format!("{value:?} everywhere"),
    }
}

/// A header's name is not empty and fits the encoding of a batch.
fn check_name(setting: &str, name: &str) -> Result<(), BuildError> {
    let limit = usize::from(u16::MAX);
    if name.is_empty() || name.len() > limit {
        let problem = format!("a header's name has 1 to {limit} bytes, not {}", name.len());
        return Err(BuildError::invalid(setting, problem));
    }
    Ok(())
}

/// The pattern of a setting, compiled once.
fn pattern(setting: &str, text: &str) -> Result<Regex, BuildError> {
    Regex::new(text).map_err(|error| BuildError::invalid(setting, error))
}
