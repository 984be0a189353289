//! What is stored with the rows: how far they are read.
//!
//! | key | value |
//! |---|---|
//! | `state` | where reading goes on, as JSON |
//! | `r` and a number | a range of a full import that is not read to its end, as JSON |
//! | `w` and a number | digests of rows of the window that are stored, 16 bytes each |

use std::sync::Arc;

use bytes::Bytes;
use pipeline::SourcePosition;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::value::Tuple;

/// Bytes of a position at most.
pub(super) const VALUE_BYTES_MAX: usize = 4096;

/// Key of the state.
pub(super) const STATE: &str = "state";

/// Where reading goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// Rises with each batch.
    pub(super) number: u64,
    /// Digest of what is read, and in which order.
    pub(super) of: u64,
    /// `append` and `modified`: the last row in the order.
    #[serde(default)]
    pub(super) cursor: Option<Tuple>,
    /// `modified`: no row up to here is read again, whatever the window.
    #[serde(default)]
    pub(super) floor: Option<Tuple>,
    /// `full`: how far ranges are made.
    #[serde(default)]
    pub(super) plan: Plan,
}

/// How far ranges of a full import are made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Number of the next range.
    pub(super) next: u64,
    /// The rows with NULL in the first column are meant; the others have their ranges.
    pub(super) in_nulls: bool,
    /// End of the last range.
    pub(super) end: Option<Tuple>,
    /// End of those before the rows with NULL, once they have their ranges.
    #[serde(default)]
    pub(super) values_end: Option<Tuple>,
    /// All rows have their ranges.
    pub(super) is_whole: bool,
    /// All rows are read.
    pub(super) is_done: bool,
}

/// Rows from one value of the order up to another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) number: u64,
    pub(super) in_nulls: bool,
    /// Behind this row.
    pub(super) after: Option<Tuple>,
    /// Up to this one; `None`: to the end.
    pub(super) until: Option<Tuple>,
}

/// A position as it is stored.
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
            "the values of `key` and of the column that rows are ordered by are too long: a \
             position has {} bytes, and at most {VALUE_BYTES_MAX} can be stored; order by other \
             columns",
            value.len()
        ));
    }
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Some(value.into()));
    Ok(SourcePosition { source: source.clone(), key, value, after: None })
}

/// The key is forgotten.
pub(super) fn forgotten(source: &Arc<str>, key: &str) -> SourcePosition {
    let key = Bytes::copy_from_slice(key.as_bytes());
    SourcePosition { source: source.clone(), key, value: None, after: None }
}

/// The value of a key.
///
/// # Errors
/// It is of another version.
pub(super) fn read<T: DeserializeOwned>(
    known: &[(Bytes, Bytes)],
    key: &str,
) -> Result<Option<T>, String> {
    let value = known.iter().find(|(at, _)| *at == key.as_bytes()).map(|(_, value)| value);
    let value = value.map(|value| serde_json::from_slice(value)).transpose();
    value.map_err(|error| format!("the position `{key}` cannot be read: {error}"))
}

/// Whether a channel lacks the batch of this number.
pub(super) fn lacks(known: &[(Bytes, Bytes)], number: u64) -> bool {
    read::<State>(known, STATE).ok().flatten().is_none_or(|state| state.number < number)
}

/// Values of keys that begin with `prefix`, and what stands behind it.
pub(super) fn numbered(
    known: &[(Bytes, Bytes)],
    prefix: char,
) -> impl Iterator<Item = (u64, &Bytes)> {
    known.iter().filter_map(move |(key, value)| {
        let text = std::str::from_utf8(key).ok()?.strip_prefix(prefix)?;
        Some((text.parse().ok()?, value))
    })
}
