//! Parses the description of a piece from its event, and checks file names. Pure.

use formats::pieces::{DIGEST, FILE, OFFSET, SIZE, TRANSFER};
use pipeline::EventRef;

/// Digits of a transfer name, and of a digest.
const TRANSFER_DIGITS: usize = 32;
const DIGEST_DIGITS: usize = 64;
/// Maximum bytes of a name, and of a path: the limits of HDFS and file systems.
const NAME_BYTES_MAX: usize = 255;
const PATH_BYTES_MAX: usize = 4_000;

/// Why an event can never be part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Reason for counting and listing dead letters.
    pub(super) reason: &'static str,
    /// Message for people.
    pub(super) detail: String,
}

impl Refusal {
    fn no_piece(detail: String) -> Self {
        Self { reason: "no_piece", detail }
    }

    fn unusable(detail: String) -> Self {
        Self { reason: "unusable_name", detail }
    }

    /// The bytes differ from those that were read.
    pub(super) fn damaged() -> Self {
        let detail =
            "the SHA-256 of the file differs: an interceptor has changed the body; remove that \
             interceptor"
                .into();
        Self { reason: "damaged_piece", detail }
    }

    /// The transfer is finished with other bytes.
    pub(super) fn of_another_file() -> Self {
        let detail = "another file with the same name, length, time and beginning is already \
                      stored; `touch` the file and put it into the directory again"
            .into();
        Self { reason: "other_file", detail }
    }
}

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) transfer: &'a str,
    /// Path of the file below the prefix.
    pub(super) file: &'a str,
    pub(super) offset: u64,
    /// Size of the whole file.
    pub(super) size: u64,
    /// SHA-256 of the whole file, on its last piece.
    pub(super) digest: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl<'a> Piece<'a> {
    /// Parses an event.
    ///
    /// # Errors
    /// It is not a piece of a file, or its file name is unusable.
    pub(super) fn from_event(event: &EventRef<'a>, takes_colons: bool) -> Result<Self, Refusal> {
        let header = |name| {
            let missing = || {
                Refusal::no_piece(format!(
                    "the header `{name}` is missing: this sink accepts only events of `spool_dir` \
                     with `pieces`"
                ))
            };
            event.header(name).ok_or_else(missing)
        };
        let number = |name| {
            let text = header(name)?;
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<u64>().ok().filter(|_| is_plain);
            number.ok_or_else(|| {
                Refusal::no_piece(format!(
                    "the header `{name}` must be a number, but is {text:?}; remove interceptors \
                     that change the headers of `spool_dir`"
                ))
            })
        };
        let (transfer, file) = (header(TRANSFER)?, header(FILE)?);
        if !is_hex(transfer, TRANSFER_DIGITS) {
            return Err(Refusal::no_piece(format!(
                "the header `{TRANSFER}` must have {TRANSFER_DIGITS} hexadecimal digits, but is \
                 {transfer:?}; remove interceptors that change the headers of `spool_dir`"
            )));
        }
        let (offset, size) = (number(OFFSET)?, number(SIZE)?);
        let (body, digest) = (event.body(), event.header(DIGEST));
        let end = offset.checked_add(body.len() as u64).filter(|end| *end <= size);
        let Some(end) = end else {
            let length = body.len();
            let problem = format!(
                "a piece of {length} bytes at offset {offset} exceeds the file size of {size} \
                 bytes; remove interceptors that change bodies or the headers of `spool_dir`"
            );
            return Err(Refusal::no_piece(problem));
        };
        let is_last = end == size && (!body.is_empty() || size == 0);
        let fits = match digest {
            Some(digest) => is_last && is_hex(digest, DIGEST_DIGITS),
            None => !is_last && !body.is_empty(),
        };
        if !fits {
            let problem = format!(
                "the header `{DIGEST}` must be on the last piece of a file, and only there; remove \
                 interceptors that change the headers of `spool_dir`"
            );
            return Err(Refusal::no_piece(problem));
        }
        usable(file, takes_colons).map_err(Refusal::unusable)?;
        Ok(Self { transfer, file, offset, size, digest, body })
    }

    /// Returns its end offset (exclusive).
    pub(super) fn end(&self) -> u64 {
        self.offset + self.body.len() as u64
    }

    /// Returns whether it is the whole file.
    pub(super) fn is_whole_file(&self) -> bool {
        self.offset == 0 && self.end() == self.size
    }
}

/// Returns whether the text consists of this many hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

/// Checks that a file may have this path, and stays below the prefix.
fn usable(file: &str, takes_colons: bool) -> Result<(), String> {
    let problem = |what: &str| {
        Err(format!(
            "the path {file:?} {what}; rename this file or directory at the source, and put the \
             file into the directory of `spool_dir` again"
        ))
    };
    if file.len() > PATH_BYTES_MAX {
        return problem(&format!("is longer than {PATH_BYTES_MAX} bytes"));
    }
    if file.chars().any(char::is_control) {
        return problem("contains a control character");
    }
    if file.contains(':') && !takes_colons {
        return problem("contains a colon, which HDFS does not allow");
    }
    for name in file.split('/') {
        match name {
            "" => return problem("contains an empty name, or begins with `/`"),
            "." | ".." => return problem("contains `.` or `..`"),
            // Reserved for commits and transfers.
            "_aqueduct" => return problem("contains the reserved name `_aqueduct`"),
            _ if name.len() > NAME_BYTES_MAX => {
                return problem(&format!("contains a name of more than {NAME_BYTES_MAX} bytes"));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pipeline::BatchBuilder;

    use super::*;

    const T: &str = "0123456789abcdef0123456789abcdef";

    fn refused(body: &[u8], headers: &[(&str, &str)]) -> Option<&'static str> {
        let mut events = BatchBuilder::default();
        events.push(body, headers);
        let batch = events.finish();
        let event = batch.iter().next().unwrap();
        Piece::from_event(&event, false).err().map(|it| it.reason)
    }

    #[test]
    fn rejects_events_that_are_not_pieces() {
        let digest = "a".repeat(64);
        let of = |body: &[u8], offset: &str, size: &str, digest: Option<&str>| {
            let mut headers =
                vec![(TRANSFER, T), (FILE, "a/b c.bin"), (OFFSET, offset), (SIZE, size)];
            headers.extend(digest.map(|digest| (DIGEST, digest)));
            refused(body, &headers)
        };
        let digest = Some(&*digest);
        assert_eq!(of(b"ab", "0", "3", None), None);
        assert_eq!(of(b"c", "2", "3", digest), None);
        assert_eq!(of(b"", "0", "0", digest), None);
        for (body, offset, size, digest) in [
            (&b"ab"[..], "0", "3", digest),
            (b"c", "2", "3", None),
            (b"c", "2", "3", Some("short")),
            (b"", "3", "3", digest),
            (b"", "1", "3", None),
            (b"c", "3", "3", digest),
            (b"c", "18446744073709551615", "3", None),
            (b"ab", "+0", "3", None),
            (b"ab", "x", "3", None),
        ] {
            assert_eq!(of(body, offset, size, digest), Some("no_piece"), "{body:?} at {offset}");
        }
        assert_eq!(refused(b"a line", &[]), Some("no_piece"));
        let other = [(TRANSFER, "../../x"), (FILE, "a"), (OFFSET, "0"), (SIZE, "9")];
        assert_eq!(refused(b"ab", &other), Some("no_piece"));
    }

    #[test]
    fn no_name_leads_out_of_the_directory_or_to_what_a_store_refuses() {
        for name in ["a", "a/b c/ü.bin", "..a/b..", "_aqueduct2/x", "\\xff"] {
            assert_eq!(usable(name, false), Ok(()), "{name}");
        }
        let long = "x".repeat(256);
        for name in
            ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\nb", "_aqueduct/l", "a:b", &long]
        {
            assert!(usable(name, false).is_err(), "{name}");
        }
        assert_eq!(usable("a:b", true), Ok(()));
    }
}
