//! The wire alone: our gRPC sink and source over loopback, compared with plain TCP and the same
//! bytes.
//!
//! The source's intake reports each batch as stored and delivered immediately. The clock runs until
//! the sink knows that the last batch is delivered; on the raw side, until the response to the last
//! message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use pipeline::{
    Batch, Epoch, Identity, IntervalSet, Origin, Outcome, Sequence, Sink, Source, SourceContext,
    Taken,
};
use serde_json::json;
use support::loopback::free_address;
use tokio_util::sync::CancellationToken;

use crate::Setup;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::load::{self, Load};
use crate::raw::{self, Moved};
use crate::report::{Better, Figure, Report, Series};
use crate::stage::{self, Counter};

const LIMIT: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Megabytes to send for each case
    #[arg(long, default_value_t = 1000)]
    megabytes: u64,
    /// Interleaved runs
    #[arg(long, default_value_t = 7)]
    runs: u32,
}

/// Runs the benchmark.
pub(crate) async fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    let cache = &setup.cache;
    let mut results = load::SIZES.map(|load| (load, Series::default(), Series::default()));
    for _ in 0..options.runs {
        for (load, ours, raw) in &mut results {
            let size = load.batch().size().bytes;
            let count = (options.megabytes * 1_000_000 / size).max(1);
            if !setup.peers_only {
                ours.push(send(*load, count, cache).await?.mb_per_s());
            }
            let bytes = usize::try_from(size).expect("a batch fits in memory");
            let plain = tokio::task::spawn_blocking(move || raw::loopback(bytes, count));
            raw.push(plain.await.expect("the raw side does not panic")?.mb_per_s());
        }
    }
    for (load, ours, raw) in &results {
        let events_per_mb = load.events as f64 * 1e6 / load.batch().size().bytes as f64;
        for (unit, factor) in [("MB/s", 1.0), ("events/s", events_per_mb)] {
            let spread = |series: &Series| series.map(|rate| rate * factor).spread();
            report.add(Figure {
                bench: "wire",
                case: load.name.to_owned(),
                unit,
                better: Better::More,
                ours: spread(ours),
                reference: spread(raw).map(|spread| ("raw", spread)),
            });
        }
    }
    report.note("raw: one TCP connection on loopback, the same bytes, one answer a message");
    report.note("ours: one connection, no compression, until the last batch is COMMITTED");
    Ok(())
}

async fn send(load: Load, count: u64, cache: &Cache) -> Result<Moved> {
    let scratch = cache.scratch()?;
    let address = free_address().to_string();
    let mut source = stage::build::<dyn Source>(
        "grpc",
        &json!({ "listen": address }),
        &scratch.path().join("source"),
    )?;
    let counter = Arc::new(Counter::new());
    let arrived = counter.watch();
    let stop = CancellationToken::new();
    let cx = SourceContext::new(counter, stop.clone());
    let running = tokio::spawn(async move {
        source.open(&cx).await?;
        source.run(cx).await
    });
    let settings = json!({ "address": address });
    let mut sink = stage::build::<dyn Sink>("grpc", &settings, &scratch.path().join("sink"))?;
    open(&mut *sink).await?;
    let started = Instant::now();
    let sent = tokio::time::timeout(LIMIT, drive(&mut *sink, load, count)).await;
    let seconds = started.elapsed().as_secs_f64();
    sink.close().await;
    stop.cancel();
    let ended = running.await.expect("the source does not panic");
    let timeout = || Error::Timeout { what: format!("{count} batches"), seconds: LIMIT.as_secs() };
    sent.map_err(|_| timeout())??;
    ended.map_err(|error| stage::failed("grpc source", &error))?;
    let (events, expected) = (arrived.borrow().events, count * load.events as u64);
    if events != expected {
        let detail = format!("{events} of {expected} events arrived");
        return Err(Error::Content { path_name: "wire".to_owned(), detail });
    }
    Ok(Moved { bytes: count * load.batch().size().bytes, seconds })
}

/// Reopens the sink like a runner, because the source may not be listening yet.
async fn open(sink: &mut dyn Sink) -> Result<()> {
    let started = Instant::now();
    loop {
        match sink.open().await {
            Ok(()) => return Ok(()),
            Err(error) if started.elapsed() > Duration::from_secs(5) => {
                return Err(stage::failed("grpc sink", &error));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn drive(sink: &mut dyn Sink, load: Load, count: u64) -> Result<()> {
    let mut delivered = IntervalSet::default();
    for number in 0..count {
        let taken = Taken { ticket: number, batch: identified(load.batch(), number) };
        sink.write(taken).await.map_err(|error| stage::failed("grpc sink", &error))?;
        while let Some(settlement) = sink.settled().now_or_never() {
            note(&mut delivered, &settlement.tickets, settlement.outcome)?;
        }
    }
    while delivered.count() < count {
        let settlement = sink.settled().await;
        note(&mut delivered, &settlement.tickets, settlement.outcome)?;
    }
    Ok(())
}

fn note(delivered: &mut IntervalSet, tickets: &IntervalSet, outcome: Outcome) -> Result<()> {
    match outcome {
        Outcome::Stored => Ok(()),
        Outcome::Delivered => {
            delivered.insert_all(tickets);
            Ok(())
        }
        Outcome::Again(Some(error)) => Err(stage::failed("grpc sink", &error)),
        Outcome::Refused(letter) => {
            Err(Error::Content { path_name: "wire".to_owned(), detail: letter.detail })
        }
        Outcome::HeldBack(_) => Err(Error::Content {
            path_name: "wire".to_owned(),
            detail: "batches were held back by their size".to_owned(),
        }),
        Outcome::Again(None) => Err(Error::Content {
            path_name: "wire".to_owned(),
            detail: "batches came back on a healthy connection".to_owned(),
        }),
    }
}

fn identified(mut batch: Batch, number: u64) -> Batch {
    batch.envelope.identity = Some(Identity {
        origin: Origin(*b"bench-of-wire-01"),
        epoch: Epoch(1),
        sequence: Sequence(number),
    });
    batch
}
