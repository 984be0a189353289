//! How many files and connections this process may have open.

use std::io;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Open files that the system's table has room for from the start, 8 bytes each.
const AT_ONCE: u64 = 4096;

/// As many open files as this user may have at all, for this process and those that it starts.
/// Systems begin with a limit that is low for the sake of old programs (`select` counts to 1,024).
///
/// To be called before the process has threads. The table of open files is enlarged then at no cost
/// and stays so; once threads share it, the thread that opens the file or takes the connection that
/// needs a larger one waits until every core has let go of the old one, 10 to 15 ms at each
/// doubling.
///
/// # Errors
/// The system refuses; the old limit stays.
pub fn raise_file_limit() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    let highest = limit.current.map_or(AT_ONCE, |most| most.min(AT_ONCE)).saturating_sub(1);
    // A file of such a number needs the table; it is closed at once. Without it files are as many,
    // and only slower to open.
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
    fn what_may_be_had_is_had() {
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
