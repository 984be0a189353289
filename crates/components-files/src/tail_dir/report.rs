//! Log lines about files and patterns, with a rate limit: a few lines of each kind per minute, then
//! the number of suppressed ones. At `debug` all are logged.

use std::io;
use std::path::Path;
use std::time::Duration;

use kit::multiline::EVENT_DIVIDED;
use tokio::time::Instant;

use super::file::{File, FileId};
use super::glob::{Found, PassedOver, Pattern};
use super::names::{is_compressed, shown};
use super::reported::{UNMATCHED_AFTER, Why};
use super::tailer::Tailer;

/// How long a file of an earlier run is searched before it is reported missing: a rename may be in
/// progress, or its directory may be mounted late.
const MISSING_AFTER: Duration = Duration::from_secs(10);

impl File {
    /// Returns true if the file must be reported missing now.
    pub(super) fn is_reported_missing(&self, now: Instant) -> bool {
        self.missing_since.is_some_and(|since| now.duration_since(since) >= MISSING_AFTER)
    }
}

/// Reasons in `source_anomalies`: the counter of each exists from the start.
const REASONS: [&str; 10] = [
    "line_cut",
    EVENT_DIVIDED,
    "late_line",
    "truncated",
    "copy_held_back",
    "unreadable",
    "vanished_read",
    "vanished_unread",
    "compressed_passed_over",
    "link_leads_out",
];

impl Tailer {
    /// Creates all counters with the value 0.
    pub(super) fn show_reasons(&self) {
        REASONS.iter().for_each(|reason| self.count_anomaly(reason, 0));
    }

    /// Logs that a file is followed from now on.
    pub(super) fn say_followed(&mut self, id: FileId, why: Why, now: Instant) {
        let Some(file) = self.files.get(id) else { return };
        let (path, place) = (shown(&file.position.path), shown(&file.place));
        // Logged only if it differs from the path.
        let place = (place != path).then_some(&*place);
        let (inode, offset) = (file.position.inode, file.position.offset);
        let why = match why {
            Why::New => "new",
            Why::ReadByFlume => "continues from Flume's position",
            Why::Known => "known",
            Why::Renamed => "renamed",
            Why::Copied => "continues in its copy",
        };
        if self.report.followed.may_say(now) {
            tracing::info!(source = %self.source, file = %path, place, inode, offset, why,
                "following file");
        } else {
            tracing::debug!(source = %self.source, file = %path, place, inode, offset, why,
                "following file");
        }
    }

    /// Reports that a file of an earlier run is gone. Its size at the last read shows whether bytes
    /// are lost.
    pub(super) fn say_missing(&mut self, id: FileId, now: Instant) {
        let Some(file) = self.files.get_mut(id) else { return };
        file.missing_since = None;
        let (place, offset) = (file.place.clone(), file.position.offset);
        let unread_bytes = file.len_when_read.map(|len| len.saturating_sub(offset));
        let source = &self.source;
        if unread_bytes == Some(0) {
            self.count_anomaly("vanished_read", 1);
            tracing::info!(%source, file = %shown(&place), offset,
                "file was deleted while the agent was down; the agent had read it completely");
            return;
        }
        self.count_anomaly("vanished_unread", 1);
        let neighbours = self.neighbours(&place).unwrap_or_default();
        let is_left = |path: &Path| path.file_name().is_some_and(is_compressed);
        let left = neighbours.into_iter().filter(|(path, _)| is_left(path));
        let left = left.max_by_key(|(_, stat)| stat.modified).map(|(path, _)| path);
        let compressed = left.as_deref().map_or_else(|| "-".into(), shown);
        let (source, file) = (&self.source, shown(&place));
        if self.report.missing.may_say(now) {
            tracing::warn!(%source, %file, offset, unread_bytes, %compressed,
                "file was deleted while the agent was down, before it was read completely; its \
                 unread events are not delivered; a compressed file in its directory may have \
                 them");
        } else {
            tracing::debug!(%source, %file, offset, unread_bytes,
                "file was deleted while the agent was down");
        }
    }

    /// Warns of a link that leads out of the directories that the patterns spell out. `place` is
    /// its target.
    pub(super) fn say_linked(&mut self, path: &Path, place: &Path, now: Instant) {
        if path == place {
            return;
        }
        let disk = &*self.env.disk;
        let inside = |pattern: &Pattern| {
            let directory = pattern.literal_directory();
            place.starts_with(disk.canonical(&directory).unwrap_or(directory))
        };
        if self.options.patterns.iter().any(inside) {
            return;
        }
        self.count_anomaly("link_leads_out", 1);
        let (link, leads_to) = (shown(path), shown(place));
        if self.report.linked.may_say(now) {
            tracing::warn!(source = %self.source, %link, %leads_to,
                "following a symbolic link that leads out of the watched directories; to skip such \
                 links, set `follow_symlinks = false`");
        } else {
            tracing::debug!(source = %self.source, %link, %leads_to,
                "a symbolic link leads out of the watched directories");
        }
    }

    /// After a survey: logs matching files that are not followed, patterns without files, and the
    /// number of suppressed lines.
    pub(super) fn say_found(&mut self, found: &mut Found, now: Instant) {
        for link in std::mem::take(&mut found.linked) {
            if self.report.links.insert(link.clone())
                && let Ok(place) = self.env.disk.canonical(&link)
            {
                self.say_linked(&link, &place, now);
            }
        }
        self.say_passed_over(found);
        self.say_unmatched(now);
        let Self { report, source, .. } = self;
        if let Some(files) = report.followed.rest(now) {
            tracing::info!(%source, files, "following more files, which are not listed");
        }
        if let Some(files) = report.missing.rest(now) {
            tracing::warn!(
                %source, files,
                "more files were deleted while the agent was down, before they were read \
                 completely; their unread events are not delivered; the log level `debug` lists \
                 the files",
            );
        }
        if let Some(links) = report.linked.rest(now) {
            tracing::warn!(
                %source, links,
                "following more symbolic links that lead out of the watched directories (the log \
                 level `debug` lists them); to skip such links, set `follow_symlinks = false`",
            );
        }
    }

    fn say_passed_over(&mut self, found: &mut Found) {
        let mut passed_over = std::mem::take(&mut found.passed_over);
        passed_over.retain(|path, _| !found.files.contains_key(path) && !self.is_excluded(path));
        for (path, why) in &passed_over {
            if self.report.passed_over.get(path) == Some(why) {
                continue;
            }
            let (source, file) = (&self.source, shown(path));
            match why {
                PassedOver::Compressed => {
                    self.count_anomaly("compressed_passed_over", 1);
                    if !std::mem::replace(&mut self.report.has_said_compressed, true) {
                        tracing::info!(%source, %file,
                            "compressed files are skipped; to read their raw bytes, use a pattern \
                             with their ending, as in `*.gz`");
                    }
                    tracing::debug!(%source, %file, "compressed file is skipped");
                }
                PassedOver::Link => {
                    tracing::debug!(%source, %file, "symbolic link is skipped");
                }
                PassedOver::Special => {
                    tracing::debug!(%source, %file, "pipe, socket or device is skipped");
                }
                PassedOver::Directory => {
                    let hint = format!("{file}/*.log");
                    tracing::warn!(
                        %source, %file,
                        "a pattern of `paths` matches a directory, which is skipped; to read its \
                         files, add for example `{hint}`",
                    );
                }
            }
        }
        self.report.passed_over = passed_over;
    }

    /// Returns true if `exclude` matches the path.
    pub(super) fn is_excluded(&self, path: &Path) -> bool {
        self.options.exclusions.iter().any(|exclusion| exclusion.covers(path))
    }

    /// Warns of patterns without files: first after seconds, then less and less often.
    fn say_unmatched(&mut self, now: Instant) {
        let began = self.report.began;
        let mut due = Vec::new();
        for (pattern, state) in self.options.patterns.iter().zip(&mut self.report.patterns) {
            if !state.matched && now >= state.next {
                state.reports += 1;
                let last = UNMATCHED_AFTER.len() - 1;
                state.next = now + UNMATCHED_AFTER[state.reports.min(last)];
                due.push(pattern);
            }
        }
        for pattern in due {
            let seconds = now.duration_since(began).as_secs();
            let why = self.why_unmatched(pattern);
            tracing::warn!(source = %self.source, pattern = pattern.text(), seconds, %why,
                "no file matches a pattern of `paths`, so nothing is read for it yet; check the \
                 pattern");
        }
    }

    /// Explains why a pattern matches nothing.
    pub(super) fn why_unmatched(&self, pattern: &Pattern) -> String {
        let disk = &*self.env.disk;
        let directory = pattern.literal_directory();
        let there = disk.canonical(&directory);
        let passed =
            self.report.passed_over.iter().filter(|(path, _)| path.starts_with(&directory));
        let compressed = passed.clone().filter(|(_, why)| **why == PassedOver::Compressed).count();
        let links = passed.filter(|(_, why)| **why == PassedOver::Link).count();
        match there {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let below =
                    if pattern.is_relative() { self.working_directory() } else { "".into() };
                format!("{} does not exist{below}", shown(&directory))
            }
            Err(error) => format!("{}: {error}", shown(&directory)),
            Ok(_) if compressed > 0 => format!("{compressed} compressed files are skipped"),
            Ok(_) if links > 0 => format!("{links} symbolic links are skipped"),
            Ok(there) => format!("no file in {} matches", shown(&there)),
        }
    }

    /// Logs the directory that relative patterns start from.
    pub(super) fn say_relative(&self) {
        for pattern in self.options.patterns.iter().filter(|pattern| pattern.is_relative()) {
            tracing::info!(source = %self.source, pattern = pattern.text(),
                "a relative pattern is resolved against the working directory{}",
                self.working_directory());
        }
    }

    fn working_directory(&self) -> String {
        let directory = self.env.disk.canonical(Path::new("."));
        directory.map(|at| format!(" ({})", shown(&at))).unwrap_or_default()
    }
}
