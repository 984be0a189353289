//! `avro_schema`: an Avro container file whose records are the bodies. The settings declare their
//! schema, or each event states it ([`stated`]).
//!
//! A file has one schema, and a reader finds each record at the end of the one before: one invalid
//! body would break the rest of the file. So the encoder validates each body before it writes it; a
//! body that is invalid or has another schema in its headers is unwritable.

mod stated;

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use pipeline::units::ByteSize;
use pipeline::{
    BuildContext, BuildError, Component, Encoder, EventRef, Events, FileEncoder, FileKind,
    TableForm, Unwritable,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::avro_table;
use super::container::{self, BlockCodec, Container};
use crate::avro::bodies::{self, Declared, Same, no_datum};
use crate::rows::reason;

/// Settings of the `avro_schema` encoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Schema of all bodies, in JSON. Use a reference to a file, such as `"${file:app.avsc}"`.
    /// Without it each event names its schema, and each schema has its own files.
    #[serde(default)]
    schema: Option<String>,
    /// URLs of this schema. An event whose header `flume.avro.schema.url` has another URL is
    /// rejected.
    #[serde(default)]
    schema_urls: Vec<String>,
    /// Schemas by the URLs that events name, if `schema` is not set. The URLs are not fetched: an
    /// event with another URL is rejected.
    #[serde(default)]
    schemas: BTreeMap<String, String>,
    /// Id of the schema in a schema registry. If it is set, each body must begin with a zero byte
    /// and this id in four bytes, big-endian. They are checked and removed.
    #[serde(default)]
    registry_id: Option<u32>,
    /// Compression of the blocks: `null`, `deflate` or `snappy`.
    #[serde(default)]
    codec: BlockCodec,
    /// Size of the records in a block before it is written; at most 512 KiB. Flume uses 2,048,000
    /// bytes.
    #[serde(default = "container::default_sync_interval")]
    sync_interval: ByteSize,
}

impl Component for Config {
    const KIND: &'static str = "avro_schema";
    type Role = dyn Encoder;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Encoder>, BuildError> {
        let Self { schema, schema_urls, schemas, registry_id, codec, sync_interval } = self;
        bodies::check_settings(schema.as_deref(), &schema_urls, registry_id, &schemas)?;
        let container = Container::new("", codec, sync_interval, cx)?;
        let Some(text) = schema else {
            return Ok(Box::new(stated::files(container, &schemas)?));
        };
        Ok(Box::new(AvroSchema {
            container: container.of(text.trim()),
            bodies: Declared::new(&text, schema_urls, registry_id)?,
        }))
    }
}

struct AvroSchema {
    container: Container,
    bodies: Declared,
}

impl AvroSchema {
    /// Returns the reason why an event cannot be written.
    fn problem<'a>(&self, event: EventRef<'a>, same: &mut Same<'a>) -> Option<Cow<'static, str>> {
        match self.bodies.datum(event, same) {
            Ok(datum) => {
                let problem = self.bodies.schema.check(datum).err()?;
                Some(reason(event, no_datum(problem)).into())
            }
            Err(reason) => Some(reason.into()),
        }
    }
}

impl Encoder for AvroSchema {
    fn file_kind(&self) -> FileKind {
        container::KIND
    }

    fn unwritable(&self, events: &Events) -> Vec<Unwritable> {
        let mut same = None;
        let problems = events.iter().enumerate().filter_map(|(index, event)| {
            let reason = self.problem(event, &mut same)?.into_owned();
            Some(Unwritable { index, reason })
        });
        problems.collect()
    }

    fn size_bound(&self, events: &Events) -> u64 {
        self.container.size_bound(events.body_bytes())
    }

    fn table(&self) -> Option<TableForm> {
        let literal = &self.bodies.literal;
        Some(avro_table::table(&literal.to_string(), literal))
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        Box::new(File { file: self.container.begin(), skip: self.bodies.prefix_bytes() })
    }
}

struct File {
    file: container::File,
    /// Bytes at the start of each body that are not written.
    skip: usize,
}

impl FileEncoder for File {
    fn encode(&mut self, events: &Events) -> Bytes {
        let mut out = self.file.start();
        for event in events.iter() {
            let datum = event.body().get(self.skip..).expect("no event is unwritable");
            self.file.records().extend_from_slice(datum);
            self.file.end_record(&mut out);
        }
        out.into()
    }

    fn held_back(&self) -> u64 {
        self.file.held_back()
    }

    fn finish(&mut self) -> Bytes {
        self.file.finish()
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Batch, BatchBuilder, Choice, Settings};
    use serde_json::{Value, json};

    use super::super::container::testkit::blocks;
    use super::super::testkit::{encoder, file};
    use super::*;
    use crate::avro::bodies::URL_HEADER as URL;
    use crate::avro::schema::LITERAL_HEADER as LITERAL;

    const SCHEMA: &str = r#"{ "type": "record", "name": "Visit", "fields": [
        { "name": "page", "type": "string" }, { "name": "status", "type": "int" } ] }"#;

    fn settings(more: Value) -> Value {
        let mut settings = json!({ "type": "avro_schema", "schema": format!("\n{SCHEMA}\n") });
        let Value::Object(more) = more else { panic!("a table") };
        settings.as_object_mut().unwrap().extend(more);
        settings
    }

    fn reasons(settings: &Value, batch: &Batch) -> Vec<(usize, String)> {
        let unwritable = encoder(settings).unwritable(batch);
        unwritable.into_iter().map(|one| (one.index, one.reason)).collect()
    }

    #[test]
    fn writes_bodies_as_the_records_of_a_file_of_their_schema() {
        for codec in ["null", "deflate", "snappy"] {
            for (interval, count) in [("1B", 3), ("64KiB", 1)] {
                let settings = settings(json!({ "codec": codec, "sync_interval": interval }));
                let bytes =
                    file(&settings, &[Batch::of(["\x02a\x02", "\0\0"]), Batch::of(["\0\x01"])]);
                let (schema, blocks) = blocks(&bytes);
                assert_eq!(schema, SCHEMA);
                assert_eq!(blocks.len(), count, "{codec} {interval}");
                assert_eq!(blocks.iter().map(|(count, _)| count).sum::<i64>(), 3);
                let records: Vec<u8> = blocks.into_iter().flat_map(|block| block.1).collect();
                assert_eq!(records, b"\x02a\x02\0\0\0\x01");
            }
        }
    }

    #[test]
    fn refuses_a_body_that_would_damage_the_file() {
        let bodies: [&[u8]; 5] = [b"\x02a\x02", b"\x04a\x02", b"\0\0\0", b"", b"\0\0"];
        let mut builder = BatchBuilder::default();
        bodies.iter().for_each(|body| builder.push(body, &[]));
        let found = reasons(&settings(json!({})), &builder.finish());
        let of = |detail: &str| {
            format!(
                "the body does not match the schema: {detail}; correct the sender or the schema"
            )
        };
        let ends = of("the Avro data is damaged, or has another schema: it ends within a value");
        assert_eq!(
            found,
            [
                (1, ends.clone()),
                (
                    2,
                    of("the Avro data is damaged, or has another schema: bytes follow its last \
                        value")
                ),
                (3, ends)
            ]
        );
    }

    #[test]
    fn events_that_state_another_schema_are_unwritable() {
        let spaced = SCHEMA.replace(' ', "  ");
        let mut builder = BatchBuilder::default();
        for headers in [
            &[][..],
            &[(LITERAL, &*spaced)],
            &[(LITERAL, r#""string""#)],
            &[(LITERAL, r#""string""#)],
            &[(LITERAL, "{")],
            &[(LITERAL, SCHEMA)],
            // The URL takes precedence over the literal, as in Flume.
            &[(URL, "hdfs:///visit.avsc"), (LITERAL, "{")],
            &[(URL, "hdfs:///other.avsc"), (LITERAL, SCHEMA)],
        ] {
            builder.push(b"\0\0", headers);
        }
        let settings = settings(json!({ "schema_urls": ["hdfs:///visit.avsc"] }));
        let found = reasons(&settings, &builder.finish());
        let places: Vec<usize> = found.iter().map(|(index, _)| *index).collect();
        assert_eq!(places, [2, 3, 4, 7]);
        assert!(
            found[0].1.contains("schema.literal` differs from the setting `schema`"),
            "{found:?}"
        );
        assert!(found[3].1.contains("not in `schema_urls`"), "{found:?}");
    }

    #[test]
    fn the_prefix_of_a_registry_is_checked_and_taken_off() {
        let settings = settings(json!({ "registry_id": 258 }));
        let good: &[u8] = b"\0\0\0\x01\x02\x02a\x02";
        let mut builder = BatchBuilder::default();
        for body in [good, b"\0\0\0\x01\x03\x02a\x02", b"\x01\0\0\x01\x02\x02a\x02", b"\0\0", b"\0"]
        {
            builder.push(body, &[]);
        }
        let found = reasons(&settings, &builder.finish());
        assert_eq!(found.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(found[0].1.contains("`registry_id`"), "{found:?}");
        let mut builder = BatchBuilder::default();
        builder.push(good, &[]);
        assert_eq!(blocks(&file(&settings, &[builder.finish()])).1, [(1, b"\x02a\x02".to_vec())]);
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused_with_their_names() {
        for (settings, setting, says) in [
            (json!({ "schema": "{" }), "schema", "must be an Avro schema in JSON"),
            (json!({ "schema": r#""nothing""# }), "schema", "`nothing` is not defined"),
            (json!({ "schemas": { "u": "{" } }), "schemas.\"u\"", "must be an Avro schema in JSON"),
            (json!({ "schema_urls": ["u"] }), "schema_urls", "has an effect only with `schema`"),
            (json!({ "registry_id": 1 }), "registry_id", "has an effect only with `schema`"),
            (
                json!({ "schema": r#""int""#, "schemas": { "u": r#""int""# } }),
                "schemas",
                "remove one",
            ),
        ] {
            let mut settings = settings;
            settings["type"] = json!("avro_schema");
            let choice = Settings::from_json(&settings).read::<Choice<dyn Encoder>>().unwrap();
            let cx = crate::alone("out", std::path::Path::new("unused"), env::real());
            let error = choice.build("encoder", &cx).map(drop).unwrap_err().to_string();
            assert!(error.contains(setting) && error.contains(says), "{error}");
        }
    }
}
