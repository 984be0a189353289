//! Write-behind: while the disk writes some bytes, the writers prepare the next ones, and
//! everything that arrives in the meantime is written together.
//!
//! ```text
//!   append ─room─► waiting │ a b b c ⚑a │ ─taken whole─► write a, b + b, c; wake waiting calls
//!                          └ one thread for all files, while something waits
//! ```
//!
//! Waking a thread costs a third of writing a small batch. Therefore a thousand open files share
//! the queue and the thread.
//!
//! # Invariants
//!
//! 1. The bytes of a file are written in the order of their arrival.
//! 2. The bytes that wait or are being written never exceed [`ROOM`], for all files of a store
//!    together, except for a single larger piece.
//! 3. After a failed write, a file is not written any more; its next call gets the error.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pipeline::Env;
use pipeline::env::DiskFile;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Bytes under way, of all files together.
const ROOM: usize = 4 << 20;
/// Minimum size that a piece counts for.
const PIECE_MIN: usize = 4 << 10;

/// Writes to the ends of the files of one store.
pub(super) struct WriteBehind {
    env: Env,
    room: Arc<Semaphore>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Job>,
    /// A thread is processing the queue.
    busy: bool,
}

/// Bytes that are written together: the second half follows the first, and either may be empty.
pub(super) type Piece = [Bytes; 2];

enum Job {
    Write {
        end: Arc<End>,
        piece: Piece,
        room: OwnedSemaphorePermit,
    },
    /// Wakes the caller that waits for all before this.
    Tell(oneshot::Sender<()>),
}

/// The end of one file.
pub(super) struct End {
    file: Arc<dyn DiskFile>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Pieces that wait or are being written.
    under_way: usize,
    /// Bytes that are written.
    len: u64,
    /// A write failed.
    broken: bool,
    /// The error, until it is reported.
    error: Option<io::Error>,
}

impl WriteBehind {
    pub(super) fn new(env: Env) -> Arc<Self> {
        Arc::new(Self { env, room: Arc::new(Semaphore::new(ROOM)), queue: Mutex::default() })
    }

    /// Appends, once there is room.
    ///
    /// # Errors
    /// An earlier write failed.
    pub(super) async fn append(self: &Arc<Self>, end: &Arc<End>, piece: Piece) -> io::Result<()> {
        end.check()?;
        let bytes: usize = piece.iter().map(Bytes::len).sum();
        let size = bytes.clamp(PIECE_MIN, ROOM) as u32;
        let room = self.room.clone().acquire_many_owned(size).await.expect("never closed");
        end.state().under_way += 1;
        self.give(Job::Write { end: end.clone(), piece, room });
        Ok(())
    }

    /// Waits until all of a file is written and durable.
    ///
    /// # Errors
    /// A write failed, or the sync.
    pub(super) async fn sync(self: &Arc<Self>, end: &Arc<End>) -> io::Result<()> {
        let under_way = end.state().under_way;
        if under_way > 0 {
            let (done, told) = oneshot::channel();
            self.give(Job::Tell(done));
            told.await.expect("what waits is done");
        }
        end.check()?;
        let file = end.file.clone();
        self.env.offload(move || file.sync()).await
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Complete between two calls, whichever thread panicked in between.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(self: &Arc<Self>, job: Job) {
        let mut queue = self.queue();
        queue.waiting.push(job);
        if !std::mem::replace(&mut queue.busy, true) {
            let behind = self.clone();
            self.env.blocking.run(Box::new(move || behind.work()));
        }
    }

    /// Processes the queue until it is empty.
    fn work(&self) {
        loop {
            let jobs = {
                let mut queue = self.queue();
                queue.busy = !queue.waiting.is_empty();
                if !queue.busy {
                    return;
                }
                std::mem::take(&mut queue.waiting)
            };
            let mut jobs = jobs.into_iter().peekable();
            while let Some(job) = jobs.next() {
                match job {
                    Job::Write { end, piece, room } => {
                        let mut pieces = vec![(piece, room)];
                        let same = |job: &Job| match job {
                            Job::Write { end: other, .. } => Arc::ptr_eq(other, &end),
                            _ => false,
                        };
                        while let Some(Job::Write { piece, room, .. }) = jobs.next_if(same) {
                            pieces.push((piece, room));
                        }
                        end.write(&pieces);
                    }
                    // The caller may be gone.
                    Job::Tell(done) => drop(done.send(())),
                }
            }
        }
    }
}

impl End {
    /// The end of a new file.
    pub(super) fn new(file: Arc<dyn DiskFile>) -> Arc<Self> {
        Arc::new(Self { file, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> io::Result<()> {
        let mut state = self.state();
        if !state.broken {
            return Ok(());
        }
        let told =
            || io::Error::other("an earlier write of this file failed; the log has its cause");
        Err(state.error.take().unwrap_or_else(told))
    }

    fn write(&self, pieces: &[(Piece, OwnedSemaphorePermit)]) {
        let offset = {
            let mut state = self.state();
            if state.broken {
                state.under_way -= pieces.len();
                return;
            }
            state.len
        };
        let halves = pieces.iter().flat_map(|(piece, _)| piece);
        let slices: Vec<IoSlice> = halves.map(|half| IoSlice::new(half)).collect();
        let written = self.file.write_at(&slices, offset, false);
        let mut state = self.state();
        state.under_way -= pieces.len();
        match written {
            Ok(()) => state.len += slices.iter().map(|slice| slice.len() as u64).sum::<u64>(),
            Err(error) => (state.broken, state.error) = (true, Some(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Condvar;
    use std::time::Duration;

    use pipeline::env::OpenMode;
    use pipeline::env::over::FileOver;
    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;

    /// A file whose writes wait for permission, are recorded, and fail from one of them on.
    struct Gated {
        below: Arc<dyn DiskFile>,
        /// Bytes of each write, and how many of them may begin.
        writes: Mutex<(Vec<usize>, usize)>,
        changed: Condvar,
        good: usize,
    }

    impl FileOver for Gated {
        fn below(&self) -> &dyn DiskFile {
            &*self.below
        }

        fn write_over(&self, buffers: &[IoSlice<'_>], at: u64, durable: bool) -> io::Result<()> {
            let mut writes = self.writes.lock().unwrap();
            writes.0.push(buffers.iter().map(|buffer| buffer.len()).sum());
            let number = writes.0.len();
            drop(self.changed.wait_while(writes, |writes| writes.1 < number).unwrap());
            if number > self.good {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.below.write_at(buffers, at, durable)
        }
    }

    impl Gated {
        fn may_begin(&self, writes: usize) {
            self.writes.lock().unwrap().1 = writes;
            self.changed.notify_all();
        }

        async fn begun(&self, writes: usize) -> Vec<usize> {
            loop {
                let begun = self.writes.lock().unwrap().0.clone();
                if begun.len() >= writes {
                    return begun;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// Creates a file with this name, whose first `good` writes succeed.
    fn file(folder: &TempDir, name: &str, good: usize) -> (Arc<Gated>, Arc<End>) {
        let mode = OpenMode { write: true, create_new: true, ..OpenMode::default() };
        let below = env::real().disk.open(&folder.path().join(name), mode).unwrap();
        let (writes, changed) = (Mutex::default(), Condvar::new());
        let file = Arc::new(Gated { below, writes, changed, good });
        (file.clone(), End::new(file))
    }

    fn piece(text: &'static str) -> Piece {
        let (first, second) = text.split_at(text.len() / 2);
        [first.into(), second.into()]
    }

    fn content(folder: &TempDir, name: &str) -> String {
        std::fs::read_to_string(Path::new(folder.path()).join(name)).unwrap()
    }

    #[tokio::test]
    async fn writes_during_a_write_are_joined_in_order() {
        let (folder, behind) = (tempfile::tempdir().unwrap(), WriteBehind::new(env::real()));
        let ((a, end_a), (b, end_b)) = (file(&folder, "a", 9), file(&folder, "b", 9));
        b.may_begin(9);
        for (number, (end, text)) in
            [(&end_a, "1"), (&end_a, "2"), (&end_a, "34"), (&end_b, "x"), (&end_a, "5")]
                .into_iter()
                .enumerate()
        {
            behind.append(end, piece(text)).await.unwrap();
            if number == 0 {
                a.begun(1).await;
            }
        }
        a.may_begin(9);
        behind.sync(&end_a).await.unwrap();
        behind.sync(&end_b).await.unwrap();
        assert_eq!(content(&folder, "a"), "12345");
        assert_eq!(content(&folder, "b"), "x");
        assert_eq!(a.begun(3).await, [1, 3, 1]);
    }

    #[tokio::test]
    async fn a_write_that_fails_is_told_and_nothing_is_written_behind_it() {
        let (folder, behind) = (tempfile::tempdir().unwrap(), WriteBehind::new(env::real()));
        let ((a, end_a), (b, end_b)) = (file(&folder, "a", 1), file(&folder, "b", 9));
        for file in [&a, &b] {
            file.may_begin(9);
        }
        behind.append(&end_a, piece("1")).await.unwrap();
        behind.sync(&end_a).await.unwrap();
        behind.append(&end_a, piece("2")).await.unwrap();
        behind.append(&end_b, piece("x")).await.unwrap();
        let error = behind.sync(&end_a).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(behind.append(&end_a, piece("3")).await.is_err());
        assert!(behind.sync(&end_a).await.is_err(), "also when it was reported before");
        behind.sync(&end_b).await.unwrap();
        assert_eq!((content(&folder, "a"), content(&folder, "b")), ("1".into(), "x".into()));
    }

    #[tokio::test]
    async fn no_more_is_under_way_than_there_is_room_for() {
        let (folder, behind) = (tempfile::tempdir().unwrap(), WriteBehind::new(env::real()));
        let (a, end) = file(&folder, "a", 9);
        let quarter = [vec![b'x'; ROOM / 4].into(), Bytes::new()];
        for _ in 0..4 {
            behind.append(&end, quarter.clone()).await.unwrap();
        }
        let fifth = timeout(Duration::from_millis(30), behind.append(&end, quarter.clone()));
        assert!(fifth.await.is_err(), "it waits");
        a.may_begin(9);
        // A piece larger than all the room gets it exclusively.
        behind.append(&end, [vec![b'y'; ROOM].into(), vec![b'z'; ROOM].into()]).await.unwrap();
        behind.sync(&end).await.unwrap();
        assert_eq!(content(&folder, "a").len(), 3 * ROOM);
    }
}
