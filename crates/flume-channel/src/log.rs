//! A log file of the channel with its metadata, read piece by piece.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline::env::{Disk, DiskFile, OpenMode};
use prost::Message;
use xxhash_rust::xxh3::xxh3_128;

use crate::channel::ReadError;
use crate::proto;
use crate::record::{Format, Pointer, RECORD_MAX, Record, Step, read, resume};

/// Bytes per read.
const WINDOW: usize = 256 << 10;
/// More than metadata ever has.
const META_MAX: usize = 1 << 20;

/// A damaged place of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The log.
    pub path: PathBuf,
    /// The offset of the damaged record.
    pub offset: u64,
    /// The problem.
    pub problem: &'static str,
    /// True if it is the last record: most likely it was never finished, and therefore never
    /// acknowledged.
    pub torn: bool,
}

/// A log file.
pub struct Log {
    /// Its number.
    pub id: u32,
    /// Its path.
    pub path: PathBuf,
    format: Format,
    file: Arc<dyn DiskFile>,
    bytes: u64,
    /// Order and offset of the last checkpoint and of the one before it.
    checkpoints: [(i64, u64); 2],
}

impl Log {
    /// Opens `log-<id>` in `directory`; `None` if it contains no record yet.
    ///
    /// # Errors
    /// It cannot be read, is encrypted, or is of an unknown format.
    pub fn open(disk: &dyn Disk, directory: &Path, id: u32) -> Result<Option<Self>, ReadError> {
        let path = directory.join(format!("log-{id}"));
        let at = |source| ReadError::Read { path: path.clone(), source };
        let wrong = |problem| ReadError::Unusable { path: path.clone(), problem };
        let file = disk.open(&path, OpenMode::default()).map_err(at)?;
        let bytes = file.stat().map_err(at)?.len;
        let Some(meta) = metadata(disk, &path).map_err(at)? else {
            let head = file.read(0, Format::V2.start() as usize).map_err(at)?;
            if bytes == 0 {
                return Ok(None);
            }
            let number = |from: usize| head.get(from..from + 4).and_then(|it| it.try_into().ok());
            let long = |from: usize| head.get(from..from + 8).and_then(|it| it.try_into().ok());
            return match (number(0).map(i32::from_be_bytes), number(4).map(u32::from_be_bytes)) {
                (Some(2), Some(named)) if named == id => {
                    let position = long(8).map_or(0, u64::from_be_bytes);
                    let order = long(16).map_or(0, i64::from_be_bytes);
                    let checkpoints = [(order, position), (0, 0)];
                    Ok(Some(Self { id, path, format: Format::V2, file, bytes, checkpoints }))
                }
                _ => Err(wrong("the log is not of format 2, and its metadata (.meta) is missing")),
            };
        };
        if meta.is_empty() {
            // The agent ended before it wrote the first record.
            let is_empty = file.read(0, 1).map_err(at)?.first().is_none_or(|op| *op == 0x80);
            let problem = "its metadata (.meta) is empty, so it is unknown whether the log is \
                           encrypted";
            return if is_empty { Ok(None) } else { Err(wrong(problem)) };
        }
        let meta = proto::LogFileMetaData::decode_length_delimited(&meta[..]);
        let meta = meta.map_err(|_| wrong("cannot decode its metadata (.meta)"))?;
        if meta.encryption.is_some() {
            return Err(ReadError::Encrypted { path });
        }
        if meta.version != 3 {
            return Err(wrong("its metadata (.meta) has an unsupported version"));
        }
        if u32::try_from(meta.log_file_id) != Ok(id) {
            return Err(wrong("its metadata (.meta) belongs to another log"));
        }
        let place = |order: i64, position: i64| (order, u64::try_from(position).unwrap_or(0));
        let checkpoints = [
            place(meta.checkpoint_write_order_id, meta.checkpoint_position),
            place(
                meta.backup_checkpoint_write_order_id.unwrap_or(0),
                meta.backup_checkpoint_position.unwrap_or(0),
            ),
        ];
        Ok(Some(Self { id, path, format: Format::V3, file, bytes, checkpoints }))
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns an identifier that is unique among all logs of all channels: its number, and its
    /// first record up to the time-based numbers in it. A copy has the same one, and appending does
    /// not change it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn fingerprint(&self) -> io::Result<u128> {
        let bytes = match self.format {
            Format::V2 => 22,
            Format::V3 => 28,
        };
        // Without the op, which Flume's integrity tool changes.
        let mut first = self.file.read(self.format.start() + 1, bytes)?;
        first.extend_from_slice(&self.id.to_be_bytes());
        Ok(xxh3_128(&first))
    }

    /// Returns the offset after which records are newer than a checkpoint of this order.
    fn behind(&self, order: i64) -> u64 {
        let start = self.format.start();
        let of = |(at, position): (i64, u64)| (at <= order && position > 0).then_some(position);
        // Like Flume: without a last checkpoint the previous one does not count either.
        let [last, before] = self.checkpoints;
        if last.1 == 0 { start } else { of(last).or(of(before)).unwrap_or(start).max(start) }
    }

    /// Passes every record that a checkpoint of this order does not contain to `each`, and damaged
    /// places to `damaged`. Continues after damage with the next readable record.
    ///
    /// # Errors
    /// The disk failed.
    pub fn scan(
        &self,
        order: i64,
        mut each: impl FnMut(Pointer, &Record),
        mut damaged: impl FnMut(Damage),
    ) -> io::Result<()> {
        let mut window = Window::default();
        let mut at = self.behind(order);
        loop {
            match window.step(self, at)? {
                Step::Record(record, len) => {
                    // Flume's offsets have 31 bits.
                    let place = i32::try_from(at).ok().zip(i32::try_from(self.id).ok());
                    if let Some(place) = place.and_then(|(at, id)| Pointer::new(id, at)) {
                        each(place, &record);
                    }
                    at += len as u64;
                }
                Step::Removed(len) => at += len as u64,
                Step::End | Step::More(_) => return Ok(()),
                Step::Damaged { problem, len } => {
                    let next = window.behind(self, at, len)?;
                    let (path, torn) = (self.path.clone(), next.is_none());
                    damaged(Damage { path, offset: at, problem, torn });
                    let Some(next) = next else { return Ok(()) };
                    at = next;
                }
            }
        }
    }

    /// Reads the record at `offset`, through `window`.
    ///
    /// # Errors
    /// The disk failed.
    pub fn step(&self, window: &mut Window, offset: u64) -> io::Result<Step> {
        window.step(self, offset)
    }
}

/// Reads the metadata of a log. A rename of it may have been in progress.
fn metadata(disk: &dyn Disk, log: &Path) -> io::Result<Option<Vec<u8>>> {
    for extension in [".meta", ".meta.tmp", ".meta.old"] {
        let mut name = log.as_os_str().to_owned();
        name.push(extension);
        match disk.open(Path::new(&name), OpenMode::default()) {
            Ok(file) => return file.read(0, META_MAX).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The part of a log that is in memory.
#[derive(Default)]
pub struct Window {
    from: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// At least `least` bytes from `at`, or all that there are.
    fn fill(&mut self, log: &Log, at: u64, least: usize) -> io::Result<&[u8]> {
        let has = self.from..=self.from + self.bytes.len() as u64;
        let end = (at + least as u64).min(log.bytes);
        if !has.contains(&at) || !has.contains(&end) {
            let bytes = (log.bytes.saturating_sub(at)).min(least.max(WINDOW) as u64);
            self.bytes = log.file.read(at, bytes as usize)?;
            self.from = at;
        }
        let skip = usize::try_from(at - self.from).unwrap_or(usize::MAX);
        Ok(self.bytes.get(skip..).unwrap_or_default())
    }

    fn step(&mut self, log: &Log, at: u64) -> io::Result<Step> {
        let mut least = 1;
        loop {
            let bytes = self.fill(log, at, least)?;
            let is_all = at + bytes.len() as u64 >= log.bytes || bytes.len() < least;
            match read(bytes, log.format) {
                Step::More(_) if bytes.is_empty() => return Ok(Step::End),
                Step::More(needed) if is_all || needed > RECORD_MAX => {
                    return Ok(Step::Damaged { problem: "a record is truncated", len: None });
                }
                // Numbers of variable length are found one after the other.
                Step::More(needed) => least = needed.max(2 * least).min(RECORD_MAX),
                step => return Ok(step),
            }
        }
    }

    /// Returns the offset after a damaged record at `at` of `len` bytes, if it is known.
    fn behind(&mut self, log: &Log, at: u64, len: Option<usize>) -> io::Result<Option<u64>> {
        if let Some(end) = len.map(|len| at + len as u64) {
            match self.step(log, end)? {
                Step::Record(..) | Step::Removed(_) => return Ok(Some(end)),
                Step::End => return Ok(None),
                // The length is damaged too, or the next record.
                Step::Damaged { .. } | Step::More(_) => {}
            }
        }
        self.resume(log, at)
    }

    /// Returns the offset of the next complete record after `at`.
    fn resume(&mut self, log: &Log, at: u64) -> io::Result<Option<u64>> {
        let mut from = at;
        while from < log.bytes {
            let bytes = self.fill(log, from, WINDOW)?;
            let length = bytes.len();
            if length == 0 {
                break;
            }
            match resume(bytes, log.format) {
                Some(next) => {
                    from += next as u64;
                    if matches!(self.step(log, from)?, Step::Record(..)) {
                        return Ok(Some(from));
                    }
                }
                // The beginning of a record may be cut by the end of the window.
                None => from += length.saturating_sub(8).max(1) as u64,
            }
        }
        Ok(None)
    }
}
