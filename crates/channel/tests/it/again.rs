//! A resent batch is stored once, and its events are counted once.
//!
//! Method: each kind of channel gets a batch of three events twice, and another one once.

use std::path::Path;

use crate::common::*;
use aqueduct_channel::testkit::{SimDisk, world};
use aqueduct_channel::{durable, memory, spill};
use metrics::ChannelReason;
use pipeline::testkit::build;
use pipeline::{Batch, BuildContext, Channel, Component, Identity};
use serde_json::{Value, json};

fn batch(sequence: u64) -> Batch {
    let mut batch = Batch::of(["a", "b", "c"]);
    let (origin, epoch) = (FOREIGN, pipeline::Epoch(1));
    batch.envelope.identity =
        Some(Identity { origin, epoch, sequence: pipeline::Sequence(sequence) });
    batch
}

async fn counts_what_comes_again<C: Component<Role = dyn Channel>>(settings: Value) {
    let disk = SimDisk::new(SEED);
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(&disk, disk.changes()));
    let channel = build::<C>(&settings, &cx).unwrap();
    channel.open().await.unwrap();
    channel.register(&["sink".into()]).await.unwrap();
    for sequence in [0, 1, 0] {
        put(&*channel, batch(sequence)).await.unwrap();
    }
    let label = ChannelReason { channel: "main".into(), reason: "duplicate_event" };
    let again = cx.metrics.channel_anomalies.get_or_create(&label).get();
    assert_eq!((channel.status().events, again), (6, 3), "{}", C::KIND);
}

#[tokio::test(start_paused = true)]
async fn events_that_come_again_are_counted_in_every_kind_of_channel() {
    let small = json!({ "capacity": "1MiB", "index": "none" });
    counts_what_comes_again::<durable::Config>(small.clone()).await;
    counts_what_comes_again::<memory::Config>(json!({ "capacity": "1MiB" })).await;
    counts_what_comes_again::<spill::Config>(json!({ "disk": small })).await;
}
