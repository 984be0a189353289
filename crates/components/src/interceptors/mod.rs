//! Interceptors: change or drop events between a source and its channels.

mod conditions;
pub mod container_log;
pub mod dedupe;
pub mod event_time;
pub mod filter;
pub mod host;
pub mod lookup;
pub mod mask;
mod networks;
pub mod parse;
pub mod regex_extractor;
pub mod regex_filter;
pub mod remove_header;
pub mod route;
pub mod sample;
pub mod search_replace;
pub mod static_header;
pub mod throttle;
pub mod timestamp;
pub mod uuid;

use pipeline::component::entry;
use pipeline::{BuildError, Entry, EventRef, Events, Existing, Interceptor};
use regex::bytes::{CaptureLocations, Regex};

/// All interceptors.
pub static ALL: &[Entry<dyn Interceptor>] = &[
    entry::<container_log::Config>(),
    entry::<dedupe::Config>(),
    entry::<event_time::Config>(),
    entry::<filter::Config>(),
    entry::<host::Config>(),
    entry::<lookup::Config>(),
    entry::<mask::Config>(),
    entry::<parse::Config>(),
    entry::<regex_extractor::Config>(),
    entry::<regex_filter::Config>(),
    entry::<remove_header::Config>(),
    entry::<route::Config>(),
    entry::<sample::Config>(),
    entry::<search_replace::Config>(),
    entry::<static_header::Config>(),
    entry::<throttle::Config>(),
    entry::<timestamp::Config>(),
    entry::<uuid::Config>(),
];

/// Returns the meaning of `preserve_existing` for a batch.
fn existing(preserve: bool) -> Existing {
    if preserve { Existing::Keep } else { Existing::Replace }
}

/// Describes in a routing that a value is written to the selector's header.
fn writes(value: &str, existing: Existing) -> String {
    match existing {
        Existing::Keep => format!("{value:?} where it is missing"),
        Existing::Replace => format!("{value:?} everywhere"),
    }
}

/// Checks that a header's name is not empty and fits the encoding of a batch.
fn check_name(setting: &str, name: &str) -> Result<(), BuildError> {
    let limit = usize::from(u16::MAX);
    if name.is_empty() || name.len() > limit {
        let problem =
            format!("the name of a header must have 1 to {limit} bytes, not {}", name.len());
        return Err(BuildError::invalid(setting, problem));
    }
    Ok(())
}

/// Compiles the pattern of a setting.
fn pattern(setting: &str, text: &str) -> Result<Regex, BuildError> {
    Regex::new(text).map_err(|error| BuildError::invalid(setting, error))
}

/// Creates reusable locations of a pattern's groups; unused without a pattern.
fn locations(pattern: Option<&Regex>) -> CaptureLocations {
    let none = || Regex::new("").expect("an empty pattern").capture_locations();
    pattern.map_or_else(none, Regex::capture_locations)
}

/// Iterates over events with the examined text: a header's value, or the body if no header is
/// configured. `None`: the event lacks the header.
fn looked_at<'a>(
    batch: &'a Events,
    header: Option<&'a str>,
) -> impl Iterator<Item = (EventRef<'a>, Option<&'a [u8]>)> {
    let values = batch.values(header.unwrap_or_default());
    batch.iter().zip(values).map(move |(event, own)| match header {
        Some(_) => (event, own.map(str::as_bytes)),
        None => (event, Some(event.body())),
    })
}

/// Helpers for tests of interceptors.
#[cfg(test)]
mod testing {
    use std::path::Path;

    use pipeline::{
        Batch, BuildContext, Component, Events, Interceptor, Rejects, SettingsError, testkit,
    };
    use serde_json::Value;

    /// Builds an interceptor as a configuration does.
    pub(super) fn built<C: Component<Role = dyn Interceptor>>(
        settings: &Value,
    ) -> Result<Box<dyn Interceptor>, SettingsError> {
        testkit::build::<C>(settings, &cx())
    }

    /// Returns the context of a component outside of an agent.
    pub(super) fn cx() -> BuildContext {
        BuildContext::alone("test", Path::new("unused"), env::real())
    }

    /// Returns the batch after an interceptor with these settings.
    pub(super) fn through<C: Component<Role = dyn Interceptor>>(
        settings: &Value,
        mut batch: Batch,
    ) -> Batch {
        built::<C>(settings).unwrap().intercept(&mut batch, &mut Rejects::default());
        batch
    }

    /// Returns the rejected setting.
    pub(super) fn refused<C: Component<Role = dyn Interceptor>>(settings: &Value) -> String {
        built::<C>(settings).err().unwrap_or_else(|| panic!("{settings} is taken")).path
    }

    /// Returns each event's value of a header, `-` without one.
    pub(super) fn values(batch: &Events, name: &str) -> Vec<String> {
        batch.values(name).map(|value| value.unwrap_or("-").to_owned()).collect()
    }

    /// Returns the bodies as text.
    pub(super) fn bodies(batch: &Events) -> Vec<String> {
        batch.iter().map(|event| String::from_utf8_lossy(event.body()).into_owned()).collect()
    }
}
