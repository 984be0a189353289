//! Translates patterns of Java's `SimpleDateFormat` for the interceptor `event_time`.

/// Translates a pattern to directives of `strftime`; `None` if a part has no counterpart.
pub(super) fn pattern(java: &str) -> Option<String> {
    match java {
        "unixTimeInMillis" => return Some("unix_ms".to_owned()),
        "unixTimeInSeconds" => return Some("unix_s".to_owned()),
        _ => {}
    }
    let mut ours = String::new();
    let mut rest = java;
    while let Some(c) = rest.chars().next() {
        if let Some(inside) = rest.strip_prefix('\'') {
            let end = inside.find('\'')?;
            let literal = if end == 0 { "'" } else { &inside[..end] };
            ours.push_str(&literal.replace('%', "%%"));
            rest = &inside[end + 1..];
            continue;
        }
        if !c.is_ascii_alphabetic() {
            ours.push_str(&if c == '%' { "%%".to_owned() } else { c.to_string() });
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let count = rest.len() - rest.trim_start_matches(c).len();
        rest = &rest[count..];
        ours.push_str(match (c, count) {
            ('y', 4) => "%Y",
            ('y', 2) => "%y",
            ('M', 1 | 2) => "%m",
            ('M', 3) => "%b",
            ('M', 4) => "%B",
            ('d', 1 | 2) => "%d",
            ('H', 1 | 2) => "%H",
            ('h', 1 | 2) => "%I",
            ('m', 1 | 2) => "%M",
            ('s', 1 | 2) => "%S",
            ('S', 3) => "%f",
            ('a', 1) => "%p",
            ('E', 1..=3) => "%a",
            ('E', 4) => "%A",
            ('Z', 1) | ('X', 2) => "%z",
            ('X', 3) => "%:z",
            _ => return None,
        });
    }
    Some(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_become_directives() {
        for (java, ours) in [
            ("yyyy-MM-dd'T'HH:mm:ss.SSSZ", Some("%Y-%m-%dT%H:%M:%S.%f%z")),
            ("EEE MMM d HH:mm:ss yyyy", Some("%a %b %d %H:%M:%S %Y")),
            ("dd/MMM/yyyy:hh:mm a''%", Some("%d/%b/%Y:%I:%M %p'%%")),
            ("unixTimeInSeconds", Some("unix_s")),
            ("yyyy-DDD", None),
            ("HH 'open", None),
        ] {
            assert_eq!(pattern(java).as_deref(), ours, "{java}");
        }
    }
}
