//! Logs visible files and opened stores, so that an idle store differs from one that waits for its
//! first roll.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ledger::{Dataset, StagedFile};
use metrics::{Counter, FloatGauge, SinkLabel};
use pipeline::env::unix_millis;
use pipeline::{BuildContext, Env, SinkBoard};
use support::log_rate::LogRate;
use tokio::time::Instant;
use tracing::{debug, info};

use super::troubles::Troubles;

/// Maximum log lines about files per minute; the rest is counted.
const LINES_A_MINUTE: u32 = 20;

/// Logs and counts the files of a sink.
#[derive(Debug)]
pub(super) struct Visible {
    files: LogRate,
    was_open: AtomicBool,
    count: Counter,
    last: FloatGauge,
    board: SinkBoard,
    troubles: Troubles,
    env: Env,
}

impl Visible {
    /// Creates it for the sink of this context.
    pub(super) fn new(cx: &BuildContext) -> Self {
        let label = SinkLabel { sink: cx.name.to_string() };
        let board = SinkBoard::default();
        Self {
            files: LogRate::new(LINES_A_MINUTE),
            was_open: AtomicBool::new(false),
            count: cx.metrics.sink_files.get_or_create(&label).clone(),
            last: cx.metrics.sink_last_file.get_or_create(&label).clone(),
            troubles: Troubles::new(board.clone()),
            board,
            env: cx.env.clone(),
        }
    }

    /// Returns the data for status pages.
    pub(super) fn board(&self) -> &SinkBoard {
        &self.board
    }

    /// Returns the problems of its tasks.
    pub(super) fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// Logs the first opening of the store. A failing store is reopened at each retry, and the
    /// group logs failures and recoveries.
    pub(super) fn opened(&self, dataset: &str, age_max: Duration) {
        let roll_age_max_seconds = age_max.as_secs_f64();
        if self.was_open.swap(true, Ordering::Relaxed) {
            debug!(dataset, roll_age_max_seconds, "store reopened");
        } else {
            info!(
                dataset,
                roll_age_max_seconds,
                "store opened; files become visible when they are full or have this age",
            );
        }
    }

    /// Reports visible files.
    pub(super) fn published(&self, dataset: &Dataset, files: &[StagedFile]) {
        if files.is_empty() {
            return;
        }
        let events: u64 = files.iter().map(|file| file.events).sum();
        let bytes: u64 = files.iter().map(|file| file.len).sum();
        debug!(files = files.len(), events, bytes, "roll committed");
        let count = files.len();
        let named = files.first().map(|file| dataset.published(&file.target)).unwrap_or_default();
        let others =
            if count > 1 { format!(" and {} more files", count - 1) } else { String::new() };
        let what = format!("{named}{others}, {events} events, {bytes} bytes");
        self.board.set_last_commit(what);
        self.count.inc_by(files.len() as u64);
        self.last.set(Duration::from_millis(unix_millis(self.env.clock.now())).as_secs_f64());
        for file in files {
            let Some(left_out) = self.files.allow(Instant::now()) else { continue };
            // Directory names come from headers and contain only printable characters; the prefix
            // comes from the operator.
            let path = dataset.published(&file.target);
            info!(path, events = file.events, bytes = file.len, left_out, "file is visible");
        }
    }
}
