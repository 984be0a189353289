//! The memory of ledgers, in a file of the data directory: JSON, written as a whole and renamed
//! into place. Mere growth is written at most once a minute.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pipeline::LedgerId;
use pipeline::env::{Env, small_file};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::warn;

use super::known_ledgers::{KnownLedgers, Remembered};

/// Minimum time between writes because of growth.
const GROWTH_EVERY: Duration = Duration::from_secs(60);

/// Maximum size of the file.
const FILE_MAX: usize = 1 << 20;

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    dataset: String,
    /// 32 hexadecimal digits.
    identity: String,
    entries: u64,
}

/// The memory of one channel, and its file.
#[derive(Default)]
pub(super) struct LedgerMemory {
    pub(super) acquaintance: KnownLedgers,
    place: Option<(Env, PathBuf)>,
    /// Start of the process: the contents of the file are older.
    began: Option<Instant>,
    is_loaded: bool,
    /// The contents of the file, and their time.
    written: Vec<(Arc<str>, LedgerId, u64)>,
    written_at: Option<Instant>,
}

impl std::fmt::Debug for LedgerMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.place.as_ref().map(|(_, path)| path);
        f.debug_struct("Kept").field("known", &self.acquaintance).field("path", &path).finish()
    }
}

impl LedgerMemory {
    /// In the file `path`.
    pub(super) fn new(env: Env, path: PathBuf) -> Self {
        let began = Some(Instant::now());
        Self { place: Some((env, path)), began, ..Self::default() }
    }

    /// Reads the file, unless that was done.
    ///
    /// # Errors
    /// The disk failed; the next call retries.
    pub(super) fn load(&mut self, now: Instant) -> io::Result<()> {
        let Some((env, path)) = self.place.as_ref().filter(|_| !self.is_loaded) else {
            return Ok(());
        };
        let lines = read(env, path)?;
        self.is_loaded = true;
        for Line { dataset, identity, entries } in lines {
            let Ok(identity) = u128::from_str_radix(&identity, 16) else { continue };
            let identity = LedgerId(identity.to_be_bytes());
            let dataset: Arc<str> = dataset.into();
            self.written.push((dataset.clone(), identity, entries));
            let known = Remembered { identity, entries, since: self.began.unwrap_or(now) };
            self.acquaintance.datasets.entry(dataset).or_insert(known);
        }
        Ok(())
    }

    /// Writes changes.
    ///
    /// # Errors
    /// The disk failed: the next call retries.
    pub(super) fn store(&mut self, now: Instant) -> io::Result<()> {
        let Some((env, path)) = self.place.as_ref().filter(|_| self.is_loaded) else {
            return Ok(());
        };
        let known = self.acquaintance.datasets.iter();
        let known: Vec<_> =
            known.map(|(dataset, one)| (dataset.clone(), one.identity, one.entries)).collect();
        let names =
            |(dataset, identity, _): &(Arc<str>, LedgerId, u64)| (dataset.clone(), *identity);
        let has_grown_only = known.iter().map(names).eq(self.written.iter().map(names));
        let is_recent = self.written_at.is_some_and(|at| now < at + GROWTH_EVERY);
        if known == self.written || has_grown_only && is_recent {
            return Ok(());
        }
        let lines = known.iter().map(|(dataset, identity, entries)| Line {
            dataset: dataset.to_string(),
            identity: identity.to_string(),
            entries: *entries,
        });
        write(env, path, &lines.collect::<Vec<_>>())?;
        (self.written, self.written_at) = (known, Some(now));
        Ok(())
    }
}

fn read(env: &Env, path: &Path) -> io::Result<Vec<Line>> {
    let Some(file) = small_file::find(&*env.disk, path)? else { return Ok(Vec::new()) };
    let len = usize::try_from(file.stat()?.len).unwrap_or(usize::MAX).min(FILE_MAX);
    Ok(serde_json::from_slice(&file.read(0, len)?).unwrap_or_else(|error| {
        warn!(path = %path.display(), %error,
            "the file of known commit ledgers is damaged; no action needed: collectors report \
             their ledgers again, but a change of a ledger before that is not detected");
        Vec::new()
    }))
}

fn write(env: &Env, path: &Path, lines: &[Line]) -> io::Result<()> {
    env.disk.create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    small_file::replace(&*env.disk, path, &serde_json::to_vec_pretty(lines)?)
}
