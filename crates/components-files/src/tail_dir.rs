//! `tail_dir`: follows every file that its patterns match, now or later, line by line.
//!
//! A line ends with LF and is one event, unless `multiline` joins lines. The source passes on the
//! bytes that it read, unchanged: invalid UTF-8, NULs, carriage returns and empty lines included.
//! Each line enters each required channel exactly once, even if the file is renamed, copied and
//! truncated, truncated or deleted, or the agent is killed or loses power. The channel stores the
//! position together with the lines in one atomic write; the source reads it back at the next
//! start.
//!
//! | module | what it does |
//! |---|---|
//! | `config` | the settings |
//! | `agreed` | limits batches to the size that the downstream agents accept |
//! | `glob` | patterns, and the directory walk that finds matching files |
//! | `identity` | identifies files by a hash of their content; the stored position |
//! | `multiline`, `open_events` | joins lines into events, and decides when an event ends |
//! | `lines` | finds line ends and lines that are too long |
//! | `file` | state of one file, and its transitions |
//! | `tailer` | schedules reads |
//! | `chunk` | lines on their way to the channels |
//! | `followed` | all files: by number, inode and place, and their lag |
//! | `schedule` | when the next survey is due |
//! | `seen` | state that a survey keeps for the next one |
//! | `survey`, `candidates`, `read` | surveys, recognising new files, reading |
//! | `listener` | change notifications, coalesced |
//! | `renames` | files that were renamed before a survey found them |
//! | `changes`, `watched` | turns notifications into reads and surveys |
//! | `handles`, `open_handles` | limits the number of open files |
//! | `names` | file names, which are bytes |
//! | `named` | selects which files of an earlier run to follow |
//! | `report`, `reported` | log lines about files and patterns |
//! | `pace` | starts turns |
//! | `buffers` | reuses the memory of large reads |
//! | `bundle` | puts small reads of many files into one batch |
//! | `recover` | files and positions that the channels store from an earlier run |
//! | `flume`, `flume_positions` | imports the positions of a Flume agent at the first start |
//! | `notes` | positions that a survey stores without lines |
//! | `feed` | sends chunks to the channels, each file in order |
//!
//! ```text
//!   run ──turn──► Tailer (on a thread that may block): survey? read, read, …
//!    ▲              │ chunks = lines + position
//!    │ settled      ▼
//!   Feed ◄───────────  chunks of a file in turn into all channels that lack them
//! ```
//!
//! Special cases, which `source_anomalies` counts:
//!
//! | reason | what happens |
//! |---|---|
//! | `event_divided` | an event has more lines than `multiline` allows: the next line begins a new event |
//! | `line_cut` | a line is longer than `line_max`: its beginning is sent with the header `truncated` |
//! | `late_line` | a renamed or deleted file that no longer grows ends without LF: the rest counts as a line |
//! | `truncated` | the file no longer contains what was read: the source looks for a copy and reads the file from its start |
//! | `copy_held_back` | the file equals the beginning of another, as copytruncate creates it: not read |
//! | `unreadable` | a file or directory cannot be read: logged once, retried until it works |
//! | `vanished_read` | the file vanished while the agent was down, after the source had read all of it |
//! | `vanished_unread` | the file vanished before the source had read all of it, or that is unknown |
//! | `compressed_passed_over` | the name has the ending of a compressed file, and no pattern names that ending |
//! | `link_leads_out` | a link leads out of the watched directories; it is followed |
//!
//! The source can miss or misjudge:
//!
//! - lines that were truncated before it read them, if no copy is next to the file;
//! - files that were created and renamed to a name that no pattern matches while the agent was
//!   down, or where the system does not report renames, as on a network file system. A pattern such
//!   as `access.log*` matches those too;
//! - identical lines without a time, if the source only ever saw the rotated name: it takes the
//!   file for a copy;
//! - a file that is rewritten with the same content, or a new file with the content of a deleted
//!   one: it takes them for already read.
//!
//! # Which files
//!
//! The source reads files that a pattern names today. It does not read files that only the patterns
//! of an earlier run named (`named`). It skips compressed files unless a pattern names their
//! ending. Names are bytes; headers, labels and log lines show invalid UTF-8 as `\xff`. The source
//! follows symbolic links unless `follow_symlinks` is off, and reports links that lead out of the
//! directories that the patterns spell out.
//!
//! # Progress
//!
//! A survey notes its time. Once every file was read to its end after it, and every channel has the
//! lines, the source reports the time
//! ([`stored_before`](pipeline::PositionIntake::stored_before)). An incomplete last line, an
//! unreadable file and content that is searched elsewhere hold the report back.

mod agreed;
mod buffers;
mod bundle;
mod candidates;
mod changes;
mod chunk;
mod config;
mod feed;
mod file;
mod flume;
mod flume_positions;
mod followed;
mod glob;
mod handles;
mod identity;
mod lines;
mod listener;
mod multiline;
mod named;
mod names;
mod notes;
mod open_events;
mod open_handles;
mod pace;
mod read;
mod recover;
mod renames;
mod report;
mod reported;
mod schedule;
mod seen;
mod shown;
mod survey;
mod tailer;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics::Metrics;
use pipeline::env::Watch;
use pipeline::{
    BuildContext, BuildError, Component, Env, FileBoard, Guarantee, ResendMode, Source,
    SourceContext, SourceError,
};
use tokio::time::Instant;

use chunk::Chunk;
pub use config::Config;
use config::Options;
use feed::{Feed, Target};
use flume_positions::FlumePositions;
use listener::ChangeListener;
use pace::Pace;
use tailer::Tailer;

use crate::REPORT_INTERVAL;

/// Maximum time to wait for unfinished batches when the source stops.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

impl Component for Config {
    const KIND: &'static str = "tail_dir";
    const ANOMALIES: &[&str] = &[
        "truncated",
        "unreadable",
        "line_cut",
        "event_divided",
        "late_line",
        "copy_held_back",
        "vanished_read",
        "vanished_unread",
        "compressed_passed_over",
        "link_leads_out",
    ];
    const EXAMPLE: &str = r#"paths = ["/var/log/*.log"]"#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let options = self.options()?;
        let (env, metrics, board) = (cx.env.clone(), cx.metrics.clone(), cx.get());
        let name = cx.name.clone();
        Ok(Box::new(TailDir { name, options, env, metrics, board, opened: None }))
    }
}

struct TailDir {
    name: Arc<str>,
    options: Options,
    env: Env,
    metrics: Metrics,
    board: FileBoard,
    /// Present between opening and running.
    opened: Option<Opened>,
}

/// A tailer after its first survey, and what it read in it.
struct Opened {
    pace: Pace,
    listener: ChangeListener,
    feed: Feed,
    first: Vec<Chunk>,
}

#[async_trait]
impl Source for TailDir {
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
        self.options.limits.batch_bytes as u64
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        let known = cx.positions.positions(&self.name);
        let path = self.options.flume_positions.clone();
        let flume = FlumePositions::find(&self.name, &self.env, path, &known).await?;
        let files = recover::recover(&self.name, &known, flume.as_ref(), Instant::now());
        let (options, metrics) = (self.options.clone(), self.metrics.clone());
        let watch = self.watch();
        let listener = ChangeListener::new(watch.clone(), &options);
        let name = self.name.clone();
        let mut tailer = Tailer::new(name, options, self.env.clone(), metrics, files, watch);
        tailer.agreed.follow(cx.intake.clone());
        tailer.show_on(self.board.clone());
        tailer.begin_where_flume_stood(flume, &known);
        tailer.fit_open_max();
        tailer.say_relative();
        tailer.show_reasons();
        let feed = Feed::new(Target {
            source: self.name.clone(),
            intake: cx.positions.clone(),
            entropy: self.env.entropy.clone(),
            failure_log: Arc::default(),
        });
        let mut pace = Pace::new(self.env.clone(), tailer);
        pace.start_turn(&mut Vec::new(), &mut BTreeSet::new(), feed.room());
        let first = pace.next().await;
        self.opened = Some(Opened { pace, listener, feed, first });
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let Opened { mut pace, mut listener, mut feed, first } =
            self.opened.take().expect("a source is opened before it runs");
        listener.note(first.iter().map(Chunk::bytes).sum());
        feed.push(first);
        let (mut settled, mut changes) = (Vec::new(), BTreeSet::new());
        let (mut reported, mut report_at) = (None, Instant::now());
        loop {
            // After existing wake-ups only: an idle source surveys its files anyway.
            if Instant::now() >= report_at
                && let Some(before) = pace.stored_before()
                && reported.replace(before) != Some(before)
            {
                cx.positions.stored_before(before);
                report_at = Instant::now() + REPORT_INTERVAL;
            }
            pace.start_turn(&mut settled, &mut changes, feed.room());
            tokio::select! {
                biased;
                () = cx.stop.cancelled() => break,
                stored = feed.next() => settled.extend(stored?),
                heard = listener.changed() => changes.extend(heard),
                chunks = pace.next() => {
                    listener.note(chunks.iter().map(Chunk::bytes).sum());
                    feed.push(chunks);
                }
            }
        }
        if tokio::time::timeout(FINISH_WITHIN, feed.finish()).await.is_err() {
            tracing::debug!(source = %self.name, "stopped while a batch waited for its channels");
        }
        Ok(())
    }
}

impl TailDir {
    /// Returns the file change notifications, if the system has them.
    fn watch(&self) -> Option<Arc<dyn Watch>> {
        let watch = self.env.disk.watch();
        let said = |error: &io::Error| {
            tracing::info!(source = %self.name, %error,
                "file change notifications are not available; polling the files instead");
        };
        watch.inspect_err(said).ok()
    }
}
