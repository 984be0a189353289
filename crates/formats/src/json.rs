//! Values in JSON bodies, with their original text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Fields of an object.
pub type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Parses the fields of a body that is an object.
///
/// # Errors
/// Fails if it is not an object.
pub fn fields(body: &[u8]) -> Result<Fields<'_>, String> {
    serde_json::from_slice(body).map_err(|error| {
        format!(
            "the body is not a JSON object: {error}; correct the sender, or the format of this \
             component"
        )
    })
}

/// Splits a JSON pointer (RFC 6901) after its first `/`.
pub fn steps(pointer: &str) -> Vec<String> {
    let step = |step: &str| step.replace("~1", "/").replace("~0", "~");
    pointer.split('/').map(step).collect()
}

/// Returns the value at the end of these steps, of which the first is a field.
///
/// # Errors
/// Fails if a value on the path is not JSON.
pub fn follow<'a>(fields: &Fields<'a>, steps: &[String]) -> Result<Option<&'a RawValue>, String> {
    let Some((first, rest)) = steps.split_first() else { return Ok(None) };
    fields.get(first).map_or(Ok(None), |raw| within(raw, rest))
}

/// Returns the value at the end of these steps within a value.
///
/// # Errors
/// Same as [`follow`].
pub fn within<'a>(mut raw: &'a RawValue, steps: &[String]) -> Result<Option<&'a RawValue>, String> {
    let malformed = |error: serde_json::Error| format!("a value is not JSON: {error}");
    for step in steps {
        let next = match raw.get().as_bytes().first() {
            Some(b'{') => {
                let fields: Fields<'a> = serde_json::from_str(raw.get()).map_err(malformed)?;
                fields.get(step).copied()
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(malformed)?;
                step.parse().ok().and_then(|place: usize| items.get(place).copied())
            }
            _ => None,
        };
        let Some(next) = next else { return Ok(None) };
        raw = next;
    }
    Ok(Some(raw))
}

/// Returns a value as text: a string without its quotes, anything else unchanged; `None` for
/// `null`.
pub fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    match raw.get() {
        "null" => None,
        text if text.starts_with('"') => serde_json::from_str::<String>(text).ok().map(Cow::Owned),
        text => Some(Cow::Borrowed(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_and_is_as_it_was_written() {
        let body = br#"{"a":{"b/c":[1,2.50,"x\n"]},"n":null}"#;
        let fields = fields(body).unwrap();
        for (pointer, expected) in [
            ("a/b~1c/1", Some("2.50")),
            ("a/b~1c/2", Some("x\n")),
            ("a/b~1c", Some(r#"[1,2.50,"x\n"]"#)),
            ("a/b~1c/3", None),
            ("a/b~1c/0/0", None),
            ("n", None),
            ("m", None),
        ] {
            let found = follow(&fields, &steps(pointer)).unwrap();
            assert_eq!(found.and_then(text).as_deref(), expected, "{pointer}");
        }
        assert!(super::fields(b"[1]").unwrap_err().contains("not a JSON object"));
    }
}
