//! The data directory: one owner, one format.

use std::io::{self, IoSlice};
use std::path::Path;

use pipeline::Env;
use pipeline::env::{Lock, LockError, OpenMode, is_full};
use tracing::warn;

use crate::RunError;

/// Holds the number of the directory's format, as text.
pub(crate) const FORMAT_FILE: &str = "format";

/// The format that this program writes. It reads no newer one.
const FORMAT: u32 = 1;

/// A data directory that this process owns.
pub(crate) struct DataDir {
    _lock: Box<dyn Lock>,
}

impl DataDir {
    /// Makes the directory where it is missing, locks it, and looks at its format.
    ///
    /// # Errors
    /// Another process owns it, it is of a newer format, or the disk refuses.
    pub(crate) fn own(path: &Path, env: &Env) -> Result<Self, RunError> {
        let refused =
            |problem: String| RunError::DataDir { path: path.display().to_string(), problem };
        env.disk.create_dir_all(path).map_err(|error| refused(error.to_string()))?;
        let lock = env.disk.lock(&path.join("LOCK")).map_err(|error| match error {
            LockError::Held { pid } => refused(format!(
                "process {pid} is using it; stop that process, or give this one its own directory"
            )),
            LockError::Io(error) => refused(format!("its lock file: {error}")),
        })?;
        let format = read_format(path, env).map_err(|error| refused(error.to_string()))?;
        match format.as_deref().map(|text| text.trim().parse::<u32>()) {
            None => match write_format(path, env) {
                Err(error) if is_full(&error) => {
                    warn!(path = %path.display(), %error,
                        "the format of the data directory could not be noted; the next start does");
                }
                written => written.map_err(|error| refused(error.to_string()))?,
            },
            Some(Ok(FORMAT)) => {}
            Some(Ok(newer)) if newer > FORMAT => {
                return Err(refused(format!(
                    "it has format {newer} and this program knows up to {FORMAT}; \
                     use the program that wrote it, or a newer one"
                )));
            }
            Some(_) => return Err(refused("its file `format` holds no format number".into())),
        }
        Ok(Self { _lock: lock })
    }
}

fn read_format(path: &Path, env: &Env) -> io::Result<Option<String>> {
    let file = match env.disk.open(&path.join(FORMAT_FILE), OpenMode::default()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = [0; 32];
    let length = file.read_at(&mut text, 0)?;
    // A first start that died between making the file and filling it has written nothing else.
    Ok((length > 0).then(|| String::from_utf8_lossy(&text[..length]).into_owned()))
}

fn write_format(path: &Path, env: &Env) -> io::Result<()> {
    let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
    let file = env.disk.open(&path.join(FORMAT_FILE), mode)?;
    file.write_at(&[IoSlice::new(format!("{FORMAT}\n").as_bytes())], 0, true)?;
    env.disk.sync_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_and_the_second_learns_who_it_is() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let first = DataDir::own(dir.path(), &env).unwrap();
        let message = DataDir::own(dir.path(), &env).err().unwrap().to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        drop(first);
        assert!(DataDir::own(dir.path(), &env).is_ok());
    }

    #[test]
    fn a_newer_format_is_refused_with_both_numbers() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        drop(DataDir::own(dir.path(), &env).unwrap());
        let file = env
            .disk
            .open(&dir.path().join(FORMAT_FILE), OpenMode { write: true, ..OpenMode::default() })
            .unwrap();
        file.write_at(&[IoSlice::new(b"7\n")], 0, true).unwrap();
        let message = DataDir::own(dir.path(), &env).err().unwrap().to_string();
        assert!(message.contains("format 7") && message.contains("up to 1"), "{message}");
    }
}
