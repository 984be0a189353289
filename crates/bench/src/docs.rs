//! Figures in the documentation: printed output goes between two marks of a page.

use std::fs;
use std::path::Path;

use crate::error::{Doing, Error, Result};

/// Writes `table` between the marks of the page.
///
/// # Errors
/// The page cannot be read or written, or lacks the marks.
pub(crate) fn put(page: &Path, (start, end): (&str, &str), table: &str) -> Result<()> {
    let text = fs::read_to_string(page).at("read", page)?;
    let text = replaced(&text, (start, end), table).ok_or_else(|| Error::Answer {
        from: page.display().to_string(),
        detail: format!("no place for the table: {start} … {end}"),
    })?;
    fs::write(page, text).at("write", page)
}

/// Returns `text` with `table` between the marks; `None` without them.
pub(crate) fn replaced(text: &str, (start, end): (&str, &str), table: &str) -> Option<String> {
    let (before, rest) = text.split_once(start)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{start}{table}{end}{after}"))
}
