//! A loop device with ext4 on a file, or a memory disk; unmounted on drop.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file, or memory, mounted as a disk. Needs root.
#[derive(Debug)]
pub struct Mounted {
    /// The loop device, if any.
    device: Option<String>,
    directory: PathBuf,
}

impl Mounted {
    /// Mounts `file`. If `format`, creates a file system on it first.
    ///
    /// # Errors
    ///
    /// A program is missing or fails, with its message.
    pub fn new(file: &Path, directory: &Path, format: bool) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let device = command("losetup", &["--find", "--show", "--direct-io=on", path(file)])?;
        let device = device.trim().to_owned();
        // Detached again if a later step fails.
        let mounted = Self { device: Some(device.clone()), directory: directory.to_owned() };
        if format {
            command("mkfs.ext4", &["-q", "-F", &device])?;
        }
        // barrier=1 is the default; set explicitly because everything depends on it.
        command("mount", &["-o", "barrier=1", &device, path(directory)])?;
        Ok(mounted)
    }

    /// Mounts `bytes` of memory.
    ///
    /// # Errors
    ///
    /// A program is missing or fails, with its message.
    pub fn in_memory(bytes: u64, directory: &Path) -> io::Result<Self> {
        Self::tmpfs(&format!("size={bytes}"), directory)
    }

    /// Mounts `bytes` of memory with a limited number of files and directories.
    ///
    /// # Errors
    ///
    /// A program is missing or fails, with its message.
    pub fn with_inodes(bytes: u64, inodes: u64, directory: &Path) -> io::Result<Self> {
        Self::tmpfs(&format!("size={bytes},nr_inodes={inodes}"), directory)
    }

    fn tmpfs(size: &str, directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        command("mount", &["-t", "tmpfs", "-o", size, "tmpfs", path(directory)])?;
        Ok(Self { device: None, directory: directory.to_owned() })
    }

    /// Writes a file until the disk is full. Returns the file.
    ///
    /// # Errors
    ///
    /// The disk fails for another reason.
    pub fn fill(&self) -> io::Result<PathBuf> {
        let path = self.directory.join("ballast");
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        for size in [1 << 20, 4 << 10] {
            let some = vec![7; size];
            loop {
                match file.write_all(&some).and_then(|()| file.sync_data()) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(path)
    }

    /// Returns the mount point.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The next mount reports failures of the cleanup; a lazy unmount never hangs.
        let _ = command("umount", &["--lazy", path(&self.directory)]);
        if let Some(device) = &self.device {
            let _ = command("losetup", &["--detach", device]);
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// Runs a command. Returns its output, or an error with it.
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
