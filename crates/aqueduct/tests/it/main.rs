//! Tests of commands and agents as child processes, and of the docs against them.
//!
//! One test program for all, so that only one is linked.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run outside the world that `Env` is, and end at the first failure"
)]

mod choices;
mod commands;
mod common;
mod connect;
mod dlq;
mod examples;
mod flume;
mod flume_morphline;
mod flume_ng;
mod flume_page;
mod identity;
mod keys;
mod limits;
mod metrics_page;
mod pages;
mod pki;
mod readiness;
mod relay_split;
mod schema;
mod send;
mod split_letters;
#[cfg(all(feature = "hdfs", feature = "sql"))]
mod sqoop;
mod status;
mod systemd;
mod top;
#[cfg(all(feature = "parquet", feature = "sql"))]
mod types_page;
