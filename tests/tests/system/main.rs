//! The system tests: our programs with real servers, one module for each subject.
//!
//! Each module starts with its goal and its method. `tests/run` builds the programs, starts the
//! shared HDFS, and runs the modules; `tests/run kafka` runs one of them.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a system test reads the clock and the disk, and prints its measurements"
)]

mod agents;
mod amqp;
mod clusters;
mod compact;
mod compose;
mod cuts;
mod deletions;
mod demo;
mod edge_builds;
mod engines;
mod federation;
mod files;
mod files_whole;
mod fleet;
mod fleet_faults;
mod flume_avro;
mod flume_bytes;
mod flume_channel;
mod flume_clients;
mod flume_configs;
mod flume_jars;
mod flume_metrics;
mod flume_rehearsal;
mod flume_thrift;
mod formats;
mod full_disk;
mod full_servers;
mod ha;
mod hbase;
mod held;
mod hive;
mod hostile;
mod http_stream;
mod iceberg;
mod import;
mod input;
mod intakes;
mod interceptors;
mod journald;
mod kafka;
mod kafka_channel;
mod kerberos;
mod kubernetes;
mod logs;
mod lost_ledger;
mod markers;
mod metrics;
mod mqtt;
mod mysql_changes;
mod nats;
mod nginx;
mod objects;
mod opamp;
mod otlp;
mod outage;
mod packages;
mod page;
mod page_numbers;
mod parquet;
mod plugins;
mod plugins_wasm;
mod rabbitmq;
mod receipts;
mod registry;
mod reload;
mod search;
mod shippers;
mod solr;
mod sources;
mod sql_changes;
mod sql_sink;
mod sql_source;
mod taildir;
mod tls;
mod tools;
mod traces;
mod tutorial;
mod unable;
mod webhdfs;
