//! The course of the demo, from its first process to its report.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::account;
use pipeline::Env;
use proof::{Request, Verdict};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::agents::{Folder, store_url};
use crate::cast::{Cast, Victim};
use crate::input::{self, Measured, WRITTEN_LINES, Writer};
use crate::intro::Intro;
use crate::layout::{Layout, stored};
use crate::progress::{Progress, grouped, megabytes};
use crate::reconcile::{Differences, Lines, compare};
use crate::report::Report;
use crate::store::Visible;
use crate::{DemoArgs, DemoError};

/// Interval between two looks at the agents and the store.
const POLL: Duration = Duration::from_millis(20);

/// The killed collector stays down for this time.
const DOWN: Duration = Duration::from_secs(2);

/// Limit for the delivery of all lines after the edge has read them.
const DELIVERY: Duration = Duration::from_secs(90);

/// Files that keep growing are never read to their end. Then the demo ends when the lines of its
/// start have been stored for this time.
const GROWING: Duration = Duration::from_secs(3);

/// Looks in a row that must find an empty edge: a batch between file and channel is in neither.
const QUIET_LOOKS: u32 = 5;

/// The state of a demo.
pub(crate) struct Scene {
    env: Env,
    /// Dropped before the folder.
    cast: Option<Cast>,
    folder: TempDir,
    layout: Box<dyn Layout>,
    stays: bool,
    keeps_data: bool,
    files: Vec<PathBuf>,
    writer: Option<Writer>,
    /// Lines that must be delivered.
    due: Vec<Measured>,
    progress: Progress,
    is_right: bool,
}

/// The counts at one moment.
struct Moment {
    read: u64,
    stored: u64,
    files: u64,
    visible_bytes: u64,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "read {:>10} lines   stored {:>10}   visible {:>9} in {} files",
            grouped(self.read),
            grouped(self.stored),
            megabytes(self.visible_bytes),
            self.files,
        )
    }
}

impl Scene {
    /// Measures the files, or prepares the log, creates the folder, and prints what will happen.
    pub(crate) fn new(args: &DemoArgs, layout: Box<dyn Layout>) -> Result<Self, DemoError> {
        let env = env::real();
        let folder = tempfile::Builder::new().prefix("aqueduct-demo-").tempdir();
        let folder = folder.map_err(DemoError::Folder)?;
        let mut files = input::given(&env, &args.files)?;
        let (mut due, mut writer, mut seed) = (Vec::new(), None, None);
        if files.is_empty() {
            let own = args.seed.unwrap_or_else(|| env.entropy.next_u64());
            let log = Writer::new(&env, &folder.path().join("logs"), own)?;
            files = log.files().into();
            (writer, seed) = (Some(log), Some(own));
        } else {
            for file in &files {
                due.push(input::measure(&env, file)?);
            }
            if due.iter().all(|file| file.lines == 0) {
                return Err(DemoError::NoLines("the files contain no complete line".into()));
            }
        }
        let progress = Progress::new();
        let summary = layout.summary();
        progress.say(&Intro { summary, seed, due: &due, folder: folder.path() }.to_string());
        Ok(Self {
            env,
            cast: None,
            folder,
            layout,
            stays: args.stay,
            keeps_data: args.keep,
            files,
            writer,
            due,
            progress,
            is_right: false,
        })
    }

    fn folder(&self) -> Folder {
        Folder { root: self.folder.path().to_owned(), env: self.env.clone() }
    }

    /// Runs the demo, prints its report, and returns whether every line arrived once. With `--stay`
    /// the agents are still running then.
    pub(crate) async fn play(&mut self) -> Result<bool, DemoError> {
        let mut cast = self.start().await?;
        let begin = Instant::now();
        let mut writer = self.writer.take();
        let writing = async {
            match &mut writer {
                Some(writer) => writer.run().await,
                None => Ok(()),
            }
        };
        // Both run on this thread: the writer works in short steps.
        let (written, watched) = tokio::join!(writing, self.watch(&mut cast, begin));
        written?;
        let (arrived, elapsed) = watched?;
        self.until_visible(&mut cast).await?;
        let channel = self.folder().channel("edge");
        let accounts = if self.stays {
            cast.empty(&self.env).await?;
            let accounts = cast.edge.accounts(&self.env).await?;
            self.cast = Some(cast);
            accounts
        } else {
            cast.stop(&self.env).await?;
            let failed = |error| DemoError::File {
                path: channel.clone(),
                source: std::io::Error::other(error),
            };
            account::from_directory(&channel, None, &self.env).map_err(failed)?
        };
        let stores = vec![store_url(&*self.layout, self.folder.path())];
        let request = Request { stores, deep: true, ..Request::default() };
        let proved = match proof::prove(accounts, &request, &self.env).await {
            Ok(report) if report.verdict() != Verdict::NotProved => true,
            Ok(report) => {
                self.progress.say(&report.text());
                false
            }
            Err(error) => {
                self.progress.say(&agent::chain(&error));
                false
            }
        };
        self.is_right = self.report(arrived, proved, elapsed)?;
        Ok(self.is_right)
    }

    async fn start(&self) -> Result<Cast, DemoError> {
        let patterns: Vec<String> = match &self.writer {
            Some(writer) => vec![writer.pattern()],
            None => self.files.iter().map(|file| input::pattern(file)).collect(),
        };
        let cast = Cast::start(&self.folder(), &*self.layout, &patterns).await?;
        for agent in cast.all() {
            let (name, pid, url) = (agent.name, agent.pid(), agent.url());
            self.progress.say(&format!("{name:<11} running (pid {pid}), live page: {url}"));
        }
        if !self.stays {
            self.progress.say("with --stay the pages stay open after the demo");
        }
        self.progress.say("");
        Ok(cast)
    }

    /// Returns the number of lines that must be delivered.
    fn due_lines(&self) -> u64 {
        match self.due.as_slice() {
            [] => WRITTEN_LINES,
            files => files.iter().map(|file| file.lines).sum(),
        }
    }

    /// Waits until readers see the delivered lines, up to a time limit.
    async fn until_visible(&self, cast: &mut Cast) -> Result<(), DemoError> {
        let (due, since) = (self.due_lines(), Instant::now());
        let seen = || self.layout.visible_lines(&self.env, self.folder.path());
        while since.elapsed() < DELIVERY && seen()?.is_some_and(|lines| lines < due) {
            cast.must_run(&self.env)?;
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Watches until everything is delivered, and kills a collector half-way. Returns whether
    /// everything was delivered in time, and the time it took.
    async fn watch(
        &mut self,
        cast: &mut Cast,
        begin: Instant,
    ) -> Result<(bool, Duration), DemoError> {
        let due = self.due_lines();
        let mut victim: Option<Victim> = None;
        let (mut quiet, mut read_all, mut stored_all) = (0, None::<Instant>, None::<Instant>);
        loop {
            sleep(POLL).await;
            cast.must_run(&self.env)?;
            let Some(edge) = cast.edge.metrics(&self.env).await else { continue };
            let visible = Visible::below(&self.env, &self.layout.files(self.folder.path()))?;
            let read = edge.sum("aqueduct_source_events_total");
            let held = edge.sum("aqueduct_channel_events");
            let moment = Moment {
                read,
                // The edge holds a line until it is in a visible file.
                stored: read.saturating_sub(held),
                files: visible.files.len() as u64,
                visible_bytes: visible.bytes(),
            };
            self.progress.show(begin.elapsed(), &moment);
            match &mut victim {
                None if read >= due / 2 => victim = Some(self.kill_one(cast, begin).await),
                None => {}
                Some(victim) => self.restart(cast, victim, begin)?,
            }
            if read < due || !victim.as_ref().is_some_and(|victim| victim.restarted) {
                continue;
            }
            quiet = if held == 0 { quiet + 1 } else { 0 };
            if read.saturating_sub(held) < due {
                stored_all = None;
            }
            let stored_for = stored_all.get_or_insert_with(Instant::now).elapsed();
            if quiet >= QUIET_LOOKS || read.saturating_sub(held) >= due && stored_for > GROWING {
                return Ok((true, begin.elapsed()));
            }
            if read_all.get_or_insert_with(Instant::now).elapsed() > DELIVERY {
                return Ok((false, begin.elapsed()));
            }
        }
    }

    /// Kills the busy collector.
    async fn kill_one(&self, cast: &mut Cast, begin: Instant) -> Victim {
        let pids = cast.collectors.each_ref().map(|it| (it.name, it.pid()));
        let (victim, held) = cast.kill_one(&self.env).await;
        let (name, pid) = pids[victim.index];
        self.progress.say(&format!(
            "{:>5.1} s  kill -9 {pid} ({name}): {} of its lines are in no visible file yet",
            begin.elapsed().as_secs_f64(),
            grouped(held),
        ));
        victim
    }

    /// Restarts the killed collector after a while.
    fn restart(
        &self,
        cast: &mut Cast,
        victim: &mut Victim,
        begin: Instant,
    ) -> Result<(), DemoError> {
        if let Some(collector) = cast.restart(victim, DOWN)? {
            let (name, pid) = (collector.name, collector.pid());
            let elapsed = begin.elapsed().as_secs_f64();
            self.progress.say(&format!("{elapsed:>5.1} s  restarted {name} (pid {pid})"));
        }
        Ok(())
    }

    /// Compares the lines in the store with those in the files, and prints the result.
    fn report(
        &mut self,
        arrived: bool,
        proved: bool,
        elapsed: Duration,
    ) -> Result<bool, DemoError> {
        // Before the files: a stored line is in a file.
        let visible = Visible::below(&self.env, &self.layout.files(self.folder.path()))?;
        let stored = stored(&*self.layout, &self.env, self.folder.path(), &visible)?;
        let now = self.files.iter().map(|file| input::measure(&self.env, file));
        let now = now.collect::<Result<Vec<_>, _>>()?;
        let due = if self.due.is_empty() { now.clone() } else { self.due.clone() };
        let (mut read, mut later) = Default::default();
        for (due, now) in due.iter().zip(&now) {
            lines(&self.env, &due.path, 0..due.bytes, &mut read)?;
            lines(&self.env, &now.path, due.bytes..now.bytes, &mut later)?;
        }
        let report = Report {
            read: read.count(),
            stored: stored.count(),
            later: later.count(),
            cut: read.cut(),
            unended: due.iter().map(|file| file.unended).sum(),
            differences: compare(read, later, stored),
            proved,
            read_bytes: due.iter().map(|file| file.bytes).sum(),
            read_files: due.len(),
            stored_bytes: visible.bytes(),
            stored_files: visible.files.len(),
            elapsed,
        };
        let is_right = arrived && proved && report.differences == Differences::default();
        let verdict = match is_right {
            true => "every line arrived exactly once",
            false => "FAILED: not every line arrived exactly once",
        };
        self.progress.say(&format!("\n{report}{verdict}"));
        Ok(is_right)
    }

    /// Prints the pages of the agents that keep running.
    pub(crate) fn announce_stay(&self) {
        let Some(cast) = &self.cast else { return };
        self.progress.say("\nthe agents keep running; open their live pages in a browser:");
        for agent in cast.all() {
            self.progress.say(&format!("  {:<11} {}", agent.name, agent.url()));
        }
        self.progress.say("press Ctrl-C to stop them");
    }

    /// Stops agents that still run, removes their data, and prints what is left.
    pub(crate) async fn finish(&mut self) -> Result<(), DemoError> {
        if let Some(cast) = self.cast.take() {
            cast.stop(&self.env).await?;
            self.progress.say("\nstopped the agents");
        }
        self.folder.disable_cleanup(true);
        let root = self.folder.path();
        if self.is_right && !self.keeps_data {
            for name in ["data", "logs"] {
                let path = root.join(name);
                if self.env.disk.stat(&path).is_ok() {
                    let removed = self.env.disk.remove_dir_all(&path);
                    removed.map_err(|source| DemoError::File { path, source })?;
                }
            }
        }
        let (files, hint) = (self.layout.files(root), self.layout.hint(root));
        let (files, root) = (files.display(), root.display());
        self.progress.say(&format!(
            "{hint}stored files:     {files}; configurations and logs: {root}\n\
             remove them with: rm -r {root}"
        ));
        Ok(())
    }

    /// Keeps the folder as it is, to investigate a failure.
    pub(crate) fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }
}

/// Adds the lines in a part of a file, which starts at the start of a line.
fn lines(env: &Env, path: &Path, part: Range<u64>, into: &mut Lines) -> Result<(), DemoError> {
    input::read(env, path, part, |piece| into.take(piece))?;
    into.end_file();
    Ok(())
}
