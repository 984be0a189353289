//! `spool_dir`: reads each finished file in a directory once.
//!
//! The source reads a file when it has not changed for a while; the file must not change after
//! that. When all its events are stored and it has still not changed, the source renames, moves or
//! deletes it, depending on the settings. Each event enters each required channel exactly once,
//! even if the agent is killed or loses power: the channel stores the position together with the
//! events in one atomic write, and the source reads it back at the next start.
//!
//! A bad file never stops the source: the source renames it, logs and counts it, and continues with
//! the next file. It retries an unreadable file every [`RETRY`].
//!
//! | module | what it does |
//! |---|---|
//! | `config` | the settings |
//! | `listing` | lists the files in reading order |
//! | `mark` | identifies files, and records the position of each channel |
//! | `content` | decompression, and text as UTF-8 |
//! | `reading`, `lines` | splits a file into pieces |
//! | `joined`, `split` | joins lines into events; splits long lines as Flume does |
//! | `transfer` | transfers a file unchanged |
//! | `feed` | sends pieces to the channels that lack them |
//! | `finish` | renames, moves, deletes, sets aside |
//! | `known` | positions in the channels, and files that need no check now |
//! | `progress` | when everything that was in the directory is stored |
//! | `run` | takes each file through these steps |
//!
//! ```text
//!   list ─► settled ─► open ─► piece ─► channels ─► piece ─► … ─► settled ─► finish ─► forget
//!                       └────────┴── bad ─► set aside ◄── changed ──┘
//! ```
//!
//! # Progress
//!
//! Once every file that a listing found is stored in every channel, the source reports the time
//! before that listing ([`stored_before`](pipeline::PositionIntake::stored_before)). An unreadable
//! file, and a file that disappeared after a part of it was read, hold the report back. The
//! modification time of a pending file would be too late: its first lines are older.
//!
//! # Special cases
//!
//! Special cases, which `source_anomalies` counts:
//!
//! | reason | what happens |
//! |---|---|
//! | `file_set_aside` | the file changed after reading began, or cannot be decoded: events before that are stored |
//! | `changed_after_read` | the file changed after it was read in part or in whole: it is set aside as well |
//! | `unreadable` | a file or directory cannot be read: retried until it works |
//! | `not_finished` | the file cannot be renamed, moved or deleted: retried until it works, never read again |
//! | `name_taken` | the new name of a finished file exists: a number is added |
//! | `vanished_unread` | an earlier run read a part of the file, and it has been missing for an hour |
//! | `event_divided` | an event has more lines than `multiline` allows: the next line begins a new event |
//! | `line_cut` | a line is longer than `line_max`: its beginning is sent with the header `truncated` |

mod config;
mod content;
mod feed;
mod finish;
mod known;
mod listing;
mod mark;
mod progress;
mod reading;
mod run;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics::Metrics;
use pipeline::env::{Disk, FileKind};
use pipeline::{
    BuildContext, BuildError, Component, Env, ErrorClass, Guarantee, ResendMode, Source,
    SourceContext, SourceError,
};

pub use config::Config;
use config::{Completion, Options};
use run::Run;

/// Pause before an unreadable file is retried.
const RETRY: Duration = Duration::from_secs(30);
/// Maximum time to wait for unfinished batches when the source stops.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

impl Component for Config {
    const KIND: &'static str = "spool_dir";
    const ANOMALIES: &[&str] = &[
        "changed_after_read",
        "event_divided",
        "file_set_aside",
        "line_cut",
        "name_taken",
        "not_finished",
        "unreadable",
        "vanished_unread",
    ];
    const EXAMPLE: &str = r#"directory = "/var/spool/in""#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let options = self.options(cx)?;
        let (env, metrics) = (cx.env.clone(), cx.metrics.clone());
        Ok(Box::new(SpoolDir { name: cx.name.clone(), options, env, metrics }))
    }
}

struct SpoolDir {
    name: Arc<str>,
    options: Arc<Options>,
    env: Env,
    metrics: Metrics,
}

#[async_trait]
impl Source for SpoolDir {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::ByPosition
    }

    fn reports_progress(&self) -> bool {
        true
    }

    fn batch_bytes(&self) -> u64 {
        self.options.batch_bytes() as u64
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        if cx.positions.positions(&self.name).is_empty() {
            let message =
                "the source has no required channel, which stores its position; remove a channel \
                 from `optional_channels`"
                    .to_owned();
            return Err(SourceError { class: ErrorClass::Fatal, message, source: None });
        }
        let (disk, options) = (self.env.disk.clone(), self.options.clone());
        self.env.offload(move || check(&*disk, &options)).await
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let mut run = Run::new(self, &cx);
        let ended = cx.stop.run_until_cancelled(run.work()).await;
        run.end(FINISH_WITHIN).await;
        ended.unwrap_or(Ok(()))
    }
}

/// Checks that the directories exist.
fn check(disk: &dyn Disk, options: &Options) -> Result<(), SourceError> {
    let failed = |message: String, error: Option<io::Error>| SourceError {
        class: ErrorClass::Transient,
        message,
        source: error.map(Into::into),
    };
    let directory = &options.directory;
    let unusable = |error| {
        failed(
            format!(
                "cannot read the directory {}; create it, or give the user of the agent the right \
                 to read it",
                directory.display()
            ),
            Some(error),
        )
    };
    let stat = disk.stat(directory).map_err(unusable)?;
    if stat.kind != FileKind::Directory {
        return Err(failed(
            format!("`directory` {} is not a directory; set another path", directory.display()),
            None,
        ));
    }
    if let Completion::Move(to) = &options.completion {
        let unusable = |error| {
            failed(
                format!(
                    "cannot use the `completed_dir` {}; give the user of the agent the right to \
                     create and write it",
                    to.display()
                ),
                Some(error),
            )
        };
        disk.create_dir_all(to).map_err(unusable)?;
        if disk.stat(to).map_err(unusable)?.device != stat.device {
            let problem = format!(
                "`completed_dir` {} is on another file system than {}, so files cannot be moved \
                 there; choose a directory on the same file system",
                to.display(),
                directory.display()
            );
            return Err(failed(problem, None));
        }
    }
    Ok(())
}
