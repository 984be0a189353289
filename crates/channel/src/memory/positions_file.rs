//! The file `positions.json` of a memory channel.
//!
//! ```json
//! { "version": 1, "positions": [ { "source": "access", "key": "2f76…", "value": "00b2…" } ] }
//! ```
//!
//! Keys and values are the sources' own bytes, in hexadecimal digits.

use std::io;
use std::path::Path;

use bytes::Bytes;
use pipeline::SourcePosition;
use pipeline::env::{Disk, small_file};
use serde::{Deserialize, Serialize};
use support::hex::hex;

/// Its name in the channel's directory.
pub(super) const NAME: &str = "positions.json";

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    positions: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    source: String,
    key: String,
    value: String,
}

fn unhex(text: &str) -> Option<Bytes> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect::<Option<Vec<u8>>>())?.map(Bytes::from)
}

/// Reads the file; empty if it does not exist.
///
/// # Errors
/// The disk failed, or the file has another format: starting without it would read everything
/// again.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<SourcePosition>> {
    let Some(file) = small_file::find(disk, path)? else { return Ok(Vec::new()) };
    let bytes = file.read(0, usize::try_from(file.stat()?.len).unwrap_or(usize::MAX))?;
    let file: File = serde_json::from_slice(&bytes)?;
    if file.version != VERSION {
        let found = file.version;
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the positions have version {found}, but only version {VERSION} is supported; use \
                 the program that wrote them"
            ),
        ));
    }
    let position = |row: &Row| {
        let (key, value) = (unhex(&row.key)?, unhex(&row.value)?);
        Some(SourcePosition {
            source: row.source.as_str().into(),
            key,
            value: Some(value),
            after: None,
        })
    };
    file.positions
        .iter()
        .map(position)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a position is not hexadecimal"))
}

/// Replaces the file, durably.
///
/// # Errors
/// The disk failed; the old file stays.
pub(super) fn write(disk: &dyn Disk, path: &Path, positions: &[SourcePosition]) -> io::Result<()> {
    let row = |position: &SourcePosition| Row {
        source: position.source.to_string(),
        key: hex(&position.key),
        value: hex(position.value.as_deref().unwrap_or_default()),
    };
    let file = File { version: VERSION, positions: positions.iter().map(row).collect() };
    small_file::replace(disk, path, &serde_json::to_vec_pretty(&file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_back_and_nonsense_is_refused() {
        let bytes = Bytes::from_static(&[0, 0x7f, 0xff]);
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        assert_eq!((unhex("0"), unhex("zz"), unhex("ä0")), (None, None, None));
    }
}
