//! Converts an event to a document.
//!
//! ```text
//!   body {"level":"warn"}   headers host=web-1, timestamp=1764115200000
//!   ──► {"level":"warn","headers":{"host":"web-1",…},"@timestamp":"2025-11-26T00:00:00.000Z"}
//!   body GET /index.html
//!   ──► {"message":"GET /index.html","headers":{…},"@timestamp":…}
//! ```

use jiff::Timestamp;
use pipeline::EventRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The field for a body that is not JSON.
const MESSAGE: &str = "message";

/// What a document is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BodyForm {
    /// A body that is a JSON object is the document; any other body is the message field.
    #[default]
    Auto,
    /// The body is a JSON object, which is the document.
    Json,
    /// The body is the message field.
    Text,
}

impl BodyForm {
    /// Converts the body to fields; `message` is the field for text.
    ///
    /// # Errors
    /// Why it cannot be converted.
    pub(crate) fn object(self, message: &str, body: &[u8]) -> Result<Map<String, Value>, String> {
        let object = match self {
            BodyForm::Text => None,
            BodyForm::Auto if body.trim_ascii_start().first() != Some(&b'{') => None,
            BodyForm::Auto | BodyForm::Json => Some(serde_json::from_slice(body)),
        };
        match (object, self) {
            (Some(Ok(Value::Object(object))), _) => return Ok(object),
            (Some(Ok(_)), BodyForm::Json) => {
                return Err("the body is JSON, but not an object; for such bodies set `body` to \
                            \"auto\" or \"text\""
                    .into());
            }
            (Some(Err(error)), BodyForm::Json) => {
                return Err(format!(
                    "the body is not valid JSON: {error}; for such bodies set `body` to \"auto\" \
                     or \"text\""
                ));
            }
            _ => {}
        }
        let text = std::str::from_utf8(body).map_err(|error| {
            format!(
                "the body is not UTF-8 text, so it cannot be written as JSON: {error}; correct the \
                 sender, or set `charset` at the source, if it has one"
            )
        })?;
        Ok(Map::from_iter([(message.to_owned(), text.into())]))
    }
}

/// Fields of a document besides its body fields.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    /// How to convert the body.
    pub(crate) body: BodyForm,
    /// The field for the headers; empty for none.
    pub(crate) headers: String,
    /// The field for the event's time; empty for none.
    pub(crate) time: String,
}

impl Fields {
    /// Converts an event.
    ///
    /// # Errors
    /// Why it cannot be converted.
    pub(crate) fn document(
        &self,
        event: EventRef<'_>,
        time: Option<Timestamp>,
    ) -> Result<Vec<u8>, String> {
        let mut document = self.body.object(MESSAGE, event.body())?;
        // Fields of the body take precedence.
        if !self.headers.is_empty() && !document.contains_key(&self.headers) {
            let headers = event.headers().map(|(name, value)| (name.to_owned(), value.into()));
            let headers: Map<String, Value> = headers.collect();
            if !headers.is_empty() {
                document.insert(self.headers.clone(), headers.into());
            }
        }
        if let Some(time) = time.filter(|_| !self.time.is_empty())
            && !document.contains_key(&self.time)
        {
            document.insert(self.time.clone(), format!("{time:.3}").into());
        }
        Ok(serde_json::to_vec(&document).expect("JSON in memory takes every value"))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::BatchBuilder;
    use serde_json::json;

    use super::*;

    fn document(body: BodyForm, bytes: &[u8], time: bool) -> Result<Value, String> {
        let mut builder = BatchBuilder::default();
        builder.push(bytes, &[("host", "web-1")]);
        let batch = builder.finish();
        let time = time.then(|| Timestamp::from_millisecond(1_764_115_200_007).unwrap());
        let fields = Fields { body, headers: "headers".into(), time: "@timestamp".into() };
        let made = fields.document(batch.iter().next().unwrap(), time);
        made.map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn a_body_is_the_document_or_its_message() {
        let headers = json!({ "host": "web-1" });
        let time = "2025-11-26T00:00:00.007Z";
        assert_eq!(
            document(BodyForm::Auto, b" {\"level\":\"warn\"}", true).unwrap(),
            json!({ "level": "warn", "headers": headers, "@timestamp": time })
        );
        for (body, bytes) in [
            (BodyForm::Auto, &b"GET /"[..]),
            (BodyForm::Text, b"{\"a\":1}"),
            (BodyForm::Auto, b"{ no json"),
            (BodyForm::Auto, b""),
        ] {
            let message = std::str::from_utf8(bytes).unwrap();
            let expected = json!({ "message": message, "headers": headers });
            assert_eq!(document(body, bytes, false).unwrap(), expected);
        }
    }

    #[test]
    fn fields_of_the_body_take_precedence() {
        let body = b"{\"@timestamp\":\"then\",\"headers\":7}";
        let expected = json!({ "@timestamp": "then", "headers": 7 });
        assert_eq!(document(BodyForm::Json, body, true).unwrap(), expected);
    }

    #[test]
    fn rejects_bodies_that_are_not_documents_with_a_reason() {
        for (form, body, expected) in [
            (BodyForm::Json, &b"[1]"[..], "not an object"),
            (BodyForm::Json, b"{", "not valid JSON"),
            (BodyForm::Auto, b"\xff", "not UTF-8 text"),
        ] {
            let problem = document(form, body, true).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
