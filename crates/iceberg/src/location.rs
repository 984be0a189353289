//! URLs of a table and its files.

use crate::TableError;

/// Splits a URL into the family of its scheme, its authority and its path: `file:/a` has no
/// authority, like `file:///a`.
pub fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/')?),
        None => ("", rest),
    };
    path.starts_with('/').then_some((family(scheme), authority, path))
}

/// Returns the path of a URL in its store.
///
/// # Errors
/// It is not a URL.
pub fn path(url: &str) -> Result<&str, TableError> {
    let path = split(url).map(|(_, _, path)| path);
    path.ok_or_else(|| TableError::malformed(format!("`{url}` is not the URL of a file")))
}

/// Readers name some stores in several ways.
pub fn family(scheme: &str) -> &str {
    match scheme {
        "s3a" | "s3n" => "s3",
        "abfs" => "abfss",
        other => other,
    }
}
