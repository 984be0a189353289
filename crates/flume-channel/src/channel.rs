//! The directories of a file channel together: locks, the choice of the checkpoint, and all logs.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline::Env;
use pipeline::env::{Disk, DiskFile, Lock, LockError, OpenMode};
use thiserror::Error;

use crate::checkpoint::{self, BadCheckpoint, State, Unsnappy};
use crate::events::Events;
use crate::log::{Damage, Log};
use crate::record::Pointer;
use crate::replay::{Counts, Place, Replay};

/// The file that Flume locks in each of its directories.
const LOCK: &str = "in_use.lock";
/// Marks a backup of a checkpoint as complete.
const BACKUP_IS_WHOLE: &str = "backupComplete";
/// More than an in-flight file has: a transaction's events of many transactions.
const IN_FLIGHT_MAX: usize = 1 << 30;

/// The location of a channel.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// `checkpointDir`; `None` reads all logs.
    pub checkpoint: Option<PathBuf>,
    /// `backupCheckpointDir`, for a checkpoint that is of no use.
    pub backup: Option<PathBuf>,
    /// `dataDirs`, all of them.
    pub data: Vec<PathBuf>,
}

/// The start of reading the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// From the checkpoint.
    Checkpoint,
    /// From the backup of the checkpoint: why not from the checkpoint itself.
    Backup(String),
    /// All logs from the beginning; contains the reason for not using a checkpoint.
    Logs(String),
}

/// The contents of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The start of reading the logs.
    pub start: Start,
    /// Number of logs.
    pub logs: usize,
    /// Their size, including Flume's padding.
    pub bytes: u64,
    /// Counts of their records.
    pub counts: Counts,
    /// Places that could not be read.
    pub damaged: Vec<Damage>,
}

/// Why a channel cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A file or directory cannot be read.
    #[error("cannot read {path}; run this command as the user of the Flume agent")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A Flume agent has the directory locked.
    #[error("{path} is in use{by}: stop the Flume agent first")]
    InUse {
        /// The directory.
        path: PathBuf,
        /// ` by process 7`, if that is known.
        by: String,
    },
    /// No data directory contains a log.
    #[error(
        "{path} contains no log of a file channel (log-1, log-2, …): pass each directory of its \
         `dataDirs` with --data"
    )]
    NoLogs {
        /// The data directories.
        path: String,
    },
    /// Two data directories have a log with the same number.
    #[error(
        "log-{id} is in two data directories, which are copies or belong to different channels: \
         pass only the directories of one channel"
    )]
    Twice {
        /// Number of the log.
        id: u32,
    },
    /// The queue has events of a missing log.
    #[error(
        "log-{id} with {events} undelivered events is in none of the data directories: pass each \
         directory of `dataDirs` with --data"
    )]
    Missing {
        /// Number of the log.
        id: u32,
        /// Events in it.
        events: usize,
    },
    /// A log is encrypted.
    #[error(
        "{path} is encrypted with keys in a Java keystore, which is not supported: start the Flume \
         agent again, and drain the channel with an avro sink"
    )]
    Encrypted {
        /// The log.
        path: PathBuf,
    },
    /// A log is not one.
    #[error(
        "cannot use {path}: {problem}; restore the file from a backup, or start the Flume agent \
         again and drain the channel with an avro sink"
    )]
    Unusable {
        /// The log.
        path: PathBuf,
        /// The problem.
        problem: &'static str,
    },
}

/// A file channel of a stopped agent, locked against its start while this lives.
pub struct FlumeChannel {
    pub(crate) logs: BTreeMap<u32, Log>,
    pub(crate) waiting: BTreeMap<Pointer, Place>,
    _locks: Vec<Held>,
}

impl FlumeChannel {
    /// Locks the directories, and reads the checkpoint and the log records after it.
    ///
    /// # Errors
    /// An agent uses them, a log is missing, encrypted or of an unknown format, or the disk fails.
    pub fn open(env: &Env, places: &Places) -> Result<(Self, Found), ReadError> {
        let disk = &env.disk;
        let meta = places.checkpoint.iter().chain(&places.backup);
        let locks = meta.chain(&places.data).filter(|path| disk.stat(path).is_ok());
        let locks = locks.map(|path| Held::lock(disk, path)).collect::<Result<_, _>>()?;
        let logs = open_logs(&**disk, &places.data)?;
        let (start, state) = choose(&**disk, places);
        let order = state.order;
        let mut replay = Replay::of(state);
        let mut damaged = Vec::new();
        for log in logs.values() {
            log.scan(order, |at, record| replay.apply(at, record), |place| damaged.push(place))
                .map_err(|source| ReadError::Read { path: log.path.clone(), source })?;
        }
        let (waiting, counts) = replay.finish();
        if let Some(lacking) = waiting.keys().find(|at| !logs.contains_key(&at.file())) {
            let id = lacking.file();
            let events = waiting.keys().filter(|at| at.file() == id).count();
            return Err(ReadError::Missing { id, events });
        }
        let bytes = logs.values().map(Log::bytes).sum();
        let found = Found { start, logs: logs.len(), bytes, counts, damaged };
        Ok((Self { logs, waiting, _locks: locks }, found))
    }

    /// The logs, by their numbers.
    pub fn logs(&self) -> impl Iterator<Item = &Log> {
        self.logs.values()
    }

    /// Returns the number of waiting events.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Leaves out the events of a log before `offset`; returns their number.
    pub fn leave_out(&mut self, log: u32, offset: u64) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|at, _| at.file() != log || at.offset() >= offset);
        before - self.waiting.len()
    }

    /// The waiting events.
    pub fn events(&self) -> Events<'_> {
        Events::new(self)
    }
}

/// A directory that no Flume agent can use.
struct Held {
    disk: Arc<dyn Disk>,
    _lock: Option<Box<dyn Lock>>,
    /// The lock file, if this process created it: a file of another user would keep Flume from
    /// starting again.
    made: Option<PathBuf>,
}

impl Held {
    fn lock(disk: &Arc<dyn Disk>, directory: &Path) -> Result<Self, ReadError> {
        let in_use = |by| ReadError::InUse { path: directory.to_owned(), by };
        // Flume tries its lock a second time, to check whether the file system supports locks, and
        // closes that file: this makes the system drop the first lock too. Its open files show the
        // process instead.
        if let Some(pid) = disk.users(directory).first() {
            return Err(in_use(format!(" by process {pid}")));
        }
        let path = directory.join(LOCK);
        let made = disk.stat(&path).is_err().then(|| path.clone());
        match disk.lock_record(&path) {
            Ok(lock) => Ok(Self { disk: disk.clone(), _lock: Some(lock), made }),
            Err(LockError::Held { .. }) => Err(in_use(String::new())),
            // A copy that cannot be written: no agent uses it.
            Err(LockError::Io(error)) if is_read_only(&error) && made.is_some() => {
                Ok(Self { disk: disk.clone(), _lock: None, made: None })
            }
            Err(LockError::Io(source)) => Err(ReadError::Read { path, source }),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(made) = self.made.take() {
            // An empty file that stays does no harm.
            let _ = self.disk.remove_file(&made);
        }
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

fn open_logs(disk: &dyn Disk, directories: &[PathBuf]) -> Result<BTreeMap<u32, Log>, ReadError> {
    let mut logs = BTreeMap::new();
    let mut found = false;
    for directory in directories {
        let at = |source| ReadError::Read { path: directory.clone(), source };
        for (name, _) in disk.list(directory).map_err(at)? {
            let Some(id) = name.strip_prefix("log-").and_then(|id| id.parse().ok()) else {
                continue;
            };
            found = true;
            if let Some(log) = Log::open(disk, directory, id)?
                && logs.insert(id, log).is_some()
            {
                return Err(ReadError::Twice { id });
            }
        }
    }
    if !found {
        let paths: Vec<_> = directories.iter().map(|it| it.display().to_string()).collect();
        return Err(ReadError::NoLogs { path: paths.join(", ") });
    }
    Ok(logs)
}

/// The checkpoint, its backup, or nothing, as Flume chooses.
fn choose(disk: &dyn Disk, places: &Places) -> (Start, State) {
    let Some(checkpoint) = &places.checkpoint else {
        return (Start::Logs("no --checkpoint was given".into()), State::default());
    };
    let cause = match load(disk, checkpoint, "checkpoint") {
        Ok(state) => return (Start::Checkpoint, state),
        Err(error) => error.to_string(),
    };
    let Some(backup) = &places.backup else {
        return (Start::Logs(cause), State::default());
    };
    let is_packed = disk.stat(&backup.join("checkpoint.snappy")).is_ok();
    let name = if is_packed { "checkpoint.snappy" } else { "checkpoint" };
    let whole = disk.stat(&backup.join(BACKUP_IS_WHOLE)).map_err(BadCheckpoint::Read);
    match whole.and_then(|_| load(disk, backup, name)) {
        Ok(state) => (Start::Backup(cause), state),
        Err(error) => (Start::Logs(format!("{cause}; its backup: {error}")), State::default()),
    }
}

/// Reads the checkpoint `name` in `directory` with the files that belong to it.
fn load(disk: &dyn Disk, directory: &Path, name: &str) -> Result<State, BadCheckpoint> {
    let file = disk.open(&directory.join(name), OpenMode::default())?;
    let meta = whole(disk, &directory.join("checkpoint.meta"))?;
    let bytes = file.stat()?.len;
    let mut stream =
        io::BufReader::with_capacity(1 << 18, FileStream { file: file.clone(), at: 0 });
    let mut state = if name.ends_with(".snappy") {
        let mut counted = Unsnappy::new(FileStream { file, at: 0 })?;
        let bytes = io::copy(&mut counted, &mut io::sink())?;
        let mut stream = io::BufReader::new(Unsnappy::new(stream)?);
        checkpoint::read(&mut stream, bytes / 8, meta.as_deref())?
    } else {
        checkpoint::read(&mut stream, bytes / 8, meta.as_deref())?
    };
    let in_flight = |name: &str| {
        let content = whole(disk, &directory.join(name))?.unwrap_or_default();
        checkpoint::in_flight(&content)
    };
    state.puts = in_flight("inflightputs")?;
    state.takes = in_flight("inflighttakes")?;
    Ok(state)
}

/// Returns the content of a file, if it exists.
fn whole(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match disk.open(path, OpenMode::default()) {
        Ok(file) => {
            let bytes = usize::try_from(file.stat()?.len).unwrap_or(usize::MAX);
            if bytes > IN_FLIGHT_MAX {
                return Err(io::Error::other(format!("{} is too long", path.display())));
            }
            file.read(0, bytes).map(Some)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file that is read from front to back.
struct FileStream {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Read for FileStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
