//! The process that is killed, and the one that checks the rest.
//!
//! All events of batch `n` begin with `n`; their number and length follow from `n`, so that a
//! reader can detect a torn batch. Lines on the pipe: `A n` after the commit of batch n returned,
//! `C n` before the consumer starts to commit it.

use std::io::{self, IoSlice, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipeline::component::entry;
use pipeline::env::over::{DiskOver, FileOver};
use pipeline::env::{Disk, DiskFile, OpenMode};
use pipeline::{Batch, BuildContext, Channel, Env, IntervalSet, Settings};
use serde_json::json;
use tokio::time::timeout;

/// Small segments, so that rolling and recycling happen often.
const SEGMENT: &str = "1MiB";

/// Concurrent producers, for group commits.
const PRODUCERS: u64 = 4;

/// A take that waits this long has reached the end of the channel.
const END: Duration = Duration::from_secs(1);

/// Same, while the channel still counts events.
const BUSY: Duration = Duration::from_secs(60);

/// The only consumer.
pub(crate) const CONSUMER: &str = "reader";

fn body(number: u64, event: u64) -> String {
    let length = (number * 37 + event * 101) % 4000;
    format!("{number} {event} {}", "x".repeat(length as usize))
}

pub(crate) fn batch(number: u64) -> Batch {
    Batch::of((0..1 + number % 23).map(|event| body(number, event)))
}

pub(crate) fn channel(directory: &Path, env: Env) -> io::Result<Box<dyn Channel>> {
    let cx = BuildContext::alone("main", &directory.join("channel"), env);
    let settings = json!({ "capacity": "64MiB", "segment_bytes": SEGMENT });
    (entry::<channel::durable::Config>().build)(&Settings::from_json(&settings), &cx)
        .map_err(io::Error::other)
}

pub(crate) fn block_on<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(work)
}

/// Puts and takes until it is killed.
pub(crate) fn write(directory: &Path, lie: bool) -> io::Result<()> {
    let mut env = env::real();
    if lie {
        env.disk = Arc::new(LyingDisk(env.disk.clone()));
    }
    block_on(async {
        let channel: Arc<dyn Channel> = Arc::from(channel(directory, env)?);
        channel.open().await.map_err(io::Error::other)?;
        channel.register(&[CONSUMER.into()]).await.map_err(io::Error::other)?;
        let producers = (0..PRODUCERS).map(|first| tokio::spawn(produce(channel.clone(), first)));
        let producers: Vec<_> = producers.collect();
        consume(&*channel).await?;
        for producer in producers {
            producer.await.map_err(io::Error::other)??;
        }
        Ok(())
    })
}

async fn produce(channel: Arc<dyn Channel>, first: u64) -> io::Result<()> {
    for number in (first..).step_by(PRODUCERS as usize) {
        let batch = batch(number);
        let mut put = channel.begin_put(batch.size()).await.map_err(io::Error::other)?;
        put.put(batch);
        put.commit().await.map_err(io::Error::other)?;
        say(&format!("A {number}\n"))?;
    }
    Ok(())
}

async fn consume(channel: &dyn Channel) -> io::Result<()> {
    let mut take = channel.begin_take(CONSUMER);
    // Keep a backlog, so that something can be lost.
    let mut held = std::collections::VecDeque::new();
    loop {
        held.push_back(take.take().await.map_err(io::Error::other)?);
        if held.len() > 40 {
            let oldest = held.pop_front().expect("more than forty are held");
            let (number, _) = contents(&oldest.batch)?;
            say(&format!("C {number}\n"))?;
            take.commit(&IntervalSet::from(oldest.ticket..oldest.ticket + 1));
        }
    }
}

/// Prints the number of each batch in the channel; a torn batch is an error.
pub(crate) fn read(directory: &Path) -> io::Result<()> {
    block_on(async {
        let channel = channel(directory, env::real())?;
        channel.open().await.map_err(io::Error::other)?;
        channel.register(&[CONSUMER.into()]).await.map_err(io::Error::other)?;
        let counted = channel.status().events;
        let mut events = 0;
        let mut take = channel.begin_take(CONSUMER);
        // All batches exist from the start, so a take that waits has reached the end. A busy
        // machine gets more time while the channel counts events.
        let patience = |events| if events < counted { BUSY } else { END };
        while let Ok(taken) = timeout(patience(events), take.take()).await {
            let taken = taken.map_err(io::Error::other)?;
            let (number, whole) = contents(&taken.batch)?;
            if !whole {
                return Err(io::Error::other(format!("batch {number} is not as it was put")));
            }
            events += taken.batch.len() as u64;
            say(&format!("{number}\n"))?;
        }
        if counted != events {
            let problem = format!("{events} events are there, and {counted} are counted");
            return Err(io::Error::other(problem));
        }
        Ok(())
    })
}

/// Returns the number of a batch, and whether it is as it was put.
pub(crate) fn contents(found: &Batch) -> io::Result<(u64, bool)> {
    let first = found.iter().next().map(|event| String::from_utf8_lossy(event.body()).into_owned());
    let number = first.as_deref().and_then(|body| body.split(' ').next()?.parse().ok());
    let number = number.ok_or_else(|| io::Error::other("an event without a number"))?;
    Ok((number, found.iter().map(|event| event.body()).eq(batch(number).iter().map(|e| e.body()))))
}

fn say(line: &str) -> io::Result<()> {
    // A single write: the other end must never see half a line as a whole one.
    io::stdout().lock().write_all(line.as_bytes())?;
    io::stdout().lock().flush()
}

/// A disk whose syncs do nothing.
struct LyingDisk(Arc<dyn Disk>);

struct LyingFile(Arc<dyn DiskFile>);

impl FileOver for LyingFile {
    fn below(&self) -> &dyn DiskFile {
        &*self.0
    }
    fn write_over(&self, buffers: &[IoSlice<'_>], offset: u64, _durable: bool) -> io::Result<()> {
        self.0.write_at(buffers, offset, false)
    }
    fn sync_over(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskOver for LyingDisk {
    fn below(&self) -> &dyn Disk {
        &*self.0
    }
    fn open_over(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LyingFile(self.0.open(path, mode)?)))
    }
    fn sync_dir_over(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }
}
