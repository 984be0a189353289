//! What the tests of other crates share: building a component from JSON as a configuration would.

use crate::component::{BuildContext, Component, entry};
use crate::settings::{Settings, SettingsError};

/// Builds a component from JSON, the way a configuration does.
///
/// # Errors
/// As the component says.
pub fn build<C: Component>(
    settings: &serde_json::Value,
    cx: &BuildContext,
) -> Result<Box<C::Role>, SettingsError> {
    (entry::<C>().build)(&Settings::from_json(settings), cx)
}
