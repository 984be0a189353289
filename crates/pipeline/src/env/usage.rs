//! What the process uses, as the system says it.

use std::time::Duration;

/// What the process uses. The names of the metrics that show it are Prometheus' own.
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
    /// How many it may have open; `None` without a limit.
    pub open_files_max: Option<u64>,
}
