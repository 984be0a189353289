//! Opens files without following a symbolic link in any component of a path.
//!
//! A link that replaces a file or a directory between a check and its opening could make the agent
//! read or write a file that the agent may access and the link's owner may not.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, open, openat, openat2, statat,
};
use rustix::io::Errno;

/// Opens a file; a symbolic link in any component is an error.
pub(crate) fn open_file(path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    // Without O_CREAT the system refuses a mode.
    let mode = if flags.contains(OFlags::CREATE) { mode } else { Mode::empty() };
    let opened = match openat2(CWD, path, flags, mode, ResolveFlags::NO_SYMLINKS) {
        // Linux before 5.6, or a filter of system calls that does not know this one.
        Err(Errno::NOSYS | Errno::PERM) => walk(path, flags, mode),
        opened => opened,
    };
    opened.map_err(|errno| match errno {
        Errno::LOOP => io::Error::other(format!(
            "{} is or contains a symbolic link, which is not followed here",
            path.display()
        )),
        other => other.into(),
    })
}

/// The same, component by component.
fn walk(path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let start = if path.is_absolute() { "/" } else { "." };
    let mut directory = open(start, through, Mode::empty())?;
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        let name = match component {
            Component::Normal(name) => name,
            Component::ParentDir => "..".as_ref(),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
        };
        if components.peek().is_none() {
            return openat(&directory, name, flags | OFlags::NOFOLLOW, mode);
        }
        directory = openat(&directory, name, through, Mode::empty()).map_err(|errno| {
            // The system reports a link as something that is not a directory.
            let found = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW);
            let is_link = found
                .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink);
            if is_link { Errno::LOOP } else { errno }
        })?;
    }
    Err(Errno::ISDIR)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

    type Open = fn(&Path, OFlags, Mode) -> Result<OwnedFd, Errno>;

    fn by_resolution(path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        openat2(CWD, path, flags, mode, ResolveFlags::NO_SYMLINKS)
    }

    #[test]
    fn both_ways_follow_no_link_in_any_component() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "mine").unwrap();
        fs::write(root.join("secret"), "theirs").unwrap();
        symlink("file", root.join("a/b/link")).unwrap();
        symlink("../secret", root.join("a/out")).unwrap();
        symlink("a", root.join("up")).unwrap();
        symlink("b", root.join("a/c")).unwrap();
        symlink("nowhere", root.join("a/dangling")).unwrap();
        for open in [by_resolution as Open, walk] {
            let text = |path: &str| {
                let mut text = String::new();
                File::from(open(&root.join(path), READ, Mode::empty())?)
                    .read_to_string(&mut text)
                    .unwrap();
                Ok::<_, Errno>(text)
            };
            assert_eq!(text("a/b/file").as_deref(), Ok("mine"));
            assert_eq!(text("a/b/../b/./file").as_deref(), Ok("mine"));
            for link in ["a/b/link", "a/out", "up/b/file", "a/c/file", "a/dangling"] {
                assert_eq!(text(link), Err(Errno::LOOP), "{link}");
            }
            assert_eq!(text("a/none"), Err(Errno::NOENT));
            assert_eq!(text("none/file"), Err(Errno::NOENT));
            assert_eq!(text("secret/file"), Err(Errno::NOTDIR));
            let (write, mode) = (READ | OFlags::RDWR | OFlags::CREATE, Mode::from_raw_mode(0o640));
            assert!(open(&root.join("a/dangling"), write, mode).is_err());
            assert!(!root.join("a/nowhere").exists(), "no file is made through a link");
            assert!(open(&root.join("a/made"), write, mode).is_ok());
            fs::remove_file(root.join("a/made")).unwrap();
        }
    }

    #[test]
    fn the_error_names_the_path_and_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().canonicalize().unwrap().join("link");
        symlink("/etc/hostname", &link).unwrap();
        let error = open_file(&link, READ, Mode::empty()).unwrap_err().to_string();
        assert!(error.contains("link is or contains a symbolic link"), "{error}");
    }
}
