//! A channel opens with any contents of a segment file, and hands out only batches that were put.
//!
//! Method: a sound segment is overwritten in places with random bytes, also with whole blocks of
//! another segment, shifted; then it is opened and drained. This cannot produce a frame with valid
//! checksums that was never written, so every batch that comes out must have been put.

use std::io::IoSlice;
use std::path::PathBuf;

use crate::common::*;
use aqueduct_channel::testkit::SimDisk;
use pipeline::env::{Disk, OpenMode};
use proptest::prelude::*;

fn text(n: u64) -> String {
    format!("{n} {}", "h".repeat(9_000))
}

async fn written() -> (SimDisk, Vec<(PathBuf, u64)>) {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    for n in 0..30 {
        put(&*channel, foreign(n, &text(n))).await.expect("the disk works");
    }
    channel.close().await.expect("the disk works");
    let mut segments = disk.files();
    segments.retain(|(path, _)| path.extension().is_some_and(|e| e == "seg"));
    (disk, segments)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_in_a_segment_give_nothing_that_was_not_put(
        splatters in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>(),
             prop::collection::vec(any::<u8>(), 1..6_000)),
            1..6,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime of one thread");
        runtime.block_on(async {
            let (disk, segments) = written().await;
            for (file, place, copied, mut bytes) in splatters {
                let (path, len) = file.get(&segments);
                let offset = place.index(*len as usize - bytes.len()) as u64;
                let mode = OpenMode { write: true, ..OpenMode::default() };
                let handle = disk.open(path, mode).expect("it is there");
                if copied {
                    // The contents of an earlier block, at a wrong offset.
                    let from = offset / 2 / 4096 * 4096;
                    handle.read_at(&mut bytes, from).expect("it can be read");
                }
                let offset = if copied { offset / 4096 * 4096 } else { offset };
                handle.write_at(&[IoSlice::new(&bytes)], offset, true).expect("it can be written");
            }
            let channel = open(&disk).await;
            let mut before = None;
            for body in drain(&*channel).await {
                let n = body.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
                assert!(n < 30 && body == text(n), "what comes out was put");
                assert!(before < Some(n), "in order, once");
                before = Some(n);
            }
            assert_eq!(channel.status().events, 0);
        });
    }
}
