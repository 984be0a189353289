//! A writer that keeps both tiers busy, and how long each of its writes took to arrive.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{LIMIT, Options, POLL, counted};
use crate::error::{Doing, Error, Result};
use crate::forward::Running;

/// Time between two writes.
const TICK: Duration = Duration::from_millis(5);

/// Lines that are in the file since this moment.
struct Written {
    lines: f64,
    at: Instant,
}

/// Writes at the rate asked for, behind the `before` lines that were written; milliseconds of each
/// write until all of its lines had arrived.
pub(super) fn run(
    options: &Options,
    (mut file, path): (File, &Path),
    running: &mut Running,
    before: f64,
) -> Result<Vec<f64>> {
    let line = "2026-11-20T12:00:00Z 192.0.2.7 GET /articles/index.html 200 5120 \"Mozilla/5.0 \
                (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\" 0.0123 upstream-3\n";
    let (tell, told) = mpsc::channel();
    let (rate, end) = (f64::from(options.load), Duration::from_secs(options.seconds.into()));
    thread::scope(|scope| {
        let writer = scope.spawn(move || -> Result<()> {
            let (started, mut lines) = (Instant::now(), 0.0);
            while started.elapsed() < end {
                let due = (started.elapsed().as_secs_f64() * rate).floor();
                file.write_all(line.repeat((due - lines) as usize).as_bytes()).at("write", path)?;
                lines = due;
                // The one who listens may have given up; then nobody asks for more.
                if tell.send(Written { lines: before + lines, at: Instant::now() }).is_err() {
                    break;
                }
                thread::sleep(TICK);
            }
            Ok(())
        });
        let millis = arrivals(&told, running);
        drop(told);
        writer.join().expect("the writer does not panic")?;
        millis
    })
}

/// Watches the collector's counter until every write has arrived.
fn arrivals(told: &mpsc::Receiver<Written>, running: &mut Running) -> Result<Vec<f64>> {
    let (mut waiting, mut millis) = (VecDeque::new(), Vec::new());
    let mut writing = true;
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
        let arrived = counted(running)?;
        while let Some(written) = waiting.pop_front_if(|next: &mut Written| next.lines <= arrived) {
            millis.push(written.at.elapsed().as_secs_f64() * 1e3);
        }
        if waiting.front().is_some_and(|oldest: &Written| oldest.at.elapsed() > LIMIT) {
            let what = format!("{arrived} lines on the collector, and no more of them");
            return Err(Error::Timeout { what, seconds: LIMIT.as_secs() });
        }
        running.edge.check()?;
        running.collector.check()?;
        thread::sleep(POLL);
    }
    Ok(millis)
}
