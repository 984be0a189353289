//! Serializers (our encoders) and deserializers (our decoders).

use super::{As, Becomes, Row, by, row, same};

pub(super) const ROWS: &[Row] = &[
    row(
        "encoder",
        "text",
        &["org.apache.flume.serialization.BodyTextEventSerializer"],
        Becomes::Kind("text"),
        &[&[same("appendNewline", "true", "newline", As::Flag)]],
    ),
    row(
        "encoder",
        "header_and_text",
        &["org.apache.flume.serialization.HeaderAndBodyTextEventSerializer"],
        Becomes::Kind("header_and_text"),
        &[&[same("appendNewline", "true", "newline", As::Flag)]],
    ),
    row(
        "encoder",
        "avro_event",
        &["org.apache.flume.serialization.FlumeEventAvroEventSerializer"],
        Becomes::Kind("avro"),
        &[&[
            by("syncIntervalBytes", "2048000", "`sync_interval`, at most 512 KiB"),
            same("compressionCodec", "null", "codec", As::OneOf(CODEC)),
        ]],
    ),
    row(
        "encoder",
        "avro_schema",
        &["org.apache.flume.sink.hdfs.AvroEventSerializer"],
        Becomes::Kind("avro_schema"),
        &[&[
            by("schemaURL", "", "`schema`, if it is a `file:` URL; others need a decision"),
            by("syncIntervalBytes", "2048000", "`sync_interval`, at most 512 KiB"),
            same("compressionCodec", "null", "codec", As::OneOf(CODEC)),
        ]],
    ),
    row(
        "decoder",
        "line",
        &["org.apache.flume.serialization.LineDeserializer"],
        Becomes::Kind("lines"),
        &[&[
            by("maxLineLength", "2048", "`split_chars` of the source"),
            by("outputCharset", "UTF-8", "bodies are UTF-8; other values need a decision"),
        ]],
    ),
    row(
        "decoder",
        "blob",
        &["org.apache.flume.sink.solr.morphline.BlobDeserializer"],
        Becomes::Kind("blob"),
        &[&[by("maxBlobLength", "100000000", "`file_max` of the source")]],
    ),
    row(
        "decoder",
        "avro",
        &["org.apache.flume.serialization.AvroEventDeserializer"],
        Becomes::Kind("avro"),
        &[&[same("schemaType", "HASH", "schema_type", As::OneOf(SCHEMA_TYPE))]],
    ),
];

const SCHEMA_TYPE: &[(&str, &str)] = &[("hash", "hash"), ("literal", "literal")];
const CODEC: &[(&str, &str)] = &[("null", "null"), ("deflate", "deflate"), ("snappy", "snappy")];
