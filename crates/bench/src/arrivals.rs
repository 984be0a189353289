//! A writer that keeps both tiers busy, and measures how long each of its writes takes to arrive.
//! Its log is rotated like on a server, to limit its size in a long run.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Doing, Error, Result};
use crate::forward::Running;
use crate::http::Watched;

/// Time between two writes.
const TICK: Duration = Duration::from_millis(5);
/// Interval of reading the collector's counter.
pub(crate) const POLL: Duration = Duration::from_millis(1);
/// Timeout of a write.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Size at which the log is rotated. Deleting a file blocks all writers while the disk discards it:
/// for 70 ms with 128 MiB.
const ROTATE_BYTES: u64 = 16 << 20;
/// Number of rotated files to keep.
const KEPT: u32 = 128;
/// Size after which the log is written back to the disk. The system would do so only every half
/// minute, with all data together, and would block all users of the disk.
const WRITE_BACK_BYTES: u64 = 4 << 20;

/// A write whose lines have all arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// When it was in the file.
    pub(crate) written: Instant,
    /// Milliseconds until the collector had counted it.
    pub(crate) millis: f64,
}

/// A log written by one application and rotated by renaming.
struct Log<'a> {
    file: File,
    path: &'a Path,
    bytes: u64,
    rotated: u32,
    /// Bytes since the last write-back.
    fresh: u64,
    /// Queue of work that runs at the same time as the writer.
    aside: mpsc::Sender<Aside>,
}

/// Disk work that runs at the same time as the writer.
enum Aside {
    /// Write this file back to the disk.
    WriteBack(File),
    /// Delete this file.
    Remove(PathBuf),
}

impl Aside {
    fn run(self) -> Result<()> {
        match self {
            // On failure, the system writes it back later, as usual.
            Self::WriteBack(file) => drop(file.sync_data()),
            Self::Remove(path) => fs::remove_file(&path).at("remove", &path)?,
        }
        Ok(())
    }
}

impl Log<'_> {
    fn append(&mut self, text: &[u8]) -> Result<()> {
        if self.bytes >= ROTATE_BYTES {
            self.rotate()?;
        }
        self.bytes += text.len() as u64;
        self.file.write_all(text).at("write", self.path)?;
        self.fresh += text.len() as u64;
        if self.fresh >= WRITE_BACK_BYTES {
            self.fresh = 0;
            let file = self.file.try_clone().at("open again", self.path)?;
            self.ask(Aside::WriteBack(file));
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<()> {
        self.rotated += 1;
        let to = self.place(self.rotated);
        fs::rename(self.path, &to).at("rename to", &to)?;
        self.file = File::create(self.path).at("create", self.path)?;
        self.bytes = 0;
        if self.rotated > KEPT {
            let old = self.place(self.rotated - KEPT);
            self.ask(Aside::Remove(old));
        }
        Ok(())
    }

    fn ask(&self, aside: Aside) {
        // If the receiver is gone, it has failed; its error is returned at the end of the writing.
        let _ = self.aside.send(aside);
    }

    /// Returns the name of a rotated log, which the edge's pattern matches: at the highest rates a
    /// log is rotated ten times per second, and may be rotated twice between two polls of the edge.
    fn place(&self, number: u32) -> PathBuf {
        self.path.with_extension(format!("{number}.log"))
    }
}

/// Number of lines in the file at this moment.
struct Written {
    lines: f64,
    at: Instant,
}

/// Writes `rate` lines per second while `writing` returns true, after the `before` lines already
/// written, and waits until all have arrived.
pub(crate) fn run(
    rate: f64,
    (file, path): (File, &Path),
    running: &mut Running,
    before: f64,
    writing: impl Fn() -> bool + Send,
) -> Result<Vec<Arrival>> {
    let line = "2026-11-20T12:00:00Z 192.0.2.7 GET /articles/index.html 200 5120 \"Mozilla/5.0 \
                (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\" 0.0123 upstream-3\n";
    let (tell, told) = mpsc::channel();
    let (aside, asked) = mpsc::channel();
    thread::scope(|scope| {
        let aside_thread = scope.spawn(move || asked.iter().try_for_each(Aside::run));
        let writer = scope.spawn(move || -> Result<()> {
            let mut log = Log { file, path, bytes: 0, rotated: 0, fresh: 0, aside };
            let (started, mut lines) = (Instant::now(), 0.0);
            while writing() {
                let due = (started.elapsed().as_secs_f64() * rate).floor();
                log.append(line.repeat((due - lines) as usize).as_bytes())?;
                lines = due;
                // If the receiver has given up, stop.
                if tell.send(Written { lines: before + lines, at: Instant::now() }).is_err() {
                    break;
                }
                thread::sleep(TICK);
            }
            Ok(())
        });
        let arrived = arrivals(&told, running);
        drop(told);
        writer.join().expect("the writer does not panic")?;
        aside_thread.join().expect("the thread does not panic")?;
        arrived
    })
}

/// Watches the collector's counter until every write has arrived.
fn arrivals(told: &mpsc::Receiver<Written>, running: &mut Running) -> Result<Vec<Arrival>> {
    let (mut waiting, mut all) = (VecDeque::new(), Vec::new());
    let mut writing = true;
    let mut counter = Watched::open(running.metrics_port, running.metric)?;
    while writing || !waiting.is_empty() {
        loop {
            match told.try_recv() {
                Ok(written) => waiting.push_back(written),
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => {
                    writing = false;
                    break;
                }
            }
        }
        let arrived = counter.look()?;
        while let Some(written) = waiting.pop_front_if(|next: &mut Written| next.lines <= arrived) {
            let millis = written.at.elapsed().as_secs_f64() * 1e3;
            all.push(Arrival { written: written.at, millis });
        }
        if waiting.front().is_some_and(|oldest: &Written| oldest.at.elapsed() > LIMIT) {
            let what = format!("{arrived} lines on the collector, and no more of them");
            return Err(Error::Timeout { what, seconds: LIMIT.as_secs() });
        }
        running.edge.check()?;
        running.collector.check()?;
        thread::sleep(POLL);
    }
    Ok(all)
}
