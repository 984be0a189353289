//! Headers of a message. Pure.
//!
//! ```text
//!   NATS/1.0 503 No Responders␍␊   only messages of the server itself have a status
//!   Name: value␍␊
//!   ␍␊
//! ```

use support::text::text_of;

const VERSION: &str = "NATS/1.0";

/// A parsed header block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    /// Status of a server's message, with its text.
    pub(crate) status: Option<(u16, String)>,
    /// Headers in their order; a name may occur several times.
    pub(crate) all: Vec<(String, String)>,
}

impl Headers {
    /// Parses a block; invalid UTF-8 is shown as `\xff`.
    ///
    /// # Errors
    /// Returns a description of the problem.
    pub(crate) fn read(block: &[u8]) -> Result<Self, String> {
        let text = text_of(block);
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let Some(rest) = first.strip_prefix(VERSION) else {
            return Err(format!("the headers of the message do not start with `{VERSION}`"));
        };
        let status = match rest.trim() {
            "" => None,
            rest => {
                let (code, words) = rest.split_once(' ').unwrap_or((rest, ""));
                let code = code.parse().map_err(|_| {
                    format!(
                        "the status `{code}` of the message is not a number, so the message is not \
                         from a NATS client"
                    )
                })?;
                Some((code, words.trim().to_owned()))
            }
        };
        let mut all = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else {
                return Err(format!("a header line of the message has no colon: `{line}`"));
            };
            all.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(Self { status, all })
    }
}

/// Builder of a header block.
pub(crate) struct Written(String);

impl Written {
    /// Creates a block without headers.
    pub(crate) fn new() -> Self {
        Self(format!("{VERSION}\r\n"))
    }

    /// Adds a header.
    ///
    /// # Errors
    /// Fails if a message cannot have it; returns a description.
    pub(crate) fn push(&mut self, name: &str, value: &str) -> Result<(), String> {
        let is_of_name = |it: char| it.is_ascii_graphic() && it != ':';
        if name.is_empty() || !name.chars().all(is_of_name) {
            return Err(format!(
                "the name of the header `{name}` must have visible ASCII characters only, without \
                 `:`; rename it with an interceptor"
            ));
        }
        if value.contains(['\r', '\n']) {
            return Err(format!(
                "the value of the header `{name}` contains a line break; change it with an \
                 interceptor"
            ));
        }
        for part in [name, ": ", value, "\r\n"] {
            self.0.push_str(part);
        }
        Ok(())
    }

    /// Returns the complete block.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.push_str("\r\n");
        self.0.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_headers_and_recognises_a_status() {
        let mut written = Written::new();
        written.push("Nats-Msg-Id", "a-1").unwrap();
        written.push("site", "Zürich: Nord").unwrap();
        let read = Headers::read(&written.finish()).unwrap();
        assert_eq!(read.status, None);
        let all: Vec<_> = read.all.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(all, [("Nats-Msg-Id", "a-1"), ("site", "Zürich: Nord")]);
        let status = b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 6\r\n\r\n";
        let read = Headers::read(status).unwrap();
        assert_eq!(read.status, Some((408, "Request Timeout".into())));
        assert_eq!(read.all.len(), 1);
        assert_eq!(Headers::read(b"NATS/1.0\r\na: \xff\r\n\r\n").unwrap().all[0].1, "\\xff");
    }

    #[test]
    fn rejects_malformed_header_blocks() {
        for (block, cause) in [
            (&b"HTTP/1.0\r\n\r\n"[..], "do not start"),
            (b"NATS/1.0 many\r\n\r\n", "`many`"),
            (b"NATS/1.0\r\nname\r\n\r\n", "no colon"),
        ] {
            assert!(Headers::read(block).unwrap_err().contains(cause), "{block:?}");
        }
        let mut written = Written::new();
        assert!(written.push("a b", "c").unwrap_err().contains("visible ASCII"));
        assert!(written.push("a:b", "c").unwrap_err().contains("visible ASCII"));
        assert!(written.push("a", "b\r\nNats-Msg-Id: c").unwrap_err().contains("a line break"));
    }
}
