//! The history in SQLite: `history.db`, of at most [`PAGES_MAX`] pages.
//!
//! ```text
//!   table points     (hour, uid) ─► 12 samples of 17 bytes: a row for each agent and hour
//!                    uid ''      ─► the fleet
//!   a sample         0 without one, or 1 + level | accepted f32 | delivered f32 | held f32
//!                    | 1 + age of the oldest event u32, or 0; numbers are little-endian
//! ```
//!
//! A step has its place in the row of its hour, so that the copies of a minute replace each other.
//! Rows have a fixed length: they fill pages, and never move. Rows of the last 25 hours stay.
//!
//! The file is derived state. A file that is damaged, or not a history, is moved to
//! `history.db.damaged`, and an empty one replaces it. Other errors, such as a full disk, change
//! nothing; the next call opens the file again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pipeline::env::{Disk, FileKind, OpenMode};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, params};
use thiserror::Error;
use tracing::warn;

use super::{STEP_MS, STEPS, Sample, Samples, Track};
use crate::gate::Level;

/// Maximum size of the file: 160 MiB in pages of 4 KiB. 20,000 agents need about 140 MiB.
pub(super) const PAGES_MAX: u64 = 40_960;

/// Bytes of a row with its keys, rounded up, and of a page.
const ROW_BYTES: u64 = 256;
const PAGE_BYTES: u64 = 4_096;

/// Marks the files of this program: `Aqfh`.
const APPLICATION: i64 = 0x4171_6668;

/// Version of the table.
const VERSION: i64 = 1;

/// Steps in an hour, and bytes of a sample.
const HOUR: u64 = 3_600_000 / STEP_MS;
const SAMPLE: usize = 17;
const ROW: usize = HOUR as usize * SAMPLE;

/// The uid of the fleet.
pub(crate) const FLEET: &str = "";

/// How long a call waits for another process that reads the file.
const BUSY: Duration = Duration::from_secs(1);

const SETTINGS: &str = "PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF; \
                        PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY;";

/// Why the history cannot be stored or read.
#[derive(Debug, Error)]
pub(crate) enum HistoryError {
    /// SQLite failed.
    #[error(
        "cannot use {}; check its owner, its permissions and the free disk space",
        path.display()
    )]
    Store {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        #[source]
        source: rusqlite::Error,
    },
    /// The disk failed.
    #[error("cannot create or move {}; check its directory and the disk", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A new file is damaged as well.
    #[error("{} is damaged again ({problem}); check the disk", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
}

/// Why a call failed.
enum Failure {
    /// The file is damaged or foreign.
    Damaged(String),
    /// SQLite failed for another reason.
    Store(rusqlite::Error),
    /// The disk failed.
    File(io::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::PermissionDenied
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::ReadOnly
                | ErrorCode::OperationInterrupted
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Store(error),
            // A damaged page, another table, a value of another type.
            _ => Self::Damaged(error.to_string()),
        }
    }
}

/// The file. It is opened at the first call.
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    pages_max: u64,
    connection: Option<Connection>,
}

impl Store {
    /// The history in this file.
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk, path, pages_max: PAGES_MAX, connection: None }
    }

    /// The same with another maximum size.
    #[cfg(test)]
    pub(super) fn with_pages_max(self, pages_max: u64) -> Self {
        Self { pages_max, ..self }
    }

    /// Stores the samples of a step and their sum, durably, and deletes samples that are older than
    /// a day.
    pub(crate) fn add(&mut self, samples: &Samples) -> Result<(), HistoryError> {
        let pages_max = self.pages_max;
        self.run(|connection| add(connection, samples, pages_max))
    }

    /// Returns the samples of the 24 hours up to this step, for each uid.
    pub(crate) fn read(&mut self, uids: &[&str], step: u64) -> Result<Vec<Track>, HistoryError> {
        self.run(|connection| read(connection, uids, step))
    }

    /// Runs a call; once more with an empty file if this one is damaged.
    fn run<T>(
        &mut self,
        call: impl Fn(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, HistoryError> {
        let failure = match self.attempt(&call) {
            Ok(done) => return Ok(done),
            Err(Failure::Damaged(problem)) => {
                self.set_aside(&problem)?;
                match self.attempt(&call) {
                    Ok(done) => return Ok(done),
                    Err(failure) => failure,
                }
            }
            Err(failure) => failure,
        };
        let path = self.path.clone();
        Err(match failure {
            Failure::Store(source) => HistoryError::Store { path, source },
            Failure::File(source) => HistoryError::File { path, source },
            Failure::Damaged(problem) => HistoryError::Damaged { path, problem },
        })
    }

    /// After an error the connection is closed.
    fn attempt<T>(
        &mut self,
        call: impl Fn(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open()?,
        };
        let done = call(&mut connection)?;
        self.connection = Some(connection);
        Ok(done)
    }

    fn open(&self) -> Result<Connection, Failure> {
        let damaged = |problem: &str| Err(Failure::Damaged(problem.to_owned()));
        match self.disk.stat_link(&self.path) {
            Ok(stat) if stat.kind != FileKind::File => return damaged("not a file"),
            _ => {}
        }
        // SQLite would create it with permissions for all users.
        let mode = OpenMode { write: true, create: true, no_links: true, ..OpenMode::default() };
        drop(self.disk.open(&self.path, mode).map_err(Failure::File)?);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.execute_batch(SETTINGS)?;
        connection.execute_batch(&format!("PRAGMA max_page_count = {};", self.pages_max))?;
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let objects = number("SELECT count(*) FROM sqlite_schema")?;
        let application = number("PRAGMA application_id")?;
        let version = number("PRAGMA user_version")?;
        match (objects, application, version) {
            (0, 0, _) => create(&mut connection)?,
            (_, APPLICATION, VERSION) => {}
            (_, APPLICATION, _) => return damaged("written by another version of this program"),
            _ => return damaged("a database of another program"),
        }
        let check = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        let problem = connection.query_row("PRAGMA quick_check(1)", [], check)?;
        if problem == "ok" { Ok(connection) } else { Err(Failure::Damaged(problem)) }
    }

    /// Moves a damaged file to another name. The next call creates an empty one.
    fn set_aside(&mut self, problem: &str) -> Result<(), HistoryError> {
        self.connection = None;
        let mut name = self.path.clone().into_os_string();
        name.push(".damaged");
        let aside = PathBuf::from(name);
        warn!(
            path = %self.path.display(), aside = %aside.display(), problem,
            "the history of the fleet is damaged or not a history; moving it to another name and \
             starting an empty one; no action needed, roll-outs do not use it"
        );
        let _is_usually_missing = match self.disk.stat_link(&aside) {
            Ok(stat) if stat.kind == FileKind::Directory => self.disk.remove_dir_all(&aside),
            _ => self.disk.remove_file(&aside),
        };
        let failed = |source| HistoryError::File { path: self.path.clone(), source };
        self.disk.rename(&self.path, &aside).map_err(failed)?;
        // Otherwise SQLite would apply it to the new file.
        let mut journal = self.path.clone().into_os_string();
        journal.push("-journal");
        match self.disk.remove_file(&PathBuf::from(journal)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    // In one transaction: a killed server leaves an empty file.
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         PRAGMA application_id = {APPLICATION};
         PRAGMA user_version = {VERSION};
         CREATE TABLE points (hour INTEGER NOT NULL, uid TEXT NOT NULL, points BLOB NOT NULL,
                              PRIMARY KEY (hour, uid)) WITHOUT ROWID;
         COMMIT;"
    ))
}

fn add(connection: &mut Connection, samples: &Samples, pages_max: u64) -> rusqlite::Result<()> {
    let hour = samples.step / HOUR;
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM points WHERE hour < ?1", [number(hour.saturating_sub(24))])?;
    // After the clock was set back.
    transaction.execute("DELETE FROM points WHERE hour > ?1", [number(hour)])?;
    make_room(&transaction, samples.agents.len() as u64 + 1, (number(hour), pages_max))?;
    {
        let mut select = transaction.prepare(SELECT)?;
        let sql = "INSERT OR REPLACE INTO points (hour, uid, points) VALUES (?1, ?2, ?3)";
        let mut insert = transaction.prepare(sql)?;
        let sum = (FLEET, samples.sum());
        let agents = samples.agents.iter().map(|(uid, sample)| (&**uid, *sample));
        for (uid, sample) in std::iter::once(sum).chain(agents) {
            let key = params![number(hour), uid];
            let found = select.query_row(key, |row| Ok(<[u8; ROW]>::try_from(blob(row)?).ok()));
            let mut row = found.optional()?.flatten().unwrap_or([0; ROW]);
            let at = (samples.step % HOUR) as usize * SAMPLE;
            row[at..at + SAMPLE].copy_from_slice(&encoded(&sample));
            insert.execute(params![number(hour), uid, &row[..]])?;
        }
    }
    transaction.commit()
}

/// Deletes the oldest hours while the file has no room for so many rows. That only happens if more
/// agents than the server accepts have reported within a day.
fn make_room(
    transaction: &Transaction<'_>,
    rows: u64,
    (hour, pages_max): (i64, u64),
) -> rusqlite::Result<()> {
    // Twice: pages of the middle of the table may be split.
    let needed = 2 * rows * ROW_BYTES / PAGE_BYTES + 8;
    let pages = |sql: &str| transaction.query_row(sql, [], |row| row.get::<_, i64>(0));
    loop {
        let used = pages("PRAGMA page_count")? - pages("PRAGMA freelist_count")?;
        if used.unsigned_abs() + needed <= pages_max {
            return Ok(());
        }
        let oldest = "DELETE FROM points WHERE hour = (SELECT min(hour) FROM points) AND hour < ?1";
        if transaction.execute(oldest, [hour])? == 0 {
            return Ok(());
        }
    }
}

const SELECT: &str = "SELECT points FROM points WHERE hour = ?1 AND uid = ?2";

fn read(connection: &Connection, uids: &[&str], step: u64) -> rusqlite::Result<Vec<Track>> {
    let oldest = (step + 1).saturating_sub(STEPS);
    let mut select = connection.prepare(SELECT)?;
    let mut tracks = Vec::with_capacity(uids.len());
    for uid in uids {
        let mut track = Track::new();
        for hour in oldest / HOUR..=step / HOUR {
            let mut rows = select.query(params![number(hour), uid])?;
            let Some(row) = rows.next()? else { continue };
            let samples = (hour * HOUR..).zip(blob(row)?.chunks_exact(SAMPLE).take(HOUR as usize));
            let samples = samples.filter(|(at, _)| (oldest..=step).contains(at));
            track.extend(samples.filter_map(|(at, bytes)| Some((at, decoded(bytes)?))));
        }
        tracks.push(track);
    }
    Ok(tracks)
}

fn number(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

fn blob<'a>(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(0)?.as_blob()?)
}

fn encoded(sample: &Sample) -> [u8; SAMPLE] {
    let mut bytes = [0; SAMPLE];
    bytes[0] = 1 + sample.level as u8;
    let oldest = sample.oldest_seconds.map_or(0, |it| it.saturating_add(1));
    let rate = |rate: Option<f32>| rate.unwrap_or(f32::NAN).to_le_bytes();
    let fields = [
        rate(sample.accepted),
        rate(sample.delivered),
        sample.held.to_le_bytes(),
        oldest.to_le_bytes(),
    ];
    for (place, field) in bytes[1..].chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field);
    }
    bytes
}

/// Returns the sample; `None` if the place is empty, or its level is damaged.
fn decoded(bytes: &[u8]) -> Option<Sample> {
    let level = match bytes.first()? {
        1 => Level::Good,
        2 => Level::Note,
        3 => Level::Warn,
        4 => Level::Bad,
        _ => return None,
    };
    let field = |at: usize| bytes.get(1 + 4 * at..5 + 4 * at)?.try_into().ok();
    let rate = |at| Some(f32::from_le_bytes(field(at)?)).filter(|it| it.is_finite() && *it >= 0.0);
    Some(Sample {
        accepted: rate(0),
        delivered: rate(1),
        held: rate(2).unwrap_or_default(),
        oldest_seconds: u32::from_le_bytes(field(3)?).checked_sub(1),
        level,
    })
}
