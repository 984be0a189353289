//! Bytes as text, which people and headers can have.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Adds bytes to a text; one that is no UTF-8 is written `\xff`.
pub fn push_bytes(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("a string takes every write");
        }
    }
}

/// Bytes as text; one that is no UTF-8 is written `\xff`.
#[must_use]
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::new();
    push_bytes(&mut text, bytes);
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_and_other_bytes_become_digits() {
        assert!(matches!(text_of("Zürich".as_bytes()), Cow::Borrowed("Zürich")));
        assert_eq!(text_of(b"a\xff\xc3b\xc3\xbc"), "a\\xff\\xc3bü");
        let mut text = "a".to_owned();
        push_bytes(&mut text, b"\0\xf0");
        assert_eq!(text, "a\0\\xf0");
    }
}
