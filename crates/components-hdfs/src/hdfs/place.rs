//! Where a sink stores, for programs that look for it from outside.

use ledger::Dataset;
use storage::StoreUrl;

use super::bucket::{AnyHost, Template, confined};

/// The prefix of the path of a sink's URL: all names before the first escape.
///
/// # Errors
/// The path is none that a sink takes.
pub fn prefix(path: &str) -> Result<String, String> {
    Template::parse(path, &AnyHost).map(|template| template.prefix().to_owned())
}

/// What a sink of this name is called in the names of directories and files.
pub fn name(sink: &str) -> String {
    confined(Some(sink))
}

/// The dataset of a sink of this name that stores at this URL, and what the sink calls it.
///
/// # Errors
/// The path of the URL is none that a sink takes.
pub fn dataset(url: &StoreUrl, sink: &str) -> Result<(Dataset, String), String> {
    let (prefix, sink) = (prefix(url.path())?, name(sink));
    let called = format!("{sink} in {}{prefix}", url.store());
    Ok((Dataset::new(&prefix, &sink), called))
}
