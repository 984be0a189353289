//! A setting that is never shown: a password, a token, a key.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::component::BuildError;

/// The text shown instead of a secret.
pub const MASK: &str = "***";

/// Text that no log line, error or printed configuration shows; its memory is cleared when it is
/// dropped. In a file, prefer a reference: `"${file:/run/secrets/token}"`. The settings from which
/// it was read contain the same text in plain memory.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text, for the call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A user with its password, if a server asks for one.
pub type Login = (String, Option<Secret>);

/// The login of the settings `user` and `password`.
///
/// # Errors
/// A password without a user.
pub fn login(user: Option<String>, password: Option<Secret>) -> Result<Option<Login>, BuildError> {
    match (user, password) {
        (Some(user), password) => Ok(Some((user, password))),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(BuildError::invalid(
            "password",
            "has an effect only with `user`; set `user`, or remove this",
        )),
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_string(Text)
    }
}

struct Text;

/// Without the methods for numbers the errors of serde would show the value.
impl Visitor<'_> for Text {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret, as text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
        if text == MASK {
            return Err(E::custom(format!(
                "`{MASK}` is printed instead of a secret, and cannot be used; write the secret, or \
                 a reference to it: \"${{file:/run/secrets/NAME}}\""
            )));
        }
        Ok(text.into())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Secret, E> {
        Err(E::invalid_type(Unexpected::Other("`true` or `false`"), &self))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
        Err(E::invalid_type(Unexpected::Other("number"), &self))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Secret, E> {
        Err(E::invalid_type(Unexpected::Other("number"), &self))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
        Err(E::invalid_type(Unexpected::Other("number"), &self))
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "password", "writeOnly": true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Settings, SettingsErrorKind, Value};

    #[test]
    fn a_secret_is_read_and_never_shown() {
        let secret: Secret = Settings::text("hunter2").read().unwrap();
        assert_eq!(secret.expose(), "hunter2");
        let json = serde_json::to_string(&secret).unwrap();
        assert_eq!((&*format!("{secret} {secret:?}"), &*json), ("*** ***", "\"***\""));
    }

    #[test]
    fn a_secret_of_another_type_is_refused_without_being_shown() {
        for value in [Value::Integer(4711), Value::Float(47.11), Value::Flag(true)] {
            let error = Settings::new(value).read::<Secret>().unwrap_err();
            assert_eq!(error.kind, SettingsErrorKind::WrongType);
            assert!(!error.problem.contains("47"), "{error}");
        }
    }

    #[test]
    fn rejects_the_mask_as_a_secret() {
        let error = Settings::text(MASK).read::<Secret>().unwrap_err();
        assert!(error.problem.contains("${file:/run/secrets/NAME}"), "{error}");
    }
}
