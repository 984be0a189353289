//! Goal: a directory that refuses its files holds up no others, and what it refused arrives once
//! when it takes files again, whatever happens to the collector meanwhile.
//!
//! Method: the real program with a `file://` store. A file stands where one of two directories
//! belongs, which even root cannot write into.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::{Collector, LIMIT, Peer, identity, lines_below};
use pipeline::{Batch, Existing};
use tokio::time::sleep;
use wire::v1::{Hello, from_receiver, from_sender};
use wire::{Packing, pack};

/// Sends the batches of these numbers, of one line each, into the directories `bad` and `good` by
/// turns.
async fn send(collector: &Collector, numbers: std::ops::Range<u64>) {
    let mut edge = Peer::connect(collector.listen).await;
    edge.say(from_sender::Message::Hello(Hello::default())).await;
    assert!(matches!(edge.hear().await, Ok(from_receiver::Message::Welcome(_))));
    for number in numbers {
        let mut batch = Batch::of([format!("line {number}")]);
        let app = if number % 2 == 0 { "bad" } else { "good" };
        batch.set_header("h", app, Existing::Replace);
        let put = pack(identity([3; 16], number), &batch, Packing::Plain);
        edge.say(from_sender::Message::Put(put)).await;
        while !matches!(edge.hear().await, Ok(from_receiver::Message::Stored(_))) {}
    }
}

async fn wait_for(lines: u64, below: &Path, limit: Duration) {
    let began = Instant::now();
    while lines_below(below) != lines {
        assert!(began.elapsed() < limit, "{} of {lines} lines", lines_below(below));
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_paths_continue_and_refused_lines_arrive_once() {
    let mut collector = Collector::start("").await;
    let store = collector.folder.path().join("store");
    let (bad, good) = (store.join("bad"), store.join("good"));
    fs::create_dir_all(&store).unwrap();
    fs::write(&bad, "in the way").unwrap();
    send(&collector, 0..6).await;
    wait_for(3, &good, LIMIT).await;
    // What comes later is not held up either: no longer than a roll takes, and some.
    send(&collector, 6..12).await;
    wait_for(6, &good, Duration::from_secs(20)).await;
    // The gauge follows the file that waits a moment later.
    let began = Instant::now();
    while collector.gauge("aqueduct_sink_unpublished_files") < 1.0 {
        assert!(began.elapsed() < LIMIT, "no file waits for its directory");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(collector.log().contains("bad"), "the directory is named: {}", collector.log());

    collector.kill_and_start().await;
    send(&collector, 12..18).await;
    wait_for(9, &good, LIMIT).await;
    assert_eq!(fs::read(&bad).unwrap(), b"in the way");

    fs::remove_file(&bad).unwrap();
    collector.kill_and_start().await;
    wait_for(9, &bad, LIMIT).await;
    let gone = async {
        while collector.gauge("aqueduct_sink_unpublished_files") > 0.0 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
    // All of it again: the ledger has it.
    send(&collector, 0..18).await;
    sleep(Duration::from_secs(3)).await;
    let mut lines: Vec<String> = [&bad, &good]
        .into_iter()
        .flat_map(|directory| fs::read_dir(directory).unwrap())
        .flat_map(|file| {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    let mut expected: Vec<String> = (0..18).map(|n| format!("line {n}")).collect();
    expected.sort();
    assert_eq!(lines, expected);
}
