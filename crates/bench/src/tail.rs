//! Reading alone: `tail_dir` on one file, compared with `read` and `memchr` on the same file.
//!
//! The clock runs from the moment at which the file is linked into the watched folder, so the poll
//! interval counts against us; a long file makes it negligible.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pipeline::{Source, SourceContext};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::Setup;
use crate::access_log::AccessLog;
use crate::cache::Cache;
use crate::error::{Doing, Error, Result};
use crate::raw::{self, Moved};
use crate::report::{Better, Figure, Report, Series};
use crate::stage::{self, Arrived, Counter};

const LIMIT: Duration = Duration::from_secs(120);
/// Time for the first scan of the empty folder.
const WARM_UP: Duration = Duration::from_millis(500);

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Lines of the log; two million are 356 MB
    #[arg(long, default_value_t = 2_000_000)]
    lines: u64,
    /// Interleaved runs
    #[arg(long, default_value_t = 7)]
    runs: u32,
}

/// Runs the benchmark.
pub(crate) async fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    let cache = &setup.cache;
    let log = AccessLog::cached(cache, options.lines)?;
    let (mut ours, mut raw) = (Series::default(), Series::default());
    for _ in 0..options.runs {
        if !setup.peers_only {
            ours.push(tail_once(&log, cache).await?.seconds);
        }
        let (moved, lines) = raw::scan_lines(&log.path)?;
        if lines != log.lines {
            let detail = format!("{lines} of {} lines", log.lines);
            return Err(Error::Content { path_name: "raw scan".to_owned(), detail });
        }
        raw.push(moved.seconds);
    }
    for (unit, amount) in [("events/s", log.lines as f64), ("MB/s", log.bytes as f64 / 1e6)] {
        let rate = |series: &Series| series.map(|seconds| amount / seconds).spread();
        report.add(Figure {
            bench: "tail",
            case: "one file".to_owned(),
            unit,
            better: Better::More,
            ours: rate(&ours),
            reference: rate(&raw).map(|spread| ("raw", spread)),
        });
    }
    report.note("raw: read in blocks of 1 MiB, line ends counted with memchr; file in page cache");
    Ok(())
}

async fn tail_once(log: &AccessLog, cache: &Cache) -> Result<Moved> {
    let scratch = cache.scratch()?;
    let watched = scratch.path().join("watched");
    fs::create_dir(&watched).at("create", &watched)?;
    let settings = json!({ "paths": [format!("{}/*.log", watched.display())] });
    let mut source =
        stage::build::<dyn Source>("tail_dir", &settings, &scratch.path().join("source"))?;
    let counter = Arc::new(Counter::new());
    let mut arrived = counter.watch();
    let stop = CancellationToken::new();
    let cx = SourceContext::new(counter, stop.clone());
    let running = tokio::spawn(async move {
        source.open(&cx).await?;
        source.run(cx).await
    });
    tokio::time::sleep(WARM_UP).await;
    log.warm()?;
    let started = Instant::now();
    log.link_into(&watched)?;
    let whole = Arrived { events: log.lines, body_bytes: log.bytes - log.lines };
    let all = arrived.wait_for(|arrived| arrived.events >= whole.events);
    let reached = tokio::time::timeout(LIMIT, all).await.is_ok();
    let seconds = started.elapsed().as_secs_f64();
    stop.cancel();
    let ended = running.await.expect("the source does not panic");
    ended.map_err(|error| stage::failed("tail_dir", &error))?;
    let got = *arrived.borrow();
    if !reached {
        let what = format!("tail_dir: {got:?} of {whole:?}");
        return Err(Error::Timeout { what, seconds: LIMIT.as_secs() });
    }
    if got != whole {
        let detail = format!("{got:?} instead of {whole:?}");
        return Err(Error::Content { path_name: "tail_dir".to_owned(), detail });
    }
    Ok(Moved { bytes: log.bytes, seconds })
}
