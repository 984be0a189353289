//! Converts patterns of Joda-Time and Java, from Flume's configurations, to patterns with `%`.

/// Converts `yyyy-MM-dd HH:mm` to `%Y-%m-%d %H:%M`.
///
/// # Errors
/// The letters that have no counterpart.
pub fn strftime_of_joda(pattern: &str) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), pattern);
    while let Some(letter) = rest.chars().next() {
        if letter == '\'' {
            rest = quoted(&rest[1..], &mut out)?;
        } else if letter.is_ascii_alphabetic() {
            let end = rest.find(|c| c != letter).unwrap_or(rest.len());
            let known = directive(letter, end);
            out.push_str(known.ok_or_else(|| {
                let letters = &rest[..end];
                format!("`{letters}` is not supported in a date pattern; quote text by '…'")
            })?);
            rest = &rest[end..];
        } else {
            literal(&rest[..letter.len_utf8()], &mut out);
            rest = &rest[letter.len_utf8()..];
        }
    }
    Ok(out)
}

/// Writes the text from a quote up to the closing one, and returns the rest after it. `''` is a
/// quote, also between quotes.
fn quoted<'a>(rest: &'a str, out: &mut String) -> Result<&'a str, String> {
    let mut rest = rest;
    let mut is_start = true;
    loop {
        let (text, behind) = rest.split_once('\'').ok_or("a quote `'` is not closed")?;
        literal(text, out);
        if is_start && text.is_empty() {
            out.push('\'');
            return Ok(behind);
        }
        let Some(again) = behind.strip_prefix('\'') else { return Ok(behind) };
        out.push('\'');
        (rest, is_start) = (again, false);
    }
}

fn literal(text: &str, out: &mut String) {
    out.push_str(&text.replace('%', "%%"));
}

fn directive(letter: char, count: usize) -> Option<&'static str> {
    Some(match (letter, count) {
        ('y' | 'Y', 2) => "%y",
        ('y' | 'Y', _) => "%Y",
        ('M', 1 | 2) => "%m",
        ('M', 3) => "%b",
        ('M', _) => "%B",
        ('d', _) => "%d",
        ('D', _) => "%j",
        ('E', 1..=3) => "%a",
        ('E', _) => "%A",
        ('a', _) => "%p",
        ('H', _) => "%H",
        ('h', _) => "%I",
        ('m', _) => "%M",
        ('s', _) => "%S",
        ('S', _) => "%f",
        ('Z', 1) => "%z",
        ('Z', 2) => "%:z",
        ('Z', 3) => "%Q",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Calendar, Format};
    use super::*;

    #[test]
    fn patterns_of_joda_read_what_joda_reads() {
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        let calendar = Calendar { zone: &jiff::tz::TimeZone::UTC, now };
        for (pattern, text, expected) in [
            ("yyyy-MM-dd HH:mm", "2012-10-18 18:47", "2012-10-18T18:47:00Z"),
            ("yyyy-MM-dd HH:mm:ss,SSS", "2012-10-18 18:47:57,614", "2012-10-18T18:47:57.614Z"),
            ("yyyy-MM-dd'T'HH:mm:ssZ", "2012-10-18T18:47:57+0200", "2012-10-18T16:47:57Z"),
            ("dd/MMM/yyyy:HH:mm:ss Z", "10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36Z"),
            ("yy MM d h:mm a 'o''clock'", "12 10 8 6:47 PM o'clock", "2012-10-08T18:47:00Z"),
            ("yyyy-MM-dd '100%'", "2012-10-18 100%", "2012-10-18T00:00:00Z"),
        ] {
            let pattern = strftime_of_joda(pattern).unwrap();
            let millis = Format::new("pattern", &pattern).unwrap().millis(text, &calendar);
            let read = millis.map(|ms| jiff::Timestamp::from_millisecond(ms).unwrap().to_string());
            assert_eq!(read.as_deref(), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn letters_without_a_counterpart_are_named() {
        assert!(strftime_of_joda("yyyy-ww").unwrap_err().contains("`ww`"));
        assert!(strftime_of_joda("yyyy 'open").unwrap_err().contains("not closed"));
    }
}
