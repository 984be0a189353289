//! What changes or drops events on their way in.

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

/// All of them.
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

/// Where a pattern's groups are found, for one batch; of no use without a pattern.
fn locations(pattern: Option<&Regex>) -> CaptureLocations {
    let none = || Regex::new("").expect("an empty pattern").capture_locations();
    pattern.map_or_else(none, Regex::capture_locations)
}

/// Each event with what a component looks at: a header's value, or the body where no header is
/// named. `None`: the event lacks the header.
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

/// What the tests of the interceptors share.
#[cfg(test)]
mod testing {
    use std::path::Path;

    use pipeline::{
        Batch, BuildContext, Component, Events, Interceptor, Rejects, SettingsError, testkit,
    };
    use serde_json::Value;

    /// An interceptor built as a configuration builds it.
    pub(super) fn built<C: Component<Role = dyn Interceptor>>(
        settings: &Value,
    ) -> Result<Box<dyn Interceptor>, SettingsError> {
        testkit::build::<C>(settings, &cx())
    }

    /// The context of a component outside an agent.
    pub(super) fn cx() -> BuildContext {
        BuildContext::alone("test", Path::new("unused"), env::real())
    }

    /// The batch behind an interceptor with these settings.
    pub(super) fn through<C: Component<Role = dyn Interceptor>>(
        settings: &Value,
        mut batch: Batch,
    ) -> Batch {
        built::<C>(settings).unwrap().intercept(&mut batch, &mut Rejects::default());
        batch
    }

    /// The setting that is refused.
    pub(super) fn refused<C: Component<Role = dyn Interceptor>>(settings: &Value) -> String {
        built::<C>(settings).err().unwrap_or_else(|| panic!("{settings} is taken")).path
    }

    /// Each event's value of a header, `-` where it lacks it.
    pub(super) fn values(batch: &Events, name: &str) -> Vec<String> {
        batch.values(name).map(|value| value.unwrap_or("-").to_owned()).collect()
    }

    /// The bodies as text.
    pub(super) fn bodies(batch: &Events) -> Vec<String> {
        batch.iter().map(|event| String::from_utf8_lossy(event.body()).into_owned()).collect()
    }
}
