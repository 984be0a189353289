//! Rotates the keys of a file: adds a new key, and removes unneeded ones.
//!
//! ```text
//!  FILE  1 2 ─► FILE.new  1 2 3 ─► renamed over FILE ─► FILE  1 2 3
//! ```
//!
//! Agents are not involved. A running channel reads its keys again after a while, seals each new
//! segment with the highest one that it has ever read, and never goes back. Old segments are not
//! sealed again: they drain, and their key is needed until then.
//!
//! # Invariants
//!
//! 1. After any interruption FILE is complete, and contains every key that it had before.
//! 2. A key that seals data is durable. A channel may read FILE before its new name is durable, so
//!    the channel itself makes it durable before it uses the keys (`log/keys.rs`).
//! 3. A key is removed only if no live segment of any channel is sealed with it, and each channel
//!    has a segment that is sealed with a higher one, so no future segment will need it.
//! 4. Only one rotation runs at a time: FILE.lock names its process. Otherwise two could assign one
//!    number to two keys.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use pipeline::env::{FileKind, Lock, LockError, OpenMode, resolved};
use pipeline::{ChannelError, Env};
use serde::Serialize;
use zeroize::Zeroizing;

use super::inspect::Inspection;
use super::log::keys::{self, Encryption, KeysError};
use super::log::seal::KEY_BYTES;

/// Maximum depth of the search for channels below a given directory.
const DEPTH_MAX: u32 = 8;

/// A key was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Added {
    /// Its number.
    pub added: u32,
    /// The numbers of all keys in the file.
    pub keys: Vec<u32>,
}

/// Keys were taken away, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finished {
    /// The numbers of removed keys.
    pub removed: Vec<u32>,
    /// The numbers of all keys in the file.
    pub keys: Vec<u32>,
    /// The numbers that each channel, by its directory, is sealed with.
    pub channels: BTreeMap<String, Vec<u32>>,
}

/// Why the keys are as they were.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The file is not a list of keys, or other users may read it.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The disk refused.
    #[error(
        "cannot write {path}: {source}; the key file still has all its keys; fix the cause and \
         retry"
    )]
    Disk {
        /// The file.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// Another rotation is under way.
    #[error("process {pid} is changing the keys in {path}; retry when it has finished")]
    Busy {
        /// The file.
        path: String,
        /// The process.
        pid: String,
    },
    /// There is no higher number.
    #[error(
        "cannot add a key to {path}: it already has a key with the highest possible number, {}",
        u32::MAX
    )]
    Full {
        /// The file.
        path: String,
    },
    /// A given directory contains no channel.
    #[error(
        "{path} contains no durable channel; name the data directories of all agents that use this \
         key file, or the directories of their channels"
    )]
    NoChannel {
        /// The directory.
        path: String,
    },
    /// The keys of a channel cannot be determined.
    #[error(
        "no key was removed from the key file, because a channel cannot be opened with this file: \
         {source}; correct the file, or, if that channel has its own key file, pass only the names \
         of the other channels to the command"
    )]
    Channel {
        /// The error.
        source: ChannelError,
    },
}

/// A key file that only one process changes at a time.
pub struct KeyFile<'a> {
    env: &'a Env,
    path: &'a Path,
    /// Sets the owner and the permissions of a new file to those of the old one.
    own: &'a dyn Fn(&Path) -> io::Result<()>,
    _lock: Box<dyn Lock>,
}

/// The contents of the file.
struct Content {
    text: Zeroizing<Vec<u8>>,
    numbers: Vec<u32>,
}

impl Content {
    fn parse(text: Zeroizing<Vec<u8>>, origin: &str) -> Result<Self, KeysError> {
        let numbers = keys::parse(&text, origin)?.into_keys().collect();
        Ok(Self { text, numbers })
    }

    /// The text with one line more.
    fn with(&self, id: u32, key: &[u8; KEY_BYTES]) -> Zeroizing<Vec<u8>> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Allocate the full size at the start: a string that grows leaves copies behind.
        let len = self.text.len() + 2 * KEY_BYTES + 16;
        let mut text = Zeroizing::new(Vec::with_capacity(len));
        text.extend_from_slice(&self.text);
        if text.last().is_some_and(|last| *last != b'\n') {
            text.push(b'\n');
        }
        text.extend_from_slice(format!("{id} ").as_bytes());
        for byte in key {
            text.push(DIGITS[usize::from(byte >> 4)]);
            text.push(DIGITS[usize::from(byte & 15)]);
        }
        text.push(b'\n');
        text
    }

    /// Returns the text without the lines of these keys.
    fn without(&self, gone: &BTreeSet<u32>) -> Zeroizing<Vec<u8>> {
        let mut text = Zeroizing::new(Vec::with_capacity(self.text.len()));
        for line in self.text.split_inclusive(|byte| *byte == b'\n') {
            let key = keys::key(line.trim_ascii());
            if !key.is_ok_and(|(id, _)| gone.contains(&id)) {
                text.extend_from_slice(line);
            }
        }
        text
    }
}

impl<'a> KeyFile<'a> {
    /// Locks the file, which need not exist yet. `own` sets the owner and the permissions of a new,
    /// still empty file.
    ///
    /// # Errors
    /// Another process is changing it, or the disk failed.
    pub fn hold(
        env: &'a Env,
        path: &'a Path,
        own: &'a dyn Fn(&Path) -> io::Result<()>,
    ) -> Result<Self, RotationError> {
        // The path of the key file may lead through links; the lock itself is no link.
        let name = Path::new(path.file_name().unwrap_or_default());
        let directory = resolved(&*env.disk, keys::directory(path));
        let lock = directory.join(with_extension(name, ".lock"));
        let held = env.disk.lock(&lock).map_err(|error| match error {
            LockError::Held { pid } => {
                RotationError::Busy { path: path.display().to_string(), pid }
            }
            LockError::Io(source) => refused(&lock, source),
        })?;
        Ok(Self { env, path, own, _lock: held })
    }

    /// Adds a key with the next number. Blocks.
    ///
    /// # Errors
    /// The file is not a list of keys, or the disk failed; its contents stay as they were.
    pub fn add(&self) -> Result<Added, RotationError> {
        let content = self.read()?;
        let last = content.numbers.last().copied().unwrap_or(0);
        let full = || RotationError::Full { path: self.path.display().to_string() };
        let added = last.checked_add(1).ok_or_else(full)?;
        let entropy = &self.env.entropy;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        for half in key.chunks_exact_mut(16) {
            half.copy_from_slice(&entropy.bytes16());
        }
        self.replace(&content.with(added, &key))?;
        let keys = content.numbers.into_iter().chain([added]).collect();
        Ok(Added { added, keys })
    }

    /// Removes the keys that no channel in or below `directories` needs. The agents may run: a
    /// channel never goes back to an older key. Blocks.
    ///
    /// # Errors
    /// The file is not a list of keys, a channel cannot be read, or the disk failed; then nothing
    /// has changed.
    pub fn finish(&self, directories: &[PathBuf]) -> Result<Finished, RotationError> {
        let content = self.read()?;
        let encryption =
            Encryption { key_file: Some(self.path.to_owned()), ..Encryption::default() };
        let mut channels = BTreeMap::new();
        for directory in directories {
            let mut found = Vec::new();
            self.find(directory, DEPTH_MAX, &mut found)?;
            if found.is_empty() {
                let path = directory.display().to_string();
                return Err(RotationError::NoChannel { path });
            }
            for channel in found {
                let looked = Inspection::inspect(self.env, &channel, Some(&encryption));
                let looked = looked.map_err(|source| RotationError::Channel { source })?;
                channels.insert(channel.display().to_string(), looked.stats().encryption_keys);
            }
        }
        let gone = unneeded(&content.numbers, &channels);
        if !gone.is_empty() {
            self.replace(&content.without(&gone))?;
        }
        let keys = content.numbers.into_iter().filter(|id| !gone.contains(id)).collect();
        Ok(Finished { removed: gone.into_iter().collect(), keys, channels })
    }

    fn read(&self) -> Result<Content, RotationError> {
        match self.env.disk.stat(self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Content { text: Zeroizing::default(), numbers: Vec::new() });
            }
            found => found.map_err(|source| refused(self.path, source))?,
        };
        let text = keys::file(self.env, self.path)?;
        Ok(Content::parse(text, &format!("`encryption.key_file` {}", self.path.display()))?)
    }

    fn replace(&self, text: &[u8]) -> Result<(), RotationError> {
        let new = with_extension(self.path, ".new");
        let written = || {
            match self.env.disk.remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mode = OpenMode { write: true, create_new: true, ..OpenMode::default() };
            let file = self.env.disk.open(&new, mode)?;
            (self.own)(&new)?;
            file.write_at(&[IoSlice::new(text)], 0, false)?;
            file.sync()?;
            self.env.disk.rename(&new, self.path)?;
            self.env.disk.sync_dir(keys::directory(self.path))
        };
        written().map_err(|source| refused(&new, source))
    }

    /// The durable channels in and below a directory.
    fn find(&self, at: &Path, depth: u32, found: &mut Vec<PathBuf>) -> Result<(), RotationError> {
        let disk = &self.env.disk;
        let is_segment = |(name, _): &(String, FileKind)| name.ends_with(".seg");
        if disk.list(&at.join("log")).is_ok_and(|names| names.iter().any(is_segment)) {
            found.push(at.to_owned());
            return Ok(());
        }
        let entries = disk.entries(at).map_err(|source| RotationError::Channel {
            source: ChannelError::Disk { channel: at.display().to_string(), source },
        })?;
        let inside = entries.into_iter().filter(|(_, kind)| *kind == FileKind::Directory);
        for (name, _) in inside.filter(|_| depth > 0) {
            self.find(&at.join(name), depth - 1, found)?;
        }
        Ok(())
    }
}

/// The keys that no channel is sealed with, nor ever will be.
fn unneeded(keys: &[u32], channels: &BTreeMap<String, Vec<u32>>) -> BTreeSet<u32> {
    // The highest key of each channel: it continues with this key or a higher one.
    let reached = channels.values().filter_map(|needed| needed.iter().max()).min();
    let reached = reached.or(keys.iter().max()).copied().unwrap_or(0);
    let needed: BTreeSet<&u32> = channels.values().flatten().collect();
    keys.iter().filter(|id| **id < reached && !needed.contains(id)).copied().collect()
}

fn with_extension(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

fn refused(path: &Path, source: io::Error) -> RotationError {
    RotationError::Disk { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_when_no_channel_has_it_and_all_have_a_higher_one() {
        let rest = |keys: &[u32], channels: &[&[u32]]| -> Vec<u32> {
            let named = channels.iter().enumerate().map(|(n, ids)| (n.to_string(), ids.to_vec()));
            unneeded(keys, &named.collect()).into_iter().collect()
        };
        assert_eq!(rest(&[1, 2, 3], &[&[3]]), [1, 2]);
        assert_eq!(rest(&[1, 2, 3], &[&[1, 3]]), [2]);
        assert_eq!(rest(&[1, 2, 3], &[&[3], &[2]]), [1], "the second has not come to 3");
        // It may begin a segment with key 2 before it reads the file again.
        assert_eq!(rest(&[1, 2, 3], &[&[1]]), [0; 0]);
        assert_eq!(rest(&[1, 2], &[&[]]), [1], "nothing is sealed there");
        assert_eq!(rest(&[4], &[&[4]]), [0; 0]);
    }

    #[test]
    fn lines_come_and_go_and_all_else_stays() {
        let old = b"# ours\n1 0101010101010101010101010101010101010101010101010101010101010101";
        let content = Content::parse(Zeroizing::new(old.to_vec()), "it").unwrap();
        let text = content.with(2, &[0xa5; KEY_BYTES]);
        let expected = [&old[..], b"\n2 ", "a5".repeat(KEY_BYTES).as_bytes(), b"\n"].concat();
        assert_eq!(*text, expected);
        let both = Content::parse(text, "it").unwrap();
        assert_eq!(both.numbers, [1, 2]);
        let left = both.without(&[1].into());
        assert_eq!(*left, ["# ours\n2 ", &"a5".repeat(KEY_BYTES), "\n"].concat().as_bytes());
    }
}
