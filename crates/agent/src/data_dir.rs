//! The data directory: one owner, one format.

use std::io::{self, IoSlice};
use std::path::Path;

use pipeline::Env;
use pipeline::env::{FileKind, Lock, LockError, OpenMode};

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
        env.disk.create_dir_all(path).map_err(|error| refused(cannot_make(path, &error, env)))?;
        let lock = env.disk.lock(&path.join("LOCK")).map_err(|error| match error {
            LockError::Held { pid } => refused(format!(
                "process {pid} is using it; stop that process, or give this one its own directory"
            )),
            LockError::Io(error) => refused(format!("its lock file: {error}")),
        })?;
        let format = read_format(path, env).map_err(|error| refused(error.to_string()))?;
        match format.as_deref().map(|text| text.trim().parse::<u32>()) {
            None => write_format(path, env).map_err(|error| refused(error.to_string()))?,
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

/// Why the directory cannot be made: `File exists` says it of what lies in its place, or above it.
fn cannot_make(path: &Path, error: &io::Error, env: &Env) -> String {
    let is_file =
        |path: &&Path| env.disk.stat(path).is_ok_and(|found| found.kind != FileKind::Directory);
    match path.ancestors().find(is_file) {
        Some(file) if file == path => "it is not a directory; name another path".into(),
        Some(file) => format!("{} is not a directory; name another path", file.display()),
        None => error.to_string(),
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
    fn a_file_in_the_place_of_the_directory_is_named() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let file = dir.path().join("a");
        let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
        env.disk.open(&file, mode).unwrap();
        let message = |path: &Path| DataDir::own(path, &env).err().unwrap().to_string();
        let expected = "it is not a directory; name another path";
        assert!(message(&file).contains(expected), "{}", message(&file));
        let expected = format!("{} is not a directory", file.display());
        assert!(message(&file.join("b/c")).contains(&expected), "{}", message(&file.join("b/c")));
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
