//! The fields of a line of an access log in the combined format. The measurement of plug-ins runs
//! the same code natively.

/// Returns client, method, path and status; `None` if the body is not such a line.
///
/// `192.0.2.1 - - [01/Dec/2026:10:00:00 +0000] "GET /a HTTP/1.1" 200 512 "-" "curl/8.0"`
pub(crate) fn parse(body: &[u8]) -> Option<[&str; 4]> {
    let (client, rest) = cut(body, b' ')?;
    let (_, rest) = cut(rest, b']')?;
    let (_, rest) = cut(rest, b'"')?;
    let (method, rest) = cut(rest, b' ')?;
    let (path, rest) = cut(rest, b' ')?;
    let (_, rest) = cut(rest, b'"')?;
    let status = rest.strip_prefix(b" ")?.get(..3)?;
    if !status.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = |bytes| std::str::from_utf8(bytes).ok();
    Some([text(client)?, text(method)?, text(path)?, text(status)?])
}

/// Returns the bytes before and after the first `at`.
fn cut(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..place], &bytes[place + 1..]))
}
