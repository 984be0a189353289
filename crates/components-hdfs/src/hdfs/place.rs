//! Where a sink stores, for whoever looks for it from outside.

use super::bucket::{Template, confined};

/// The prefix of the path of a sink's URL: all names before the first escape.
///
/// # Errors
/// The path is none that a sink takes.
pub fn prefix(path: &str) -> Result<String, String> {
    Template::parse(path).map(|template| template.prefix().to_owned())
}

/// What a sink of this name is called in the names of directories and files.
pub fn name(sink: &str) -> String {
    confined(Some(sink))
}
