//! `file_roll`: writes events to files in a local directory, and starts a new file from time to
//! time.
//!
//! A batch is delivered once it is on disk. After a crash or a failed write the batch is written
//! again, so a file may contain an event more than once, and a crash may leave an incomplete line
//! at the end of a file. A file is named `<prefix><milliseconds since 1970>-<n>.<extension>` by the
//! time of its creation. The sink creates a file only when it has an event for it, and never
//! reopens one.
//!
//! An encoder outside this process has a state for each file. If it fails, the file is left as it
//! is, and the batch goes into a new one. The end of such a file is written when the next file
//! begins, or when the sink closes.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pipeline::deliver::{Deliver, Delivered, Options, Requests};
use pipeline::env::{Disk, DiskFile, OpenMode, unix_millis};
use pipeline::units::{ByteSize, Period};
use pipeline::{
    Batch, BuildContext, BuildError, Choice, Classify, Component, Encoder, Env, ErrorClass,
    Guarantee, RemoteFile, Sink, SinkBoard, SinkError,
};
use schemars::JsonSchema;
use serde::Deserialize;
use thiserror::Error;
use tokio::time::Instant;

/// Time limit for writing one batch.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings of the `file_roll` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of the files. It is created if it is missing.
    directory: PathBuf,
    /// Age after which the next batch begins a new file. `"0s"`: no limit.
    #[serde(default = "pipeline::units::seconds::<30>")]
    roll_interval: Period,
    /// Size after which the next batch begins a new file. Default: no limit.
    #[serde(default)]
    size_max: Option<ByteSize>,
    /// Prefix of file names.
    #[serde(default)]
    prefix: String,
    /// Suffix of file names, after a dot. Default: the suffix of the encoder. `""`: no suffix.
    #[serde(default)]
    extension: Option<String>,
    /// Format of the events: `text`, `json`, `header_and_text` or `process`.
    #[serde(default = "defaults::encoder")]
    encoder: Choice<dyn Encoder>,
}

mod defaults {
    use pipeline::{Choice, Encoder};

    pub(super) fn encoder() -> Choice<dyn Encoder> {
        Choice::from_kind("text")
    }
}

impl Component for Config {
    const KIND: &'static str = "file_roll";
    const LETTERS: &[&str] = &["unwritable_event"];
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        if !self.directory.is_absolute() {
            let problem = "must be an absolute path, such as \"/var/log/archive\"";
            return Err(BuildError::invalid("directory", problem));
        }
        let encoder = self.encoder.build("encoder", cx)?;
        if !encoder.file_kind().is_lines && encoder.remote().is_none() {
            let problem = "must write each batch to disk immediately, but this encoder buffers \
                           events; use `text`, `json` or `header_and_text`";
            return Err(BuildError::invalid("encoder", problem));
        }
        let extension = self.extension.unwrap_or_else(|| encoder.file_kind().extension.to_owned());
        for (setting, part) in [("prefix", &self.prefix), ("extension", &extension)] {
            if part.contains(['/', '\0']) {
                let problem = "must not contain `/`, because it is a part of a file name";
                return Err(BuildError::invalid(setting, problem));
            }
        }
        let files = Files {
            env: cx.env.clone(),
            directory: self.directory,
            prefix: self.prefix,
            extension,
            age_max: Some(self.roll_interval.0).filter(|age| !age.is_zero()),
            size_max: self.size_max.map_or(u64::MAX, |size| size.0.max(1)),
            encoder,
            open: Arc::default(),
            board: SinkBoard::default(),
        };
        let options = Options { in_flight_max: 1, in_order: false, timeout: WRITE_TIMEOUT };
        Ok(Box::new(Requests::new(files, options)))
    }
}

/// Reason why a batch was not written.
#[derive(Debug, Error)]
enum FileRollError {
    #[error(
        "cannot {action} {path}: {source}; check the disk and the permissions of the directory"
    )]
    Disk { action: &'static str, path: String, source: io::Error },
    #[error("cannot encode events: {0}; correct them, or choose another `encoder`")]
    Encode(SinkError),
}

impl Classify for FileRollError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Disk { .. } => ErrorClass::Transient,
            Self::Encode(error) => error.class,
        }
    }
}

/// The current file.
struct Open {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    since: Instant,
    /// Bytes of complete batches.
    len: u64,
    /// The form of the file, if it is made outside this process.
    remote: Option<Box<dyn RemoteFile>>,
}

struct Files {
    env: Env,
    directory: PathBuf,
    prefix: String,
    extension: String,
    age_max: Option<Duration>,
    size_max: u64,
    encoder: Box<dyn Encoder>,
    open: Arc<Mutex<Option<Open>>>,
    board: SinkBoard,
}

impl Files {
    fn is_due(&self, open: &Open) -> bool {
        open.len >= self.size_max || self.age_max.is_some_and(|age| open.since.elapsed() >= age)
    }

    /// Takes the open file. The caller owns it until the write is done, so that an abandoned write
    /// never meets another one in the same file.
    fn take_open(&self) -> Option<Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Writes the end of a file. All of its events are stored already, so a failure only leaves the
    /// file without its end.
    async fn end(&self, mut open: Open) {
        let Some(mut remote) = open.remote.take() else { return };
        let path = open.path.clone();
        let ended = match remote.finish().await {
            Ok(content) => self.env.offload(move || open.append(&content)).await,
            Err(error) => Err(FileRollError::Encode(error)),
        };
        if let Err(error) = ended {
            tracing::warn!(path = %path.display(), %error,
                "the file has all of its events, but not the end of its format, so that readers \
                 may report it as incomplete; fix the cause in `error` for the next files");
        }
    }

    fn name(&self, n: u32) -> String {
        let Self { prefix, extension, .. } = self;
        let dot = if extension.is_empty() { "" } else { "." };
        format!("{prefix}{}-{n}{dot}{extension}", unix_millis(self.env.clock.now()))
    }
}

fn begin(disk: &dyn Disk, directory: &Path, names: &[String]) -> Result<Open, FileRollError> {
    let failed = |action, path: &Path, source| FileRollError::Disk {
        action,
        path: path.display().to_string(),
        source,
    };
    disk.create_dir_all(directory).map_err(|error| failed("make", directory, error))?;
    let mode = OpenMode { write: true, create_new: true, ..OpenMode::default() };
    for name in names {
        let path = directory.join(name);
        match disk.open(&path, mode) {
            Ok(file) => {
                disk.sync_dir(directory).map_err(|error| failed("sync", directory, error))?;
                return Ok(Open { path, file, since: Instant::now(), len: 0, remote: None });
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("make", &path, error)),
        }
    }
    Err(failed("make a file in", directory, io::ErrorKind::AlreadyExists.into()))
}

impl Open {
    /// Appends durably. A failed write is removed from the file, if the disk permits that.
    fn append(&mut self, content: &[u8]) -> Result<(), FileRollError> {
        let written = self.file.write_at(&[IoSlice::new(content)], self.len, true);
        if let Err(source) = written {
            // The next batch starts a new file; this one should end with a complete line.
            let _ = self.file.set_len(self.len);
            let path = self.path.display().to_string();
            return Err(FileRollError::Disk { action: "write", path, source });
        }
        self.len += content.len() as u64;
        Ok(())
    }
}

#[async_trait]
impl Deliver for Files {
    type Error = FileRollError;

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, FileRollError> {
        let left_out = self.encoder.unwritable(batch);
        let is_left_out = |index| left_out.binary_search_by_key(&index, |one| one.index).is_ok();
        let mut events = batch.events.clone();
        if !left_out.is_empty() {
            events.retain(|event| !is_left_out(event.index()));
        }
        let mut open = self.take_open();
        if let Some(due) = open.take_if(|open| self.is_due(open)) {
            self.end(due).await;
        }
        let begun = open.as_mut().and_then(|open| open.remote.take());
        let mut remote = begun.or_else(|| Some(self.encoder.remote()?.begin()));
        let content = match &mut remote {
            Some(file) => file.encode(&events).await.map_err(FileRollError::Encode)?,
            // Files of lines have no header or footer.
            None => self.encoder.begin().encode(&events),
        };
        const SAME_MILLISECOND_MAX: u32 = 100;
        let (kept, disk) = (self.open.clone(), self.env.disk.clone());
        let (directory, board) = (self.directory.clone(), self.board.clone());
        let names: Vec<String> = match open {
            Some(_) => Vec::new(),
            None => (1..=SAME_MILLISECOND_MAX).map(|n| self.name(n)).collect(),
        };
        let write = move || {
            let mut open = match open {
                Some(open) => open,
                None => begin(&*disk, &directory, &names)?,
            };
            open.append(&content)?;
            board.set_open_files(1);
            board.set_last_commit(format!("{}, {} bytes", open.path.display(), open.len));
            open.remote = remote;
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
            Ok::<(), FileRollError>(())
        };
        self.env.offload(write).await?;
        let Some(first) = left_out.first() else { return Ok(Delivered::All) };
        let (reason, detail) = ("unwritable_event", first.reason.clone());
        let events = left_out.iter().map(|one| one.index).collect();
        Ok(Delivered::Except { events, reason, detail })
    }

    async fn close(&self) {
        if let Some(open) = self.take_open() {
            self.end(open).await;
        }
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn status(&self) -> Option<&SinkBoard> {
        Some(&self.board)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests look at the real files")]
mod tests {
    use std::fs;

    use pipeline::testkit::build;
    use pipeline::{Outcome, Taken};
    use serde_json::{Value, json};

    use super::*;

    fn sink(directory: &Path, mut settings: Value) -> Box<dyn Sink> {
        settings["directory"] = json!(directory);
        let cx = crate::alone("roll", Path::new("unused"), env::real());
        build::<Config>(&settings, &cx).unwrap()
    }

    async fn deliver(sink: &mut dyn Sink, bodies: &[&str]) -> Outcome {
        sink.write(Taken { ticket: 1, batch: Batch::of(bodies) }).await.unwrap();
        sink.settled().await.outcome
    }

    fn contents(directory: &Path) -> Vec<String> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    #[tokio::test]
    async fn batches_follow_each_other_in_one_file_until_it_is_large_enough() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("made/here");
        let mut sink = sink(&directory, json!({ "size_max": "8B", "prefix": "web-" }));
        for bodies in [&["one"][..], &["two", "three"], &["four"]] {
            assert!(matches!(deliver(&mut *sink, bodies).await, Outcome::Delivered));
        }
        let contents = contents(&directory);
        assert_eq!(contents, ["one\ntwo\nthree\n", "four\n"]);
        for entry in fs::read_dir(&directory).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name.starts_with("web-1") && name.ends_with(".log"), "{name}");
        }
    }

    #[tokio::test]
    async fn a_file_ends_by_age_unless_the_interval_is_zero() {
        for (interval, files) in [("1ms", 2), ("0s", 1)] {
            let folder = tempfile::tempdir().unwrap();
            let mut sink = sink(folder.path(), json!({ "roll_interval": interval }));
            deliver(&mut *sink, &["one"]).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            deliver(&mut *sink, &["two"]).await;
            assert_eq!(contents(folder.path()).len(), files, "{interval}");
        }
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_is_named_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        fs::write(&place, "a file").unwrap();
        let mut sink = sink(&place, json!({}));
        let Outcome::Again(Some(error)) = deliver(&mut *sink, &["x"]).await else {
            panic!("it is tried again")
        };
        assert!(error.to_string().contains(place.to_str().unwrap()), "{error}");
        fs::remove_file(&place).unwrap();
        assert!(matches!(deliver(&mut *sink, &["x"]).await, Outcome::Delivered));
        assert_eq!(contents(&place), ["x\n"]);
    }

    #[tokio::test]
    async fn no_file_is_begun_without_an_event_and_none_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        for run in 0..2 {
            let mut sink = sink(folder.path(), json!({ "extension": "" }));
            sink.open().await.unwrap();
            assert_eq!(contents(folder.path()).len(), run);
            deliver(&mut *sink, &["x"]).await;
            sink.close().await;
            // The next run starts in another millisecond.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(contents(folder.path()), ["x\n", "x\n"]);
    }
}
