//! The file `channel`: the format of the directory and its owner.
//!
//! ```text
//! aqueduct channel
//! format 2
//! uuid 5f0e…      32 hex digits: seeds the checksums
//! origin 91c2…    32 hex digits: origin of batches that are created here
//! epoch 12582912  increases at every start; the lowest 20 bits are random
//! check 0a1b2c3d  CRC32C of the lines above
//! ```
//!
//! The first block of each segment repeats this information, in case the file is lost.

use std::io;
use std::path::Path;

use pipeline::env::{Disk, small_file};
use pipeline::{Epoch, Origin};

use crate::durable::log::segment::{FORMAT, Owner};

const FIRST_LINE: &str = "aqueduct channel";
/// More than this is not our file.
const BYTES_MAX: usize = 4096;

/// The contents of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnerFile {
    /// The file does not exist.
    Absent,
    /// The file is damaged.
    Damaged,
    /// A newer program wrote it.
    Newer {
        /// The format that it names.
        format: u16,
    },
    /// The file is sound.
    Sound(Owner),
}

fn hex(bytes: &[u8; 16]) -> String {
    Origin(*bytes).to_string()
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

fn text(owner: &Owner, format: u16) -> String {
    let (uuid, origin, epoch) = (hex(&owner.uuid), hex(&owner.origin.0), owner.epoch.0);
    let lines =
        format!("{FIRST_LINE}\nformat {format}\nuuid {uuid}\norigin {origin}\nepoch {epoch}\n");
    let check = crc32c::crc32c(lines.as_bytes());
    format!("{lines}check {check:08x}\n")
}

fn is_checked(text: &str) -> bool {
    text.rsplit_once("check ").is_some_and(|(lines, check)| {
        format!("{:08x}\n", crc32c::crc32c(lines.as_bytes())) == check
    })
}

fn parse(text: &str) -> OwnerFile {
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let Some(format) = field("format").and_then(|format| format.parse().ok()) else {
        return OwnerFile::Damaged;
    };
    if format > FORMAT {
        // A newer program may add lines, but the last line is the checksum of the others.
        return if is_checked(text) { OwnerFile::Newer { format } } else { OwnerFile::Damaged };
    }
    let owner = (|| {
        let (uuid, origin) = (unhex(field("uuid")?)?, Origin(unhex(field("origin")?)?));
        Some(Owner { uuid, origin, epoch: Epoch(field("epoch")?.parse().ok()?) })
    })();
    match owner {
        Some(owner) if self::text(&owner, format) == text => OwnerFile::Sound(owner),
        _ => OwnerFile::Damaged,
    }
}

/// Reads the file.
///
/// # Errors
/// The disk refused.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<OwnerFile> {
    let Some(file) = small_file::find(disk, path)? else { return Ok(OwnerFile::Absent) };
    let bytes = file.read(0, BYTES_MAX)?;
    Ok(std::str::from_utf8(&bytes).map_or(OwnerFile::Damaged, parse))
}

/// Writes the file.
///
/// # Errors
/// The disk failed; the old content stays.
pub(crate) fn write(disk: &dyn Disk, path: &Path, owner: &Owner) -> io::Result<()> {
    small_file::replace(disk, path, text(owner, FORMAT).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner { uuid: [0xab; 16], origin: Origin([1; 16]), epoch: Epoch(12) };

    #[test]
    fn reads_the_written_file_and_detects_damage() {
        let good = text(&OWNER, FORMAT);
        assert_eq!(parse(&good), OwnerFile::Sound(OWNER));
        for at in 0..good.len() {
            let mut bad = good.clone().into_bytes();
            bad[at] ^= 1;
            let read = std::str::from_utf8(&bad).map_or(OwnerFile::Damaged, parse);
            assert_eq!(read, OwnerFile::Damaged, "byte {at}");
        }
        assert_eq!(parse(&text(&OWNER, 1)), OwnerFile::Sound(OWNER), "of an older program");
    }

    #[test]
    fn a_newer_format_is_named() {
        let newer = text(&OWNER, FORMAT + 1);
        assert_eq!(parse(&newer), OwnerFile::Newer { format: FORMAT + 1 });
    }
}
