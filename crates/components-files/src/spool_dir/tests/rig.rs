//! A directory, two channels, and runs of the source.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kit::testkit::channels::Channels;
use metrics::SourceReason;
use pipeline::PositionIntake;
use pipeline::testkit::{build, position_context};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::*;

pub(super) struct Rig {
    directory: TempDir,
    settings: Value,
    metrics: Metrics,
    pub(super) channels: Arc<Channels>,
}

/// Returns the setting for which the source rejects its configuration.
pub(super) fn build_error(settings: &Value) -> String {
    let cx = formats::alone("in", Path::new("unused"), env::real());
    build::<Config>(settings, &cx).err().unwrap().path
}

pub(super) fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(text: &str) -> Vec<u8> {
    ::zstd::encode_all(text.as_bytes(), 1).unwrap()
}

pub(super) fn bzip2(text: &str) -> Vec<u8> {
    let level = ::bzip2::Compression::fast();
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), level);
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../formats/tests/golden/avro/", $name))
            .as_slice()
    };
}

/// Files of the same 12 records, in blocks of 5, 1 and 6, written by Avro's reference library.
pub(super) const AVRO_FILES: [&[u8]; 3] =
    [golden!("null.avro"), golden!("deflate.avro"), golden!("zstandard.avro")];

/// Returns Flume's events of these records, in the form of [`Rig::bodies`].
pub(super) fn avro_bodies() -> Vec<String> {
    let body = |line: &str| {
        let hex = line.split('\t').next().unwrap();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    std::str::from_utf8(golden!("flume-hash.txt")).unwrap().lines().map(body).collect()
}

/// Returns text in UTF-16, with or without byte order mark.
pub(super) fn utf16(text: &str, has_mark: bool, to: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mark = has_mark.then_some(0xfeff);
    mark.into_iter().chain(text.encode_utf16()).flat_map(to).collect()
}

impl Rig {
    pub(super) fn new(settings: &Value) -> Self {
        let rig = Self {
            directory: tempfile::tempdir().unwrap(),
            settings: Value::Null,
            metrics: Metrics::default(),
            channels: Arc::new(Channels::new(2)),
        };
        rig.with(settings)
    }

    /// Returns the same directory and channels with other settings.
    pub(super) fn with(mut self, settings: &Value) -> Self {
        let directory = self.directory.path();
        self.settings = json!({ "directory": directory, "poll_delay": "5ms", "settle": "0s" });
        for (name, value) in settings.as_object().unwrap() {
            self.settings[name] = value.clone();
        }
        self
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn put(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Writes a file that was last changed `seconds` seconds ago.
    pub(super) fn put_aged(&self, name: &str, content: &[u8], seconds: u64) {
        self.put(name, content);
        let file = fs::File::options().write(true).open(self.path(name)).unwrap();
        let base = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        file.set_modified(base - Duration::from_secs(seconds)).unwrap();
    }

    /// Returns the names in the directory, or in a subdirectory.
    pub(super) fn names(&self, below: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(below)).unwrap().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        let mut names: Vec<String> =
            files.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(super) fn bodies(&self, channel: usize) -> Vec<String> {
        self.channels.events(channel).into_iter().map(|event| event.body).collect()
    }

    pub(super) fn counted(&self, reason: &'static str) -> u64 {
        let label = SourceReason { source: "in".into(), reason };
        self.metrics.source_anomalies.get_or_create(&label).get()
    }

    pub(super) fn options(&self) -> Arc<Options> {
        let config: Config = pipeline::Settings::from_json(&self.settings).read().unwrap();
        config.options(&formats::alone("in", Path::new("unused"), env::real())).unwrap()
    }

    fn source(&self) -> Box<dyn Source> {
        let mut cx = formats::alone("in", Path::new("unused"), env::real());
        cx.metrics = self.metrics.clone();
        build::<Config>(&self.settings, &cx).unwrap()
    }

    pub(super) fn open(&self) -> Result<(), SourceError> {
        let intake: Arc<dyn PositionIntake> = self.channels.clone();
        let cx = position_context(intake, CancellationToken::new());
        Runtime::new().unwrap().block_on(self.source().open(&cx))
    }

    /// Runs the source until the condition is met, then kills it.
    pub(super) fn run_until(&self, is_so: impl Fn(&Self) -> bool) {
        self.run_with(self.channels.clone(), is_so);
    }

    /// As `run_until`, with another intake before the channels.
    pub(super) fn run_with(&self, intake: Arc<dyn PositionIntake>, is_so: impl Fn(&Self) -> bool) {
        let runtime = Runtime::new().unwrap();
        let cx = position_context(intake, CancellationToken::new());
        let mut source = self.source();
        let running = runtime.spawn(async move {
            source.open(&cx).await?;
            source.run(cx).await
        });
        runtime.block_on(async {
            for _ in 0..40_000 {
                if is_so(self) {
                    return;
                }
                assert!(!running.is_finished(), "the source has ended");
                sleep(Duration::from_micros(500)).await;
            }
            panic!("what was waited for did not come: {:?}", self.names(""));
        });
        runtime.shutdown_timeout(Duration::from_secs(10));
    }

    pub(super) fn run_until_events(&self, events: usize) {
        let has = |rig: &Self| (0..2).all(|channel| rig.channels.events(channel).len() >= events);
        self.run_until(has);
    }

    /// Runs until `files` files are completed and no position is left.
    pub(super) fn run_until_renamed(&self, files: usize) {
        self.run_until(|rig| {
            let names = rig.names("");
            names.iter().filter(|name| name.ends_with(".COMPLETED")).count() >= files
                && (0..2).all(|channel| rig.channels.keys(channel) == 0)
        });
    }
}
