//! Typed rows in files of lines: a row is a JSON object where another event has its body.

use pipeline::{EventRef, Events, Unwritable};

use crate::rows::{SeenSchema, are_typed};

/// Returns the malformed rows.
pub(super) fn malformed(events: &Events) -> Vec<Unwritable> {
    if !are_typed(events) {
        return Vec::new();
    }
    let mut seen = SeenSchema::default();
    let problem = |event: EventRef<'_>| {
        let checked = seen.schema(event).and_then(|schema| {
            let Some(schema) = schema else { return Ok(()) };
            let mut row = schema.read(event.body()).map_err(|problem| problem.to_string())?;
            row.try_for_each(|value| value.map(drop)).map_err(|problem| problem.to_string())
        });
        checked.err().map(|reason| Unwritable { index: event.index(), reason })
    };
    events.iter().filter_map(problem).collect()
}

/// The bodies of events, one after the other.
#[derive(Default)]
pub(super) struct Bodies {
    seen: SeenSchema,
    object: Vec<u8>,
}

impl Bodies {
    /// Returns the body of an event. A malformed row, which is unwritable, is returned unchanged.
    pub(super) fn body<'b>(&'b mut self, event: EventRef<'b>) -> &'b [u8] {
        let Ok(Some(schema)) = self.seen.schema(event) else { return event.body() };
        self.object.clear();
        match schema.put_object(event.body(), &mut self.object) {
            Ok(()) => &self.object,
            Err(_) => event.body(),
        }
    }
}

/// Returns the size of all bodies.
pub(super) fn body_bytes(events: &Events) -> u64 {
    if !are_typed(events) {
        return events.body_bytes();
    }
    let mut bodies = Bodies::default();
    events.iter().map(|event| bodies.body(event).len() as u64).sum()
}

#[cfg(test)]
pub(super) mod tests {
    use ::rows::{Column, Moment, SCHEMA_HEADER, Schema, Type, Value};
    use pipeline::{Batch, BatchBuilder};
    use serde_json::json;

    use super::super::testkit::{encoder, file};

    /// Returns a batch with two rows, a malformed one, and a text.
    pub(in crate::encoders) fn batch() -> Batch {
        let columns = [
            ("id", Type::Int64),
            ("at", Type::TimestampUtc),
            ("f", Type::Float64),
            ("j", Type::Json),
            ("t", Type::Text),
            ("host", Type::Bytes),
        ];
        let columns = columns.map(|(name, kind)| Column { name: name.to_owned(), kind });
        let schema = Schema::new(columns.to_vec()).unwrap();
        let last = Moment { seconds: 253_402_300_799, nanos: 999_999_000 };
        let rows = [
            [
                Value::Int64(i64::MIN),
                Value::TimestampUtc(last),
                Value::Float64(f64::NEG_INFINITY),
                Value::Json("null"),
                Value::Text("say \"x\", y"),
                Value::Bytes(&[0, 255]),
            ],
            [
                Value::Int64(7),
                Value::TimestampUtc(Moment::INFINITY),
                Value::Null,
                Value::Null,
                Value::Text(""),
                Value::Null,
            ],
        ];
        let (mut builder, header) = (BatchBuilder::default(), schema.to_text());
        let mut body = Vec::new();
        for row in rows {
            body.clear();
            schema.write(row, &mut body).unwrap();
            builder.push(&body, &[("host", "h"), (SCHEMA_HEADER, &header)]);
        }
        body.pop();
        builder.push(&body, &[(SCHEMA_HEADER, &header)]);
        builder.push(b"{\"id\":9}", &[("host", "h")]);
        builder.finish()
    }

    /// Returns the batch without the events that the encoder rejects, which is the malformed one.
    pub(in crate::encoders) fn writable(settings: &serde_json::Value) -> Batch {
        let mut batch = batch();
        let found = encoder(settings).unwritable(&batch);
        assert_eq!(found.iter().map(|one| one.index).collect::<Vec<_>>(), [2]);
        assert!(found[0].reason.contains("column 4 of the row has"), "{}", found[0].reason);
        batch.retain(|event| event.index() != 2);
        batch
    }

    /// The objects are those that the source `sql` writes with `format = "json"`.
    const ROWS: [&str; 2] = [
        "{\"id\":-9223372036854775808,\"at\":\"9999-12-31T23:59:59.999999Z\",\"f\":\"-Infinity\",\
         \"j\":null,\"t\":\"say \\\"x\\\", y\",\"host\":\"AP8=\"}",
        r#"{"id":7,"at":"infinity","f":null,"j":null,"t":"","host":null}"#,
    ];

    #[test]
    fn text_has_an_object_for_each_row() {
        let settings = json!("text");
        let batch = writable(&settings);
        let text = String::from_utf8(file(&settings, std::slice::from_ref(&batch))).unwrap();
        assert_eq!(text, format!("{}\n{}\n{{\"id\":9}}\n", ROWS[0], ROWS[1]));
        assert!(encoder(&settings).size_bound(&batch) >= text.len() as u64);
    }

    #[test]
    fn json_has_the_object_as_its_body_and_no_schema() {
        let settings = json!("json");
        let batch = writable(&settings);
        let text = String::from_utf8(file(&settings, std::slice::from_ref(&batch))).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let line = |body: &str| json!({ "headers": { "host": "h" }, "body": body });
        assert_eq!(lines, [line(ROWS[0]), line(ROWS[1]), line("{\"id\":9}")]);
        assert!(encoder(&settings).size_bound(&batch) >= text.len() as u64);
    }

    #[test]
    fn csv_has_a_value_for_each_column_before_headers() {
        let names = ["id", "at", "f", "j", "t", "host", "none"];
        let settings = json!({ "type": "csv", "columns": names });
        let batch = writable(&settings);
        let text = String::from_utf8(file(&settings, std::slice::from_ref(&batch))).unwrap();
        assert_eq!(
            text,
            "-9223372036854775808,9999-12-31T23:59:59.999999Z,-Infinity,null,\"say \"\"x\"\", \
             y\",AP8=,\n7,infinity,,,\"\",,\n,,,,,h,\n"
        );
        assert!(encoder(&settings).size_bound(&batch) >= text.len() as u64);
        let settings = json!({ "type": "csv", "columns": ["body"], "delimiter": "|" });
        let text = String::from_utf8(file(&settings, &[batch])).unwrap();
        let quoted = format!("\"{}\"", ROWS[1].replace('"', "\"\""));
        assert_eq!(text.lines().nth(1), Some(&*quoted));
    }
}
