//! A disk that another program fills and empties under a channel.
//!
//! The channel uses a small ext4 on a loop device. While it puts, another file takes the rest of
//! the disk: puts wait or fail, but acknowledged batches stay and can be taken. When the file is
//! deleted, puts resume automatically. Finally, a new process of the channel returns each batch
//! that was acknowledged and not committed, once, in order.

use std::fs::{File, remove_file};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_tests::mounted::Mounted;
use pipeline::{Channel, IntervalSet, TakeTransaction};
use tokio::time::{Instant, sleep, timeout};

use crate::writer::{CONSUMER, batch, block_on, channel, contents};

const DISK_BYTES: u64 = 48 << 20;
/// Pause between two puts.
const PACE: Duration = Duration::from_millis(5);
/// A put that takes this long is waiting for the disk.
const STALLED: Duration = Duration::from_secs(2);
/// Maximum time until puts resume after space becomes free.
const RESUMED: Duration = Duration::from_secs(10);
/// Batches taken and committed while the disk is full.
const TAKEN: u64 = 5;

/// Fills and empties the disk, and checks the channel. Prints the result.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub(crate) fn run() -> io::Result<bool> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("image");
    File::create(&file)?.set_len(DISK_BYTES)?;
    let mounted = Mounted::new(&file, &scratch.path().join("disk"), true)?;
    let seen = block_on(fill_and_empty(mounted.directory()))?;
    let left = block_on(drain(mounted.directory()))?;
    let expected: Vec<u64> = (TAKEN..seen.stored).collect();
    // The put that was waiting when the process exited was never answered.
    let sound = left == expected || (left[..] == [&expected[..], &[seen.stored]].concat()[..]);
    println!(
        "disk full: {} stored, {} refused, waited {:.1} s; {} ms after there was room they went \
         on; {} left of {}: {}",
        seen.stored,
        seen.refused,
        seen.waited.as_secs_f64(),
        seen.resumed.as_millis(),
        left.len(),
        expected.len(),
        if sound { "none lost" } else { "NOT what was stored" }
    );
    Ok(sound)
}

struct Seen {
    stored: u64,
    refused: u64,
    waited: Duration,
    resumed: Duration,
}

/// Puts batches in order until it is dropped; retries rejected ones, like sources do.
async fn produce(channel: Arc<dyn Channel>, stored: Arc<AtomicU64>, refused: Arc<AtomicU64>) {
    loop {
        let batch = batch(stored.load(Ordering::SeqCst));
        let done = async {
            let mut put = channel.begin_put(batch.size()).await?;
            put.put(batch);
            put.commit().await
        };
        let counter = if done.await.is_ok() { &stored } else { &refused };
        counter.fetch_add(1, Ordering::SeqCst);
        // Slow enough that the disk fills up before the channel does.
        sleep(PACE).await;
    }
}

async fn fill_and_empty(directory: &Path) -> io::Result<Seen> {
    let channel: Arc<dyn Channel> = Arc::from(channel(directory, env::real())?);
    channel.open().await.map_err(io::Error::other)?;
    channel.register(&[CONSUMER.into()]).await.map_err(io::Error::other)?;
    let (stored, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let producer = tokio::spawn(produce(channel.clone(), stored.clone(), refused.clone()));
    wait_for(&stored, 20).await?;
    let ballast = directory.join("ballast");
    let fill = ballast.clone();
    tokio::task::spawn_blocking(move || fill_up(&fill)).await.map_err(io::Error::other)??;
    let began = Instant::now();
    let full_at = stalled(&stored).await?;
    let mut take = channel.begin_take(CONSUMER);
    for _ in 0..TAKEN {
        commit_next(&mut *take).await?;
    }
    remove_file(&ballast)?;
    let emptied = Instant::now();
    wait_for(&stored, full_at + 20).await?;
    let (resumed, waited) = (emptied.elapsed(), began.elapsed());
    producer.abort();
    // Pending puts are answered or not.
    let _ = producer.await;
    drop(take);
    channel.close().await.map_err(io::Error::other)?;
    let (stored, refused) = (stored.load(Ordering::SeqCst), refused.load(Ordering::SeqCst));
    Ok(Seen { stored, refused, waited, resumed })
}

/// Writes until the disk is full.
fn fill_up(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    for size in [1 << 20, 4 << 10] {
        let block = vec![0x5a; size];
        loop {
            match file.write_all(&block).and_then(|()| file.sync_data()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Waits until nothing more is stored. Returns the number of stored batches.
async fn stalled(stored: &AtomicU64) -> io::Result<u64> {
    for _ in 0..60 {
        let before = stored.load(Ordering::SeqCst);
        sleep(STALLED).await;
        if stored.load(Ordering::SeqCst) == before {
            return Ok(before);
        }
    }
    Err(io::Error::other("puts never waited although the disk is full"))
}

async fn wait_for(stored: &AtomicU64, count: u64) -> io::Result<()> {
    let reached = async {
        while stored.load(Ordering::SeqCst) < count {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let late = || io::Error::other(format!("puts did not come to {count} in {RESUMED:?}"));
    timeout(RESUMED, reached).await.map_err(|_| late())
}

async fn commit_next(take: &mut dyn TakeTransaction) -> io::Result<()> {
    let taken = timeout(RESUMED, take.take()).await.map_err(io::Error::other)?;
    let taken = taken.map_err(io::Error::other)?;
    take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
    Ok(())
}

/// Returns the numbers of all batches in the channel, in order.
async fn drain(directory: &Path) -> io::Result<Vec<u64>> {
    let channel = channel(directory, env::real())?;
    channel.open().await.map_err(io::Error::other)?;
    channel.register(&[CONSUMER.into()]).await.map_err(io::Error::other)?;
    let mut take = channel.begin_take(CONSUMER);
    let mut numbers = Vec::new();
    while let Ok(taken) = timeout(Duration::from_secs(1), take.take()).await {
        let (number, whole) = contents(&taken.map_err(io::Error::other)?.batch)?;
        if !whole {
            return Err(io::Error::other(format!("batch {number} is not as it was put")));
        }
        numbers.push(number);
    }
    Ok(numbers)
}
