//! The forms of events and files as bytes: encoders, codecs, decoders and framings, and the formats
//! below them. No network.
//!
//! ```text
//!   stream ─► framings ─► message ─► decoders ─► events ─► encoders ─► codecs ─► file, body
//!             └ lines     charset    └ json, avro           └ csv, avro, sequence
//! ```
//!
//! | module | what it reads and writes |
//! |---|---|
//! | `framings` | a stream ↔ its messages |
//! | `decoders` | a message ─► events |
//! | `encoders`, `codecs`, `format` | events ─► the bytes of a file, compressed |
//! | `compression` | a compressed file ─► its bytes |
//! | `avro`, `thrift` | data, containers and calls of both |
//! | `csv`, `json`, `rows`, `sequence` | texts, objects, rows, SequenceFiles of Hadoop |
//! | `charset`, `dates`, `container_log` | texts in other charsets, times, logs of containers |
//! | `calendar` | dates and times of databases |
//! | `pieces` | files that travel as events |
//! | `template` | texts with headers of an event in them |
//!
//! The four roles are a table each, and together [`GROUP`]. A form that brings a library of its own
//! (columns, schemas) belongs into a crate of components.

pub mod avro;
pub mod calendar;
pub mod charset;
pub mod codecs;
pub mod compression;
pub mod container_log;
pub mod csv;
pub mod dates;
pub mod decoders;
pub mod encoders;
pub mod format;
pub mod framings;
pub mod json;
pub mod pieces;
pub mod rows;
pub mod sequence;
pub mod template;
pub mod thrift;

use std::path::Path;

use pipeline::{BuildContext, Catalogue, Env, Group};

/// The formats alone, for contexts without other components. The group of the light components has
/// them too: a program has one of the two.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    encoders: encoders::ALL,
    codecs: codecs::ALL,
    decoders: decoders::ALL,
    framings: framings::ALL,
    ..Group::EMPTY
};

/// The context of a component outside an agent, which knows the formats.
pub fn alone(name: &str, directory: &Path, env: Env) -> BuildContext {
    const FORMATS: Catalogue = Catalogue { groups: &[&GROUP], unavailable: &[] };
    BuildContext { catalogue: FORMATS, ..BuildContext::alone(name, directory, env) }
}
