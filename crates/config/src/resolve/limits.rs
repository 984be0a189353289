//! Limits of names, and of the number of components.

use pipeline::settings::shortened;

/// Maximum number of components of one section.
pub(crate) const COMPONENTS_MAX: usize = 1_000;

/// Names are directory names too, and part of file names in the store.
const NAME_BYTES_MAX: usize = 64;

pub(super) fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let plain = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(fits);
    if plain && name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let name = shortened(name, 2 * NAME_BYTES_MAX);
    Err(format!(
        "`{name}` is not a valid name: at most {NAME_BYTES_MAX} of a-z, A-Z, 0-9, `-`, `_` and \
         `.`, beginning with a letter or digit"
    ))
}

/// Returns the problem of a section with this many components.
pub(crate) fn too_many(section: &str, components: usize) -> String {
    format!(
        "`{section}` has {components} entries; at most {COMPONENTS_MAX} are supported: distribute \
         them over several agents"
    )
}
