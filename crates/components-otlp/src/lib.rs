//! OTLP, the protocol of OpenTelemetry: a source and a sink.
//!
//! ```text
//!   proto      messages ↔ protobuf, JSON (by the schema in `proto/opentelemetry`)
//!   signal     logs, traces, metrics: names and paths
//!   headers    header names of events for records
//!   weight     memory required to decode a request (pure)
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

/// All components, for a program's catalogue.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("otlp"),
    sources: SOURCES,
    sinks: SINKS,
    ..Group::EMPTY
};
