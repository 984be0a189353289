//! The audit log: one line for each change that an operator requests, done or refused.
//!
//! ```text
//!   POST /stop ─┬─► no token, no header ─────────► refused ─┐
//!               └─► the reloader does it ─► done, failed ───┼─► audit.log, and the log
//!   SIGHUP, a changed file, /tap, `aqueduct dlq` ───────────┘     ├─ full: audit.log.1 … .4
//! ```
//!
//! ```text
//! {"at":"2026-11-27T03:00:00.000Z","action":"stop","part":"groups.store","by":"admin token",…}
//! ```
//!
//! # Invariants
//!
//! 1. A line is on disk before the answer to its request.
//! 2. A line contains names and addresses, and never a token, a header or a body.
//! 3. Each file has at most [`BYTES_MAX`], and [`OLDER_MAX`] older ones are kept. Refused calls do
//!    not push other lines out: at most [`REFUSED_MAX`] a minute are written, and the next line has
//!    the number of omitted ones.
//! 4. A failing disk stops no operator: the line is then only in the log, with the cause.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent::actor::Actor;
use agent::recent_failures::cut;
use pipeline::Env;
use pipeline::env::{OpenMode, resolved, small_file};
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};
use tracing::{error, info};

/// The name in the data directory; older files have a number after it.
pub const FILE: &str = "audit.log";

/// Bytes of a file from which on the next one is begun.
const BYTES_MAX: u64 = 1 << 20;

/// Number of older files.
const OLDER_MAX: usize = 4;

/// Refused calls that are written in a [`WINDOW`].
const REFUSED_MAX: u64 = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// Bytes of a text of a line.
const TEXT_MAX: usize = 500;

/// The outcome of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// Nothing had to be changed.
    Unchanged,
    /// It was permitted, and failed.
    Failed,
    /// It was not permitted.
    Refused,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When, in UTC.
    pub at: String,
    /// `stop`, `start`, `drain`, `reload`, `tap`, `dlq replay` or `dlq drop`.
    pub action: String,
    /// The part: `sources.NAME`, `groups.NAME`, `channels.NAME`; the agent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// The operator.
    #[serde(flatten)]
    pub actor: Actor,
    /// The outcome.
    pub outcome: Outcome,
    /// More about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Refused calls before it that have no line.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Line {
    /// Creates a line, whose time is set when it is written.
    pub fn new(action: &str, part: Option<String>, actor: Actor, outcome: Outcome) -> Self {
        let at = String::new();
        let part = part.map(|part| cut(&part, TEXT_MAX).to_owned());
        Self { at, action: action.to_owned(), part, actor, outcome, detail: None, left_out: 0 }
    }

    /// With more about the outcome.
    #[must_use]
    pub fn because(self, detail: Option<String>) -> Self {
        Self { detail: detail.map(|detail| cut(detail.trim(), TEXT_MAX).to_owned()), ..self }
    }
}

/// Limits the number of lines for refused calls.
#[derive(Debug, Default)]
struct Allowance {
    /// When the last ones were written.
    written: VecDeque<Instant>,
    left_out: u64,
}

impl Allowance {
    /// Returns whether to write a line with this outcome now, and how many were omitted before it.
    fn admits(&mut self, outcome: Outcome, now: Instant) -> Option<u64> {
        if outcome == Outcome::Refused {
            while self.written.front().is_some_and(|at| now - *at >= WINDOW) {
                self.written.pop_front();
            }
            if self.written.len() as u64 >= REFUSED_MAX {
                self.left_out += 1;
                return None;
            }
            self.written.push_back(now);
        }
        Some(std::mem::take(&mut self.left_out))
    }
}

/// The audit log of an agent. Clones are the same.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    env: Env,
    path: PathBuf,
    allowance: Mutex<Allowance>,
    /// Held while the files are written or exchanged.
    turn: Mutex<()>,
}

impl Audit {
    /// In this data directory; nothing is opened before the first line.
    pub fn new(data_dir: &Path, env: &Env) -> Self {
        let (allowance, turn) = (Mutex::default(), Mutex::default());
        let path = resolved(&*env.disk, data_dir).join(FILE);
        Self(Arc::new(Inner { env: env.clone(), path, allowance, turn }))
    }

    /// Writes a line.
    pub async fn add(&self, line: Line) {
        let this = self.clone();
        self.0.env.offload(move || this.write(line)).await;
    }

    /// The same, for callers that may block.
    pub fn write(&self, mut line: Line) {
        let Some(left_out) = lock(&self.0.allowance).admits(line.outcome, Instant::now()) else {
            return;
        };
        line.left_out = left_out;
        line.at = humantime::format_rfc3339_millis(self.0.env.clock.now()).to_string();
        let Line { action, part, actor, outcome, detail, .. } = &line;
        let (part, detail) = (part.as_deref(), detail.as_deref());
        info!(action, part, by = %actor, outcome = ?outcome, detail, left_out, "audit");
        let text = serde_json::to_string(&line).expect("texts and numbers") + "\n";
        let _turn = lock(&self.0.turn);
        if let Err(error) = self.0.append(text.as_bytes()) {
            error!(
                path = %self.0.path.display(), %error,
                "cannot write to the audit log; its line is only in this log, as message `audit`",
            );
        }
    }

    /// The newest lines, the newest first.
    ///
    /// # Errors
    /// A file cannot be read.
    pub async fn newest(&self, most: usize) -> io::Result<Vec<Line>> {
        let this = self.clone();
        self.0.env.offload(move || this.read(most)).await
    }

    fn read(&self, most: usize) -> io::Result<Vec<Line>> {
        let _turn = lock(&self.0.turn);
        let mut found = Vec::new();
        for number in 0..=OLDER_MAX {
            let Some(file) = small_file::find(&*self.0.env.disk, &self.0.numbered(number))? else {
                break;
            };
            // Larger by a line at most.
            let bytes = file.read(0, 2 * BYTES_MAX as usize)?;
            let lines = bytes.split(|byte| *byte == b'\n').rev();
            // Skip a line that a crash has truncated.
            let lines = lines.filter_map(|line| serde_json::from_slice(line).ok());
            found.extend(lines.take(most - found.len()));
            if found.len() == most {
                break;
            }
        }
        Ok(found)
    }
}

impl Inner {
    /// The file, or an older one.
    fn numbered(&self, number: usize) -> PathBuf {
        match number {
            0 => self.path.clone(),
            number => self.path.with_file_name(format!("{FILE}.{number}")),
        }
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let disk = &*self.env.disk;
        let mode = OpenMode { write: true, create: true, no_links: true, ..OpenMode::default() };
        let mut file = disk.open(&self.path, mode)?;
        let mut end = file.stat()?.len;
        if end > 0 && end + line.len() as u64 > BYTES_MAX {
            for number in (0..OLDER_MAX).rev() {
                let (from, to) = (self.numbered(number), self.numbered(number + 1));
                match disk.rename(&from, &to) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            (file, end) = (disk.open(&self.path, mode)?, 0);
        }
        let mut last = [b'\n'];
        if end > 0 {
            file.read_at(&mut last, end - 1)?;
        }
        // A line that a crash has truncated stays on its own line.
        let before: &[u8] = if last == *b"\n" { b"" } else { b"\n" };
        file.write_at(&[IoSlice::new(before), IoSlice::new(line)], end, true)?;
        if end == 0 {
            disk.sync_dir(self.path.parent().unwrap_or(Path::new("/")))?;
        }
        Ok(())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is whole.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(action: &str, outcome: Outcome) -> Line {
        Line::new(action, None, Actor::new("admin token", None), outcome)
    }

    fn actions(audit: &Audit, most: usize) -> Vec<String> {
        audit.read(most).unwrap().into_iter().map(|line| line.action).collect()
    }

    #[tokio::test]
    async fn no_line_is_written_through_a_link() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let victim = dir.path().join("victim");
        env.disk
            .open(&victim, OpenMode { write: true, create: true, ..OpenMode::default() })
            .unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join(FILE)).unwrap();
        let audit = Audit::new(dir.path(), &env);
        audit.add(line("one", Outcome::Done)).await;
        assert_eq!(env.disk.stat(&victim).unwrap().len, 0);
        assert!(audit.newest(9).await.is_err(), "nor is it read through one");
    }

    #[tokio::test]
    async fn lines_are_kept_over_a_cut_and_a_restart_the_newest_first() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let audit = Audit::new(dir.path(), &env);
        assert_eq!(audit.newest(9).await.unwrap(), []);
        audit.add(line("one", Outcome::Done)).await;
        let path = dir.path().join(FILE);
        let file = env.disk.open(&path, OpenMode { write: true, ..OpenMode::default() }).unwrap();
        let end = file.stat().unwrap();
        assert_eq!(end.mode & 0o027, 0, "others can read it");
        file.write_at(&[IoSlice::new(b"{\"at\":\"cut")], end.len, false).unwrap();
        let audit = Audit::new(dir.path(), &env);
        audit
            .add(line("two", Outcome::Failed).because(Some(format!("{}\n", "x".repeat(900)))))
            .await;
        assert_eq!(actions(&audit, 9), ["two", "one"]);
        assert_eq!(actions(&audit, 1), ["two"]);
        let newest = &audit.read(1).unwrap()[0];
        assert_eq!(newest.detail.as_ref().map(String::len), Some(TEXT_MAX));
        assert!(newest.at.ends_with('Z'), "{newest:?}");
    }

    #[tokio::test]
    async fn the_files_are_bounded() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let audit = Audit::new(dir.path(), &env);
        let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
        for number in 0..OLDER_MAX + 3 {
            audit.write(line(&number.to_string(), Outcome::Done));
            // As if it were full.
            let file = env.disk.open(&dir.path().join(FILE), mode).unwrap();
            let end = file.stat().unwrap().len;
            let rest = vec![b'\n'; (BYTES_MAX - end) as usize];
            file.write_at(&[IoSlice::new(&rest)], end, false).unwrap();
        }
        assert_eq!(actions(&audit, 99), ["6", "5", "4", "3", "2"]);
        let names = env.disk.list(dir.path()).unwrap();
        assert_eq!(names.len(), OLDER_MAX + 1, "{names:?}");
    }

    #[tokio::test]
    async fn refused_calls_push_nothing_out_and_are_counted() {
        let mut allowance = Allowance::default();
        let began = Instant::now();
        let mut at =
            |second, outcome| allowance.admits(outcome, began + Duration::from_secs(second));
        for _ in 0..REFUSED_MAX {
            assert_eq!(at(0, Outcome::Refused), Some(0));
        }
        for _ in 0..5 {
            assert_eq!(at(30, Outcome::Refused), None);
        }
        assert_eq!(at(31, Outcome::Done), Some(5), "what is done always has a line");
        assert_eq!(at(31, Outcome::Refused), None);
        assert_eq!(at(60, Outcome::Refused), Some(1));
    }
}
