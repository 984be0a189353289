//! Helpers for tests of sources and sinks: intakes with scripted answers, a running source, a
//! server.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

pub mod channels;
pub mod kept;
pub mod narrow;
pub mod running;
pub mod sinks;

use std::path::Path;

use pipeline::testkit::build;
use pipeline::{BuildContext, Component};
use serde_json::Value;

/// Builds a component with `settings`, and those in `more` instead of settings with their names.
///
/// # Errors
/// The text of the error.
pub fn built<C: Component>(mut settings: Value, more: &Value) -> Result<Box<C::Role>, String> {
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let cx = BuildContext::alone("in", Path::new("unused"), env::real());
    build::<C>(&settings, &cx).map_err(|error| error.to_string())
}
