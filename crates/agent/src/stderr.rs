//! Standard error for an agent: writing never waits for the reader, and never fails.
//!
//! ```text
//!   log line ─► queue, 1 MiB ─► thread ─► standard error
//!                 └─ full for 100 ms: lines are dropped and counted
//! ```
//!
//! A pipe that is not read blocks its writer, and one without a reader fails all writes. The agent
//! continues in both cases. A reader that is only slower loses nothing: the logging thread waits
//! for room while the reader reads. Lines keep their order; the next line after dropped ones has
//! their number.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Maximum size of lines that wait for standard error.
const QUEUE_BYTES: usize = 1 << 20;

/// How long a line waits for room. After that time without progress, the next lines do not wait.
const ROOM_WITHIN: Duration = Duration::from_millis(100);

/// How long the end of the process waits for the last lines.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// Pause before a retry if standard error is non-blocking.
const BUSY: Duration = Duration::from_millis(10);

/// The queue of this process, once it exists.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Lines that were dropped since the process began.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of lines of this process that were dropped.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// The queue of this process; `None` before [`start`].
pub fn lines() -> Option<&'static Lines> {
    LINES.get()
}

/// Lines on their way to standard error. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There are bytes to write.
    filled: Condvar,
    /// A line is written.
    room: Condvar,
    /// All is written.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Vec<u8>>,
    bytes: usize,
    /// A line is being written.
    writing: bool,
    /// A line has waited for room in vain since one was written last.
    stuck: bool,
    /// Dropped lines that are not reported yet.
    dropped: u64,
}

impl State {
    fn has_room(&self, line: &[u8]) -> bool {
        self.bytes + line.len() <= QUEUE_BYTES
    }
}

/// When dropped, waits a moment for the last lines.
pub struct Flush(Lines);

impl Flush {
    /// The queue that it waits for.
    pub fn lines(&self) -> &Lines {
        &self.0
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.flush(FLUSH_WITHIN);
    }
}

/// Starts to write lines from the queue of this process.
///
/// # Errors
/// There is no standard error, or no thread can be started.
pub fn start() -> io::Result<Flush> {
    let out = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let lines = LINES.get_or_init(Lines::default).clone();
    let writer = lines.clone();
    thread::Builder::new().name("log".into()).spawn(move || writer.write_to(out))?;
    Ok(Flush(lines))
}

impl Lines {
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line, including its line end; drops it if the queue is full.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if !state.has_room(line) && !state.stuck {
            let is_full = |state: &mut State| !state.has_room(line) && !state.stuck;
            let waited = self.shared.room.wait_timeout_while(state, ROOM_WITHIN, is_full);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.stuck = !state.has_room(line);
        }
        if !state.has_room(line) {
            state.dropped += 1;
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.bytes += line.len();
        state.queue.push_back(line.to_vec());
        drop(state);
        self.shared.filled.notify_one();
    }

    /// Waits until all is written, no longer than `limit`.
    fn flush(&self, limit: Duration) {
        let is_busy = |state: &mut State| state.writing || !state.queue.is_empty();
        let waited = self.shared.drained.wait_timeout_while(self.state(), limit, is_busy);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns the next line, or the number of dropped ones once there is room to report it.
    fn next(&self) -> Result<Vec<u8>, u64> {
        let mut state = self.state();
        (state.writing, state.stuck) = (false, false);
        self.shared.room.notify_all();
        loop {
            if let Some(line) = state.queue.pop_front() {
                state.bytes -= line.len();
                state.writing = true;
                return Ok(line);
            }
            if state.dropped > 0 {
                return Err(std::mem::take(&mut state.dropped));
            }
            self.shared.drained.notify_all();
            state = self.shared.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes line by line, for ever.
    fn write_to(&self, mut out: impl Write) {
        loop {
            match self.next() {
                Ok(line) => {
                    if write_all(&mut out, &line).is_err() {
                        DROPPED.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(lines) => {
                    tracing::warn!(
                        lines,
                        "log lines were dropped: the reader of standard error is too slow or \
                         blocked; events are not affected; check the reader, or log less \
                         (`RUST_LOG`)"
                    );
                }
            }
        }
    }
}

/// As [`Write::write_all`], but retries when `out` would block.
fn write_all(out: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = &line[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::park_timeout(BUSY),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes a line when it is asked to, and passes it on.
    struct Slow {
        go: mpsc::Receiver<io::Result<()>>,
        taken: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.go.recv().unwrap_or(Ok(()))?;
            // Part by part, as a pipe may.
            let part = bytes.len().min(100_000);
            self.taken.send(bytes[..part].to_vec()).map_err(io::Error::other)?;
            Ok(part)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Lines, mpsc::Sender<io::Result<()>>, mpsc::Receiver<Vec<u8>>) {
        let lines = Lines::default();
        let ((go, asked), (taken, written)) = (mpsc::channel(), mpsc::channel());
        let writer = lines.clone();
        thread::spawn(move || writer.write_to(Slow { go: asked, taken }));
        (lines, go, written)
    }

    #[test]
    fn lines_wait_up_to_a_limit_and_keep_their_order() {
        let (lines, go, written) = slow();
        let line = |number: usize| format!("{number:>99}\n").into_bytes();
        let pushed = 2 * QUEUE_BYTES / 100;
        (0..pushed).for_each(|number| lines.push(&line(number)));
        let dropped = lines.state().dropped as usize;
        assert!(dropped > 0 && lines.state().bytes <= QUEUE_BYTES);
        drop(go);
        lines.flush(Duration::from_secs(60));
        let kept: Vec<Vec<u8>> = written.try_iter().collect();
        assert_eq!(kept.len() + dropped, pushed);
        assert!((0..).zip(&kept).all(|(number, kept)| line(number) == *kept));
    }

    #[test]
    fn a_reader_that_is_only_slower_loses_nothing() {
        let (lines, go, written) = slow();
        drop(go);
        let pushed = 3 * QUEUE_BYTES / 1_000;
        (0..pushed).for_each(|number| lines.push(format!("{number:>999}\n").as_bytes()));
        lines.flush(Duration::from_secs(60));
        assert_eq!(written.try_iter().count(), pushed);
    }

    #[test]
    fn a_line_that_is_refused_is_lost_and_the_next_one_is_not() {
        let (lines, go, written) = slow();
        lines.push(b"one\n");
        lines.push(b"two\n");
        go.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        go.send(Err(io::ErrorKind::WouldBlock.into())).unwrap();
        drop(go);
        lines.flush(Duration::from_secs(60));
        assert_eq!(written.try_iter().collect::<Vec<_>>(), [b"two\n"]);
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_that_does_not_read() {
        let (lines, _go, written) = slow();
        lines.push(b"one\n");
        lines.flush(Duration::from_millis(1));
        assert!(written.try_recv().is_err());
    }
}
