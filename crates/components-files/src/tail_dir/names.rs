//! File names: bytes that others chose. They need not be UTF-8 and may contain anything but `/` and
//! NUL.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(super) use pipeline::file_position::shown;

/// Endings of compressed files.
const COMPRESSED: [&str; 8] = ["gz", "bz2", "xz", "zst", "Z", "lz4", "lzma", "br"];

/// Returns the last part of a path.
pub(super) fn name_of(path: &Path) -> Option<&[u8]> {
    path.file_name().map(OsStr::as_bytes)
}

/// Returns the name up to its first dot, which rotation does not change.
pub(super) fn stem(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == b'.').next().unwrap_or(name)
}

/// Returns true if rotation may have renamed `original` to `other`, in the same directory.
pub(super) fn may_be_renamed(original: &[u8], other: &[u8]) -> bool {
    other.starts_with(stem(original))
}

/// Returns true if `other` is a typical name for a rotated copy of `original`: `access.log.1`,
/// `access.log-20261120`, `access-20261120.log`.
pub(super) fn may_be_copy(original: &[u8], other: &[u8]) -> bool {
    let separated = |rest: &[u8]| matches!(rest.first(), Some(b'.' | b'-' | b'_'));
    let dated = |rest: &[u8]| separated(rest) && rest.get(1).is_some_and(u8::is_ascii_digit);
    other.strip_prefix(original).is_some_and(separated)
        || other.strip_prefix(stem(original)).is_some_and(dated)
}

/// Returns the name without the ending of a compressed file; `None` without such an ending.
fn uncompressed(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0)?;
    let ending = &name[dot + 1..];
    let is_one = |known: &&str| known.as_bytes().eq_ignore_ascii_case(ending);
    COMPRESSED.iter().any(is_one).then(|| &name[..=dot])
}

/// Returns true if the name has the ending of a compressed file.
pub(super) fn is_compressed(name: &OsStr) -> bool {
    uncompressed(name.as_bytes()).is_some()
}

/// Returns true if a compressed file of this name must be skipped although it `matches`: it does
/// not contain lines. A pattern asks for such files by their ending, so it does not match other
/// endings.
pub(super) fn is_unasked(name: &OsStr, matches: impl Fn(&OsStr) -> bool) -> bool {
    let Some(begins) = uncompressed(name.as_bytes()) else { return false };
    let mut other = begins.to_vec();
    other.resize(name.len(), 1);
    matches(OsStr::from_bytes(&other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_known_by_the_names_that_rotation_gives() {
        let may = |original: &str, other: &str| may_be_copy(original.as_bytes(), other.as_bytes());
        for other in ["access.log.1", "access.log-20261120", "access-20261120.log", "access.1.log"]
        {
            assert!(may("access.log", other), "{other}");
        }
        for other in ["access.log", "access2.log", "access-eu.log", "error.log.1", "10.log"] {
            assert!(!may("access.log", other), "{other}");
        }
        assert!(!may("1.log", "10.log"));
    }

    #[test]
    fn a_compressed_file_is_passed_over_unless_a_pattern_names_its_ending() {
        for (pattern, name, passed_over) in [
            ("*", "app.log.1.gz", true),
            ("app.log*", "app.log.2.bz2", true),
            ("app.*", "app.Z", true),
            ("*.log*", "a.log.zst", true),
            ("*.gz", "app.log.1.gz", false),
            ("*.{log,xz}", "app.xz", false),
            ("app.log.[0-9].lz4", "app.log.1.lz4", false),
            ("*.?z", "app.gz", false),
            ("*", "app.log.1", false),
            ("*", ".gz", false),
            ("*", "gz", false),
            ("*", "report.zip.log", false),
        ] {
            let matcher = globset::Glob::new(pattern).unwrap().compile_matcher();
            let name = OsStr::new(name);
            assert!(matcher.is_match(name), "{pattern} {name:?}");
            let is = is_unasked(name, |name| matcher.is_match(name));
            assert_eq!(is, passed_over, "{pattern} {name:?}");
        }
    }
}
