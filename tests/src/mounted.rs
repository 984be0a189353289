//! A loop device with ext4 upon a file, mounted; all of it goes when it is dropped.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file as a mounted disk. Needs root.
#[derive(Debug)]
pub struct Mounted {
    device: String,
    directory: PathBuf,
}

impl Mounted {
    /// Mounts `file`; makes a file system on it first if `format` says so.
    ///
    /// # Errors
    ///
    /// A program is missing or refuses, with what it said.
    pub fn new(file: &Path, directory: &Path, format: bool) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let device = command("losetup", &["--find", "--show", "--direct-io=on", path(file)])?;
        let mounted = Self { device: device.trim().to_owned(), directory: directory.to_owned() };
        if format {
            command("mkfs.ext4", &["-q", "-F", &mounted.device])?;
        }
        // barrier=1 is the default; said here because everything depends on it.
        command("mount", &["-o", "barrier=1", &mounted.device, path(directory)])?;
        Ok(mounted)
    }

    /// Where it is mounted.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What cannot be undone here is reported by the next mount; a lazy unmount never hangs.
        let _ = command("umount", &["--lazy", path(&self.directory)]);
        let _ = command("losetup", &["--detach", &self.device]);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// Runs a command; its output, or an error that holds what it said.
fn command(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot start `{program}`: {error}"))
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = format!("{program} {}: {}", arguments.join(" "), said.trim());
        return Err(io::Error::other(line));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
