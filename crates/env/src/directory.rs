//! Locks, copies and exchanges directories.
//!
//! A directory is locked by `flock`, which is released with the descriptor, and so with the
//! process. Only local file systems are locked: on a network file system other machines may not see
//! the lock, or it may not work.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::Path;

use pipeline::env::{FileStat, OpenDirectory};
use rustix::fs::{
    CWD, FlockOperation, Mode, OFlags, RenameFlags, XattrFlags, flock, fstatfs, getxattr,
    listxattr, open, renameat_with, setxattr,
};
use rustix::io::Errno;

use crate::disk::file_stat;

/// The local file systems that can exchange directories, by their Linux magic numbers: ext4, XFS,
/// Btrfs, tmpfs, F2FS, ZFS, overlayfs and bcachefs.
const OWN: [u32; 8] = [
    0xEF53,
    0x5846_5342,
    0x9123_683E,
    0x0102_1994,
    0xF2F5_2010,
    0x2FC1_2FC1,
    0x794C_7630,
    0xCA45_1A4E,
];
/// Maximum size of a directory's attribute names, and of one attribute.
const ATTRIBUTE_MAX: usize = 64 << 10;

pub(crate) struct RealDirectory {
    directory: fs::File,
}

impl RealDirectory {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory: OwnedFd = open(path, flags, Mode::empty())?;
        Ok(Self { directory: directory.into() })
    }
}

impl OpenDirectory for RealDirectory {
    fn try_lock(&self, alone: bool) -> io::Result<bool> {
        let kind = fstatfs(&self.directory)?.f_type;
        if !u32::try_from(kind).is_ok_and(|kind| OWN.contains(&kind)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let operation = match alone {
            true => FlockOperation::NonBlockingLockExclusive,
            false => FlockOperation::NonBlockingLockShared,
        };
        match flock(&self.directory, operation) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    fn stat(&self) -> io::Result<FileStat> {
        file_stat(&self.directory.metadata()?)
    }
}

pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV) => {
            let problem = "this file system cannot exchange two directories in one step \
                           (RENAME_EXCHANGE); use ext4, XFS or Btrfs";
            Err(io::Error::new(io::ErrorKind::Unsupported, problem))
        }
        result => Ok(result?),
    }
}

/// Makes a directory with the owner, the mode and the access lists of another one.
pub(crate) fn create_like(directory: &Path, like: &Path) -> io::Result<()> {
    let model = fs::metadata(like)?;
    fs::DirBuilder::new().mode(0o700).create(directory)?;
    let made = fs::metadata(directory)?;
    if (made.uid(), made.gid()) != (model.uid(), model.gid()) {
        chown(directory, Some(model.uid()), Some(model.gid()))?;
    }
    for name in attributes(like)? {
        let mut value = vec![0; ATTRIBUTE_MAX];
        let len = getxattr(like, name.as_str(), &mut value[..])?;
        setxattr(directory, name.as_str(), &value[..len], XattrFlags::empty())?;
    }
    fs::set_permissions(directory, model.permissions())
}

/// Returns the extended attributes that the owner of a directory may set; empty if unsupported.
fn attributes(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = vec![0_u8; ATTRIBUTE_MAX];
    let len = match listxattr(directory, &mut names[..]) {
        Ok(len) => len,
        Err(Errno::OPNOTSUPP) => 0,
        Err(other) => return Err(other.into()),
    };
    let names = names[..len].split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let is_own = |name: &String| name.starts_with("user.") || name.starts_with("system.posix_acl");
    Ok(names.map(|name| name.into_owned()).filter(is_own).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_alone_or_with_others_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let open = || RealDirectory::open(dir.path()).unwrap();
        let (one, other) = (open(), open());
        assert!(one.try_lock(false).unwrap() && other.try_lock(false).unwrap());
        let third = open();
        assert!(!third.try_lock(true).unwrap());
        drop((one, other));
        assert!(third.try_lock(true).unwrap());
        assert!(!open().try_lock(false).unwrap());
        drop(third);
        assert!(open().try_lock(false).unwrap());
    }

    #[test]
    fn directories_of_network_file_systems_are_not_held() {
        let error = RealDirectory::open(Path::new("/proc")).unwrap().try_lock(false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn two_directories_are_exchanged_with_what_is_in_them() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| dir.path().join(name));
        fs::create_dir_all(one.join("deep")).unwrap();
        fs::create_dir(&other).unwrap();
        let open = RealDirectory::open(&one).unwrap();
        exchange(&one, &other).unwrap();
        assert!(other.join("deep").exists() && !one.join("deep").exists());
        assert_eq!(open.stat().unwrap().inode, fs::metadata(&other).unwrap().ino());
        assert!(exchange(&one, &dir.path().join("missing")).is_err());
    }

    #[test]
    fn a_directory_that_is_made_like_another_has_its_mode_and_its_attributes() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let [model, made] = ["model", "made"].map(|name| dir.path().join(name));
        fs::create_dir(&model).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o2775);
        fs::set_permissions(&model, mode).unwrap();
        let set = setxattr(&model, "user.owner", b"team", XattrFlags::empty());
        create_like(&made, &model).unwrap();
        assert_eq!(fs::metadata(&made).unwrap().mode() & 0o7777, 0o2775);
        let mut value = [0; 16];
        if set.is_ok() {
            assert_eq!(getxattr(&made, "user.owner", &mut value[..]).unwrap(), 4);
            assert_eq!(&value[..4], b"team");
        }
        assert!(create_like(&made, &model).is_err(), "it is there");
    }
}
