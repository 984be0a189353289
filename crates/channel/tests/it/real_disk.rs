//! The channel as released: on a real file system, with sled as its index, and with real kills.
//!
//! Method: temporary directories next to the build, not in memory, so that direct I/O is used if
//! available. The kill test runs this program again as a child that puts as fast as possible and
//! prints each acknowledged number. It is killed with signal 9 at times determined by a seed, and
//! every printed number must come out.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aqueduct_channel::durable;
use aqueduct_channel::durable::inspect::Inspection;
use pipeline::env::Blocking;
use pipeline::testkit::build;
use pipeline::{Batch, BuildContext, Channel, Env, IntervalSet};
use serde_json::json;
use tokio::time::timeout;

const CHILD: &str = "AQUEDUCT_CHANNEL_CHILD";
const PATIENCE: Duration = Duration::from_millis(300);

async fn open(directory: &Path) -> Box<dyn Channel> {
    open_in(env::real(), directory).await
}

async fn open_in(env: Env, directory: &Path) -> Box<dyn Channel> {
    let cx = BuildContext::alone("main", directory, env);
    let settings = json!({ "capacity": "64MiB", "segment_bytes": "1MiB", "tail_memory": "1MiB",
        "pool_idle_max": "1s" });
    let channel = build::<durable::Config>(&settings, &cx).unwrap();
    channel.open().await.unwrap();
    channel.register(&[Arc::from("sink")]).await.unwrap();
    channel
}

async fn put(channel: &dyn Channel, body: &str) {
    let batch = Batch::of([body]);
    let mut put = channel.begin_put(batch.size()).await.unwrap();
    put.put(batch);
    put.commit().await.unwrap();
}

/// Takes and commits up to `most` batches; their first bodies.
async fn drain(channel: &dyn Channel, most: usize) -> Vec<String> {
    let mut take = channel.begin_take("sink");
    let mut bodies = Vec::new();
    while bodies.len() < most
        && let Ok(taken) = timeout(PATIENCE, take.take()).await
    {
        let taken = taken.unwrap();
        let body = taken.batch.iter().next().unwrap().body();
        bodies.push(String::from_utf8_lossy(body).into_owned());
        take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
    }
    bodies
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn text(n: u32) -> String {
    format!("{n} {}", "k".repeat(20_000))
}

#[tokio::test]
async fn reopens_an_unclosed_channel_in_the_same_process_without_loss() {
    for round in 0..10 {
        let dir = directory();
        let path = dir.path().join("main");
        let channel: Arc<dyn Channel> = open(&path).await.into();
        let cx = BuildContext::alone("main", &path, env::real());
        let settings = json!({ "capacity": "64MiB", "segment_bytes": "1MiB" });
        let second = build::<durable::Config>(&settings, &cx).unwrap();
        let refused = second.open().await.unwrap_err().to_string();
        assert!(refused.contains("stop that process first"), "{refused}");
        let (acknowledged, putting) = (Arc::new(AtomicUsize::new(0)), channel.clone());
        let count = acknowledged.clone();
        let putter = tokio::spawn(async move {
            for n in 0.. {
                put(&*putting, &text(n)).await;
                count.store(n as usize + 1, Ordering::SeqCst);
            }
        });
        while acknowledged.load(Ordering::SeqCst) < 20 + round {
            tokio::task::yield_now().await;
        }
        // As a task that is dropped in the middle of a put, and nothing is closed.
        putter.abort();
        let _ = putter.await;
        drop(channel);
        let began = tokio::time::Instant::now();
        // A write in progress keeps the old channel open until it has ended; until then opening is
        // refused.
        while let Err(error) = second.open().await {
            assert!(error.to_string().contains("stop that process first"), "{error}");
            assert!(began.elapsed() < Duration::from_secs(10), "it is never let go");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        second.register(&[Arc::from("sink")]).await.unwrap();
        let stored = drain(&*second, usize::MAX).await;
        let acknowledged = acknowledged.load(Ordering::SeqCst);
        assert!(stored.len() >= acknowledged, "{} of {acknowledged}", stored.len());
        let expected: Vec<String> = (0..stored.len() as u32).map(text).collect();
        assert!(stored == expected, "each once and in order");
        second.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_backlog_survives_reopening_with_its_index_kept_damaged_or_deleted() {
    for treatment in ["kept", "deleted", "overwritten"] {
        let dir = directory();
        let path = dir.path().join("main");
        let channel = open(&path).await;
        for n in 0..200 {
            put(&*channel, &text(n)).await;
        }
        assert_eq!(drain(&*channel, 20).await.len(), 20);
        channel.close().await.unwrap();
        drop(channel);
        let meta = path.join("meta");
        match treatment {
            "deleted" => std::fs::remove_dir_all(&meta).unwrap(),
            "overwritten" => overwrite(&meta),
            _ => {}
        }
        let channel = open(&path).await;
        let rest = drain(&*channel, usize::MAX).await;
        assert!(rest == (20..200).map(text).collect::<Vec<_>>(), "with its index {treatment}");
        channel.close().await.unwrap();
    }
}

/// The usual thread pool, with a count of low-priority work.
struct Counting {
    as_elsewhere: Arc<dyn Blocking>,
    behind: Arc<AtomicUsize>,
}

impl Blocking for Counting {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        self.as_elsewhere.run(work);
    }

    fn run_behind(&self, work: Box<dyn FnOnce() + Send>) {
        self.behind.fetch_add(1, Ordering::Relaxed);
        self.as_elsewhere.run_behind(work);
    }
}

#[tokio::test]
async fn a_backlog_is_read_behind_new_events_and_nothing_else_is_done_there() {
    let (dir, behind) = (directory(), Arc::new(AtomicUsize::new(0)));
    let mut env = env::real();
    env.blocking = Arc::new(Counting { as_elsewhere: env.blocking, behind: behind.clone() });
    let channel = open_in(env, &dir.path().join("main")).await;
    for n in 0..200 {
        put(&*channel, &text(n)).await;
    }
    // Segments were sealed and prepared, for which puts may have to wait.
    assert_eq!(behind.load(Ordering::Relaxed), 0);
    assert_eq!(drain(&*channel, usize::MAX).await.len(), 200);
    let reads = behind.load(Ordering::Relaxed);
    assert!(reads > 0, "a backlog of four times the tail is read ahead");
    channel.close().await.unwrap();
    assert_eq!(behind.load(Ordering::Relaxed), reads);
}

#[expect(clippy::disallowed_methods, reason = "this test damages real files")]
fn overwrite(meta: &Path) {
    for entry in std::fs::read_dir(meta).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::write(&path, [0x5a; 4096]).unwrap();
        }
    }
}

/// A drained channel in `path`, and the number of its segments at the most.
async fn drained(path: &Path) -> (Box<dyn Channel>, usize) {
    let channel = open(path).await;
    for n in 0..600 {
        put(&*channel, &text(n)).await;
    }
    let most = segments(path);
    drain(&*channel, usize::MAX).await;
    (channel, most)
}

fn segments(path: &Path) -> usize {
    let files = std::fs::read_dir(path.join("log")).unwrap();
    // The reserve for a full disk is never removed.
    let is_segment = |name: &str| !name.starts_with("reserve-");
    files.filter(|file| is_segment(&file.as_ref().unwrap().file_name().to_string_lossy())).count()
}

/// The segment that is written, the next one, and two in the pool.
const LEFT_MAX: usize = 4;

#[tokio::test]
async fn a_drained_channel_gives_the_disk_back_but_for_its_pool() {
    let dir = directory();
    let path = dir.path().join("main");
    let (channel, most) = drained(&path).await;
    let given_back = async {
        while segments(&path) > LEFT_MAX {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = timeout(Duration::from_secs(20), given_back).await;
    assert!(in_time.is_ok(), "{} of {most} segments are left", segments(&path));
    channel.close().await.unwrap();
}

#[tokio::test]
async fn a_channel_that_is_closed_has_given_the_disk_back_but_for_its_pool() {
    let dir = directory();
    let path = dir.path().join("main");
    let (channel, most) = drained(&path).await;
    channel.close().await.unwrap();
    let left = segments(&path);
    assert!(left <= LEFT_MAX, "{left} of {most} segments are left");
}

/// Segments are begun, emptied and reused during the inspection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_channel_can_be_looked_at() {
    let dir = directory();
    let path = dir.path().join("main");
    let channel: Arc<dyn Channel> = Arc::from(open(&path).await);
    let (busy, done) = (channel.clone(), Arc::new(AtomicUsize::new(0)));
    let finished = done.clone();
    let work = tokio::spawn(async move {
        for round in 0..10 {
            for n in 0..100 {
                put(&*busy, &text(round * 100 + n)).await;
            }
            drain(&*busy, 90).await;
        }
        finished.store(1, Ordering::Release);
    });
    let looking = tokio::task::spawn_blocking(move || {
        let mut looks = 0;
        while done.load(Ordering::Acquire) == 0 {
            let found = Inspection::inspect(&env::real(), &path, None).unwrap();
            let mut events = 0;
            found
                .export(|_, batch| {
                    events += batch.len() as u64;
                    true
                })
                .unwrap();
            let stats = found.stats();
            assert!(events <= stats.events && stats.events <= 200, "{events} of {stats:?}");
            looks += 1;
        }
        looks
    });
    work.await.unwrap();
    assert!(looking.await.unwrap() >= 5);
    channel.close().await.unwrap();
}

/// Checks that the directory of a killed process has as many events as its log.
fn check_count(path: &Path) {
    let found = Inspection::open(&env::real(), path, None).unwrap();
    let mut events = 0;
    let each = |_, batch: Batch| {
        events += batch.len() as u64;
        true
    };
    found.export(each).unwrap();
    assert_eq!(found.stats().events, events, "events counted and events there");
}

/// Not a separate test: the process that is killed.
#[tokio::test]
async fn child() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let channel = open(Path::new(&directory)).await;
    let first: u32 = std::env::var("FIRST").unwrap().parse().unwrap();
    for n in first.. {
        put(&*channel, &text(n)).await;
        say(&format!("stored {n}\n"));
        if n % 5 == 4 {
            for body in drain_now(&*channel, 3).await {
                let number = body.split(' ').next().unwrap();
                say(&format!("taken {number}\n"));
            }
        }
    }
}

/// Prints a line in one write: a killed process has printed all of it or nothing.
fn say(line: &str) {
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

async fn drain_now(channel: &dyn Channel, count: usize) -> Vec<String> {
    drain(channel, count).await
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let kills: u64 = std::env::var("KILLS").map_or(12, |kills| kills.parse().unwrap());
    let dir = directory();
    let path = dir.path().join("main");
    let (mut next, mut random) = (0u32, 0x5eed_u64);
    let (mut stored, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["real_disk::child", "--exact", "--nocapture"])
            .env(CHILD, &path)
            .env("FIRST", next.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // So many answers later; the time within a write is the scheduler's.
        let answers = 3 + (random >> 33) % 60;
        for (at, line) in (0..).zip(lines) {
            let line = line.unwrap();
            let mut words = line.split(' ');
            match (words.next(), words.next()) {
                (Some("stored"), Some(n)) => stored.insert(n.parse::<u32>().unwrap()),
                (Some("taken"), Some(n)) => taken.insert(n.parse::<u32>().unwrap()),
                _ => continue,
            };
            if at == answers {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        check_count(&path);
        next = stored.last().map_or(0, |last| last + 2);
    }
    let channel = open(&path).await;
    let rest: Vec<u32> = drain(&*channel, usize::MAX)
        .await
        .iter()
        .map(|body| body.split(' ').next().unwrap().parse().unwrap())
        .collect();
    let missing: Vec<_> =
        stored.iter().filter(|n| !taken.contains(n) && !rest.contains(n)).collect();
    assert!(missing.is_empty(), "acknowledged and gone: {missing:?}");
    assert!(rest.windows(2).all(|pair| pair[0] < pair[1]), "out of order or twice: {rest:?}");
    assert!(stored.len() as u64 > kills * 3, "only {} puts in {kills} lives", stored.len());
}
