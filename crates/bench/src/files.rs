//! The hdfs sink alone: compressed files compared with `zstd` at the same level on two threads, and
//! plain text in a real HDFS compared with a plain copy of the same bytes by the same client.
//!
//! Batches of access log lines are in memory. Our run lasts from the first write until every batch
//! is delivered: written, synced and committed by its ledger. `zstd` reads the lines from the page
//! cache and syncs nothing; the copy closes its file, which HDFS acknowledges when all data is
//! there.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use pipeline::{Batch, Epoch, Identity, Origin, Sequence};
use serde_json::json;
use storage::hdfs::HdfsAccess;
use storage::{CreateOptions, FileSystem, FsError};

use crate::Setup;
use crate::access_log::AccessLog;
use crate::codings::batches;
use crate::error::{Doing, Result};
use crate::hdfs::Hdfs;
use crate::report::{Better, Figure, Report, Series};
use crate::{process, stage};

/// Bytes per write of the plain copy.
const PIECE: usize = 1 << 20;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Interleaved runs
    #[arg(long, default_value_t = 7)]
    runs: u32,
    /// Lines written in each run
    #[arg(long, default_value_t = 3_000_000)]
    lines: u64,
}

/// Runs the benchmark.
pub(crate) async fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    let log = AccessLog::cached(&setup.cache, options.lines)?;
    let bytes = Bytes::from(fs::read(&log.path).at("read", &log.path)?);
    let batches = named(batches(&bytes));
    let scratch = setup.cache.scratch()?;
    let hdfs = Hdfs::start(&scratch.path().join("hdfs"))?;
    let megabytes = log.bytes as f64 / 1e6;
    let [mut zstd, mut of_zstd, mut text, mut of_text] = std::array::from_fn(|_| Series::default());
    for round in 0..options.runs {
        let own = setup.cache.scratch()?;
        let store = format!("file://{}/store", own.path().display());
        let codec = json!({ "type": "zstd", "level": 1 });
        let settings = json!({ "url": store, "codec": codec });
        if !setup.peers_only {
            zstd.push(
                megabytes / stage::deliver(&settings, batches.iter().cloned(), own.path()).await?,
            );
        }
        of_zstd.push(megabytes / by_zstd(&log.path, own.path())?);
        let settings = json!({
            "url": format!("{}/bench/ours-{round}", hdfs.url()), "conf_dir": hdfs.conf_dir(),
        });
        if !setup.peers_only {
            text.push(
                megabytes / stage::deliver(&settings, batches.iter().cloned(), own.path()).await?,
            );
        }
        of_text.push(megabytes / copy(&hdfs, &bytes).await?);
        hdfs.delete("/bench")?;
        crate::progress(&format!("files: run {} of {}", round + 1, options.runs));
    }
    for (case, ours, name, reference) in [
        ("codec zstd, level 1, into file://", zstd, "zstd -1 -T2", of_zstd),
        ("text into hdfs://", text, "bare copy", of_text),
    ] {
        let reference = reference.spread().map(|spread| (name, spread));
        let (case, ours) = (case.to_owned(), ours.spread());
        let (unit, better) = ("MB/s", Better::More);
        report.add(Figure { bench: "files", case, unit, better, ours, reference });
    }
    report.note("access log lines in batches of 3,000; MB are of the lines");
    Ok(())
}

/// Gives the batches identities, like a channel.
pub(crate) fn named(mut batches: Vec<Batch>) -> Vec<Batch> {
    for (number, batch) in batches.iter_mut().enumerate() {
        let sequence = Sequence(number as u64);
        let (origin, epoch) = (Origin([3; 16]), Epoch(1));
        batch.envelope.identity = Some(Identity { origin, epoch, sequence });
    }
    batches
}

/// Returns the seconds of `zstd` for the file.
fn by_zstd(log: &Path, directory: &Path) -> Result<f64> {
    let mut command = Command::new("zstd");
    command.args(["-1", "-T2", "-q", "-f", "-o"]).arg(directory.join("log.zst")).arg(log);
    let started = Instant::now();
    process::run("zstd", &mut command)?;
    Ok(started.elapsed().as_secs_f64())
}

/// Returns the seconds to write the bytes into one file.
async fn copy(hdfs: &Hdfs, bytes: &Bytes) -> Result<f64> {
    let conf_dir = Some(hdfs.conf_dir().display().to_string());
    let access = HdfsAccess { conf_dir, ..HdfsAccess::default() };
    let failed = |error: FsError| stage::failed("the copy into HDFS", &error);
    let store = storage_hdfs::Hdfs::connect(hdfs.url(), &access, &env::real()).map_err(failed)?;
    store.mkdirs("/bench").await.map_err(failed)?;
    let started = Instant::now();
    let mut file = store.create("/bench/copy", CreateOptions::default()).await.map_err(failed)?;
    for from in (0..bytes.len()).step_by(PIECE) {
        let piece = bytes.slice(from..(from + PIECE).min(bytes.len()));
        file.write(piece).await.map_err(failed)?;
    }
    file.close().await.map_err(failed)?;
    Ok(started.elapsed().as_secs_f64())
}
