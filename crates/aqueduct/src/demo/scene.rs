//! The demo from its first process to its reconciliation.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline::Env;
use pipeline::env::FileKind;
use support::loopback::find_free_address;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::agents::{Agent, Folder};
use super::input::{self, Measured, WRITTEN_LINES, Writer};
use super::progress::{Progress, grouped, megabytes};
use super::reconcile::{Differences, Lines, compare};
use super::report::Report;
use super::{DemoArgs, DemoError};
use crate::verify;

/// How often the agents and the store are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The killed collector stays away this long.
const AWAY: Duration = Duration::from_secs(2);

/// What was read must be delivered this long after the last line was written.
const DELIVERY: Duration = Duration::from_secs(90);

/// Files that keep growing are never read to their end: then the demo ends when so many lines as
/// there were at its start are stored, for this long.
const GROWING: Duration = Duration::from_secs(3);

/// Looks in a row that must find nothing under way: a batch between file and channel is in neither.
const QUIET_LOOKS: u32 = 5;

/// Below the store, and not for readers: the sink's own books.
const BOOKS: &str = "_aqueduct";

/// Everything that the demo needs.
pub(super) struct Scene {
    env: Env,
    /// Kept when the demo is over, or removed with what lies in it.
    folder: TempDir,
    keep_data: bool,
    files: Vec<PathBuf>,
    writer: Option<Writer>,
    /// Lines that must be delivered.
    due: Vec<Measured>,
    progress: Progress,
}

/// The state of the demo at a moment.
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

/// The three processes.
struct Cast {
    edge: Agent,
    collectors: [Agent; 2],
}

/// The collector that was killed.
struct Victim {
    index: usize,
    since: Instant,
    restarted: bool,
}

/// Files below the store that readers see.
#[derive(Debug, Default)]
struct Visible {
    files: Vec<(PathBuf, u64)>,
}

impl Visible {
    fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl Scene {
    /// Looks at the files, or prepares the log, and makes the folder.
    pub(super) fn set(args: &DemoArgs) -> Result<Self, DemoError> {
        let env = env::real();
        let progress = Progress::new();
        let folder = tempfile::Builder::new().prefix("aqueduct-demo-").tempdir();
        let folder = folder.map_err(DemoError::Folder)?;
        let mut files = input::given(&env, &args.files)?;
        let mut due = Vec::new();
        let mut writer = None;
        if files.is_empty() {
            let seed = args.seed.unwrap_or_else(|| env.entropy.next_u64());
            let own = Writer::new(&env, &folder.path().join("logs"), seed)?;
            let lines = grouped(WRITTEN_LINES);
            progress.say(&format!("writing a log of {lines} lines (--seed {seed})"));
            files = own.files().into();
            writer = Some(own);
        } else {
            for file in &files {
                due.push(input::measure(&env, file)?);
            }
            if due.iter().all(|file| file.lines == 0) {
                return Err(DemoError::NoLines("no line in these files".into()));
            }
        }
        Ok(Self { env, folder, keep_data: args.keep, files, writer, due, progress })
    }

    /// Plays the demo; says whether every line arrived once.
    pub(super) async fn play(&mut self) -> Result<bool, DemoError> {
        let mut cast = self.start().await?;
        let begin = Instant::now();
        let mut writer = self.writer.take();
        let writing = async {
            match &mut writer {
                Some(writer) => writer.run().await,
                None => Ok(()),
            }
        };
        // Both on this thread: the writer's turns are short.
        let (written, watched) = tokio::join!(writing, self.watch(&mut cast, begin));
        written?;
        let (arrived, elapsed) = watched?;
        cast.edge.stop(&self.env).await?;
        self.empty(&mut cast).await?;
        for collector in &mut cast.collectors {
            collector.stop(&self.env).await?;
        }
        drop(cast);
        let folder = Folder { root: self.folder.path().to_owned(), env: self.env.clone() };
        let channel = folder.channel("edge");
        let (proved, proof) = verify::proof(&folder.store_url(), channel, &self.env).await;
        if !proved {
            self.progress.say(&proof);
        }
        self.report(arrived, proved, elapsed)
    }

    async fn start(&self) -> Result<Cast, DemoError> {
        let folder = Folder { root: self.folder.path().to_owned(), env: self.env.clone() };
        let address = || find_free_address().map(|it| it.to_string()).map_err(DemoError::Port);
        let collectors = [address()?, address()?];
        let patterns: Vec<String> = match &self.writer {
            Some(writer) => vec![writer.pattern()],
            None => self.files.iter().map(|file| input::pattern(file)).collect(),
        };
        let mut cast = Cast {
            collectors: [
                folder.collector("collector-1", &collectors[0], &address()?)?,
                folder.collector("collector-2", &collectors[1], &address()?)?,
            ],
            edge: folder.edge(&patterns, &collectors, &address()?)?,
        };
        for collector in &mut cast.collectors {
            collector.start()?;
        }
        for collector in &mut cast.collectors {
            collector.ready(&self.env).await?;
        }
        cast.edge.start()?;
        cast.edge.ready(&self.env).await?;
        let running = cast.collectors.iter().chain([&cast.edge]);
        let running: Vec<String> =
            running.map(|agent| format!("{} (pid {})", agent.name, agent.pid())).collect();
        self.progress.say(&format!("running {}", running.join(", ")));
        Ok(cast)
    }

    /// Watches until everything is delivered, and kills a collector half-way. Says whether all was
    /// delivered in time, and how long it took.
    async fn watch(
        &mut self,
        cast: &mut Cast,
        begin: Instant,
    ) -> Result<(bool, Duration), DemoError> {
        let due = match self.due.as_slice() {
            [] => WRITTEN_LINES,
            files => files.iter().map(|file| file.lines).sum(),
        };
        let mut victim: Option<Victim> = None;
        let (mut quiet, mut read_all, mut stored_all) = (0, None::<Instant>, None::<Instant>);
        loop {
            sleep(LOOK).await;
            cast.edge.must_run(&self.env)?;
            for collector in &mut cast.collectors {
                collector.must_run(&self.env)?;
            }
            let Some(edge) = cast.edge.metrics(&self.env).await else { continue };
            let visible = self.visible()?;
            let read = edge.sum("aqueduct_source_events_total");
            let moment = Moment {
                read,
                // The edge holds a line until it is in a visible file.
                stored: read.saturating_sub(edge.sum("aqueduct_channel_events")),
                files: visible.files.len() as u64,
                visible_bytes: visible.bytes(),
            };
            self.progress.show(begin.elapsed(), &moment);
            match &mut victim {
                None if read >= due / 2 => victim = Some(self.kill_one(cast, begin).await),
                None => {}
                Some(victim) => self.bring_back(cast, victim, begin)?,
            }
            let held = edge.sum("aqueduct_channel_events");
            if read < due || !victim.as_ref().is_some_and(|victim| victim.restarted) {
                continue;
            }
            quiet = if held == 0 { quiet + 1 } else { 0 };
            if read - held < due {
                stored_all = None;
            }
            let stored_for = stored_all.get_or_insert_with(Instant::now).elapsed();
            if quiet >= QUIET_LOOKS || read - held >= due && stored_for > GROWING {
                return Ok((true, begin.elapsed()));
            }
            if read_all.get_or_insert_with(Instant::now).elapsed() > DELIVERY {
                return Ok((false, begin.elapsed()));
            }
        }
    }

    /// Waits until the collectors have stored all that the edge sent before it stopped.
    async fn empty(&self, cast: &mut Cast) -> Result<(), DemoError> {
        let since = Instant::now();
        for collector in &mut cast.collectors {
            loop {
                collector.must_run(&self.env)?;
                let metrics = collector.metrics(&self.env).await;
                let empty = metrics.is_some_and(|it| it.sum("aqueduct_channel_events") == 0);
                if empty || since.elapsed() > DELIVERY {
                    break;
                }
                sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Keeps the folder as it is, to find out what went wrong.
    pub(super) fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    /// Kills the collector that has taken most.
    async fn kill_one(&self, cast: &mut Cast, begin: Instant) -> Victim {
        let mut taken = [0; 2];
        let mut held = [0; 2];
        for (index, collector) in cast.collectors.iter().enumerate() {
            if let Some(metrics) = collector.metrics(&self.env).await {
                taken[index] = metrics.sum("aqueduct_source_events_total");
                held[index] = metrics.sum("aqueduct_channel_events");
            }
        }
        let index = usize::from(taken[1] > taken[0]);
        let (name, pid) = (cast.collectors[index].name, cast.collectors[index].pid());
        cast.collectors[index].kill();
        self.progress.say(&format!(
            "{:>5.1} s  kill -9 {pid} ({name}): {} of its lines are in no visible file yet",
            begin.elapsed().as_secs_f64(),
            grouped(held[index]),
        ));
        Victim { index, since: Instant::now(), restarted: false }
    }

    /// Starts the killed collector again, once it was away long enough.
    fn bring_back(
        &self,
        cast: &mut Cast,
        victim: &mut Victim,
        begin: Instant,
    ) -> Result<(), DemoError> {
        if victim.restarted || victim.since.elapsed() < AWAY {
            return Ok(());
        }
        let collector = &mut cast.collectors[victim.index];
        collector.start()?;
        victim.restarted = true;
        let (name, pid) = (collector.name, collector.pid());
        let elapsed = begin.elapsed().as_secs_f64();
        self.progress.say(&format!("{elapsed:>5.1} s  {name} is started again (pid {pid})"));
        Ok(())
    }

    fn visible(&self) -> Result<Visible, DemoError> {
        let store = self.folder.path().join("store");
        let mut visible = Visible::default();
        if self.env.disk.stat(&store).is_ok() {
            self.walk(&store, &mut visible)?;
        }
        Ok(visible)
    }

    fn walk(&self, directory: &Path, visible: &mut Visible) -> Result<(), DemoError> {
        let failed = |source| DemoError::File { path: directory.to_owned(), source };
        for (name, kind) in self.env.disk.list(directory).map_err(failed)? {
            let path = directory.join(&name);
            match kind {
                FileKind::Directory if name != BOOKS => self.walk(&path, visible)?,
                FileKind::File => {
                    let bytes = self.env.disk.stat(&path).map_err(failed)?.len;
                    visible.files.push((path, bytes));
                }
                FileKind::Directory | FileKind::Link | FileKind::Other => {}
            }
        }
        Ok(())
    }

    /// Counts the lines in the store against those in the files, and shows what came out.
    fn report(
        &mut self,
        arrived: bool,
        proved: bool,
        elapsed: Duration,
    ) -> Result<bool, DemoError> {
        let visible = self.visible()?;
        let now = self.files.iter().map(|file| input::measure(&self.env, file));
        let now = now.collect::<Result<Vec<_>, _>>()?;
        let due = if self.due.is_empty() { now.clone() } else { self.due.clone() };
        let (mut read, mut later, mut stored) = Default::default();
        for (due, now) in due.iter().zip(&now) {
            lines(&self.env, &due.path, 0..due.bytes, &mut read)?;
            lines(&self.env, &now.path, due.bytes..now.bytes, &mut later)?;
        }
        for (path, bytes) in &visible.files {
            lines(&self.env, path, 0..*bytes, &mut stored)?;
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
        let right = arrived && proved && report.differences == Differences::default();
        let rest = self.leave(right)?;
        self.progress.say(&format!("\n{report}{rest}"));
        Ok(right)
    }

    /// Removes what will not be looked at, and says where the rest is.
    fn leave(&mut self, right: bool) -> Result<String, DemoError> {
        self.folder.disable_cleanup(true);
        let root = self.folder.path();
        if right && !self.keep_data {
            for name in ["data", "logs"] {
                let path = root.join(name);
                if self.env.disk.stat(&path).is_ok() {
                    let removed = self.env.disk.remove_dir_all(&path);
                    removed.map_err(|source| DemoError::File { path, source })?;
                }
            }
        }
        let verdict =
            if right { "every line arrived, once" } else { "NOT every line arrived once" };
        Ok(format!(
            "{verdict}\nthe files:  {0}/store (next to it the agents' configurations and logs)\n\
             remove it all by: rm -r {0}",
            root.display()
        ))
    }
}

/// Takes the lines of a part of a file, which begins at the beginning of a line.
fn lines(env: &Env, path: &Path, part: Range<u64>, into: &mut Lines) -> Result<(), DemoError> {
    input::read(env, path, part, |piece| into.take(piece))?;
    into.end_file();
    Ok(())
}
