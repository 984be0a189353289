//! Small files in the data directory with a checksum: a line of JSON, followed by the xxh3 of that
//! line in 16 hexadecimal digits.

use std::io;
use std::path::Path;

use pipeline::env::{Disk, small_file};
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

/// More than this is not our file.
const BYTES_MAX: usize = 1 << 20;

/// The text of a file.
pub fn text(content: &impl Serialize) -> String {
    let line = serde_json::to_string(content).expect("names and numbers");
    let check = xxh3_64(line.as_bytes());
    format!("{line}\n{check:016x}\n")
}

/// Parses a file; `None` if it is damaged.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (line, check) = std::str::from_utf8(bytes).ok()?.trim_end().split_once('\n')?;
    let is_sound = format!("{:016x}", xxh3_64(line.as_bytes())) == check;
    is_sound.then(|| serde_json::from_str(line).ok())?
}

/// Reads and parses a file; a missing file gives the default value.
///
/// # Errors
/// It cannot be read.
pub fn read<T: DeserializeOwned + Default>(disk: &dyn Disk, path: &Path) -> io::Result<Option<T>> {
    match small_file::find(disk, path)? {
        Some(file) => Ok(parse(&file.read(0, BYTES_MAX)?)),
        None => Ok(Some(T::default())),
    }
}
