//! The components that need a store.
//!
//! ```text
//!   hdfs       the sink: events ──► files, each event once
//!   transfers  the sink `files`: pieces of files ──► the same files, each once
//!   files      the source: files ──► events, each event once
//!   delimited  the decoder: lines of values as Sqoop writes them ──► objects
//!   avro_rows  the decoder: records of Avro ──► objects
//!   sequence_file  the decoder: values of SequenceFiles ──► bodies, or objects
//!   reach      access to a store, for both; hive: partitions of a table
//! ```

pub mod avro_rows;
pub mod delimited;
pub mod files;
pub mod hdfs;
mod hive;
mod iceberg;
mod reach;
pub mod sequence_file;
pub mod transfers;

pub use self::iceberg::table_in;

use pipeline::component::entry;
use pipeline::{Decoder, Entry, Group, Sink, Source};

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<files::Config>()];

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<hdfs::Config>(), entry::<transfers::Config>()];

/// Every decoder.
static DECODERS: &[Entry<dyn Decoder>] =
    &[entry::<avro_rows::Config>(), entry::<delimited::Config>(), entry::<sequence_file::Config>()];

/// All components, for a program's catalogue.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("hdfs"),
    sources: SOURCES,
    sinks: SINKS,
    decoders: DECODERS,
    ..Group::EMPTY
};
