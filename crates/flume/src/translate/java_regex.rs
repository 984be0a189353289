//! Java's regular expressions in the syntax of Rust's.
//!
//! | Java | Rust |
//! |---|---|
//! | `\d`, `\w`, `\s` and their complements are ASCII | the same classes, written out |
//! | `\p{Alpha}` and the other POSIX classes are ASCII | `[[:alpha:]]` |
//! | `.` is neither LF nor CR | the flag `R` |
//! | `$` also matches before a line end at the end | an optional line end before `$` |
//!
//! Other syntax is the same, or rejected when the expression is compiled.

use std::iter::Peekable;
use std::str::Chars;

/// POSIX classes.
const POSIX: [&str; 13] = [
    "Lower", "Upper", "ASCII", "Alpha", "Digit", "Alnum", "Punct", "Graph", "Print", "Blank",
    "Cntrl", "XDigit", "Space",
];

/// A line end at the end of the text, as Java's `$` skips it.
const LINE_END: &str = r"(?:\r\n?|\n)?";

/// Translates an expression. With `is_search` it only finds text, so it may also match the line end
/// before `$`.
pub(super) fn translated(java: &str, is_search: bool) -> String {
    let mut rust = String::with_capacity(java.len());
    let mut rest = java.chars().peekable();
    let (mut depth, mut has_dot) = (0_usize, false);
    // Inline flags change the meaning of `.` and `$`.
    let has_flags = java.contains("(?s") || java.contains("(?m") || java.contains("(?d");
    while let Some(c) = rest.next() {
        match c {
            '\\' => escape(&mut rest, depth > 0, &mut rust),
            '[' => {
                depth += 1;
                rust.push(c);
                if rest.next_if_eq(&'^').is_some() {
                    rust.push('^');
                }
            }
            ']' => {
                depth = depth.saturating_sub(1);
                rust.push(c);
            }
            '$' if depth == 0 && is_search && !has_flags && !is_reference(&rest) => {
                rust.push_str(LINE_END);
                rust.push(c);
            }
            _ => {
                has_dot |= c == '.' && depth == 0;
                rust.push(c);
            }
        }
    }
    if has_dot && !has_flags { format!("(?R){rust}") } else { rust }
}

/// Returns `true` if a reference such as `${NAME}` begins here.
fn is_reference(rest: &Peekable<Chars<'_>>) -> bool {
    matches!(rest.clone().next(), Some('{' | '$'))
}

/// Translates what follows a backslash.
fn escape(rest: &mut Peekable<Chars<'_>>, is_in_class: bool, rust: &mut String) {
    let class = match rest.next() {
        Some('d') => "0-9",
        Some('w') => "0-9A-Za-z_",
        Some('s') => r"\t-\r ",
        Some('D') => "^0-9",
        Some('W') => "^0-9A-Za-z_",
        Some('S') => r"^\t-\r ",
        Some('p') => {
            let text: String = rest.clone().take_while(|c| *c != '}').collect();
            let name = text.strip_prefix('{').filter(|name| POSIX.contains(name));
            let Some(name) = name else { return rust.push_str(r"\p") };
            rest.nth(name.len() + 1);
            let class = format!("[:{}:]", name.to_lowercase());
            let whole = if is_in_class { class } else { format!("[{class}]") };
            return rust.push_str(&whole);
        }
        Some('Q') => return quoted(rest, rust),
        Some(other) => {
            rust.push('\\');
            return rust.push(other);
        }
        None => return rust.push('\\'),
    };
    if is_in_class && !class.starts_with('^') {
        rust.push_str(class);
    } else {
        rust.push('[');
        rust.push_str(class);
        rust.push(']');
    }
}

/// Translates text between `\Q` and `\E`.
fn quoted(rest: &mut Peekable<Chars<'_>>, rust: &mut String) {
    while let Some(c) = rest.next() {
        if c == '\\' && rest.next_if_eq(&'E').is_some() {
            return;
        }
        if c.is_ascii_punctuation() {
            rust.push('\\');
        }
        rust.push(c);
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn classes_are_ascii_and_other_syntax_is_unchanged() {
        for (java, rust) in [
            ("", ""),
            ("level=(ERROR|WARN)", "level=(ERROR|WARN)"),
            (r"^(\d):(\w+)\s", r"^([0-9]):([0-9A-Za-z_]+)[\t-\r ]"),
            (r"[\w.-]+\S", r"[0-9A-Za-z_.-]+[^\t-\r ]"),
            (r"[^\W_]", r"[^[^0-9A-Za-z_]_]"),
            (r"\p{Alpha}[\p{Digit}x]\p{L}", r"[[:alpha:]][[:digit:]x]\p{L}"),
            (r"\.\\\[", r"\.\\\["),
            (r"\Qa.b\E+", r"a\.b+"),
            ("(.*)", "(?R)(.*)"),
            ("(?s)a.b$", "(?s)a.b$"),
            ("a$", r"a(?:\r\n?|\n)?$"),
            ("${NAME}$", r"${NAME}(?:\r\n?|\n)?$"),
            (r"[$]\$", r"[$]\$"),
        ] {
            assert_eq!(translated(java, true), rust, "{java}");
            Regex::new(&rust.replace("${NAME}", "")).unwrap();
        }
        assert_eq!(translated("^a$", false), "^a$");
    }

    #[test]
    fn expressions_match_where_those_of_java_do() {
        for (java, text, found) in [
            (r"(\w+)", "äb", Some("b")),
            (r"^\w+$", "日本", None),
            ("^.*END$", "the END\r", Some("the END\r")),
            ("END$", "END\n\n", None),
            ("k=(.*)", "k=v\r", Some("k=v")),
            (r"a\sb", "a\u{a0}b", None),
            (r"\d", "\u{664}", None),
        ] {
            let regex = Regex::new(&translated(java, true)).unwrap();
            assert_eq!(regex.find(text).map(|it| it.as_str()), found, "{java} in {text:?}");
        }
    }
}
