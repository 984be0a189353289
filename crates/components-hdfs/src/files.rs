//! `hdfs`: reads files of a store, each event once, and ends.
//!
//! ```text
//!   list ─► file ─► parts ─► decompression ─► decoder ─► batch, with the position in the file
//!            └──────────────── the next one ◄──────────────┘      in one write of the channel
//! ```
//!
//! Files are read one after the other, in path order. The channel stores the position with the
//! events in one atomic write. After a kill, the source decodes the current file again up to the
//! position, and continues. If a file has changed since its reading began, or a new file sorts
//! before those already read, the source fails with an error that names it.
//!
//! After the last file, the source has finished its work. After a later start, it reads files that
//! sort after that file.
//!
//! | module | contents |
//! |---|---|
//! | `config` | the settings |
//! | `pattern` | lists the files |
//! | `content` | reads a file with bounded memory |
//! | `position` | the position stored with the events: pure |
//! | `inspect` | inspects files before they are read |
//! | `contents` | reads events of files without an agent |

mod config;
mod content;
mod contents;
mod listing;
mod pattern;
mod position;
#[cfg(test)]
mod tests;

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::time::SystemTime;

use kit::follow::{CatchUp, Follow, Followed, Puts, Start};
use metrics::{Counter, FloatGauge, MetricSpec};
use pipeline::env::unix_millis;
use pipeline::{
    Batch, BatchBuilder, BuildContext, BuildError, Classify, Component, Env, ErrorClass,
    FileDecoder, FileError, Guarantee, PieceLimits, Source, SourceContext, SourceError,
};
use storage::{FileSystem, FsError, Stat};
use tokio_util::task::AbortOnDropHandle;

use crate::hdfs::store;
pub use config::Config;
use config::Options;
use content::{Anywhere, content, of_store};
pub use contents::{Contents, Unread};
pub use listing::{COLUMNS, Listing, begin, inspect};
use pattern::Unlisted;
use position::{Mark, Sight, State, and};

/// Bytes per read of a decoder.
const READ_BYTES: usize = 128 << 10;
/// Limit of events in a batch.
const BATCH_EVENTS: usize = 10_000;

impl Component for Config {
    const KIND: &'static str = "hdfs";
    const EXAMPLE: &str = r#"url = "webhdfs://127.0.0.1:9870/in""#;
    const METRICS: &'static [MetricSpec] = &[
        MetricSpec::counter("read_files", "Files that a source has read completely."),
        MetricSpec::counter(
            "read_bytes",
            "Stored bytes of the files that a source has read completely.",
        ),
        MetricSpec::gauge("waiting_files", "Files that a source has not read completely."),
        MetricSpec::gauge(
            "skipped_names",
            "Objects of a bucket that a source skips because their keys are not paths: \
             they contain an empty part, `..` or a control character.",
        ),
    ];
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let scope = cx.scope::<Self>();
        let (read_files, read_bytes) = (scope.counter("read_files")?, scope.counter("read_bytes")?);
        let (waiting, skipped) = (scope.gauge("waiting_files")?, scope.gauge("skipped_names")?);
        let options = self.options(cx)?;
        let (at, env) = (options.clone(), cx.env.clone());
        let connect = Box::new(move || store::open(&at.url, &at.access, &env));
        let files = Files {
            name: cx.name.clone(),
            env: cx.env.clone(),
            options,
            connect,
            read_files,
            read_bytes,
            waiting,
            skipped,
        };
        Ok(Box::new(Followed::new(cx, files)))
    }
}

/// Creates a new client of the store after a failure.
type Connect = Box<dyn Fn() -> Result<Arc<dyn FileSystem>, FsError> + Send + Sync>;

struct Files {
    name: Arc<str>,
    env: Env,
    options: Arc<Options>,
    connect: Connect,
    read_files: Counter,
    read_bytes: Counter,
    waiting: FloatGauge,
    skipped: FloatGauge,
}

/// Returns an error that blocks the source until an operator acts.
fn blocked(message: String) -> SourceError {
    SourceError { class: ErrorClass::Blocked, message, source: None }
}

fn failed(error: FsError) -> SourceError {
    let message = error.to_string();
    SourceError { class: error.class(), message, source: Some(error.into()) }
}

fn unlisted(error: Unlisted) -> SourceError {
    match error {
        Unlisted::Store(error) => failed(error),
        Unlisted::Other(problem) => blocked(problem),
    }
}

impl From<Stat> for Sight {
    fn from(stat: Stat) -> Self {
        Self { len: stat.len, modified: stat.modified.map(|at: SystemTime| unix_millis(at)) }
    }
}

/// State of a run.
struct Run<'a> {
    files: &'a Files,
    fs: Arc<dyn FileSystem>,
    state: State,
    /// The file and the position in it at which the run ends.
    until: Option<Mark>,
    puts: &'a mut Puts,
}

/// A file being read. Dropping it stops the fetch task.
struct Reading {
    reader: BufReader<Box<dyn Read + Send>>,
    decoder: Box<dyn FileDecoder>,
    headers: Vec<(String, String)>,
    /// `None` if the decoder requests parts by itself.
    _fetching: Option<AbortOnDropHandle<()>>,
}

impl Reading {
    /// Opens a file of `len` bytes, and skips its first events.
    async fn begin(
        options: Arc<Options>,
        fs: Arc<dyn FileSystem>,
        (path, len): (&str, u64),
        events: u64,
        env: &Env,
    ) -> Result<Self, FileError> {
        let (reader, decoder, fetching): (Box<dyn Read + Send>, _, _) =
            match options.decoder.by_parts() {
                Some(decoder) => {
                    let decoder = decoder.begin(Arc::new(Anywhere::new(fs, path, len)));
                    (Box::new(io::empty()), decoder, None)
                }
                None => {
                    let compression = options.compression;
                    let opened = content(fs, path.to_owned(), len, compression).await?;
                    let decoder = options.decoder.begin_file();
                    let decoder = decoder.expect("it was tried when it was built");
                    (opened.0, decoder, Some(opened.1))
                }
            };
        let header = options.file_header.iter().map(|name| (name.clone(), path.to_owned()));
        let mut reading = Self {
            reader: BufReader::with_capacity(READ_BYTES, reader),
            decoder,
            headers: header.collect(),
            _fetching: fetching,
        };
        let pass_over = move || {
            let passed = reading.decoder.skip_events(&mut reading.reader, events);
            passed.map(|()| reading)
        };
        env.offload(pass_over).await
    }

    /// Returns the next events, and whether more follow. Blocks.
    fn next(&mut self, limits: PieceLimits) -> Result<(Batch, bool), FileError> {
        let headers = self.headers.iter().map(|(name, value)| (&**name, &**value));
        let (headers, mut events) = (headers.collect::<Vec<_>>(), BatchBuilder::default());
        let is_more = self.decoder.next(&mut self.reader, limits, &headers, &mut events)?;
        Ok((events.finish(), is_more))
    }
}

impl Run<'_> {
    /// Reads all remaining files.
    async fn work(&mut self) -> Result<(), SourceError> {
        let listed = self.files.options.pattern.list(&*self.fs).await;
        let paths = listed.map_err(unlisted)?;
        self.files.skipped.set(self.fs.skipped_names() as f64);
        let left = self.state.left(&paths).map_err(blocked)?;
        let (mut begun, mut before) = (left.begun, left.before);
        let todo = &paths[left.first..];
        for (number, path) in todo.iter().enumerate() {
            self.files.waiting.set((todo.len() - number) as f64);
            self.file(path, begun.take(), before).await?;
            if self.has_arrived() {
                return Ok(());
            }
            before = and(before, path);
        }
        self.puts.stored().await;
        self.files.waiting.set(0.0);
        let (source, files) = (&self.files.name, todo.len());
        tracing::info!(%source, files, "all files are read and their events are stored");
        Ok(())
    }

    /// Returns true at the end of a run.
    fn has_arrived(&self) -> bool {
        let place = |mark: &Mark| (mark.path.clone(), mark.events, mark.is_done);
        let here = self.state.file.as_ref().map(place);
        self.until.as_ref().is_some_and(|until| here >= Some(place(until)))
    }

    /// Returns the limits of the next batch.
    fn limits(&self) -> PieceLimits {
        let mut limits = self.puts.limits(self.files.options.batch_bytes, BATCH_EVENTS);
        if let (Some(until), Some(here)) = (&self.until, &self.state.file)
            && until.path == here.path
        {
            let left = usize::try_from(until.events - here.events).unwrap_or(usize::MAX);
            limits.events = limits.events.min(left.max(1));
        }
        limits
    }

    /// Reads a file from its position on.
    async fn file(
        &mut self,
        path: &str,
        begun: Option<Mark>,
        before: u64,
    ) -> Result<(), SourceError> {
        let sight = Sight::from(self.fs.stat(path).await.map_err(failed)?);
        let mark = match begun {
            Some(mark) if mark.sight != sight => return Err(changed(path)),
            Some(mark) => mark,
            None => Mark { path: path.to_owned(), sight, before, events: 0, is_done: false },
        };
        let events = mark.events;
        self.state.file = Some(mark);
        let (options, fs, env) = (self.files.options.clone(), self.fs.clone(), &self.files.env);
        let begun = Reading::begin(options, fs, (path, sight.len), events, env).await;
        let mut reading = match begun {
            Ok(reading) => reading,
            Err(error) => return Err(self.cannot(path, sight, error).await),
        };
        while !self.has_arrived() {
            let limits = self.limits();
            let work = move || {
                let read = reading.next(limits);
                (reading, read)
            };
            let (behind, read) = self.files.env.offload(work).await;
            reading = behind;
            let (batch, is_more) = match read {
                Ok(read) => read,
                Err(error) => return Err(self.cannot(path, sight, error).await),
            };
            // The file must be unchanged at its end.
            if !is_more && Sight::from(self.fs.stat(path).await.map_err(failed)?) != sight {
                return Err(changed(path));
            }
            self.store(batch, !is_more).await?;
            if !is_more {
                self.files.read_files.inc();
                self.files.read_bytes.inc_by(sight.len);
                break;
            }
        }
        Ok(())
    }

    /// Returns why a file cannot be read any further.
    async fn cannot(&self, path: &str, sight: Sight, error: FileError) -> SourceError {
        let error = match error {
            FileError::Malformed(error) => io::Error::other(error),
            FileError::Unreadable(error) => match of_store(error) {
                Ok(error) => return failed(error),
                Err(error) => error,
            },
        };
        match self.fs.stat(path).await {
            Err(error) => failed(error),
            Ok(stat) if Sight::from(stat) != sight => changed(path),
            Ok(_) => {
                let events = self.state.file.as_ref().map_or(0, |mark| mark.events);
                blocked(format!(
                    "cannot read {path} after the first {events} events, which are stored: \
                     {error}; if `decoder` and `compression` match the file, it is damaged or not \
                     supported: move it away and rename the source, which stores the events of all \
                     other files again"
                ))
            }
        }
    }

    /// Stores events with the position in the file.
    async fn store(&mut self, mut batch: Batch, is_done: bool) -> Result<(), SourceError> {
        self.state.number += 1;
        if let Some(mark) = &mut self.state.file {
            mark.events += batch.len() as u64;
            mark.is_done = is_done;
        }
        let position = self.state.stored(&self.files.name).map_err(blocked)?;
        batch.envelope.positions.push(position);
        self.puts.put(batch).await;
        Ok(())
    }
}

fn changed(path: &str) -> SourceError {
    blocked(format!(
        "{path} changed while it was read, so stored events may be from both versions; restore the \
         old file, or rename the source to read all files again"
    ))
}

impl Follow for Files {
    const KIND: &'static str = Config::KIND;
    /// The position, and where the run ends.
    type Link = (State, Option<Mark>);

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn batch_bytes(&self) -> u64 {
        self.options.batch_bytes as u64
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::Exact
    }

    async fn open(&mut self, start: &Start, _: &SourceContext) -> Result<Self::Link, SourceError> {
        let read = |known: &Vec<_>| State::read(known, self.options.of).map_err(blocked);
        let until = start.until.as_ref().map(read).transpose()?;
        Ok((read(&start.known)?, until.and_then(|until| until.file)))
    }

    async fn read(
        &mut self,
        (state, until): &mut Self::Link,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        let (fs, state) = ((self.connect)().map_err(failed)?, state.clone());
        let mut run = Run { files: self, fs, state, until: until.take(), puts };
        run.work().await
    }
}
