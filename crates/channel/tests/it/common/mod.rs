//! Tools for tests of the durable channel.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_channel::durable;
use aqueduct_channel::testkit::{SimDisk, world};
use pipeline::env::{Disk, OpenMode};
use pipeline::testkit::build;
use pipeline::{
    Batch, BuildContext, Channel, ChannelError, Epoch, Identity, IntervalSet, Origin, Sequence,
    TakeTransaction, Taken,
};
use serde_json::{Value, json};
use tokio::time::timeout;

pub(crate) const SEED: u64 = 0x5eed;
pub(crate) const FOREIGN: Origin = Origin([9; 16]);
pub(crate) const KEYS: &str = "/etc/aqueduct/channel.keys";
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// A small channel that keeps no index on disk.
pub(crate) fn small() -> Value {
    json!({ "capacity": "1MiB", "index": "none" })
}

/// The same, sealed with the keys that [`put_keys`] put there.
pub(crate) fn sealed() -> Value {
    json!({ "capacity": "1MiB", "index": "none", "encryption": { "key_file": KEYS } })
}

/// A line of a key file: key number `id` is 32 times `byte`.
pub(crate) fn key_line(id: u32, byte: u8) -> String {
    format!("{id} {}\n", format!("{byte:02x}").repeat(32))
}

/// Writes the file that [`sealed`] names, readable by its owner only.
pub(crate) fn put_keys(disk: &SimDisk, lines: &str) {
    let path = Path::new(KEYS);
    disk.create_dir_all(path.parent().expect("it lies in a directory")).expect("the disk works");
    let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
    let file = disk.open(path, mode).expect("the disk works");
    file.set_len(0).expect("the disk works");
    file.write_at(&[IoSlice::new(lines.as_bytes())], 0, true).expect("the disk works");
    disk.sync_dir(path.parent().expect("it lies in a directory")).expect("the disk works");
}

/// Opens the channel as an agent does at its start, on the current contents of the disk.
pub(crate) async fn try_open(
    disk: &SimDisk,
    settings: &Value,
) -> Result<Box<dyn Channel>, ChannelError> {
    open_with(disk, settings, disk.changes()).await
}

/// The same with random numbers that follow from `seed`.
pub(crate) async fn open_with(
    disk: &SimDisk,
    settings: &Value,
    seed: u64,
) -> Result<Box<dyn Channel>, ChannelError> {
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(disk, seed));
    let channel = build::<durable::Config>(settings, &cx).expect("the settings are right");
    channel.open().await?;
    channel.register(&[Arc::from("sink")]).await?;
    Ok(channel)
}

pub(crate) async fn open(disk: &SimDisk) -> Box<dyn Channel> {
    try_open(disk, &small()).await.expect("the channel opens")
}

/// Puts one batch and returns once it is acknowledged.
pub(crate) async fn put(channel: &dyn Channel, batch: Batch) -> Result<(), ChannelError> {
    let room = timeout(PATIENCE * 60, channel.begin_put(batch.size())).await;
    let mut put = room.expect("there is room")?;
    put.put(batch);
    put.commit().await
}

pub(crate) async fn put_body(channel: &dyn Channel, body: &str) -> Result<(), ChannelError> {
    put(channel, Batch::of([body])).await
}

pub(crate) fn foreign(sequence: u64, body: &str) -> Batch {
    let mut batch = Batch::of([body]);
    let sequence = Sequence(sequence);
    batch.envelope.identity = Some(Identity { origin: FOREIGN, epoch: Epoch(1), sequence });
    batch
}

/// The next batch, which must be there already.
pub(crate) async fn next(take: &mut dyn TakeTransaction) -> Option<Taken> {
    timeout(PATIENCE, take.take()).await.ok().map(|taken| taken.expect("the disk works"))
}

pub(crate) fn body(taken: &Taken) -> String {
    let first = taken.batch.iter().next().expect("a taken batch has events");
    String::from_utf8_lossy(first.body()).into_owned()
}

/// Takes and commits all that is ready; the first bodies.
pub(crate) async fn drain(channel: &dyn Channel) -> Vec<String> {
    let mut take = channel.begin_take("sink");
    let mut bodies = Vec::new();
    while let Some(taken) = next(&mut *take).await {
        bodies.push(body(&taken));
        take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
    }
    bodies
}

/// Lets commits reach the disk.
pub(crate) async fn settle() {
    tokio::time::sleep(PATIENCE).await;
}

/// Starts three times on a disk without any room, then on one with room. Returns `true` if each
/// start announced at most the epoch of later starts: a peer that knows a higher epoch refuses the
/// batches of the later start.
pub(crate) async fn names_no_epoch_too_early(seed: u64) -> bool {
    let settings = json!({ "capacity": "16MiB", "segment_bytes": "256KiB", "index": "none" });
    let disk = SimDisk::new(seed);
    let channel = try_open(&disk, &settings).await.expect("the disk works");
    for _ in 0..8 {
        put_body(&*channel, &"z".repeat(30_000)).await.expect("the disk works");
    }
    drop(channel);
    let mut named = Vec::new();
    for life in 0..3 {
        disk.crash();
        // As an older program left it, without a reserve; another file immediately takes the room
        // that opening frees.
        for slot in 0..2 {
            let _gone =
                disk.remove_file(&Path::new("/data/main/log").join(format!("reserve-{slot}")));
        }
        disk.set_capacity(0);
        let channel = try_open(&disk, &settings).await.expect("the disk works");
        named.push(channel.own_epoch().expect("it is durable").1);
        assert_eq!(drain(&*channel).await.len(), 8, "seed {seed}, life {life}");
    }
    disk.crash();
    disk.set_capacity(16 << 20);
    let channel = try_open(&disk, &settings).await.expect("the disk works");
    put_body(&*channel, "new").await.expect("the disk works");
    let mut take = channel.begin_take("sink");
    while let Some(taken) = next(&mut *take).await {
        if body(&taken) == "new" {
            named.push(taken.batch.envelope.identity.expect("a stored batch has one").epoch);
        }
    }
    assert_eq!(named.len(), 4, "seed {seed}: the new batch came");
    named.is_sorted()
}
