//! References in texts: replaces `${NAME}`, `${NAME:-default}` and `${file:/path}` by their values.
//!
//! A dollar is special only before `{`. In a sequence, each two dollars are one dollar of the text:
//! `$${` is `${`, and `$$${NAME}` is a dollar and a reference. The value of a reference is not
//! searched for references.

use pipeline::settings::SettingsErrorKind as Kind;

/// A reference in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reference<'a> {
    /// An environment variable, and the default if it is not set or empty.
    Variable { name: &'a str, default: Option<&'a str> },
    /// The text in a file.
    File(&'a str),
}

/// Why a text cannot be completed, for people.
pub(crate) type Problem = (Kind, String);

/// Replaces all references in the text by the values of `find`; `None` for a text without a `${`.
///
/// # Errors
/// A reference is invalid, or `find` has no value.
pub(crate) fn replace(
    text: &str,
    mut find: impl FnMut(Reference<'_>) -> Result<String, Problem>,
) -> Result<Option<String>, Problem> {
    if !text.contains("${") {
        return Ok(None);
    }
    let (mut whole, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("${") {
        let (before, behind) = (&rest[..at], &rest[at + 2..]);
        let plain = before.trim_end_matches('$');
        let dollars = before.len() - plain.len() + 1;
        whole.push_str(plain);
        whole.extend(std::iter::repeat_n('$', dollars / 2));
        if dollars.is_multiple_of(2) {
            whole.push('{');
            rest = behind;
            continue;
        }
        let Some((inside, after)) = behind.split_once('}') else {
            let problem = "`${` has no closing `}`; add it, or write `$${` for the two \
                           characters `${`";
            return Err((Kind::Syntax, problem.to_owned()));
        };
        whole.push_str(&find(parse(inside)?)?);
        rest = after;
    }
    whole.push_str(rest);
    Ok(Some(whole))
}

/// Parses the text between the braces.
fn parse(inside: &str) -> Result<Reference<'_>, Problem> {
    if let Some(path) = inside.strip_prefix("file:").filter(|path| !path.is_empty()) {
        return Ok(Reference::File(path));
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(fits)
    {
        let problem = format!(
            "`${{{inside}}}` is not a reference; write `${{NAME}}`, `${{NAME:-default}}` or \
             `${{file:/path}}`, or `$${{{inside}}}` for the text itself"
        );
        return Err((Kind::Syntax, problem));
    }
    if default.is_some_and(|default| default.contains("${")) {
        let problem = format!(
            "the default in `${{{name}:-…}}` contains another `${{…}}`, which is not supported; \
             write a plain value"
        );
        return Err((Kind::Syntax, problem));
    }
    Ok(Reference::Variable { name, default })
}

/// Returns `true` if a text is exactly one reference.
pub(crate) fn is_reference(text: &str) -> bool {
    let inside = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let inside = inside.filter(|inside| !inside.contains('}'));
    inside.is_some_and(|inside| match parse(inside) {
        Ok(Reference::Variable { default, .. }) => default.is_none(),
        Ok(Reference::File(_)) => true,
        Err(_) => false,
    })
}

/// Escapes a text for a file, so that [`replace`] returns the original.
pub(crate) fn escape(text: &str) -> String {
    let (mut whole, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("${") {
        let plain = rest[..at].trim_end_matches('$');
        whole.push_str(plain);
        whole.extend(std::iter::repeat_n('$', 2 * (at - plain.len() + 1)));
        whole.push('{');
        rest = &rest[at + 2..];
    }
    whole.push_str(rest);
    whole
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Replaces each reference by its description in brackets.
    fn shown(text: &str) -> Result<Option<String>, Problem> {
        replace(text, |reference| match reference {
            Reference::Variable { name, default: None } => Ok(format!("[{name}]")),
            Reference::Variable { name, default: Some(it) } => Ok(format!("[{name}|{it}]")),
            Reference::File(path) => Ok(format!("[file {path}]")),
        })
    }

    #[test]
    fn references_are_replaced_and_other_dollars_are_text() {
        for (text, expected) in [
            ("${A}", "[A]"),
            ("a${_B1}c${D}", "a[_B1]c[D]"),
            ("${A:-}${B:-x:-y}", "[A|][B|x:-y]"),
            ("${file:/run/secrets/x}", "[file /run/secrets/x]"),
            ("Bearer ${file:t k}", "Bearer [file t k]"),
            ("$${A}", "${A}"),
            ("$$${A}", "$[A]"),
            ("$$$${A}", "$${A}"),
            ("a$$b $1 ^x$ ${A}$", "a$$b $1 ^x$ [A]$"),
        ] {
            assert_eq!(shown(text).unwrap().as_deref(), Some(expected), "{text}");
        }
        for text in ["", "$", "$$", "$HOME", "%{host}", "{a}", "a$$1"] {
            assert_eq!(shown(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn replaced_text_is_not_searched_for_references() {
        let whole = replace("${A}{B}", |_| Ok("${B}$".to_owned()));
        assert_eq!(whole.unwrap().as_deref(), Some("${B}${B}"));
    }

    #[test]
    fn malformed_references_are_refused_with_the_remedy() {
        for (text, remedy) in [
            ("${A", "write `$${` for"),
            ("${1}", "`$${1}` for the text itself"),
            ("${}", "write `${NAME}`"),
            ("${a-b}", "write `${NAME}`"),
            ("${file:}", "`${file:/path}`"),
            ("${env:A}", "write `${NAME}`"),
            ("${A:-${B}}", "write a plain value"),
        ] {
            let (kind, problem) = shown(text).unwrap_err();
            assert_eq!(kind, Kind::Syntax);
            assert!(problem.contains(remedy), "{text}: {problem}");
        }
    }

    proptest! {
        /// No text causes a panic; one without `${` is unchanged.
        #[test]
        fn text_without_references_is_unchanged(text in "[a-z${}:\\-ä]{0,40}") {
            let result = shown(&text);
            prop_assert_eq!(matches!(result, Ok(None)), !text.contains("${"));
        }

        /// The printed text is read as the intended one.
        #[test]
        fn an_escaped_text_is_read_as_itself(text in "[a${}ä]{0,40}") {
            let whole = shown(&escape(&text)).unwrap();
            prop_assert_eq!(whole.unwrap_or_else(|| text.clone()), text);
        }
    }
}
