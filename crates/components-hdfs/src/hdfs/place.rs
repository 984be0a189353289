//! Locates the files of a sink, for other programs.

use ledger::Dataset;
use storage::StoreUrl;

use super::bucket::{AnyHost, Template, confined};

/// Returns the prefix of the path of a sink's URL: all names before the first escape.
///
/// # Errors
/// The path is invalid for a sink.
pub fn prefix(path: &str) -> Result<String, String> {
    Template::parse(path, &AnyHost).map(|template| template.prefix().to_owned())
}

/// Returns the sink's name as used in directories and files.
pub fn name(sink: &str) -> String {
    confined(Some(sink))
}

/// Returns the dataset of a sink with this name and URL, and the sink's name for it.
///
/// # Errors
/// The path of the URL is invalid for a sink.
pub fn dataset(url: &StoreUrl, sink: &str) -> Result<(Dataset, String), String> {
    let (prefix, sink) = (prefix(url.path())?, name(sink));
    let called = format!("{sink} in {}{prefix}", url.store());
    Ok((Dataset::new(&prefix, &sink), called))
}
