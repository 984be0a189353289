//! One run of the source: reads one file after the other, each to its end.

use std::io;
use std::path::Path;
use std::time::Duration;

use kit::follow::Refused;
use kit::multiline::EVENT_DIVIDED;
use pipeline::env::{FileStat, Moment};
use pipeline::file_position::shown;
use pipeline::{ErrorClass, SourceContext, SourceError};
use tokio::time::{Instant, sleep};

use super::config::{Completion, ConsumeOrder};
use super::feed::Feed;
use super::finish::{self, Finished};
use super::known::Known;
use super::listing::{self, Found};
use super::mark::{self, DONE, Mark, MarkState, Sight};
use super::progress::Progress;
use super::reading::{self, Opened, Problem, Reading};
use super::{RETRY, SpoolDir};
use crate::REPORT_INTERVAL;

/// State between a start and a stop.
pub(super) struct Run<'a> {
    spool: &'a SpoolDir,
    known: Known,
    feed: Feed,
    progress: Progress<Moment>,
    /// When the next report is due.
    report_at: Instant,
}

/// Result of reading a file.
enum Read {
    /// All its events are stored.
    Whole,
    /// Reading failed.
    Until(Problem),
}

impl<'a> Run<'a> {
    /// Reads the positions from the channels.
    pub(super) fn new(spool: &'a SpoolDir, cx: &SourceContext) -> Self {
        let (name, entropy) = (spool.name.clone(), spool.env.entropy.clone());
        let known = Known::from_positions(&cx.positions.positions(&name), spool.options.settle);
        let feed = Feed::new(name, entropy, cx.positions.clone());
        let (progress, report_at) = (Progress::default(), Instant::now());
        Self { spool, known, feed, progress, report_at }
    }

    /// Waits for unfinished batches.
    pub(super) async fn end(&mut self, limit: Duration) {
        self.feed.finish(limit).await;
    }

    /// Reads files, one after the other, until the agent stops.
    pub(super) async fn work(&mut self) -> Result<(), SourceError> {
        match self.files().await {
            Ok(()) | Err(Refused::Stopping) => Ok(()),
            Err(Refused::Source(error)) => Err(error),
            Err(Refused::Batch(message)) => {
                Err(SourceError { class: ErrorClass::Poison, message, source: None })
            }
        }
    }

    async fn files(&mut self) -> Result<(), Refused> {
        let options = self.spool.options.clone();
        loop {
            let listed = Instant::now();
            let files = self.list().await.map_err(Refused::Source)?;
            if files.is_empty() || self.feed.has_many_removals() {
                self.feed.forget().await?;
            }
            if files.is_empty() {
                sleep(options.poll_delay).await;
            }
            for found in files {
                let is_old = listed.elapsed() > options.poll_delay;
                if options.order == ConsumeOrder::Youngest && is_old {
                    break;
                }
                self.file(&found).await?;
            }
        }
    }

    /// Returns the files that are due now.
    async fn list(&mut self) -> Result<Vec<Found>, SourceError> {
        let (env, options) = (self.spool.env.clone(), self.spool.options.clone());
        let (disk, entropy) = (env.disk.clone(), env.entropy.clone());
        let began = env.moment();
        let listing = env.offload(move || listing::list(&*disk, &*entropy, &options)).await;
        let listing = listing.map_err(|error| SourceError {
            class: ErrorClass::Transient,
            message: format!(
                "cannot read the directory {}; create it, or give the user of the agent the right \
                 to read it",
                self.spool.options.directory.display()
            ),
            source: Some(error.into()),
        })?;
        let now = Instant::now();
        for (path, error) in &listing.unreadable {
            if self.known.is_news(path, now) {
                self.unreadable(path, error);
            }
        }
        if listing.unreadable.is_empty() && !listing.is_cut {
            for gone in self.known.update_missing(&listing.files, now) {
                if let Some(path) = gone.unread {
                    self.count("vanished_unread", 1);
                    let file = shown(&path);
                    tracing::warn!(source = %self.spool.name, %file,
                        "a file was removed before it was read completely; its unread events are \
                         lost; remove only files that are marked as completed");
                }
                self.feed.forget_with_next(gone.key);
            }
            self.report(began, &listing.files, now);
        }
        let mut files = listing.files;
        files.retain(|found| self.known.is_due(&found.stat, now));
        Ok(files)
    }

    /// Reports the time before the latest listing whose files are stored.
    fn report(&mut self, began: Moment, files: &[Found], now: Instant) {
        let stored = self.progress.listed(began, self.known.unread(files));
        if let Some(before) = stored.filter(|_| now >= self.report_at) {
            self.feed.stored_before(before);
            self.report_at = now + REPORT_INTERVAL;
        }
    }

    /// Reads a file to its end and finishes it, or sets it aside.
    async fn file(&mut self, found: &Found) -> Result<(), Refused> {
        let (disk, options) = (self.spool.env.disk.clone(), self.spool.options.clone());
        let path = found.path.clone();
        let opened = self.spool.env.offload(move || reading::open(&*disk, &path, &options)).await;
        let mut opened = match opened {
            Ok(opened) => opened,
            // The file was removed after the listing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                self.try_later(&found.path, &found.stat, &error);
                return Ok(());
            }
        };
        let sight = opened.sight.clone();
        let marks = self.known.marks(&sight.key());
        let unit = reading::unit(&self.spool.options);
        let standing = match mark::standing(&sight, &opened.head, unit, &marks) {
            MarkState::At(standing) => standing,
            MarkState::Bad(problem) => {
                self.set_aside(&sight, &problem).await;
                return Ok(());
            }
            MarkState::Changed(problem) => {
                self.set_changed_aside(&sight, &problem).await;
                return Ok(());
            }
        };
        if !sight.is_unchanged(&found.stat) {
            // The file changed after the listing: a later listing waits until it settles.
            return Ok(());
        }
        let was_whole = standing.iter().all(|at| *at == DONE);
        if self.spool.options.pieces.is_some()
            && let Some(path) = mark::began_as(&standing, &marks)
        {
            // It stays the same transfer, although it was renamed.
            opened.sight.path = path;
        }
        match self.read(opened, standing).await? {
            // Check for a writer that continues before the file is renamed, moved or deleted.
            Read::Whole if !was_whole && self.spool.options.completion != Completion::Keep => {
                match self.known.settles_at(Instant::now()) {
                    Some(at) => self.known.pass_over_sight(&sight, Some(at)),
                    None => self.finish(&sight).await,
                }
            }
            Read::Whole => self.finish(&sight).await,
            Read::Until(Problem::Bad(problem)) => self.set_aside(&sight, &problem).await,
            Read::Until(Problem::Unreadable(error)) => {
                self.try_later(&sight.path, &found.stat, &error);
            }
        }
        Ok(())
    }

    /// Stores the events that channels lack; `standing` has the position of each channel.
    async fn read(&mut self, opened: Opened, mut standing: Vec<u64>) -> Result<Read, Refused> {
        if standing.iter().all(|at| *at == DONE) {
            // An earlier run stored its events but did not finish it.
            return Ok(Read::Whole);
        }
        let (sight, unit) = (opened.sight.clone(), reading::unit(&self.spool.options));
        let mut reading = match self.begin(opened, &standing).await {
            Ok(reading) => reading,
            Err(problem) => return Ok(Read::Until(problem)),
        };
        while let Some(start) = standing.iter().copied().min().filter(|start| *start != DONE) {
            let limits = self.feed.limits(&self.spool.options);
            let next = self.spool.env.offload(move || {
                let piece = reading.next(limits);
                (reading, piece)
            });
            let (back, piece) = next.await;
            reading = back;
            let piece = match piece {
                Ok(piece) => piece,
                Err(problem) => return Ok(Read::Until(problem)),
            };
            let lagging = (0..).zip(&standing).filter(|(_, at)| **at == start);
            let lagging: Vec<usize> = lagging.map(|(channel, _)| channel).collect();
            let targets = (lagging.len() < standing.len()).then(|| lagging.clone());
            let mark = Mark { sight: sight.clone(), unit, at: piece.end };
            match self.feed.store(piece.batch, &mark, targets).await {
                Ok(()) => {}
                Err(Refused::Batch(problem)) => return Ok(Read::Until(Problem::Bad(problem))),
                Err(refused) => return Err(refused),
            }
            for (reason, times) in [("line_cut", piece.cut), (EVENT_DIVIDED, piece.divided)] {
                if times > 0 {
                    self.count(reason, times);
                }
            }
            for channel in lagging {
                standing[channel] = piece.end;
                self.known.note(sight.key(), channel, mark.clone());
            }
        }
        Ok(Read::Whole)
    }

    async fn begin(&self, opened: Opened, standing: &[u64]) -> Result<Reading, Problem> {
        let (options, standing) = (self.spool.options.clone(), standing.to_vec());
        let begin = move || Reading::begin(options, opened, &standing);
        self.spool.env.offload(begin).await
    }

    /// Renames, moves or deletes a file whose events are stored.
    async fn finish(&mut self, sight: &Sight) {
        let (disk, options) = (self.spool.env.disk.clone(), self.spool.options.clone());
        let seen = sight.clone();
        let finish = move || finish::complete(&*disk, &options, &seen);
        let (source, file) = (&self.spool.name, shown(&sight.path));
        match self.spool.env.offload(finish).await {
            Ok(Finished::Completed | Finished::Vanished) => self.forget(sight),
            Ok(Finished::Kept) => self.known.pass_over_sight(sight, None),
            Ok(Finished::Numbered(name)) => {
                self.count("name_taken", 1);
                let name = shown(&name);
                tracing::warn!(%source, %file, %name,
                    "another file has the name for a completed file, so the completed file got a \
                     numbered name; no action needed");
                self.forget(sight);
            }
            // The next listing finds its current state.
            Ok(Finished::Changed(_)) if self.spool.options.completion == Completion::Keep => {}
            Ok(Finished::Changed(len)) => self.set_changed_aside(sight, &sight.change(len)).await,
            Err(error) => {
                self.count("not_finished", 1);
                tracing::warn!(%source, %file, %error,
                    "cannot rename, move or delete a completed file; its events are stored; \
                     retrying; check the permissions of the directory");
                self.known.pass_over_sight(sight, Some(Instant::now() + RETRY));
            }
        }
    }

    /// Sets a file aside that has changed since it was read: the added content is not stored.
    async fn set_changed_aside(&mut self, sight: &Sight, problem: &str) {
        self.count("changed_after_read", 1);
        self.set_aside(sight, problem).await;
    }

    /// Renames a bad file; its stored events remain.
    async fn set_aside(&mut self, sight: &Sight, problem: &str) {
        self.count("file_set_aside", 1);
        let marks = self.known.marks(&sight.key());
        let stored = marks.iter().flatten().map(|mark| mark.at).max().unwrap_or(0);
        let stored = if stored == DONE { "all".to_owned() } else { stored.to_string() };
        let (disk, options) = (self.spool.env.disk.clone(), self.spool.options.clone());
        let path = sight.path.clone();
        let rename = move || finish::set_aside(&*disk, &options, &path);
        let (source, file) = (&self.spool.name, shown(&sight.path));
        match self.spool.env.offload(rename).await {
            Ok(name) => {
                let name = shown(&name);
                tracing::warn!(%source, %file, problem, stored, %name,
                    "renamed a file that cannot be read any further; its content after byte \
                     `stored` is not delivered: fix `problem` and put the file into the directory \
                     again, which stores the content before that byte twice");
            }
            Err(error) => {
                tracing::warn!(
                    %source, %file, problem, stored, %error,
                    "skipping a file that can neither be read any further nor be renamed; its \
                     content after byte `stored` is not delivered: fix `problem` and put the file \
                     into the directory again, which stores the content before that byte twice",
                );
                self.known.pass_over_sight(sight, None);
                return;
            }
        }
        if self.spool.options.completion == Completion::Keep {
            self.known.pass_over_sight(sight, None);
        } else {
            self.forget(sight);
        }
    }

    fn forget(&mut self, sight: &Sight) {
        self.known.forget(&sight.key());
        self.feed.forget_with_next(sight.key());
    }

    fn try_later(&mut self, path: &Path, stat: &FileStat, error: &io::Error) {
        self.known.pass_over(stat, Some(Instant::now() + RETRY));
        self.unreadable(path, error);
    }

    fn unreadable(&self, path: &Path, error: &io::Error) {
        self.count("unreadable", 1);
        let path = shown(path);
        tracing::warn!(source = %self.spool.name, %path, %error,
            "cannot read a file or directory; its events wait; retrying; check the permissions");
    }

    fn count(&self, reason: &'static str, times: u64) {
        self.spool.metrics.count_anomaly(&self.spool.name, reason, times);
    }
}
