//! OTLP, the protocol of OpenTelemetry, in and out.
//!
//! ```text
//!   proto      messages ↔ protobuf, JSON (by the schema in `proto/opentelemetry`)
//!   signal     logs, traces, metrics: names and paths
//!   headers    what a record is as an event
//!   weight     what reading a request takes (pure)
//!   events     a request ─► events (pure)
//!   requests   events ─► requests (pure)
//!   source     the source `otlp`: gRPC and HTTP on each listener
//!   sink       the sink `otlp`: gRPC or HTTP
//! ```

mod events;
mod headers;
mod proto;
mod requests;
mod signal;
pub mod sink;
pub mod source;
mod weight;

use pipeline::component::entry;
use pipeline::{Entry, Group, Sink, Source};

static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("otlp"),
    sources: SOURCES,
    sinks: SINKS,
    ..Group::EMPTY
};
