//! Files that become visible, and stores that are opened, as the log shows them: without a line an
//! idle store and one that waits for its first roll look the same.

use delivery::ledger::{Dataset, StagedFile};
use pipeline::log_rate::LogRate;
use tokio::time::Instant;
use tracing::{debug, info};

/// Lines a minute about files; the rest is counted.
const LINES_A_MINUTE: u32 = 20;

/// What is said of a sink's files.
#[derive(Debug)]
pub(super) struct Visible {
    files: LogRate,
    openings: LogRate,
}

impl Default for Visible {
    fn default() -> Self {
        let (files, openings) = (LogRate::new(LINES_A_MINUTE), LogRate::new(LINES_A_MINUTE));
        Self { files, openings }
    }
}

impl Visible {
    /// The store is open.
    pub(super) fn opened(&self, dataset: &str, age_max: std::time::Duration) {
        if let Some(left_out) = self.openings.allow(Instant::now()) {
            let seconds = age_max.as_secs_f64();
            info!(
                dataset,
                roll_age_max_seconds = seconds,
                left_out,
                "store opened; files become visible when they are full or that old",
            );
        }
    }

    /// The files of a roll are visible.
    pub(super) fn published(&self, dataset: &Dataset, files: &[StagedFile]) {
        let events: u64 = files.iter().map(|file| file.events).sum();
        let bytes: u64 = files.iter().map(|file| file.len).sum();
        debug!(files = files.len(), events, bytes, "roll committed");
        for file in files {
            let Some(left_out) = self.files.allow(Instant::now()) else { continue };
            // Directories are named after headers; they are confined to printable characters, and
            // the prefix is the operator's own.
            let path = dataset.published(&file.target);
            info!(path, events = file.events, bytes = file.len, left_out, "file is visible");
        }
    }
}
