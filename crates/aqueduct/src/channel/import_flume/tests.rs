//! Goal: every waiting event is in the channel once, however often the import restarts.
//!
//! Method: golden channels of real Flume agents (`crates/flume-channel/tests/golden`) are imported
//! into real durable channels, which are read back like `aqueduct channel export` does.

use std::collections::BTreeMap;
use std::path::Path;

use ::channel::durable::inspect::Inspection;
use tempfile::TempDir;

use super::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../flume-channel/tests/golden").join(name)
}

fn arguments(name: &str, into: &Path) -> ImportArgs {
    let from = golden(name);
    let data = if name == "v3" { 2 } else { 3 };
    ImportArgs {
        directory: Some(from.clone()),
        into: into.to_owned(),
        channel: "main".into(),
        data: (1..=data).map(|number| from.join(format!("data{number}"))).collect(),
        checkpoint: None,
        backup_checkpoint: None,
        no_checkpoint: false,
        capacity: ByteSize::mib(64),
        dry_run: false,
        json: false,
        keys: Keys { key_file: None },
    }
}

/// Counts how often each body is in the channel.
fn held(into: &Path) -> BTreeMap<String, u32> {
    let inspection = Inspection::open(&env::real(), &into.join("channels/main"), None).unwrap();
    let mut bodies = BTreeMap::new();
    inspection
        .export(|_, batch| {
            for event in batch.iter() {
                let body = String::from_utf8(event.body().to_vec()).unwrap();
                *bodies.entry(body).or_default() += 1;
            }
            true
        })
        .unwrap();
    bodies
}

fn each_once(bodies: impl IntoIterator<Item = String>) -> BTreeMap<String, u32> {
    bodies.into_iter().map(|body| (body, 1)).collect()
}

fn threes() -> BTreeMap<String, u32> {
    each_once((1..=25).map(|number| format!("three {number}")))
}

fn imported(report: &Report) -> (u64, u64) {
    (report.imported, report.imported_before)
}

#[tokio::test]
async fn second_import_repeats_nothing_even_of_a_copy_or_without_checkpoint() {
    let into = TempDir::new().unwrap();
    let env = env::real();
    let args = arguments("v3", into.path());
    let report = import(&args, &env).await.unwrap();
    assert_eq!(imported(&report), (25, 0));
    assert_eq!(held(into.path()), threes());
    let again = ImportArgs { no_checkpoint: true, ..arguments("v3", into.path()) };
    let report = import(&again, &env).await.unwrap();
    assert_eq!(imported(&report), (0, 25));
    assert!(report.text("main", false).contains("all logs are read (no --checkpoint was given)"));
    assert_eq!(held(into.path()), threes());
}

#[tokio::test]
async fn sink_group_added_later_gets_the_whole_backlog() {
    let into = TempDir::new().unwrap();
    let env = env::real();
    import(&arguments("v3", into.path()), &env).await.unwrap();
    let directory = into.path().join("channels/main");
    let config = Config { index: IndexKind::None, ..Config::default() };
    let channel = config.build(&context(&directory, &env)).unwrap();
    channel.open().await.unwrap();
    channel.register(&["store".into()]).await.unwrap();
    let taken = channel.begin_take("store").take().await.unwrap();
    assert_eq!((taken.batch.len(), taken.batch.envelope.identity.is_some()), (25, true));
    channel.close().await.unwrap();
}

#[tokio::test]
async fn headers_are_kept() {
    let into = TempDir::new().unwrap();
    import(&arguments("v3", into.path()), &env::real()).await.unwrap();
    let inspection = Inspection::open(&env::real(), &into.path().join("channels/main"), None);
    let mut seen = 0;
    inspection
        .unwrap()
        .export(|_, batch| {
            for event in batch.iter() {
                assert_eq!(event.header("site"), Some("fra"));
                assert!(event.header("timestamp").unwrap().parse::<u64>().is_ok());
                seen += 1;
            }
            true
        })
        .unwrap();
    assert_eq!(seen, 25);
}

#[tokio::test]
async fn interrupted_import_resumes_after_any_batch() {
    let env = env::real();
    for stop_after in 0..8 {
        let into = TempDir::new().unwrap();
        let args = arguments("v2-before-1432", into.path());
        let (flume, found) = FlumeChannel::open(&env, &places(&args, &env).unwrap()).unwrap();
        assert!(found.counts.records > 0);
        let data_dir = DataDir::lock(into.path(), &env).await.unwrap();
        let directory = into.path().join("channels/main");
        let config = Config { index: IndexKind::None, ..Config::default() };
        let channel = config.build(&context(&directory, &env)).unwrap();
        channel.open().await.unwrap();
        let keys = batches::keys(&flume).unwrap();
        let mut report = Report::new(found, flume.waiting());
        // Batches of 7 events.
        let mut batches = Batches::new(&flume, keys).with_events_max(7);
        for _ in 0..stop_after {
            let batch = batches.next(&mut report).unwrap().unwrap();
            put(&*channel, batch).await.unwrap().unwrap();
        }
        drop(batches);
        drop(flume);
        // In this process, unlike after a real kill, the background thread would keep running.
        channel.close().await.unwrap();
        drop((channel, data_dir));
        let report = import(&args, &env).await.unwrap();
        assert_eq!(imported(&report), (50 - 7 * stop_after, 7 * stop_after));
        let held = held(into.path());
        assert_eq!(held.len(), 50, "stopped after {stop_after} batches");
        assert!(held.values().all(|count| *count == 1), "{held:?}");
    }
}

#[tokio::test]
async fn full_channel_stops_the_import_and_a_larger_one_resumes() {
    let into = TempDir::new().unwrap();
    let env = env::real();
    let args = ImportArgs { capacity: ByteSize::mib(1), ..arguments("v3", into.path()) };
    let data_dir = DataDir::lock(into.path(), &env).await.unwrap();
    let directory = into.path().join("channels/main");
    let config = Config { capacity: args.capacity, index: IndexKind::None, ..Config::default() };
    let channel = config.build(&context(&directory, &env)).unwrap();
    channel.open().await.unwrap();
    let mut filled = 0;
    for bytes in [100_000, 2_000] {
        let batch = Batch::of([vec![b'x'; bytes]]);
        loop {
            let mut put = tokio::select! {
                biased;
                put = channel.begin_put(batch.size()) => put.unwrap(),
                () = std::future::ready(()) => break,
            };
            put.put(batch.clone());
            put.commit().await.unwrap();
            filled += 1;
        }
    }
    channel.close().await.unwrap();
    drop((channel, data_dir));
    let error = import(&args, &env).await.unwrap_err();
    assert!(matches!(error, ImportError::Full { imported: 0, left: 25 }), "{error}");
    let report = import(&arguments("v3", into.path()), &env).await.unwrap();
    assert_eq!(imported(&report), (25, 0));
    assert_eq!(held(into.path()).values().sum::<u32>(), 25 + filled);
}

#[tokio::test]
async fn a_dry_run_makes_nothing() {
    let into = TempDir::new().unwrap();
    let args = ImportArgs { dry_run: true, ..arguments("v2", into.path()) };
    let report = import(&args, &env::real()).await.unwrap();
    assert!(report.text("main", true).starts_with("8 events wait in the Flume channel\n"));
    assert_eq!(std::fs::read_dir(into.path()).unwrap().count(), 0);
    let mut args = args;
    args.checkpoint = Some(into.path().join("nowhere"));
    let error = import(&args, &env::real()).await.unwrap_err().to_string();
    assert!(error.contains("nowhere; name the directories"), "{error}");
}
