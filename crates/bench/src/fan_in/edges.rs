//! The process of the simulated edges.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::one::{self, Manner};
use crate::error::{Doing, Error, Result};
use crate::process::Usage;
use crate::report::rank;

/// Maximum number of parallel connection attempts.
const CONNECTING_MAX: usize = 64;
/// Timeout for connecting all edges.
const CONNECT_LIMIT: Duration = Duration::from_secs(90);

/// What the process gets as its input.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The collector
    #[arg(long)]
    to: String,
    /// How many edges
    #[arg(long)]
    edges: u32,
    /// Of a thousand so many misbehave
    #[arg(long)]
    rude: u32,
    /// The only way in which they do, if not in all
    #[arg(long)]
    manner: Option<Manner>,
    /// Seconds that are measured
    #[arg(long)]
    seconds: u32,
    /// Process of the collector, whose CPU time is read
    #[arg(long)]
    collector: u32,
}

/// Measurements of the well-behaved edges.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) rude: u32,
    /// Well-behaved edges whose connection ended.
    pub(super) broken: u32,
    /// Acknowledgements of the edge with the fewest, and of the one with the most.
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) longest_ms: f64,
    pub(super) connected_s: f64,
    /// CPU usage of the collector in the measured phase.
    pub(super) cores: f64,
}

/// Open files of a program in addition to its connections.
const OTHER_FILES: u64 = 100;

/// Raises the limit of connections, here and in child processes.
pub(crate) fn make_room_for(connections: u32) -> Result<()> {
    env::raise_file_limit().doing(|| "raise the limit of open files".to_owned())?;
    let needed = u64::from(connections) + OTHER_FILES;
    match env::files_max() {
        Some(allowed) if allowed < needed => Err(Error::OpenFiles { needed, allowed }),
        _ => Ok(()),
    }
}

/// Phases of a run, as every edge sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Some edges are still connecting.
    Connecting,
    /// The measured phase.
    Measured,
    /// The end.
    Over,
}

/// Runs all edges and prints their results.
pub(crate) async fn run(options: &Options) -> Result<()> {
    make_room_for(options.edges)?;
    let (phase, phases) = watch::channel(Phase::Connecting);
    let connecting = Arc::new(Semaphore::new(CONNECTING_MAX));
    let connected = Arc::new(AtomicU32::new(0));
    let started = Instant::now();
    let (mut polite, mut rude) = (JoinSet::new(), JoinSet::new());
    let mut rude_count = 0;
    for number in 0..options.edges {
        let manner = Manner::for_number(number, options.rude, options.manner);
        let edge = one::Edge {
            number,
            to: options.to.clone(),
            connecting: connecting.clone(),
            connected: connected.clone(),
            phases: phases.clone(),
        };
        if manner == Manner::Polite {
            polite.spawn(edge.live());
        } else {
            rude_count += 1;
            rude.spawn(edge.misbehave(manner));
        }
    }
    while connected.load(Ordering::Relaxed) < options.edges {
        if started.elapsed() > CONNECT_LIMIT {
            let count = connected.load(Ordering::Relaxed);
            let what = format!("{count} of {} edges to connect", options.edges);
            return Err(Error::Timeout { what, seconds: CONNECT_LIMIT.as_secs() });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let connected_s = started.elapsed().as_secs_f64();
    // The first batches are spread over a second each; after that the load is steady.
    tokio::time::sleep(Duration::from_secs(2)).await;
    phase.send_replace(Phase::Measured);
    let (before, began) = (Usage::read(options.collector)?, Instant::now());
    tokio::time::sleep(Duration::from_secs(options.seconds.into())).await;
    let cpu = Usage::read(options.collector)?.cpu_s - before.cpu_s;
    let cores = cpu / began.elapsed().as_secs_f64();
    phase.send_replace(Phase::Over);
    let (mut millis, mut counts, mut broken) = (Vec::new(), Vec::new(), 0);
    while let Some(ended) = polite.join_next().await {
        let life = ended.expect("an edge does not panic");
        broken += u32::from(life.broken);
        counts.push(life.millis.len());
        millis.extend(life.millis);
    }
    drop(rude);
    millis.sort_by(f64::total_cmp);
    let at = |share: f64| rank(&millis, share).unwrap_or(f64::INFINITY);
    let seen = Seen {
        rude: rude_count,
        broken,
        least: counts.iter().copied().min().unwrap_or(0),
        most: counts.iter().copied().max().unwrap_or(0),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        longest_ms: at(1.0),
        connected_s,
        cores,
    };
    let text = serde_json::to_string(&seen).expect("numbers can be written");
    writeln!(io::stdout().lock(), "{text}").doing(|| "say what the edges saw".to_owned())
}
