//! Bodies whose events state their schema.
//!
//! The stated schema is the event's [form](Encoder::form), so a sink writes the events of each
//! schema to separate files.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use pipeline::{BuildError, Encoder, EventRef, Events, FileEncoder, FileKind, Unwritable};

use super::super::container::{self, Container};
use crate::avro::bodies::{Seen, Stated, no_datum, stated};
use crate::avro::schema::Schema;

/// Size of a file's header without the schema.
const AROUND_HEAD: u64 = 128;

/// A schema and its files.
struct Form {
    schema: Schema,
    container: Container,
}

/// Files of schemas that events state.
pub(super) struct Files {
    forms: Arc<Stated<Form>>,
    /// Settings of the files.
    container: Arc<Container>,
}

/// Creates files like `container`, for the schemas of these URLs and the literal schemas of events.
///
/// # Errors
/// Fails if one of them is not a schema.
pub(super) fn files(
    container: Container,
    schemas: &BTreeMap<String, String>,
) -> Result<Files, BuildError> {
    let container = Arc::new(container);
    let like = Arc::clone(&container);
    let forms =
        Stated::new(schemas, move |schema, text| Form { schema, container: like.of(text) })?;
    Ok(Files { forms: Arc::new(forms), container })
}

impl Encoder for Files {
    fn file_kind(&self) -> FileKind {
        container::KIND
    }

    fn unwritable(&self, events: &Events) -> Vec<Unwritable> {
        // Consecutive events mostly state the same schema.
        let mut last: Option<(Option<&str>, Seen<Form>)> = None;
        let mut found = Vec::new();
        for (index, event) in events.iter().enumerate() {
            let states = stated(event);
            if last.as_ref().is_none_or(|(before, _)| *before != states) {
                last = Some((states, self.forms.of(event)));
            }
            let reason = match last.as_ref().map(|(_, form)| form) {
                Some(Ok(form)) => form.schema.check(event.body()).err().map(no_datum),
                Some(Err(reason)) => Some(reason.to_string()),
                None => None,
            };
            found.extend(reason.map(|reason| Unwritable { index, reason }));
        }
        found
    }

    fn size_bound(&self, events: &Events) -> u64 {
        let form = events.iter().next().and_then(|event| self.forms.of(event).ok());
        let head = form.map_or(0, |form| form.container.schema_bytes() + AROUND_HEAD);
        head + self.container.size_bound(events.body_bytes())
    }

    fn has_forms(&self) -> bool {
        true
    }

    fn form<'e>(&self, event: EventRef<'e>) -> Option<&'e str> {
        stated(event)
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        Box::new(File { forms: self.forms.clone(), file: None })
    }
}

/// A file; its first events determine the schema.
struct File {
    forms: Arc<Stated<Form>>,
    file: Option<container::File>,
}

impl FileEncoder for File {
    fn encode(&mut self, events: &Events) -> Bytes {
        let Some(first) = events.iter().next() else { return Bytes::new() };
        let forms = &self.forms;
        let file = self.file.get_or_insert_with(|| {
            let form = forms.of(first).unwrap_or_else(|_| unreachable!("no event is unwritable"));
            form.container.begin()
        });
        let mut out = file.start();
        for event in events.iter() {
            file.records().extend_from_slice(event.body());
            file.end_record(&mut out);
        }
        out.into()
    }

    fn held_back(&self) -> u64 {
        self.file.as_ref().map_or(0, container::File::held_back)
    }

    fn finish(&mut self) -> Bytes {
        self.file.as_mut().map_or_else(Bytes::new, container::File::finish)
    }
}

#[cfg(test)]
mod tests {
    use pipeline::BatchBuilder;
    use serde_json::{Value, json};

    use super::super::super::container::testkit::blocks;
    use super::super::super::testkit::{encoder, file};
    use crate::avro::bodies::{COMPILED_MAX, LITERAL_MAX, URL_HEADER as URL};
    use crate::avro::schema::LITERAL_HEADER as LITERAL;

    const VISIT: &str = r#"{ "type": "record", "name": "Visit", "fields": [
        { "name": "page", "type": "string" } ] }"#;

    fn settings() -> Value {
        json!({ "type": "avro_schema", "schemas": { "hdfs:///visit.avsc": VISIT } })
    }

    /// Headers, and a body.
    type Pieces<'a> = (&'a [(&'a str, &'a str)], &'a [u8]);

    fn batch(events: &[Pieces<'_>]) -> pipeline::Batch {
        let mut builder = BatchBuilder::default();
        events.iter().for_each(|(headers, body)| builder.push(body, headers));
        builder.finish()
    }

    #[test]
    fn a_file_has_the_schema_that_its_events_state_by_url_or_in_full() {
        for (header, value, schema, body) in [
            (URL, "hdfs:///visit.avsc", VISIT, &b"\x02a"[..]),
            (LITERAL, VISIT, VISIT, b"\x02a"),
            (LITERAL, r#""int""#, r#""int""#, b"\x01"),
        ] {
            let headers = [(header, value)];
            let bytes =
                file(&settings(), &[batch(&[(&headers, body)]), batch(&[(&headers, body)])]);
            assert_eq!(blocks(&bytes), (schema.to_owned(), vec![(2, body.repeat(2))]));
        }
    }

    #[test]
    fn the_schema_of_an_event_selects_its_form() {
        let encoder = encoder(&settings());
        assert!(encoder.has_forms());
        let batch = batch(&[
            (&[(LITERAL, VISIT)], b""),
            (&[(URL, "u"), (LITERAL, VISIT)], b""),
            (&[], b""),
        ]);
        let forms: Vec<_> = batch.iter().map(|event| encoder.form(event)).collect();
        assert_eq!(forms, [Some(VISIT), Some("u"), None]);
    }

    #[test]
    fn refuses_events_without_or_against_their_schema() {
        let long = [r#""int""#, &" ".repeat(LITERAL_MAX)].concat();
        let batch = batch(&[
            (&[], b"\x01"),
            (&[(URL, "http://other/"), (LITERAL, VISIT)], b"\x02a"),
            (&[(LITERAL, "{")], b"\x01"),
            (&[(LITERAL, r#""nothing""#)], b"\x01"),
            (&[(LITERAL, &long)], b"\x01"),
            (&[(LITERAL, r#""int""#)], b"\x01\x01"),
            (&[(LITERAL, r#""int""#)], b"\x01"),
        ]);
        let found = encoder(&settings()).unwritable(&batch);
        let says = ["has no schema", "not in `schemas`", "schema in JSON", "`nothing`", "64 KiB"];
        let says = says.into_iter().chain(["does not match the schema"]);
        assert_eq!(found.len(), 6, "{found:?}");
        for (index, (one, says)) in found.iter().zip(says).enumerate() {
            assert!(one.index == index && one.reason.contains(says), "{one:?}");
        }
    }

    #[test]
    fn more_schemas_than_are_kept_are_all_written() {
        let encoder = encoder(&json!({ "type": "avro_schema" }));
        for round in 0..2 {
            for number in 0..=COMPILED_MAX {
                let text = format!(r#"{{ "type": "fixed", "name": "F{number}", "size": 1 }}"#);
                let batch = batch(&[(&[(LITERAL, &text)], b"x")]);
                assert!(encoder.unwritable(&batch).is_empty(), "{round} {number}");
            }
        }
    }
}
