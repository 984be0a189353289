//! The directory of the server. Everything in it is text, except for the history.
//!
//! ```text
//!   assign.toml, fragments/NAME.toml     yours: edit them, keep them in git
//!   revisions/N/…                        copies of them, made by a roll-out, never changed
//!   rollout.json                         the accepted revision and the last roll-out
//!   agents.json                          the table of agents, at most a minute old
//!   history.db                           the last 24 hours, in SQLite
//!   audit.log                            one line of JSON for each act and each step
//! ```

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use pipeline::Env;
use pipeline::env::{Lock, LockError, OpenMode, small_file, unix_millis};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::agents::Agent;
use crate::git;
use crate::history::Store;
use crate::revision::{BYTES_MAX, Revision};
use crate::state::{Event, Fleet, Save, Saved};

/// The end of a fragment's name.
const FRAGMENT: &str = ".toml";

/// Maximum size of a file of the server, in bytes: the table of 20,000 agents.
const STATE_MAX: u64 = 256 << 20;

/// Why the directory cannot be used.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// Another server uses it.
    #[error("{} is in use by another server", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A file has wrong content.
    #[error("{problem}")]
    Content {
        /// The problem, with the file.
        problem: String,
    },
}

/// The directory; one server owns it.
pub struct Directory {
    path: PathBuf,
    env: Env,
    _lock: Box<dyn Lock>,
}

impl Directory {
    /// Opens the directory, and creates it if it does not exist.
    ///
    /// # Errors
    /// It cannot be created, or another server uses it.
    pub fn open(path: &Path, env: &Env) -> Result<Self, DirectoryError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| DirectoryError::File { path, source }
        };
        for folder in ["fragments", "revisions"] {
            let folder = path.join(folder);
            env.disk.create_dir_all(&folder).map_err(at(&folder))?;
        }
        let path = env.disk.canonical(path).map_err(at(path))?;
        let lock = env.disk.lock(&path.join("lock")).map_err(|error| match error {
            LockError::Io(source) => DirectoryError::File { path: path.clone(), source },
            _ => DirectoryError::InUse { path: path.clone() },
        })?;
        Ok(Self { path, env: env.clone(), _lock: lock })
    }

    /// Returns the fleet as the last server has left it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn load(&self) -> Result<Fleet, DirectoryError> {
        let saved: Saved = self.read("rollout.json")?.unwrap_or_default();
        let agents: BTreeMap<String, Agent> = self.read("agents.json")?.unwrap_or_default();
        let revision = |number: u64| match number {
            0 => Ok(Revision::default()),
            number => self.numbered(number),
        };
        let next = saved.rollout.as_ref().map_or(0, |it| it.revision);
        let (accepted, next) = (revision(saved.accepted)?, revision(next)?);
        let pinned = saved.pins.revisions().into_iter().map(|it| Ok((it, revision(it)?)));
        let pinned = pinned.collect::<Result<_, DirectoryError>>()?;
        let now_ms = unix_millis(self.env.clock.now());
        Ok(Fleet::new(saved, accepted, next, agents).with_pinned(pinned).since(now_ms))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, DirectoryError> {
        let path = self.path.join(name);
        let at = |source| DirectoryError::File { path: path.clone(), source };
        let Some(file) = small_file::find(&*self.env.disk, &path).map_err(at)? else {
            return Ok(None);
        };
        let length = file.stat().map_err(at)?.len.min(STATE_MAX);
        let bytes = file.read(0, usize::try_from(length).unwrap_or_default()).map_err(at)?;
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|error| DirectoryError::Content {
            problem: format!("{}: {error}; restore the file from a copy", path.display()),
        })
    }

    fn write(&self, name: &str, content: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(content).map_err(io::Error::other)?;
        text.push(b'\n');
        small_file::replace(&*self.env.disk, &self.path.join(name), &text)
    }

    /// Stores the table of agents.
    ///
    /// # Errors
    /// The disk failed; the old table stays.
    pub fn save_agents(&self, agents: &BTreeMap<String, Agent>) -> io::Result<()> {
        self.write("agents.json", agents)
    }

    /// The history of the last 24 hours.
    pub(crate) fn history(&self) -> Store {
        Store::new(self.env.disk.clone(), self.path.join("history.db"))
    }

    /// Reads fragments and assignments as they are now.
    ///
    /// # Errors
    /// A file cannot be read or is wrong.
    pub fn current(&self) -> Result<Revision, DirectoryError> {
        self.revision(&self.path)
    }

    /// Reads a stored revision.
    ///
    /// # Errors
    /// It does not exist, or a file cannot be read.
    pub fn numbered(&self, number: u64) -> Result<Revision, DirectoryError> {
        self.revision(&self.path.join("revisions").join(number.to_string()))
    }

    fn revision(&self, folder: &Path) -> Result<Revision, DirectoryError> {
        let content = |problem| DirectoryError::Content { problem };
        let text = |path: &Path| {
            let read = config::file_text(path, BYTES_MAX as u64, &self.env);
            read.map_err(|problem| content(format!("{} {problem}", path.display())))
        };
        let assign = text(&folder.join("assign.toml"))?;
        let fragments = folder.join("fragments");
        let listed = self.env.disk.list(&fragments);
        let listed =
            listed.map_err(|source| DirectoryError::File { path: fragments.clone(), source })?;
        let mut found = BTreeMap::new();
        for (file, _) in listed {
            // Hidden files are those of editors.
            if let Some(name) = file.strip_suffix(FRAGMENT).filter(|it| !it.starts_with('.')) {
                found.insert(name.to_owned(), text(&fragments.join(&file))?);
            }
        }
        Revision::new(assign, found).map_err(content)
    }

    /// Stores a revision under the next free number, and returns the number.
    ///
    /// # Errors
    /// The disk failed.
    pub fn add(&self, revision: &Revision) -> io::Result<u64> {
        let disk = &*self.env.disk;
        let all = self.path.join("revisions");
        let numbers = disk.list(&all)?.into_iter().filter_map(|(name, _)| name.parse::<u64>().ok());
        let number = numbers.max().unwrap_or(0) + 1;
        let draft = all.join("new");
        match disk.remove_dir_all(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let fragments = draft.join("fragments");
        disk.create_dir_all(&fragments)?;
        small_file::replace(disk, &draft.join("assign.toml"), revision.assign_text.as_bytes())?;
        for (name, text) in &revision.fragments {
            let path = fragments.join(format!("{name}{FRAGMENT}"));
            small_file::replace(disk, &path, text.as_bytes())?;
        }
        disk.rename_new(&draft, &all.join(number.to_string()))?;
        disk.sync_dir(&all)?;
        Ok(number)
    }

    /// Commits assignments, fragments and revisions after this event, if the directory is a git
    /// repository.
    ///
    /// # Errors
    /// `git` is not installed or fails: the reason.
    pub fn commit(&self, event: &Event) -> Result<(), String> {
        git::commit(&self.path, event, &self.env)
    }

    /// Adds events to the audit log.
    ///
    /// # Errors
    /// The disk failed.
    pub fn log(&self, events: &[Event]) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            at: String,
            #[serde(flatten)]
            event: &'a Event,
        }
        if events.is_empty() {
            return Ok(());
        }
        let at = humantime::format_rfc3339_millis(self.env.clock.now()).to_string();
        let mut text = Vec::new();
        for event in events {
            serde_json::to_writer(&mut text, &Line { at: at.clone(), event })?;
            text.push(b'\n');
        }
        let mode = OpenMode { write: true, create: true, no_links: true, ..OpenMode::default() };
        let file = self.env.disk.open(&self.path.join("audit.log"), mode)?;
        let end = file.stat()?.len;
        file.write_at(&[IoSlice::new(&text)], end, false)?;
        file.sync()
    }
}

impl Save for &Directory {
    fn save(&mut self, state: &Saved) -> io::Result<()> {
        self.write("rollout.json", state)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the test is the operator that edits files")]

    use std::fs;

    use super::*;
    use crate::{Act, Policy};

    #[test]
    fn a_fleet_continues_from_its_directory() {
        let (folder, env) = (tempfile::tempdir().unwrap(), env::real());
        let directory = Directory::open(folder.path(), &env).unwrap();
        assert!(matches!(Directory::open(folder.path(), &env), Err(DirectoryError::InUse { .. })));
        let missing = directory.current().unwrap_err();
        assert!(missing.to_string().contains("assign.toml cannot be read"), "{missing}");
        fs::write(folder.path().join("assign.toml"), "[[assign]]\nfragments = [\"a\"]\n").unwrap();
        fs::write(folder.path().join("fragments/a.toml"), "[sinks.a]\n").unwrap();
        fs::write(folder.path().join("fragments/.a.toml"), "not this").unwrap();
        let revision = directory.current().unwrap();
        let number = directory.add(&revision).unwrap();
        assert_eq!(number, 1);
        let mut fleet = directory.load().unwrap();
        let act = Act::RollOut(number, Box::new(revision), Policy::default());
        fleet.act((5, "test"), act, &mut &directory).unwrap();
        directory.log(&fleet.take_events()).unwrap();
        directory.log(&[]).unwrap();
        // Another edit does not change the revision.
        fs::write(folder.path().join("fragments/a.toml"), "[sinks.b]\n").unwrap();
        assert_eq!(directory.add(&directory.current().unwrap()).unwrap(), 2);
        let (saved, again) = (fleet.saved().clone(), directory.load().unwrap());
        assert_eq!(again.saved(), &saved);
        assert_eq!(saved.accepted, 1, "a roll-out without agents is complete");
        let audit = fs::read_to_string(folder.path().join("audit.log")).unwrap();
        assert!(audit.contains("\"action\":\"roll-out\",\"by\":\"test\""), "{audit}");
    }
}
