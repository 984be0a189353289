//! Every channel meets the contract of channels.
//!
//! Method: the suite of the crate's `testkit` over each channel and each kind of index, on a
//! simulated disk or a log in memory. The clock is paused: no test waits, and a take that would
//! wait forever reaches its timeout immediately.

use std::path::Path;

use crate::common::{KEYS, key_line, put_keys};
use aqueduct_channel::remote::{Limits, Remote};
use aqueduct_channel::testkit::{Accident, SharedLog, SimDisk, world};
use aqueduct_channel::{durable, memory, spill};
use pipeline::testkit::build;
use pipeline::{BuildContext, Channel};
use serde_json::json;

fn memory_channel(disk: &SimDisk) -> Box<dyn Channel> {
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(disk, 1));
    build::<memory::Config>(&json!({ "capacity": "1MiB" }), &cx).unwrap()
}

fn durable_channel(disk: &SimDisk) -> Box<dyn Channel> {
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(disk, 1));
    build::<durable::Config>(&json!({ "capacity": "1MiB", "index": "none" }), &cx).unwrap()
}

/// No tail in memory: every take reads the disk.
fn durable_from_disk(disk: &SimDisk) -> Box<dyn Channel> {
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(disk, 1));
    let settings = json!({ "capacity": "1MiB", "index": "none", "tail_memory": "0B" });
    build::<durable::Config>(&settings, &cx).unwrap()
}

/// Compressed, and read back from the disk.
fn durable_compressed(disk: &SimDisk) -> Box<dyn Channel> {
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(disk, 1));
    let settings = json!({
        "capacity": "1MiB", "index": "none", "tail_memory": "0B", "compression": "zstd"
    });
    build::<durable::Config>(&settings, &cx).unwrap()
}

/// Sealed, compressed, and read back from the disk.
fn durable_sealed(disk: &SimDisk) -> Box<dyn Channel> {
    put_keys(disk, &key_line(1, 1));
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(disk, 1));
    let settings = json!({
        "capacity": "1MiB", "index": "none", "tail_memory": "0B", "compression": "lz4",
        "encryption": { "key_file": KEYS }
    });
    build::<durable::Config>(&settings, &cx).unwrap()
}

fn spill_with(disk: &SimDisk, memory: &str) -> Box<dyn Channel> {
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(disk, 1));
    let settings = json!({ "memory": memory, "disk": { "capacity": "1MiB", "index": "none" } });
    build::<spill::Config>(&settings, &cx).unwrap()
}

/// Room in memory for a few batches.
fn spill_channel(disk: &SimDisk) -> Box<dyn Channel> {
    spill_with(disk, "128KiB")
}

/// So little memory that everything goes to disk.
fn spill_early(disk: &SimDisk) -> Box<dyn Channel> {
    spill_with(disk, "1B")
}

/// Through the page cache, as on a file system without direct I/O.
fn durable_buffered(disk: &SimDisk) -> Box<dyn Channel> {
    disk.set_direct(false);
    durable_channel(disk)
}

fn remote_with(log: &SharedLog, tail_bytes: u64) -> Box<dyn Channel> {
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(&SimDisk::new(1), 1));
    let limits = Limits { capacity_bytes: 1 << 20, capacity_events: u64::MAX, tail_bytes };
    let log = log.clone();
    Box::new(Remote::new(&cx, limits, std::sync::Arc::new(move || log.way())))
}

fn remote_channel(log: &SharedLog) -> Box<dyn Channel> {
    remote_with(log, 64 << 10)
}

/// No tail in memory: every take reads the log.
fn remote_from_log(log: &SharedLog) -> Box<dyn Channel> {
    remote_with(log, 0)
}

/// Once it is open, no write is answered: the channel must find out the result of each.
fn remote_without_answers(log: &SharedLog) -> Box<dyn Channel> {
    log.next_write(Accident::None);
    log.lose_answers();
    remote_with(log, 64 << 10)
}

aqueduct_channel::channel_conformance!(memory_suite, super::memory_channel);
aqueduct_channel::channel_conformance!(durable_suite, super::durable_channel);
aqueduct_channel::channel_conformance!(durable_from_disk_suite, super::durable_from_disk);
aqueduct_channel::channel_conformance!(durable_buffered_suite, super::durable_buffered);
aqueduct_channel::channel_conformance!(durable_compressed_suite, super::durable_compressed);
aqueduct_channel::channel_conformance!(durable_sealed_suite, super::durable_sealed);
aqueduct_channel::channel_conformance!(remote_suite, super::remote_channel);
aqueduct_channel::channel_conformance!(remote_from_log_suite, super::remote_from_log);
aqueduct_channel::channel_conformance!(remote_without_answers_suite, super::remote_without_answers);
aqueduct_channel::channel_conformance!(spill_suite, super::spill_channel);
aqueduct_channel::channel_conformance!(spill_early_suite, super::spill_early);
