//! Converts an event to a flat document, as required by Solr's schemas.
//!
//! ```text
//!   body {"level":"warn","at":{"line":7}}   headers host=web-1, timestamp=1764115200000
//!   ──► {"id":…,"level":"warn","at.line":7,"header_host_s":"web-1","time_dt":"2025-11-26T…Z"}
//! ```
//!
//! Solr interprets an object as a value as a partial update (`{"n":{"inc":1}}`), which a repeated
//! batch would apply again. And `_version_` makes a write depend on the stored document. Neither is
//! ever sent to Solr.

use jiff::Timestamp;
use pipeline::EventRef;
use serde_json::{Map, Value};

use crate::document::BodyForm;

/// Solr's internal fields.
const RESERVED: [&str; 3] = ["_version_", "_root_", "_childDocuments_"];

/// Fields of a document.
#[derive(Debug, Clone)]
pub(crate) struct FlatFields {
    /// How to convert the body.
    pub(crate) body: BodyForm,
    /// The key.
    pub(crate) id: String,
    /// The field for the event's time; empty for none.
    pub(crate) time: String,
    /// The field for a text body.
    pub(crate) message: String,
    /// Prefix and suffix of header names in field names.
    pub(crate) headers: Option<(String, String)>,
}

impl FlatFields {
    /// Converts an event with this id.
    ///
    /// # Errors
    /// Why it cannot be converted.
    pub(crate) fn document(
        &self,
        event: EventRef<'_>,
        time: Option<Timestamp>,
        id: &str,
    ) -> Result<Vec<u8>, String> {
        let mut document = Map::new();
        for (name, value) in self.body.object(&self.message, event.body())? {
            flatten(&mut document, &name, value)?;
        }
        if let Some(name) = RESERVED.iter().find(|name| document.contains_key(**name)) {
            return Err(format!(
                "the body has a field `{name}`, which Solr reserves; rename it at the sender"
            ));
        }
        if document.contains_key(&self.id) {
            return Err(format!(
                "the body has the field `{0}`, which the sink needs for the document id: rename \
                 the field, or set `id_field` to another unique key",
                self.id
            ));
        }
        document.insert(self.id.clone(), id.into());
        // Fields of the body take precedence.
        if let Some((before, after)) = &self.headers {
            for (name, value) in event.headers() {
                let field = format!("{before}{name}{after}");
                document.entry(field).or_insert_with(|| value.into());
            }
        }
        if let Some(time) = time.filter(|_| !self.time.is_empty()) {
            document.entry(&self.time).or_insert_with(|| format!("{time:.3}").into());
        }
        Ok(serde_json::to_vec(&document).expect("JSON in memory takes every value"))
    }
}

/// Adds a field. Members of an object are prefixed with its name.
fn flatten(document: &mut Map<String, Value>, name: &str, value: Value) -> Result<(), String> {
    match value {
        Value::Object(object) => {
            for (below, value) in object {
                flatten(document, &format!("{name}.{below}"), value)?;
            }
            Ok(())
        }
        Value::Array(values) if values.iter().any(|it| it.is_object() || it.is_array()) => {
            Err(format!(
                "the field `{name}` of the body is a list of objects or lists, which Solr cannot \
                 store; change it at the sender"
            ))
        }
        value => match document.insert(name.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err(format!(
                "the body has the field `{name}` twice: as a field, and as a member of an object; \
                 rename one of them at the sender"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use pipeline::BatchBuilder;
    use serde_json::json;

    use super::*;

    fn document(bytes: &[u8]) -> Result<Value, String> {
        let mut builder = BatchBuilder::default();
        builder.push(bytes, &[("host", "web-1")]);
        let batch = builder.finish();
        let time = Timestamp::from_millisecond(1_764_115_200_007).ok();
        let fields = FlatFields {
            body: BodyForm::Auto,
            id: "id".into(),
            time: "time_dt".into(),
            message: "message_t".into(),
            headers: Some(("header_".into(), "_s".into())),
        };
        let made = fields.document(batch.iter().next().unwrap(), time, "a/1");
        made.map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn a_document_is_flat_and_has_the_id_of_its_event() {
        let time = "2025-11-26T00:00:00.007Z";
        assert_eq!(
            document(b"{\"at\":{\"line\":7,\"in\":{\"x\":[1,2]}}}").unwrap(),
            json!({ "id": "a/1", "at.line": 7, "at.in.x": [1, 2],
                    "header_host_s": "web-1", "time_dt": time })
        );
        assert_eq!(
            document(b"GET /").unwrap(),
            json!({ "id": "a/1", "message_t": "GET /", "header_host_s": "web-1", "time_dt": time })
        );
        let own = document(b"{\"time_dt\":1,\"header_host_s\":2}").unwrap();
        assert_eq!(own, json!({ "id": "a/1", "time_dt": 1, "header_host_s": 2 }));
    }

    #[test]
    fn rejects_or_flattens_update_commands_of_solr() {
        for (body, expected) in [
            (&br#"{"id":7}"#[..], "needs for the document id"),
            (br#"{"_version_":-1}"#, "Solr reserves"),
            (br#"{"_childDocuments_":[]}"#, "Solr reserves"),
            (br#"{"n":[{"inc":1}]}"#, "a list of objects"),
            (br#"{"a":{"b":1},"a.b":2}"#, "twice"),
        ] {
            let problem = document(body).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        assert_eq!(document(br#"{"n":{"inc":1}}"#).unwrap()["n.inc"], 1);
    }
}
