//! `spool_dir`: reads files that are put into a directory when they are finished, each once.
//!
//! A file is read when it has not changed for a while, and must not change after that. When all its
//! events are stored and it has still not changed, it is renamed, moved or deleted, as the settings
//! say. Each event goes into each required channel once, whatever
//! happens to the agent (kill, power): how far a file is read travels with its events in the
//! channel's own atomic write, and is asked for at the next start.
//!
//! One bad file never stops the source: it is set aside under another name, logged and counted, and
//! the next one is read. One that the disk does not give is tried again every [`RETRY`].
//!
//! | module | what it does |
//! |---|---|
//! | `config` | the settings |
//! | `listing` | which files there are, in their order |
//! | `mark` | which file is which, and how far each channel has its events |
//! | `content` | decompression, and text as UTF-8 |
//! | `reading`, `lines`, `joined` | a file as pieces; lines that are one event |
//! | `transfer` | a file that is transferred as it is |
//! | `feed` | pieces into the channels that lack them |
//! | `finish` | renaming, moving, deleting, setting aside |
//! | `known` | what the channels know of files, and which need no look |
//! | `run` | the way of each file through all of these |
//!
//! ```text
//!   list ─► settled ─► open ─► piece ─► channels ─► piece ─► … ─► settled ─► finish ─► forget
//!                       └────────┴── bad ─► set aside ◄── changed ──┘
//! ```
//!
//! What is treated in its own way, and counted in `source_anomalies`:
//!
//! | reason | what happens |
//! |---|---|
//! | `file_set_aside` | it changed after its reading began, or cannot be decoded: what came before that is stored |
//! | `unreadable` | a file or directory: tried until it works |
//! | `not_finished` | it cannot be renamed, moved or deleted: tried until it works, never read again |
//! | `name_taken` | the name of a finished file is taken: it gets a number |
//! | `vanished_unread` | it was read in part by an earlier run, and has been gone for an hour |
//! | `event_divided` | of several lines, and longer than `multiline` allows: the next line begins another |
//! | `line_cut` | longer than `line_max`: its beginning goes on with the header `truncated` |

mod config;
mod content;
mod feed;
mod finish;
mod known;
mod listing;
mod mark;
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
    BuildContext, BuildError, Component, Env, ErrorClass, GivesAgain, Guarantee, Source,
    SourceContext, SourceError,
};

pub use config::Config;
use config::{Completion, Options};
use run::Run;

/// Pause before a file is tried again that the disk refuses.
const RETRY: Duration = Duration::from_secs(30);
/// How long the source waits at its end for what is on its way.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

impl Component for Config {
    const KIND: &'static str = "spool_dir";
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

    fn gives_again(&self) -> GivesAgain {
        GivesAgain::ByPosition
    }

    fn batch_bytes(&self) -> u64 {
        self.options.batch_bytes() as u64
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        if cx.positions.positions(&self.name).is_empty() {
            let message = "the source has no required channel".to_owned();
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

/// Whether the directories are there.
fn check(disk: &dyn Disk, options: &Options) -> Result<(), SourceError> {
    let failed = |message: String, error: Option<io::Error>| SourceError {
        class: ErrorClass::Transient,
        message,
        source: error.map(Into::into),
    };
    let directory = &options.directory;
    let unusable =
        |error| failed(format!("directory {} cannot be read", directory.display()), Some(error));
    let stat = disk.stat(directory).map_err(unusable)?;
    if stat.kind != FileKind::Directory {
        return Err(failed(format!("{} is no directory", directory.display()), None));
    }
    if let Completion::Move(to) = &options.completion {
        let unusable =
            |error| failed(format!("`completed_dir` {} cannot be used", to.display()), Some(error));
        disk.create_dir_all(to).map_err(unusable)?;
        if disk.stat(to).map_err(unusable)?.device != stat.device {
            let problem = format!(
                "`completed_dir` {} is on another file system than {}: files cannot be moved there",
                to.display(),
                directory.display()
            );
            return Err(failed(problem, None));
        }
    }
    Ok(())
}
