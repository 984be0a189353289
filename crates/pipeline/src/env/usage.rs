//! Resource usage of the process, as the system reports it.

use std::time::Duration;

/// Resource usage of the process. Its metrics have Prometheus' own names.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// When it started, in seconds since 1970.
    pub started: f64,
    /// Processor time of all its threads.
    pub cpu: Duration,
    /// Memory in RAM, in bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Maximum number of open files; `None` without a limit.
    pub open_files_max: Option<u64>,
}
