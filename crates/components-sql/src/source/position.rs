//! The position stored with the rows.
//!
//! | key | value |
//! |---|---|
//! | `state` | where to continue, as JSON |
//! | `r` and a number | an unfinished range of a full import, as JSON |
//! | `w` and a number | digests of stored rows in the window, 16 bytes each |

use std::sync::Arc;

use bytes::Bytes;
use pipeline::SourcePosition;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::value::Tuple;

/// Maximum size of a position value.
pub(super) const VALUE_BYTES_MAX: usize = 4096;

/// Key of the state.
pub(super) const STATE: &str = "state";

/// Where to continue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// Incremented with each batch. Earlier versions read it.
    pub(super) number: u64,
    /// Digest of the relation and the order.
    pub(super) of: u64,
    /// `append` and `modified`: the last row in the order.
    #[serde(default)]
    pub(super) cursor: Option<Tuple>,
    /// `modified`: rows up to here are never read again, whatever the window.
    #[serde(default)]
    pub(super) floor: Option<Tuple>,
    /// `full`: planned ranges.
    #[serde(default)]
    pub(super) plan: Plan,
}

/// Planned ranges of a full import.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Number of the next range.
    pub(super) next: u64,
    /// Whether the ranges have reached the rows with NULL in the first column.
    pub(super) in_nulls: bool,
    /// End of the last range.
    pub(super) end: Option<Tuple>,
    /// End of the ranges before the NULL rows, when those are planned.
    #[serde(default)]
    pub(super) values_end: Option<Tuple>,
    /// Whether all rows are in ranges.
    pub(super) is_whole: bool,
    /// Whether all rows are read.
    pub(super) is_done: bool,
}

/// Rows between two values of the order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) number: u64,
    pub(super) in_nulls: bool,
    /// Exclusive lower bound.
    pub(super) after: Option<Tuple>,
    /// Inclusive upper bound; `None` for the end.
    pub(super) until: Option<Tuple>,
}

/// Encodes a position.
///
/// # Errors
/// It is too long.
pub(super) fn stored<T: Serialize>(
    source: &Arc<str>,
    key: &str,
    value: &T,
) -> Result<SourcePosition, String> {
    let value = serde_json::to_vec(value).map_err(|error| error.to_string())?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!(
            "the values of `key` and of the order column are too long: the position has {} bytes, \
             but at most {VALUE_BYTES_MAX} can be stored; order by other columns",
            value.len()
        ));
    }
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Some(value.into()));
    Ok(SourcePosition { source: source.clone(), key, value, after: None })
}

/// Removes a key.
pub(super) fn forgotten(source: &Arc<str>, key: &str) -> SourcePosition {
    let key = Bytes::copy_from_slice(key.as_bytes());
    SourcePosition { source: source.clone(), key, value: None, after: None }
}

/// Returns the value of a key.
///
/// # Errors
/// It has an unknown version.
pub(super) fn read<T: DeserializeOwned>(
    known: &[(Bytes, Bytes)],
    key: &str,
) -> Result<Option<T>, String> {
    let value = known.iter().find(|(at, _)| *at == key.as_bytes()).map(|(_, value)| value);
    let value = value.map(|value| serde_json::from_slice(value)).transpose();
    value.map_err(|error| {
        format!(
            "cannot decode the position `{key}` in the channel: {error}; another version wrote it: \
             run that version, or rename the source to start again"
        )
    })
}

/// Returns the values of keys that begin with `prefix`, and the numbers after it.
pub(super) fn numbered(
    known: &[(Bytes, Bytes)],
    prefix: char,
) -> impl Iterator<Item = (u64, &Bytes)> {
    known.iter().filter_map(move |(key, value)| {
        let text = std::str::from_utf8(key).ok()?.strip_prefix(prefix)?;
        Some((text.parse().ok()?, value))
    })
}
