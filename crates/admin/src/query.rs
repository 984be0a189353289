//! Parses the query of a URL.

use percent_encoding::percent_decode_str;

/// The parameters, decoded; an error is for people.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = Result<(&str, String), String>> {
    query.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| format!("the value of `{key}` is not UTF-8"))?;
        Ok((key, value.into_owned()))
    })
}

/// Returns the number in `newest=`, at most `most`; `usual` if it is not a number.
pub(super) fn newest(query: &str, usual: usize, most: usize) -> usize {
    let asked = query.split('&').find_map(|part| part.strip_prefix("newest="));
    asked.and_then(|number| number.parse().ok()).unwrap_or(usual).min(most)
}
