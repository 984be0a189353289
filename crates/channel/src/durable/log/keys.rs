//! Sources of a channel's keys: a file, the output of a program, or a variable.
//!
//! ```text
//! # number, then 64 hexadecimal digits; the highest number seals new segments
//! 1 8f3c…
//! 2 04d1…
//! ```
//!
//! To rotate: add a line with a higher number. Running channels read the keys again after a while
//! and seal each new segment with the newest one; `aqueduct channel stats` lists the keys that a
//! channel still needs. You may remove a key that no channel needs. `rotation` does both to a file.
//!
//! A program connects to a key service, with its own credentials. Its output is kept only in
//! memory, and its arguments appear in no message.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use pipeline::units::Period;
use pipeline::{BuildError, Env};
use schemars::JsonSchema;
use serde::Deserialize;
use tracing::{error, info};
use zeroize::Zeroizing;

use super::seal::{KEY_BYTES, Key, Keyring};
use crate::durable::core::Core;
use pipeline::env::OpenMode;

/// More than this is no list of keys.
const BYTES_MAX: usize = 64 << 10;
/// Time limit of a program that prints the keys.
const COMMAND_TIME: Duration = Duration::from_secs(30);
/// Permissions that only the owner of a key file may have.
const OTHERS: u32 = 0o077;

/// Events, positions and identities are sealed on disk. Lengths, times and numbers are not.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Encryption {
    /// File with the keys. Each line has a number, a blank, and 64 hexadecimal digits. The key with
    /// the highest number encrypts new data. Only the owner may have access (mode 0400 or 0600).
    pub key_file: Option<PathBuf>,
    /// Program and arguments that print the keys within 30 s, instead of `key_file`; for example
    /// to query a key service. If it fails, the message contains its standard error. The
    /// configuration shows the arguments: do not put a password there.
    pub key_command: Vec<String>,
    /// Name of an environment variable that contains the keys, instead of `key_file` and
    /// `key_command`. A comma may replace a line end. The variable is read at the start of the
    /// process: a new key needs a restart.
    pub key_variable: Option<String>,
    /// Interval at which the keys are read again.
    pub reload: Period,
    /// Whether new data is encrypted. With `false`, encrypted data stays readable until it is
    /// delivered.
    pub seal_new: bool,
}

impl Default for Encryption {
    fn default() -> Self {
        let reload = Period(Duration::from_secs(60));
        Self { key_file: None, key_command: Vec::new(), key_variable: None, reload, seal_new: true }
    }
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read.
    #[error("cannot read `encryption.key_file` {path}: {source}; the user of this process must be \
             able to read it", path = path.display())]
    File { path: PathBuf, source: io::Error },
    /// The program failed, or took too long.
    #[error(
        "`encryption.key_command` {program} failed: {source}; run it as the user of the agent to \
         see why"
    )]
    Command { program: String, source: io::Error },
    /// The variable does not exist, or is not text.
    #[error(
        "the environment variable {name} of `encryption.key_variable` is not set, or is not UTF-8; \
         set it to the keys and restart"
    )]
    Variable { name: String },
    /// Others may read the file.
    #[error(
        "`encryption.key_file` {path} has mode {mode:04o}, but only its owner may read it: run \
         `chmod 0400 {path}`",
        path = path.display()
    )]
    Open { path: PathBuf, mode: u32 },
    /// A line is no key.
    #[error("line {line} of {origin}: {problem}")]
    Line { line: usize, origin: String, problem: &'static str },
    /// There is no key.
    #[error(
        "{origin} contains no key; add a line with a number, a space and 64 hexadecimal digits"
    )]
    Empty { origin: String },
}

impl Encryption {
    /// Checks the settings.
    ///
    /// # Errors
    /// The first invalid setting.
    pub fn validate(&self) -> Result<(), BuildError> {
        let wrong = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        let given = [
            ("encryption.key_file", self.key_file.is_some()),
            ("encryption.key_command", !self.key_command.is_empty()),
            ("encryption.key_variable", self.key_variable.is_some()),
        ];
        let mut given = given.iter().filter(|(_, is_set)| *is_set).map(|(setting, _)| *setting);
        match (given.next(), given.next()) {
            (None, _) => wrong(
                "encryption.key_file",
                "set one of `key_file`, `key_command` and `key_variable`, which provide the keys",
            ),
            (Some(_), Some(second)) => {
                wrong(second, "set only one of `key_file`, `key_command` and `key_variable`")
            }
            _ if self.reload.0 < Duration::from_secs(1) => {
                wrong("encryption.reload", "must be at least 1s")
            }
            _ => Ok(()),
        }
    }

    /// Returns the source of the keys for messages. Arguments of a program may be secret.
    fn origin(&self) -> String {
        match (&self.key_file, self.key_command.first(), &self.key_variable) {
            (Some(path), ..) => format!("`encryption.key_file` {}", path.display()),
            (_, Some(program), _) => format!("`encryption.key_command` {program}"),
            (.., name) => {
                format!("`encryption.key_variable` {}", name.as_deref().unwrap_or_default())
            }
        }
    }

    /// Reads the keys. Blocks.
    pub(crate) fn read(&self, env: &Env) -> Result<BTreeMap<u32, Arc<Key>>, KeysError> {
        let text = match (&self.key_file, self.key_command.split_first()) {
            (Some(path), _) => file(env, path)?,
            (None, Some((program, arguments))) => {
                let printed = env.blocking.output(program, arguments, COMMAND_TIME);
                let failed = |source| KeysError::Command { program: program.clone(), source };
                Zeroizing::new(printed.map_err(failed)?)
            }
            (None, None) => variable(env, self.key_variable.as_deref().unwrap_or_default())?,
        };
        parse(&text, &self.origin())
    }

    /// The keys of a channel. Blocks.
    pub(crate) fn keyring(&self, env: &Env) -> Result<Keyring, KeysError> {
        let sealing = self.seal_new.then(|| env.entropy.clone());
        Ok(Keyring::new(self.read(env)?, self.origin(), sealing))
    }
}

/// The variable, with a line for each of its parts.
fn variable(env: &Env, name: &str) -> Result<Zeroizing<Vec<u8>>, KeysError> {
    let value = env.blocking.variable(name).and_then(|value| value.into_string().ok());
    let missing = || KeysError::Variable { name: name.to_owned() };
    let mut bytes = Zeroizing::new(value.ok_or_else(missing)?.into_bytes());
    bytes.iter_mut().filter(|byte| **byte == b',').for_each(|byte| *byte = b'\n');
    Ok(bytes)
}

/// Reads a key file. Only its owner may be able to read it. Makes the file durable before its keys
/// are used: a power failure must not destroy a key that seals data.
pub(crate) fn file(env: &Env, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeysError> {
    let failed = |source| KeysError::File { path: path.to_owned(), source };
    let file = env.disk.open(path, OpenMode::default()).map_err(failed)?;
    let mode = file.stat().map_err(failed)?.mode;
    if mode & OTHERS != 0 {
        return Err(KeysError::Open { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(vec![0; BYTES_MAX]);
    let read = file.read_at(&mut bytes, 0).map_err(failed)?;
    bytes.truncate(read);
    // A read-only file system has nothing to lose. If the directory may not be read, only a file
    // that is changed at this very moment could be lost.
    let _ = file.sync().and_then(|()| env.disk.sync_dir(directory(path)));
    Ok(bytes)
}

/// Returns the directory of a file.
pub(crate) fn directory(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Parses a list of keys from `origin`.
pub(crate) fn parse(text: &[u8], origin: &str) -> Result<BTreeMap<u32, Arc<Key>>, KeysError> {
    let mut keys = BTreeMap::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let problem = match key(line) {
            Err(problem) => problem,
            Ok((id, key)) => match keys.insert(id, Arc::new(key)) {
                None => continue,
                Some(_) => "a key with this number appears twice; remove one",
            },
        };
        return Err(KeysError::Line { line: at + 1, origin: origin.to_owned(), problem });
    }
    if keys.is_empty() { Err(KeysError::Empty { origin: origin.to_owned() }) } else { Ok(keys) }
}

/// Parses a line; the error describes the problem without quoting the line.
pub(crate) fn key(line: &[u8]) -> Result<(u32, Key), &'static str> {
    let blank = line.iter().position(u8::is_ascii_whitespace).ok_or(
        "expected a number, a space and a key; create the file with `aqueduct channel rotate-key \
         FILE`",
    )?;
    let id = std::str::from_utf8(&line[..blank]).ok().and_then(|text| text.parse().ok());
    let id = id.filter(|id| *id > 0).ok_or("must begin with a number of at least 1")?;
    let digits = line[blank..].trim_ascii();
    if digits.len() != 2 * KEY_BYTES {
        return Err("a key must have 64 hexadecimal digits");
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        let (high, low) = digit(0).zip(digit(1)).ok_or("a key must have 64 hexadecimal digits")?;
        *byte = (high << 4 | low) as u8;
    }
    Ok((id, Key::new(id, &bytes)))
}

/// Reads the keys periodically while the channel lives.
pub(crate) async fn reload(settings: Encryption, core: Weak<Core>) {
    loop {
        tokio::time::sleep(settings.reload.0).await;
        let Some(strong) = core.upgrade() else { return };
        let env = strong.env.clone();
        let (again, within) = (settings.clone(), env.clone());
        let read = env.offload(move || again.read(&within)).await;
        let renewed = read.map_err(|error| error.to_string());
        let renewed = renewed
            .and_then(|fresh| strong.files.keys().renew(fresh).map_err(|error| error.to_string()));
        match renewed {
            Ok(None) => {}
            Ok(Some(key)) => {
                info!(channel = %strong.name, key, "a new key encrypts new segments");
            }
            Err(error) => {
                strong.incident("keys_not_read", 1);
                error!(channel = %strong.name, %error,
                    "cannot reload the encryption keys of the channel; continuing with the loaded \
                     keys; retrying; fix the cause in `error`");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: u32, byte: u8) -> String {
        format!("{id} {}\n", format!("{byte:02x}").repeat(32))
    }

    #[test]
    fn a_list_of_keys_is_read_with_comments_and_blanks() {
        let text = format!("# ours\n\n{}  {}\r\n", line(1, 0xAB), line(7, 2).trim_end());
        let keys = parse(text.as_bytes(), "it").unwrap();
        assert_eq!(keys.keys().copied().collect::<Vec<_>>(), [1, 7]);
    }

    #[test]
    fn a_bad_line_is_named_and_never_shown() {
        for (bad, problem) in [
            ("2 abcd".to_owned(), "64 hexadecimal digits"),
            (line(2, 1).replace("01", "zz"), "64 hexadecimal digits"),
            (line(1, 3), "appears twice"),
            ("0".to_owned() + &line(0, 3)[1..], "at least 1"),
            ("abcdef".to_owned(), "a number, a space and a key"),
        ] {
            let said = parse((line(1, 1) + &bad).as_bytes(), "it").unwrap_err().to_string();
            assert!(said.starts_with("line 2 of it") && said.contains(problem), "{said}");
            assert!(!said.contains("abcd") && !said.contains("zz"), "{said}");
        }
        let empty = parse(b"# nothing\n", "it").unwrap_err().to_string();
        assert!(empty.starts_with("it contains no key; "), "{empty}");
    }
}
