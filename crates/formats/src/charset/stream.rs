//! Text of a connection in another charset than UTF-8, in both directions.

use encoding_rs::{Decoder, DecoderResult, UTF_8, UTF_16BE, UTF_16LE, mem};

use super::Charset;

/// Converts the text of a connection to UTF-8, and replies back, as Java's readers and writers do.
pub struct StreamText {
    charset: Charset,
    /// `None` before the first bytes, and for charsets without a table.
    decoder: Option<Decoder>,
    /// The first byte of a text whose byte order is still unknown.
    first: Vec<u8>,
    /// Whether a reply was encoded.
    has_replied: bool,
}

/// Bytes that are not text in the charset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidText;

impl StreamText {
    /// Begins a text.
    pub fn new(charset: Charset) -> Self {
        let decoder = match charset {
            Charset::Latin1 | Charset::Utf16 => None,
            Charset::Utf8 => Some(UTF_8.new_decoder_without_bom_handling()),
            Charset::Table(table) => Some(table.new_decoder_without_bom_handling()),
        };
        Self { charset, decoder, first: Vec::new(), has_replied: false }
    }

    /// Converts the next bytes; with `is_last` the text ends with them. Text before invalid bytes
    /// is appended.
    ///
    /// # Errors
    /// The bytes are invalid, or the text ends within a character.
    pub fn decode(&mut self, bytes: &[u8], is_last: bool) -> (String, Result<(), InvalidText>) {
        if self.charset == Charset::Latin1 {
            return (mem::decode_latin1(bytes).into_owned(), Ok(()));
        }
        let Some(decoder) = &mut self.decoder else {
            self.first.extend_from_slice(bytes);
            if self.first.len() < 2 {
                let is_cut = is_last && !self.first.is_empty();
                return (String::new(), if is_cut { Err(InvalidText) } else { Ok(()) });
            }
            let (_, mark) = self.charset.of_text(&self.first);
            let is_little = self.first.starts_with(&[0xff, 0xfe]);
            let table = if is_little { UTF_16LE } else { UTF_16BE };
            self.decoder = Some(table.new_decoder_without_bom_handling());
            let first = std::mem::take(&mut self.first);
            return self.decode(&first[mark..], is_last);
        };
        let wanted = decoder.max_utf8_buffer_length_without_replacement(bytes.len());
        let mut text = String::with_capacity(wanted.unwrap_or(bytes.len().saturating_mul(4)));
        let (result, _) = decoder.decode_to_string_without_replacement(bytes, &mut text, is_last);
        let is_valid = !matches!(result, DecoderResult::Malformed(..));
        (text, is_valid.then_some(()).ok_or(InvalidText))
    }

    /// Converts a reply to the charset. The first one in `UTF-16` begins with a byte order mark.
    pub fn encode(&mut self, reply: &str) -> Vec<u8> {
        let is_first = !std::mem::replace(&mut self.has_replied, true);
        match self.charset {
            Charset::Utf8 => reply.as_bytes().to_vec(),
            Charset::Latin1 => mem::encode_latin1_lossy(&ascii(reply)).into_owned(),
            Charset::Utf16 => {
                let mark = if is_first { "\u{feff}" } else { "" };
                [mark, reply].concat().encode_utf16().flat_map(u16::to_be_bytes).collect()
            }
            Charset::Table(table) if table == UTF_16LE => {
                reply.encode_utf16().flat_map(u16::to_le_bytes).collect()
            }
            Charset::Table(table) if table == UTF_16BE => {
                reply.encode_utf16().flat_map(u16::to_be_bytes).collect()
            }
            Charset::Table(table) => table.encode(&ascii(reply)).0.into_owned(),
        }
    }
}

/// Returns a reply in characters that every charset has.
fn ascii(reply: &str) -> String {
    reply.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes a text byte by byte.
    fn decoded(name: &str, bytes: &[u8]) -> (String, bool) {
        let mut stream = StreamText::new(Charset::named(name).unwrap());
        let mut text = String::new();
        for byte in bytes {
            let (more, valid) = stream.decode(&[*byte], false);
            text += &more;
            if valid.is_err() {
                return (text, false);
            }
        }
        let (more, valid) = stream.decode(&[], true);
        (text + &more, valid.is_ok())
    }

    #[test]
    fn texts_in_pieces_are_those_of_java() {
        for (name, bytes, text, is_valid) in [
            ("utf-16", &b"\0a\x65\xe5"[..], "a\u{65e5}", true),
            ("utf-16", b"\xff\xfea\0", "a", true),
            ("utf-16", b"\xfe\xff\0a", "a", true),
            // Only `UTF-16` has a byte order mark.
            ("utf-16le", b"\xff\xfea\0", "\u{feff}a", true),
            ("utf-16le", b"=\xd8\0\xdea\0", "\u{1f600}a", true),
            ("utf-16be", b"\0a\0", "a", false),
            ("utf-16", b"a", "", false),
            ("utf-16le", b"a\0\0\xde", "a", false),
            ("iso-8859-1", b"\xe4\x85", "\u{e4}\u{85}", true),
            ("gbk", b"a\xc4\xe3", "a\u{4f60}", true),
            ("gbk", b"a\xff", "a", false),
            ("windows-1251", b"\xcf", "\u{41f}", true),
        ] {
            assert_eq!(decoded(name, bytes), (text.to_owned(), is_valid), "{name} {bytes:?}");
        }
    }

    #[test]
    fn replies_are_in_the_charset() {
        for (name, first, second) in [
            ("utf-16", &b"\xfe\xff\0O\0K"[..], &b"\0O\0K"[..]),
            ("utf-16le", b"O\0K\0", b"O\0K\0"),
            ("utf-16be", b"\0O\0K", b"\0O\0K"),
            ("gbk", b"OK", b"OK"),
            ("iso-8859-1", b"OK", b"OK"),
        ] {
            let mut stream = StreamText::new(Charset::named(name).unwrap());
            assert_eq!(stream.encode("OK"), first, "{name}");
            assert_eq!(stream.encode("OK"), second, "{name}");
        }
    }
}
