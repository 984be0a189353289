//! How many files and connections this process may have open.

use std::io;

use rustix::process::{Resource, getrlimit, setrlimit};

/// As many open files as this user may have at all, for this process and those that it starts.
/// Systems begin with a limit that is low for the sake of old programs (`select` counts to 1,024).
///
/// # Errors
/// The system refuses; the old limit stays.
pub fn raise_file_limit() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
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
}
