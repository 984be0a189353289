//! A collector's memory of a ledger, on its own disk: enough to recognise the ledger, and to
//! rebuild it completely.
//!
//! ```text
//!  head         AQMEMORY  dataset, identity, generation, its first index
//!  checkpoint   AQCHECKP  the beginning of that generation; missing in generation 0
//!  entry …      AQLEDGER  its entries in order, as they were read or written, up to the newest
//! ```
//!
//! Each part has the frame of the ledger (`frame`). An entry is appended with one durable write; a
//! new generation replaces the whole file. The memory is never ahead of the store: an entry is
//! added after it was won there, and before its files are published. A truncated end counts as not
//! written.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use pipeline::Env;
use pipeline::env::{OpenMode, small_file};
use prost::Message;

use super::checkpoint;
use super::dataset::Token;
use super::entry::{Entry, bytes_of, token_of};
use super::frame::{self, EntryError};
use super::view::View;

const MAGIC: &[u8; 8] = b"AQMEMORY";

#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(string, tag = "1")]
    dataset: String,
    #[prost(bytes = "bytes", tag = "2")]
    identity: Bytes,
    #[prost(uint64, tag = "3")]
    generation: u64,
    #[prost(uint64, tag = "4")]
    first: u64,
}

/// The newest generation of a ledger, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The dataset that the ledger is of.
    pub dataset: String,
    /// The identity of the ledger.
    pub identity: Token,
    /// The sum of its entries.
    pub view: View,
    /// The checkpoint of the generation; empty for generation 0.
    pub(super) checkpoint: Bytes,
    /// The entries of the generation.
    pub(super) entries: Vec<Entry>,
    /// Bytes of the file up to the end of the last whole part.
    len: u64,
}

impl Remembered {
    /// Reads the file at `path`. Returns `None` if the file does not exist or is unusable.
    ///
    /// # Errors
    /// The disk failed.
    pub fn read(env: &Env, path: &Path) -> io::Result<Option<Self>> {
        let Some(file) = small_file::find(&*env.disk, path)? else { return Ok(None) };
        let len = usize::try_from(file.stat()?.len).map_err(io::Error::other)?;
        Ok(Self::decode(file.read(0, len)?.into()).ok())
    }

    fn decode(mut file: Bytes) -> Result<Self, EntryError> {
        let (whole, damaged) = (file.len(), EntryError::Damaged { problem: "invalid length" });
        let head = frame::split(&mut file).ok_or(damaged)?;
        let Head { dataset, identity, generation, first } = frame::unwrap(MAGIC, head)?;
        let (mut view, mut kept) = (View::new(generation), Bytes::new());
        if generation > 0 {
            let damaged = EntryError::Damaged { problem: "invalid checkpoint" };
            kept = frame::split(&mut file).ok_or(damaged)?;
            view = checkpoint::decode(kept.clone(), generation)?;
        }
        if view.first() != first {
            return Err(EntryError::Misplaced { said: first, place: view.first() });
        }
        let (mut entries, mut rest) = (Vec::new(), file.len());
        while let Some(framed) = frame::split(&mut file) {
            let Ok(entry) = Entry::decode(framed, view.next()) else { break };
            view.absorb(&entry);
            entries.push(entry);
            rest = file.len();
        }
        let identity = token_of(&identity)?;
        let len = (whole - rest) as u64;
        Ok(Self { dataset, identity, view, checkpoint: kept, entries, len })
    }

    fn encode(&self) -> Vec<u8> {
        let head = Head {
            dataset: self.dataset.clone(),
            identity: bytes_of(self.identity),
            generation: self.view.generation(),
            first: self.view.first(),
        };
        let mut file = frame::wrap(MAGIC, &head).to_vec();
        file.extend_from_slice(&self.checkpoint);
        self.entries.iter().for_each(|entry| file.extend_from_slice(&entry.encode()));
        file
    }

    /// Writes the file at `path` in whole, durably.
    ///
    /// # Errors
    /// The disk failed; the file that was there stays.
    pub(super) fn write(&mut self, env: &Env, path: &Path) -> io::Result<()> {
        env.disk.create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        let bytes = self.encode();
        small_file::replace(&*env.disk, path, &bytes)?;
        self.len = bytes.len() as u64;
        Ok(())
    }

    /// The part that stays in memory while a ledger is open.
    fn known(&self) -> Mark {
        let attempts = self.entries.iter().map(|entry| entry.attempt).collect();
        let (generation, first) = (self.view.generation(), self.view.first());
        Mark { identity: self.identity, generation, first, attempts, len: self.len }
    }
}

/// How far a ledger was read, and the entries by which it is recognised.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) identity: Token,
    pub(super) generation: u64,
    pub(super) first: u64,
    /// The attempts that won its entries: no two are the same.
    attempts: Vec<Token>,
    len: u64,
}

impl Mark {
    /// Entries of all generations.
    pub(super) fn next(&self) -> u64 {
        self.first + self.attempts.len() as u64
    }

    /// Returns the attempt that won this entry, if it is in the remembered generation.
    pub(super) fn attempt(&self, generation: u64, index: u64) -> Option<Token> {
        let at = index.checked_sub(self.first).filter(|_| generation == self.generation)?;
        self.attempts.get(usize::try_from(at).ok()?).copied()
    }
}

/// Decides which opening of a sink may write its memory: only the newest, and one write at a time.
/// A commit that was given up may still have a write in progress.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<u64>>);

impl Turns {
    /// Runs `work` if the opening `turn` is still the newest one.
    fn during(&self, turn: u64, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        // A write that fails under the lock leaves nothing that the next reader does not detect.
        let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *newest == turn { work() } else { Err(io::Error::other("the sink was reopened")) }
    }

    /// Reads by `work` for a new opening, and the number of that.
    fn next<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<(u64, T)> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *newest += 1;
        Ok((*newest, work()?))
    }
}

/// The location of a memory.
#[derive(Clone)]
struct Place {
    env: Env,
    path: PathBuf,
    turns: Turns,
    turn: u64,
}

/// The memory of one opening of a ledger.
#[derive(Default)]
pub struct Memory {
    place: Option<Place>,
    dataset: String,
    pub(super) mark: Option<Mark>,
    /// The view at the opening, until the ledger was compared with it.
    pub(super) view: Option<View>,
}

impl Memory {
    /// An empty memory that keeps nothing: it accepts any ledger.
    pub fn none() -> Self {
        Self::default()
    }

    /// Loads the file of `dataset` in `directory`. Of all openings with these `turns` only the
    /// newest one writes it.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn load(
        env: &Env,
        directory: &Path,
        dataset: &str,
        turns: &Turns,
    ) -> io::Result<Self> {
        let (path, turns) = (Self::path(directory, dataset), turns.clone());
        let (world, at, order) = (env.clone(), path.clone(), turns.clone());
        let read = env.offload(move || order.next(|| Remembered::read(&world, &at)));
        let (turn, read) = read.await?;
        let of = |found: &Remembered| found.dataset == dataset;
        let (mark, view) = read.filter(of).map(|found| (found.known(), found.view)).unzip();
        let place = Some(Place { env: env.clone(), path, turns, turn });
        Ok(Self { place, dataset: dataset.into(), mark, view })
    }

    /// Returns the path of the memory of `dataset` in the data directory of its sink.
    pub fn path(directory: &Path, dataset: &str) -> PathBuf {
        directory.join(format!("ledger-{:08x}", crc32c::crc32c(dataset.as_bytes())))
    }

    /// Returns `true` if this memory is kept on disk.
    pub(super) fn is_kept(&self) -> bool {
        self.place.is_some()
    }

    /// Entries of the generation `generation` from this index on are news.
    pub(super) fn news(&self, identity: Token, view: &View) -> u64 {
        match &self.mark {
            Some(mark) if (mark.identity, mark.generation) == (identity, view.generation()) => {
                mark.next()
            }
            _ => view.first(),
        }
    }

    /// Appends `entries`, which follow the remembered ones.
    ///
    /// # Errors
    /// The disk failed: the memory stays as it was until the next opening.
    pub(super) async fn extend(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        let (Some(place), Some(mark)) = (self.place.clone(), &mut self.mark) else {
            return Ok(());
        };
        let Place { env, path, turns, turn } = place;
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| bytes.extend_from_slice(&entry.encode()));
        let (at, len) = (mark.len, bytes.len() as u64);
        let disk = env.disk.clone();
        let written = env.offload(move || {
            turns.during(turn, || {
                let mode = OpenMode { write: true, ..OpenMode::default() };
                let file = disk.open(&path, mode)?;
                file.write_at(&[IoSlice::new(&bytes)], at, true)?;
                // Remove a truncated end, which must not look like a part of the next entries.
                if file.stat()?.len > at + len { file.set_len(at + len) } else { Ok(()) }
            })
        });
        if let Err(error) = written.await {
            self.place = None;
            return Err(error);
        }
        mark.len += len;
        mark.attempts.extend(entries.iter().map(|entry| entry.attempt));
        Ok(())
    }

    /// Remembers a generation in whole, in place of all that was remembered before.
    ///
    /// # Errors
    /// As [`Memory::extend`].
    pub(super) async fn replace(
        &mut self,
        identity: Token,
        view: View,
        checkpoint: Bytes,
        entries: Vec<Entry>,
    ) -> io::Result<()> {
        let Some(Place { env, path, turns, turn }) = self.place.clone() else { return Ok(()) };
        let dataset = self.dataset.clone();
        let mut whole = Remembered { dataset, identity, view, checkpoint, entries, len: 0 };
        let world = env.clone();
        let written = env.offload(move || {
            turns.during(turn, || whole.write(&world, &path))?;
            Ok(whole.known())
        });
        match written.await {
            Ok(mark) => self.mark = Some(mark),
            Err(error) => {
                self.place = None;
                return Err(error);
            }
        }
        Ok(())
    }
}
