//! The limits of open files and connections of this process.

use std::io;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Open files that the system's table has room for from the start, 8 bytes each.
const AT_ONCE: u64 = 4096;

/// Raises the limit of open files to this user's maximum, for this process and its children.
/// Systems start with a low limit for old programs (`select` counts to 1,024).
///
/// Must be called before the process has threads. The table of open files is then enlarged at no
/// cost and stays so. Once threads share it, the thread that opens the file or accepts the
/// connection that needs a larger one waits until every core has released the old one, 10 to 15 ms
/// at each doubling.
///
/// # Errors
/// The system refuses; the old limit stays.
pub fn raise_file_limit() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    let highest = limit.current.map_or(AT_ONCE, |most| most.min(AT_ONCE)).saturating_sub(1);
    // A file with the highest number enlarges the table; it is closed immediately. Without it files
    // only open more slowly.
    let highest = i32::try_from(highest).unwrap_or(i32::MAX);
    drop(fcntl_dupfd_cloexec(io::stderr(), highest));
    Ok(())
}

/// The most files that this process may ever have open; `None` without a limit.
pub fn files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_raised_to_the_maximum() {
        raise_file_limit().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, files_max());
    }

    #[test]
    fn there_is_room_for_open_files_before_they_are_opened() {
        raise_file_limit().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        let size: u64 = size.trim().parse().unwrap();
        assert!(size >= files_max().unwrap_or(AT_ONCE).min(AT_ONCE), "{size}");
    }
}
