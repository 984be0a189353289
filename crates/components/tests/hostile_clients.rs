//! Goal: hostile clients cost the sources `avro` and `thrift` at most the memory that their pages
//! state, and do not prevent the service of other clients.
//!
//! Method: 300 concurrent connections do the same: they announce 2 GiB, stop within a handshake or
//! a call, send data that inflates a thousandfold, or never read a reply. During the attack the
//! test counts all allocations of the process, and calls from a well-behaved client. It is the only
//! test of its process, because the counter counts all threads.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aqueduct_components::EDGE;
use async_trait::async_trait;
use bytes::BytesMut;
use formats::avro::call::Status;
use formats::avro::caller::{Caller, Reply};
use formats::avro::coding::Coding;
use formats::avro::datum::{put_event, put_long};
use formats::avro::frame::{self, Deframer};
use formats::thrift;
use pipeline::env::Stream;
use pipeline::settings::Settings;
use pipeline::testkit::plain_context;
use pipeline::{Batch, BatchBuilder, BuildContext, Intake, IntakeError, Source};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

const CONNECTIONS: usize = 300;

/// Limit of all calls together, and of one.
const IN_FLIGHT_MAX: usize = 4 << 20;
const CALL_MAX: usize = 1 << 20;

/// Duration of an attack.
const ATTACK: Duration = Duration::from_millis(300);

/// Figures from the documentation: memory per connection, and the multiple of `in_flight_max`.
const AVRO_CONNECTION: usize = 256 << 10;
const THRIFT_CONNECTION: usize = 16 << 10;
const TIMES: usize = 4;

/// Returns the allocated bytes.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Drops all batches.
struct Nowhere;

#[async_trait]
impl Intake for Nowhere {
    async fn accept(&self, _batch: Batch) -> Result<(), IntakeError> {
        Ok(())
    }
}

/// A running source.
struct Running {
    address: String,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(kind: &str, mut settings: Value) -> Self {
        let probe = env::real().net.listen("127.0.0.1:0").await.unwrap();
        let address = probe.local_address();
        drop(probe);
        settings["listen"] = json!(address);
        settings["in_flight_max"] = json!("4MiB");
        settings["connections_max"] = json!(CONNECTIONS + 1);
        settings["wait_max"] = json!("100ms");
        let entry = EDGE.find::<dyn Source>(kind).unwrap();
        let cx = BuildContext::alone("in", Path::new("unused"), env::real());
        let mut source = (entry.build)(&Settings::from_json(&settings), &cx).unwrap();
        let stop = CancellationToken::new();
        let cx = plain_context(Arc::new(Nowhere), stop.clone());
        source.open(&cx).await.unwrap();
        let task = tokio::spawn(async move { source.run(cx).await.unwrap() });
        Self { address, stop, task }
    }

    async fn connect(&self) -> Box<dyn Stream> {
        env::real().net.connect(&self.address).await.unwrap()
    }

    /// All connections send these bytes, repeatedly if `is_endless`, and read nothing. Returns the
    /// maximum of allocated bytes.
    async fn attack(&self, bytes: &Arc<[u8]>, is_endless: bool) -> usize {
        let mut clients = Vec::new();
        let peak = Arc::new(AtomicUsize::new(0));
        for _ in 0..CONNECTIONS {
            let (mut stream, bytes) = (self.connect().await, bytes.clone());
            clients.push(tokio::spawn(async move {
                // A connection that the source has closed fails, which is correct.
                while stream.write_all(&bytes).await.is_ok() && is_endless {}
                std::future::pending::<()>().await;
            }));
            peak.fetch_max(allocated(), Ordering::Relaxed);
        }
        let _ = timeout(ATTACK, async {
            loop {
                peak.fetch_max(allocated(), Ordering::Relaxed);
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        clients.iter().for_each(tokio::task::JoinHandle::abort);
        peak.load(Ordering::Relaxed)
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Returns a call of `appendBatch` with one event of `body` bytes, as a client's first message.
fn avro_call(body: usize) -> Vec<u8> {
    let mut events = Vec::new();
    put_long(&mut events, 1);
    put_event(&mut events, &[("k", "v")], &vec![b'x'; body]);
    events.push(0);
    frame::write(1, &[&Caller::default().begin(), &events])
}

/// Checks that a call of a well-behaved client is answered OK.
async fn avro_is_served(source: &Running) {
    let mut stream = source.connect().await;
    stream.write_all(&avro_call(100)).await.unwrap();
    let (mut deframer, mut read) = (Deframer::new(CALL_MAX), BytesMut::new());
    let answer = loop {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the connection goes on");
        if let Some(frame) = deframer.next(&mut read).unwrap() {
            break frame;
        }
    };
    let reply = Caller::default().answer(&answer.payload).unwrap();
    assert_eq!(reply, Reply::Status(Status::Ok));
}

/// The same for thrift. While others hold all memory, the reply is FAILED, in time.
async fn thrift_is_answered(source: &Running) -> thrift::Status {
    let mut stream = source.connect().await;
    stream.write_all(&thrift_call(100)).await.unwrap();
    let bytes = stream.read_u32().await.unwrap();
    let mut message = vec![0; bytes as usize];
    stream.read_exact(&mut message).await.unwrap();
    match thrift::answer(thrift::Protocol::Compact, 7, &message).unwrap() {
        thrift::Answer::Status(status) => status.unwrap(),
        thrift::Answer::Exception { text, .. } => panic!("{text}"),
    }
}

fn thrift_call(body: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    builder.push(&vec![b'x'; body], &[("k", "v")]);
    let mut events = thrift::Events::new(thrift::Protocol::Compact);
    assert!(builder.finish().iter().all(|event| events.push(&event, usize::MAX)));
    events.call(7)
}

fn zlib(frames: &[Vec<u8>]) -> Vec<u8> {
    Coding::of_client(true, 9).encode(frames.concat()).unwrap()
}

fn cut(mut bytes: Vec<u8>, by: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() - by);
    bytes
}

/// Checks that allocations stay within the stated limit and are released.
async fn hold_to(what: &str, before: usize, peak: usize, of_connection: usize) {
    let most = TIMES * IN_FLIGHT_MAX + CONNECTIONS * of_connection;
    let used = peak.saturating_sub(before);
    assert!(used <= most, "{what}: {} KiB, and {} are stated", used >> 10, most >> 10);
    for _ in 0..500 {
        if allocated() < before + (1 << 20) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: {} KiB are not given back", (allocated() - before) >> 10);
}

async fn avro() {
    let source = Running::start("avro", json!({ "request_max": "1MiB" })).await;
    avro_is_served(&source).await;
    let large = 900 << 10;
    let huge = [0, 0, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff];
    let many_buffers = [0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let bomb: Vec<Vec<u8>> = (0..6).map(|_| avro_call(large)).collect();
    for (what, bytes, is_endless) in [
        ("nothing", Vec::new(), false),
        ("2 GiB in a buffer", huge.to_vec(), false),
        ("2 G buffers", many_buffers.to_vec(), false),
        ("half a handshake", avro_call(100)[..24].to_vec(), false),
        ("a small call without its end", cut(avro_call(60 << 10), 1), false),
        ("a large call without its end", cut(avro_call(large), 1), false),
        ("the first byte of zlib", vec![0x78], false),
        ("a zlib call without its end", zlib(&[cut(avro_call(60 << 10), 1)]), false),
        ("calls that inflate a thousandfold", zlib(&bomb), false),
        ("small calls without end, answers unread", avro_call(0), true),
        ("large calls without end, answers unread", avro_call(large), true),
    ] {
        let (before, bytes) = (allocated(), Arc::from(bytes));
        let before = before + size_of_val::<[u8]>(&bytes);
        let (peak, ()) = tokio::join!(source.attack(&bytes, is_endless), async {
            sleep(ATTACK / 2).await;
            timeout(Duration::from_secs(5), avro_is_served(&source)).await.expect(what);
        });
        hold_to(what, before, peak, AVRO_CONNECTION).await;
    }
    source.stop().await;
}

async fn thrift() {
    let source = Running::start("thrift", json!({ "frame_max": "1MiB" })).await;
    assert_eq!(thrift_is_answered(&source).await, thrift::Status::Ok);
    let large = 900 << 10;
    let mut little = thrift_call(large);
    little.truncate(400);
    for (what, bytes, is_endless) in [
        ("nothing", Vec::new(), false),
        ("2 GiB in a frame", vec![0x7f, 0xff, 0xff, 0xff], false),
        ("half a length", vec![0, 0], false),
        ("half a head", thrift_call(100)[..8].to_vec(), false),
        ("much announced, little sent", little, false),
        ("a large call without its end", cut(thrift_call(large), 1), false),
        ("small calls without end, answers unread", thrift_call(0), true),
        ("large calls without end, answers unread", thrift_call(large), true),
    ] {
        let (before, bytes) = (allocated(), Arc::from(bytes));
        let before = before + size_of_val::<[u8]>(&bytes);
        let (peak, _answered) = tokio::join!(source.attack(&bytes, is_endless), async {
            sleep(ATTACK / 2).await;
            timeout(Duration::from_secs(5), thrift_is_answered(&source)).await.expect(what)
        });
        hold_to(what, before, peak, THRIFT_CONNECTION).await;
        assert_eq!(thrift_is_answered(&source).await, thrift::Status::Ok, "after {what}");
    }
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_hostile_clients_cost_what_is_stated_and_others_are_served() {
    avro().await;
    thrift().await;
}
