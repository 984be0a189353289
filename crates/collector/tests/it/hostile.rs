//! Goal: whatever comes from the network, the memory of a collector stays within what its settings
//! allow, is given back, and edges are served all the while.
//!
//! Method: the real program in a process of its own, hostile senders on loopback, and the kernel's
//! word for its memory. `AQUEDUCT_HOSTILE_SECONDS` says how long each case goes on; a few seconds
//! unless set.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::common::{Collector, LIMIT, Peer, identity, lines_below};
use pipeline::{Batch, BatchBuilder, Epoch, Floors, KeySet, Origin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tonic::Code;
use wire::v1::{Hello, from_receiver, from_sender};
use wire::{Packing, keys, pack};

/// As many origins as no two senders share.
fn origins(sender: u8, count: u32) -> impl Iterator<Item = [u8; 16]> {
    (0..count).map(move |n| {
        let mut origin = [sender; 16];
        origin[..4].copy_from_slice(&n.to_be_bytes());
        origin
    })
}

fn hello(sender: u8, lives: u32) -> from_sender::Message {
    let keys: KeySet = origins(sender, lives).map(|origin| identity(origin, 0)).collect();
    from_sender::Message::Hello(Hello { keys: keys::encode(&keys), ..Hello::default() })
}

/// How long a case goes on, unless `AQUEDUCT_HOSTILE_SECONDS` is set.
const SHORT: Duration = Duration::from_secs(3);

/// How long a case goes on.
fn duration() -> Duration {
    let seconds = std::env::var("AQUEDUCT_HOSTILE_SECONDS").ok();
    seconds.map_or(SHORT, |seconds| Duration::from_secs(seconds.parse().unwrap()))
}

/// Hellos of 800,000 origins, and as many of 25,000 as are taken, with their connections kept open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_claims_of_senders_are_bounded() {
    let collector = Collector::start("").await;
    let (huge, large) = (hello(0, 800_000), hello(1, 25_000));
    let began = Instant::now();
    let (mut kept, mut refused, mut rounds) = (Vec::new(), 0, 0);
    while rounds < 2 || began.elapsed() < duration() {
        let mut peers = Vec::new();
        for _ in 0..6 {
            let (one, other) =
                (Peer::connect(collector.listen).await, Peer::connect(collector.listen).await);
            one.say(huge.clone()).await;
            other.say(large.clone()).await;
            peers.extend([one, other]);
        }
        for mut peer in peers {
            match peer.hear().await {
                Ok(_) => kept.push(peer),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                    refused += 1;
                }
            }
        }
        collector.serve_an_edge(rounds).await;
        rounds += 1;
    }
    assert!((3..=6).contains(&kept.len()), "{} are welcome", kept.len());
    assert!(refused > kept.len(), "{refused}");
    let most = collector.gauge("aqueduct_source_remembered_max_bytes");
    let remembered = collector.gauge("aqueduct_source_remembered_bytes");
    assert!(remembered > most / 2.0 && remembered <= most + f64::from(1 << 20), "{remembered}");
    collector.assert_peak("hellos", 128 + 64);
    drop(kept);
    while collector.gauge("aqueduct_source_remembered_bytes") > 0.0 {
        assert!(began.elapsed() < LIMIT + duration());
        sleep(Duration::from_millis(100)).await;
    }
}

/// Floors of a million origins that are nowhere, while an edge commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floors_of_origins_that_are_not_there() {
    let collector = Collector::start("").await;
    let began = Instant::now();
    let mut rounds = 0;
    while rounds < 10 || began.elapsed() < duration() {
        let mut floors = Floors::default();
        origins(rounds as u8, 100_000).for_each(|it| floors.raise(Origin(it), Epoch(7)));
        let floors = keys::encode_floors(&floors);
        let mut peer = Peer::connect(collector.listen).await;
        peer.say(from_sender::Message::Hello(Hello { floors, ..Hello::default() })).await;
        assert!(matches!(peer.hear().await, Ok(from_receiver::Message::Welcome(_))));
        if rounds % 5 == 0 {
            collector.serve_an_edge(rounds).await;
        }
        rounds += 1;
    }
    collector.assert_peak("floors", 64);
}

/// Many messages of 15 MiB of which the last bytes never come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_never_end() {
    let collector = Collector::start("").await;
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stalling = relay.local_addr().unwrap();
    let to = collector.listen;
    tokio::spawn(async move {
        while let Ok((client, _)) = relay.accept().await {
            tokio::spawn(stall(client, to));
        }
    });
    let batch = Batch::of(["x".repeat(15 << 20)]);
    let put = pack(identity([7; 16], 0), &batch, Packing::Plain);
    let mut peers = Vec::new();
    for _ in 0..30 {
        let mut peer = Peer::connect(stalling).await;
        peer.say(from_sender::Message::Hello(Hello::default())).await;
        assert!(matches!(peer.hear().await, Ok(from_receiver::Message::Welcome(_))));
        peer.say(from_sender::Message::Put(put.clone())).await;
        peers.push(peer);
    }
    let began = Instant::now();
    let mut number = 0;
    let most = collector.gauge("aqueduct_source_gathered_max_bytes");
    while number < 3 || began.elapsed() < duration() {
        // A small batch needs none of that memory.
        collector.serve_an_edge(number).await;
        assert!(collector.gauge("aqueduct_source_gathered_bytes") <= most);
        number += 1;
    }
    // The transport's own windows, and what they may hold unread.
    collector.assert_peak("unfinished", 128 + 64);
}

/// Forwards 10 MiB of what a client says, and then nothing more.
async fn stall(client: TcpStream, to: SocketAddr) {
    let server = TcpStream::connect(to).await.unwrap();
    let ((from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let back = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    };
    let forth = async {
        let _ = tokio::io::copy(&mut from_client.take(10 << 20), &mut to_server).await;
        let _ = to_server.flush().await;
        std::future::pending::<()>().await;
    };
    tokio::join!(back, forth);
}

/// Batches of 1.1 million events, 15 MB of them, each with a directory of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_a_million_paths() {
    const EVENTS: u32 = 1_100_000;
    let collector = Collector::start("").await;
    let mut builder = BatchBuilder::default();
    for n in 0..EVENTS {
        builder.push(b"x", &[("h", &format!("{n:07}"))]);
    }
    let batch = builder.finish();
    let began = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    // Each directory costs the disk more than the collector.
    for sender in 0..if duration() > SHORT { 6 } else { 2 } {
        let (batch, to) = (batch.clone(), collector.listen);
        senders.spawn(async move {
            let mut peer = Peer::connect(to).await;
            peer.say(from_sender::Message::Hello(Hello::default())).await;
            assert!(matches!(peer.hear().await, Ok(from_receiver::Message::Welcome(_))));
            let mut number = 0;
            while number < 1 || began.elapsed() < duration() {
                let put = pack(identity([sender; 16], number), &batch, Packing::Plain);
                peer.say(from_sender::Message::Put(put)).await;
                number += 1;
                loop {
                    match peer.hear().await.unwrap() {
                        // One after the other: a backlog of them is drained for long.
                        from_receiver::Message::Committed(_) => break,
                        from_receiver::Message::Stored(_) => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
            number
        });
    }
    let number: u64 = senders.join_all().await.into_iter().sum();
    collector.serve_an_edge(0).await;
    let lines = u64::from(EVENTS) * number + 1;
    while lines_below(&collector.folder.path().join("store")) < lines {
        assert!(began.elapsed() < 3 * LIMIT + duration());
        sleep(Duration::from_millis(200)).await;
    }
    collector.assert_peak("paths", 320);
}
