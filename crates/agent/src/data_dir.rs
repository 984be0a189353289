//! The data directory: one owner, one format.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use pipeline::Env;
use pipeline::env::{FileKind, Lock, LockError, OpenMode, is_full, small_file};
use tokio::time::{Duration, Instant, sleep};
use tracing::{info, warn};

use crate::error::AgentError;

/// Holds the number of the directory's format, as text.
pub(crate) const FORMAT_FILE: &str = "format";

/// The format that this program writes. It reads no newer one.
const FORMAT: u32 = 1;

/// How long a start waits for the previous owner of the directory: a killed process may still be
/// ending when its supervisor starts the next one.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval of checks while waiting.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A data directory that this process owns.
pub struct DataDir {
    _lock: Box<dyn Lock>,
}

impl DataDir {
    /// Creates the directory if necessary, locks it, and checks its format. Waits up to 10 s for
    /// another owner to end, and logs that.
    ///
    /// # Errors
    /// Another process owns it, its format is newer, or the disk failed.
    pub async fn lock(path: &Path, env: &Env) -> Result<Self, AgentError> {
        let refused =
            |problem: String| AgentError::DataDir { path: path.display().to_string(), problem };
        env.disk
            .create_dir_all(path)
            .map_err(|error| refused(creation_error(path, &error, env)))?;
        let deadline = Instant::now() + LOCK_TIMEOUT;
        let mut said = false;
        let lock = lock_by(deadline, &path.join("LOCK"), env, &mut said).await.map_err(refused)?;
        // A killed process releases its files one after the other.
        for inner in inner_locks(path, env) {
            drop(lock_by(deadline, &inner, env, &mut said).await.map_err(refused)?);
        }
        let format = read_format(path, env).map_err(|error| refused(error.to_string()))?;
        let number = format.as_deref().map(|text| text.trim().parse::<u32>());
        match number {
            None if is_in_use(path, env) => {
                return Err(refused(format!(
                    "its file `format` is missing, but the directory has data: restore the \
                     file, or write {FORMAT} into it if this program wrote the data"
                )));
            }
            Some(Ok(FORMAT)) => {}
            // Empty after a first start on a full disk: a file needs room for its content, not to
            // exist. A later format needs room before it writes data.
            _ if format.as_deref().is_none_or(str::is_empty) => match write_format(path, env) {
                Err(error) if is_full(&error) => {
                    warn!(path = %path.display(), %error,
                            "cannot write the file `format` in the data directory, because the \
                             disk is full; the agent runs without it, and the next start writes \
                             it; free disk space");
                }
                written => written.map_err(|error| refused(error.to_string()))?,
            },
            Some(Ok(newer)) if newer > FORMAT => {
                return Err(refused(format!(
                    "its file `format` contains {newer}, and this version supports formats up \
                     to {FORMAT}; use the version that wrote it, or a newer one"
                )));
            }
            _ => {
                return Err(refused(
                    "its file `format` does not contain a format number; restore the file".into(),
                ));
            }
        }
        Ok(Self { _lock: lock })
    }
}

/// Explains why the directory cannot be created: `File exists` refers to a file at its path, or
/// above it.
fn creation_error(path: &Path, error: &io::Error, env: &Env) -> String {
    let is_file =
        |path: &&Path| env.disk.stat(path).is_ok_and(|found| found.kind != FileKind::Directory);
    match path.ancestors().find(is_file) {
        Some(file) if file == path => "it is not a directory; set another path".into(),
        Some(file) => format!("{} is not a directory; set another path", file.display()),
        None => error.to_string(),
    }
}

/// Locks `path`; waits until `deadline` for its owner to end, and logs that once.
async fn lock_by(
    deadline: Instant,
    path: &Path,
    env: &Env,
    said: &mut bool,
) -> Result<Box<dyn Lock>, String> {
    loop {
        match env.disk.lock(path) {
            Ok(lock) => return Ok(lock),
            Err(LockError::Held { pid }) if Instant::now() >= deadline => {
                return Err(format!(
                    "process {pid} is using it; stop that process, or give this one its own \
                     directory"
                ));
            }
            Err(LockError::Held { pid }) => {
                if !std::mem::replace(said, true) {
                    let (path, wait_seconds) = (path.display(), LOCK_TIMEOUT.as_secs());
                    info!(
                        %pid, lock = %path, wait_seconds,
                        "waiting for another process to release the data directory",
                    );
                }
                sleep(POLL_INTERVAL).await;
            }
            Err(LockError::Io(error)) => {
                return Err(format!(
                    "cannot use its lock file: {error}; check the owner and the permissions of the \
                     directory"
                ));
            }
        }
    }
}

/// Returns the directories of channels and dead letters, which have their own locks.
fn inner_locks(path: &Path, env: &Env) -> Vec<PathBuf> {
    let channels = path.join("channels");
    let names = env.disk.list(&channels).unwrap_or_default();
    let directories = names.iter().filter(|(_, kind)| *kind == FileKind::Directory);
    let locks = directories.map(|(name, _)| channels.join(name));
    let locks = locks.chain([crate::dead_letters::directory(path)]).map(|at| at.join("LOCK"));
    locks.filter(|lock| env.disk.stat(lock).is_ok()).collect()
}

/// Returns `true` if an agent has stored data in the directory.
fn is_in_use(path: &Path, env: &Env) -> bool {
    let kept = [path.join("channels"), crate::dead_letters::directory(path)];
    kept.iter().any(|kept| env.disk.stat(kept).is_ok())
}

fn read_format(path: &Path, env: &Env) -> io::Result<Option<String>> {
    let found = small_file::find(&*env.disk, &path.join(FORMAT_FILE))?;
    let Some(file) = found else { return Ok(None) };
    let mut text = [0; 32];
    let length = file.read_at(&mut text, 0)?;
    Ok(Some(String::from_utf8_lossy(&text[..length]).into_owned()))
}

fn write_format(path: &Path, env: &Env) -> io::Result<()> {
    let mode = OpenMode { write: true, create: true, no_links: true, ..OpenMode::default() };
    let file = env.disk.open(&path.join(FORMAT_FILE), mode)?;
    file.write_at(&[IoSlice::new(format!("{FORMAT}\n").as_bytes())], 0, true)?;
    env.disk.sync_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_link_within_the_directory_is_refused() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        for name in ["LOCK", FORMAT_FILE] {
            let data = dir.path().join(format!("data-{name}"));
            env.disk.create_dir_all(&data).unwrap();
            std::os::unix::fs::symlink(dir.path().join("victim"), data.join(name)).unwrap();
            let refused = DataDir::lock(&data, &env).await.err().unwrap().to_string();
            assert!(refused.contains("symbolic link"), "{refused}");
            assert!(env.disk.stat(&dir.path().join("victim")).is_err(), "{name}: nothing is made");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn directory_has_one_owner_and_the_second_waits_and_names_it() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let first = DataDir::lock(dir.path(), &env).await.unwrap();
        let began = Instant::now();
        let message = DataDir::lock(dir.path(), &env).await.err().unwrap().to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        assert!(began.elapsed() >= LOCK_TIMEOUT && began.elapsed() < 2 * LOCK_TIMEOUT);
        drop(first);
        assert!(DataDir::lock(dir.path(), &env).await.is_ok());
    }

    #[tokio::test]
    async fn a_file_in_the_place_of_the_directory_is_named() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let file = dir.path().join("a");
        let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
        env.disk.open(&file, mode).unwrap();
        let expected = format!("{} is not a directory", file.display());
        for (path, expected) in [
            (file.clone(), "it is not a directory; set another path"),
            (file.join("b/c"), &expected),
        ] {
            let message = DataDir::lock(&path, &env).await.err().unwrap().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    /// As after `kill -9` and an immediate restart: the old process is still ending.
    #[tokio::test(start_paused = true)]
    async fn an_owner_that_is_ending_is_waited_for() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let first = DataDir::lock(dir.path(), &env).await.unwrap();
        let channel = dir.path().join("channels/main");
        env.disk.create_dir_all(&channel).unwrap();
        let inner = env.disk.lock(&channel.join("LOCK")).unwrap();
        let began = Instant::now();
        let dying = async {
            sleep(Duration::from_secs(3)).await;
            drop(first);
            sleep(Duration::from_secs(3)).await;
            drop(inner);
        };
        let (second, ()) = tokio::join!(DataDir::lock(dir.path(), &env), dying);
        assert!(second.is_ok() && began.elapsed() >= Duration::from_secs(6));
    }

    /// A program with another format may have written the data.
    #[tokio::test]
    async fn data_without_a_format_are_refused_and_an_empty_format_is_written() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let path = dir.path().join(FORMAT_FILE);
        let empty = || {
            let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
            env.disk.open(&path, mode).unwrap().set_len(0).unwrap();
        };
        let written = || read_format(dir.path(), &env).unwrap();
        drop(DataDir::lock(dir.path(), &env).await.unwrap());
        for has_data in [false, true] {
            empty();
            if has_data {
                env.disk.create_dir_all(&dir.path().join("channels")).unwrap();
            }
            drop(DataDir::lock(dir.path(), &env).await.unwrap());
            assert_eq!(written().as_deref(), Some("1\n"), "data: {has_data}");
        }
        env.disk.remove_file(&path).unwrap();
        let message = DataDir::lock(dir.path(), &env).await.err().unwrap().to_string();
        assert!(message.contains("is missing") && message.contains("write 1"), "{message}");
        assert_eq!(written(), None);
    }

    #[tokio::test]
    async fn a_newer_format_is_refused_with_both_numbers() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        drop(DataDir::lock(dir.path(), &env).await.unwrap());
        let file = env
            .disk
            .open(&dir.path().join(FORMAT_FILE), OpenMode { write: true, ..OpenMode::default() })
            .unwrap();
        file.write_at(&[IoSlice::new(b"7\n")], 0, true).unwrap();
        let message = DataDir::lock(dir.path(), &env).await.err().unwrap().to_string();
        assert!(message.contains("contains 7") && message.contains("up to 1"), "{message}");
    }
}
