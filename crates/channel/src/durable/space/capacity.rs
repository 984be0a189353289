//! Checks the capacity against batches and disk, before the channel is opened.

use std::io;
use std::path::Path;

use pipeline::env::{Disk, Space, is_full};
use pipeline::units::ByteSize;
use pipeline::{BuildContext, ChannelError, Env};

use crate::durable::Config;

/// Larger puts are refused: offsets in a segment have 32 bits.
pub(crate) const PUT_MAX: u64 = 1 << 30;
/// Overhead of a put: frame, envelope, padding.
pub(crate) const PUT_OVERHEAD: u64 = 8 << 10;
/// Maximum share of the disk that a channel uses, in percent.
pub(crate) const DISK_PERCENT: u64 = 80;

impl Config {
    /// Returns the size of the largest batch that fits next to the open segment and the reserve.
    pub(crate) fn batch_max(&self) -> u64 {
        let room = *self.segment_rooms().start();
        let reserve =
            crate::durable::log::files::reserve_bytes(self.pool as usize, room, self.capacity.0);
        PUT_MAX.min((self.capacity.0 - reserve) / 2).saturating_sub(PUT_OVERHEAD)
    }
}

/// Returns the space of the file system of `directory`, by its nearest existing ancestor.
fn space(disk: &dyn Disk, directory: &Path) -> Option<Space> {
    let above = directory.ancestors().map(|path| match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    });
    above.into_iter().find_map(|path| disk.space(path).ok())
}

/// The resource that a failing disk lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Bytes of the file system.
    #[default]
    Bytes,
    /// Inodes: no file can be created, however many bytes are free.
    Inodes,
    /// A quota.
    Quota,
}

impl Lack {
    /// Returns the resource that the file system of `directory` lacks, given its `error`.
    pub(crate) fn from_error(disk: &dyn Disk, directory: &Path, error: &io::Error) -> Self {
        let has_no_inodes = || space(disk, directory).is_some_and(|space| space.files == Some(0));
        match error.kind() {
            io::ErrorKind::QuotaExceeded => Self::Quota,
            _ if has_no_inodes() => Self::Inodes,
            _ => Self::Bytes,
        }
    }

    /// Returns the reason and the remedy for log lines.
    pub(crate) fn explain(self) -> (&'static str, &'static str) {
        match self {
            Self::Bytes => ("disk_full", "free disk space, or let the sinks drain the channel"),
            Self::Inodes => (
                "no_inodes",
                "the file system has no free inodes: delete files there, or move the channel to \
                 another file system",
            ),
            Self::Quota => ("quota", "raise the quota, or let the sinks drain the channel"),
        }
    }
}

/// Extends an error of opening a channel in `directory` by the lacking resource, if the disk is
/// full.
pub(crate) fn no_room(error: ChannelError, env: &Env, directory: &Path) -> ChannelError {
    match error {
        ChannelError::Disk { channel, source } if is_full(&source) => {
            let (reason, help) = Lack::from_error(&*env.disk, directory, &source).explain();
            let directory = directory.display().to_string();
            ChannelError::NoRoom { channel, directory, reason, help, source }
        }
        error => error,
    }
}

/// Returns the problem of `capacity` on a file system with this much space; `None` if it can be
/// reached.
fn problem(capacity: u64, space: Space) -> Option<(&'static str, &'static str)> {
    let share = |bytes: u64| bytes / 100 * DISK_PERCENT;
    if capacity > share(space.total) {
        let problem = "the file system is too small for this capacity";
        return Some((problem, "lower it, or use a larger file system"));
    }
    let problem = "the file system does not have enough free space for this capacity";
    (capacity > share(space.available)).then_some((problem, "lower it, or free disk space"))
}

/// Returns warnings about a capacity that exceeds the disk.
pub(crate) fn warnings(capacity: ByteSize, cx: &BuildContext) -> Vec<String> {
    let Some(space) = space(&*cx.env.disk, &cx.directory) else { return Vec::new() };
    let Some((problem, help)) = problem(capacity.0, space) else { return Vec::new() };
    let (channel, directory) = (&cx.name, cx.directory.display());
    let Space { total, available, .. } = space;
    vec![format!(
        "channel `{channel}`: `capacity` is {capacity}, but {problem}: {directory} has {available} \
         of {total} bytes free, and a channel uses at most {DISK_PERCENT} %. It will stop \
         accepting events earlier; {help}"
    )]
}

#[cfg(all(test, feature = "testkit"))]
#[expect(clippy::unwrap_used, reason = "a test fails where it stands")]
mod tests {
    use super::*;
    use crate::testkit::{SimDisk, world};

    fn said(capacity: ByteSize, total: u64, used: u64) -> Vec<String> {
        let disk = SimDisk::new(1);
        disk.set_capacity(total);
        let mode = pipeline::env::OpenMode { write: true, create: true, ..Default::default() };
        disk.open(Path::new("/other"), mode).unwrap().set_len(used).unwrap();
        warnings(capacity, &BuildContext::alone("main", Path::new("/data/main"), world(&disk, 1)))
    }

    #[test]
    fn a_capacity_that_the_disk_cannot_hold_is_named_with_what_there_is() {
        let mib = ByteSize::mib;
        assert!(said(mib(64), 100 << 20, 10 << 20).is_empty());
        let small = said(mib(64), 70 << 20, 0).join("\n");
        for word in ["`main`", "64MiB", "/data/main", "73400320", "too small"] {
            assert!(small.contains(word), "{word} is not in: {small}");
        }
        let full = said(mib(64), 100 << 20, 30 << 20).join("\n");
        assert!(full.contains("not have enough free") && full.contains("73400320"), "{full}");
    }

    #[test]
    fn inodes_are_named_where_they_have_run_out_and_bytes_have_not() {
        let (disk, directory) = (SimDisk::new(1), Path::new("/data/main/log"));
        disk.set_names_max(disk.names());
        let mode = pipeline::env::OpenMode { write: true, create: true, ..Default::default() };
        let refused = |disk: &SimDisk| disk.open(Path::new("/file"), mode).err().unwrap();
        assert_eq!(Lack::from_error(&disk, directory, &refused(&disk)), Lack::Inodes);
        assert!(Lack::Inodes.explain().1.contains("no free inodes"));
        disk.set_names_max(u64::MAX);
        let full = io::ErrorKind::StorageFull.into();
        assert_eq!(Lack::from_error(&disk, directory, &full), Lack::Bytes);
        let quota = io::ErrorKind::QuotaExceeded.into();
        assert_eq!(Lack::from_error(&disk, directory, &quota), Lack::Quota);
    }

    #[test]
    fn accepts_puts_up_to_the_reported_maximum_only() {
        use pipeline::{BatchSize, Component};
        for mib in [1, 2, 16, 1024] {
            let config = Config { capacity: ByteSize::mib(mib), ..Config::default() };
            let config = Config { index: crate::durable::IndexKind::None, ..config };
            let most = config.batch_max();
            let disk = SimDisk::new(1);
            disk.set_capacity(4 << 30);
            let cx = BuildContext::alone("main", Path::new("/data/main"), world(&disk, 1));
            let channel = config.build(&cx).unwrap();
            assert_eq!(channel.batch_max(), most);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                channel.open().await.unwrap();
                let put = |bytes| channel.begin_put(BatchSize { events: 1, bytes });
                assert!(put(most).await.is_ok(), "{mib} MiB");
                assert!(put(most + 1).await.is_err(), "{mib} MiB");
            });
        }
    }
}
