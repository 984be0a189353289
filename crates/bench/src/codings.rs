//! Cost and savings of compression and encryption in the durable channel: one producer puts batches
//! of access log lines, then all of them are read from the disk, compared with a plain channel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use pipeline::{Batch, Channel, ChannelError, IntervalSet};
use serde_json::{Value, json};

use crate::Setup;
use crate::access_log::AccessLog;
use crate::cache::Cache;
use crate::error::{Doing, Error, Result};
use crate::report::{Better, Figure, Report, Series};
use crate::stage;

/// Lines per batch: about 570 KB.
const BATCH_LINES: usize = 3_000;
/// Any 32 bytes.
const KEY: &str = "1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

/// Options of the benchmark.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Interleaved runs
    #[arg(long, default_value_t = 5)]
    pub(crate) runs: u32,
    /// Lines written in each run
    #[arg(long, default_value_t = 3_000_000)]
    pub(crate) lines: u64,
}

/// A way to write.
struct Case {
    name: &'static str,
    settings: Value,
    put: Series,
    take: Series,
    share: Series,
}

fn cases(keys: &Path) -> Vec<Case> {
    let encryption = json!({ "key_file": keys });
    [
        ("plain", json!({})),
        ("lz4", json!({ "compression": "lz4" })),
        ("zstd", json!({ "compression": "zstd" })),
        ("sealed", json!({ "encryption": encryption })),
        ("lz4, sealed", json!({ "compression": "lz4", "encryption": encryption })),
    ]
    .into_iter()
    .map(|(name, settings)| {
        let [put, take, share] = std::array::from_fn(|_| Series::default());
        Case { name, settings, put, take, share }
    })
    .collect()
}

/// Runs the benchmark.
pub(crate) async fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    let log = AccessLog::cached(&setup.cache, options.lines)?;
    let batches = batches(&fs::read(&log.path).at("read", &log.path)?);
    let scratch = setup.cache.scratch()?;
    let keys = scratch.path().join("keys");
    fs::write(&keys, KEY).at("write", &keys)?;
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o400)).at("close to others", &keys)?;
    let mut cases = cases(&keys);
    for round in 0..options.runs {
        for case in &mut cases {
            measure(case, &batches, log.bytes, &setup.cache).await?;
        }
        crate::progress(&format!("codings: run {} of {}", round + 1, options.runs));
    }
    for case in &cases {
        let figures = [
            ("put", "MB/s", Better::More, &case.put, &cases[0].put),
            ("take from the disk", "MB/s", Better::More, &case.take, &cases[0].take),
            ("on disk, of the input", "%", Better::Less, &case.share, &cases[0].share),
        ];
        for (what, unit, better, ours, plain) in figures {
            let reference = plain.spread().map(|spread| ("plain", spread));
            let case = format!("{}, {what}", case.name);
            let ours = ours.spread();
            report.add(Figure { bench: "codings", case, unit, better, ours, reference });
        }
    }
    report.note("access log lines in batches of 3,000, one producer; MB are of the lines");
    Ok(())
}

/// Splits the lines of a log into batches of [`BATCH_LINES`].
pub(crate) fn batches(log: &[u8]) -> Vec<Batch> {
    let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
    let batch = |lines: &[&[u8]]| {
        let lengths: Vec<u32> = lines.iter().map(|line| line.len() as u32 - 1).collect();
        Batch::of_lines(Bytes::from(lines.concat()), &lengths)
    };
    lines.chunks(BATCH_LINES).map(batch).collect()
}

async fn measure(case: &mut Case, batches: &[Batch], bytes: u64, cache: &Cache) -> Result<()> {
    let scratch = cache.scratch()?;
    let mut settings = json!({ "capacity": "16GiB", "tail_memory": "0B" });
    let own = case.settings.as_object().expect("settings are an object").clone();
    settings.as_object_mut().expect("settings are an object").extend(own);
    let directory = scratch.path().join("channel");
    let channel = stage::build::<dyn Channel>("durable", &settings, &directory)?;
    let channel: Arc<dyn Channel> = channel.into();
    channel.open().await.map_err(|error| failed(&error))?;
    channel.register(&[Arc::from("bench")]).await.map_err(|error| failed(&error))?;
    let megabytes = bytes as f64 / 1e6;
    let began = Instant::now();
    for batch in batches {
        let mut put = channel.begin_put(batch.size()).await.map_err(|error| failed(&error))?;
        put.put(batch.clone());
        put.commit().await.map_err(|error| failed(&error))?;
    }
    case.put.push(megabytes / began.elapsed().as_secs_f64());
    case.share.push(channel.status().bytes as f64 / bytes as f64 * 100.0);
    let began = Instant::now();
    let mut take = channel.begin_take("bench");
    for _ in batches {
        let taken = take.take().await.map_err(|error| failed(&error))?;
        take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
    }
    case.take.push(megabytes / began.elapsed().as_secs_f64());
    drop(take);
    channel.close().await.map_err(|error| failed(&error))
}

fn failed(error: &ChannelError) -> Error {
    stage::failed("durable channel", error)
}
