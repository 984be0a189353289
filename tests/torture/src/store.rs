//! The store of a cluster: its files, their format, and a reader of their lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::iceberg::hadoop_catalog;
use aqueduct_tests::objects::{S3, Server};
use aqueduct_tests::reconcile::{proved, verify};
use clap::ValueEnum;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use serde::{Deserialize, Serialize};

/// DataNodes; each block has two replicas.
pub(crate) const DATANODES: u32 = 3;

/// What the files of a store look like.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// Lines, in HDFS.
    #[default]
    Text,
    /// Lines in gzip, in HDFS.
    Gzip,
    /// Blocks of a SequenceFile, compressed, in HDFS.
    SequenceFile,
    /// Lines in a column of Parquet, in HDFS.
    Parquet,
    /// Lines in HDFS, whose small files become one behind their time.
    Merged,
    /// Lines in a bucket of S3.
    Bucket,
    /// Lines in a column of Parquet, in HDFS: the files of an Iceberg table in a directory.
    Table,
    /// Lines in HDFS, in directories of five seconds with receipts.
    Receipts,
}

impl Form {
    const ALL: [Self; 8] = [
        Self::Text,
        Self::Gzip,
        Self::SequenceFile,
        Self::Parquet,
        Self::Merged,
        Self::Bucket,
        Self::Table,
        Self::Receipts,
    ];

    /// Returns the format for a seed.
    pub(crate) fn of(seed: u64) -> Self {
        Self::ALL[(seed % Self::ALL.len() as u64) as usize]
    }

    /// Returns the settings of a sink, and the path of its files.
    fn settings(self) -> (&'static str, &'static str) {
        match self {
            Self::Text | Self::Bucket => ("", "%Y-%m-%d"),
            Self::Gzip => ("codec = \"gzip\"", "%Y-%m-%d"),
            Self::SequenceFile => (
                "encoder = { type = \"sequence_file\", write_format = \"text\", \
                 compression = \"block\", codec = \"deflate\" }",
                "%Y-%m-%d",
            ),
            Self::Parquet | Self::Table => (
                "encoder = { type = \"parquet\", columns = [{ name = \"line\", type = \"bytes\", \
                 from = \"body\" }] }",
                "%Y-%m-%d",
            ),
            Self::Receipts => {
                ("round = \"5s\"\ncomplete = { grace = \"2s\" }", "%Y-%m-%d_%H-%M-%S")
            }
            Self::Merged => ("round = \"5s\"\ncompact = { after = \"2s\" }", "%Y-%m-%d_%H-%M-%S"),
        }
    }
}

/// The store of a cluster.
pub(crate) struct Store {
    form: Form,
    place: Place,
}

enum Place {
    Hdfs(Hdfs),
    Bucket(S3),
}

impl Store {
    /// Starts its servers, in `folder`.
    ///
    /// # Panics
    ///
    /// When a server does not start.
    pub(crate) fn start(form: Form, folder: &Path) -> Self {
        let folder = folder.join("store");
        fs::create_dir_all(&folder).expect("a folder for the store");
        if form == Form::Bucket {
            return Self { form, place: Place::Bucket(S3::start(&folder)) };
        }
        let mut hdfs = Hdfs::configured(&folder).with_datanodes(DATANODES, 2);
        hdfs.start();
        Self { form, place: Place::Hdfs(hdfs) }
    }

    /// Returns the format of its files.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Returns the settings of a sink that stores here, up to its tables.
    pub(crate) fn settings(&self) -> String {
        let (form, url) = (self.form.settings().0, self.url());
        match &self.place {
            Place::Hdfs(hdfs) if self.form == Form::Table => {
                let catalog = tables(hdfs);
                format!(
                    "url = \"{url}\"\nreplication = 2\n{form}\n\
                     iceberg = {{ catalog = \"{catalog}\", table = \"logs.web\", create = true }}"
                )
            }
            Place::Hdfs(_) => format!("url = \"{url}\"\nreplication = 2\n{form}"),
            Place::Bucket(server) => format!("url = \"{url}\"\n{}\n{form}", server.settings()),
        }
    }

    fn url(&self) -> String {
        let path = format!("torture/{}", self.form.settings().1);
        match &self.place {
            Place::Hdfs(hdfs) => format!("{}/{path}", hdfs.url()),
            Place::Bucket(_) => S3::url(&path),
        }
    }

    /// Configures a collector for it.
    pub(crate) fn known_to(&self, agent: Agent) -> Agent {
        match &self.place {
            Place::Hdfs(hdfs) => agent.with_conf_dir(hdfs.conf_dir()),
            Place::Bucket(_) => agent,
        }
    }

    /// Returns its HDFS; `None` for a bucket.
    pub(crate) fn hdfs(&self) -> Option<&Hdfs> {
        match &self.place {
            Place::Hdfs(hdfs) => Some(hdfs),
            Place::Bucket(_) => None,
        }
    }

    /// Returns whether a visible file may be merged into another one.
    pub(crate) fn changes_files(&self) -> bool {
        self.form == Form::Merged
    }

    /// Returns how long delivered lines may be missing. A collector appends the files of another
    /// one to a table after half a minute, and after failures later.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(if self.form == Form::Table { 120 } else { 0 })
    }

    /// Returns the visible files; of a table, those that Iceberg's `HadoopCatalog` finds.
    pub(crate) fn files(&self) -> Vec<String> {
        match &self.place {
            Place::Hdfs(hdfs) if self.form == Form::Table => {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let files = hadoop_catalog(folder.path(), &[&tables(hdfs), "files"]);
                files.lines().map(str::to_owned).collect()
            }
            Place::Hdfs(hdfs) => {
                let is_data = |path: &String| !name(path).starts_with('_');
                hdfs.list("/torture/20*/*").into_iter().filter(is_data).collect()
            }
            Place::Bucket(server) => server.keys("torture/20"),
        }
    }

    /// Returns the directories that lack a receipt.
    ///
    /// # Panics
    ///
    /// When there is a record of a late file: edges and their clocks work, so no file is late.
    pub(crate) fn incomplete(&self) -> Vec<String> {
        let Some(hdfs) = self.hdfs().filter(|_| self.form == Form::Receipts) else {
            return Vec::new();
        };
        let directory = |path: &str| path.rsplit_once('/').map(|(of, _)| of.to_owned());
        let files = hdfs.list("/torture/20*/*");
        let late = files.iter().find(|path| name(path).starts_with("_late-"));
        assert_eq!(late, None, "a file is late");
        let with = files.iter().filter(|path| name(path) == "_receipt.json");
        let with: BTreeSet<String> = with.filter_map(|path| directory(path)).collect();
        let all: BTreeSet<String> = files.iter().filter_map(|path| directory(path)).collect();
        all.difference(&with).cloned().collect()
    }

    /// Returns the lines of some files, as read by Hadoop's own shell, or copied here if they are
    /// Parquet; `None` if one of them no longer exists.
    pub(crate) fn lines(&self, files: &[&str]) -> Option<Vec<u8>> {
        let hdfs = match &self.place {
            Place::Hdfs(hdfs) => hdfs,
            Place::Bucket(server) => {
                let texts = files.iter().map(|key| server.read(key));
                return Some(texts.collect::<String>().into_bytes());
            }
        };
        if [Form::Parquet, Form::Table].contains(&self.form) {
            return Some(rows(hdfs, files));
        }
        let read = if self.form == Form::Text { "-cat" } else { "-text" };
        let shown = hdfs.shown(&[&[read], files].concat())?;
        if self.form != Form::SequenceFile {
            return Some(shown);
        }
        // Each record is shown as its key, the time, and its value.
        let value = |line: &[u8]| match line.iter().position(|byte| *byte == b'\t') {
            Some(at) => line[at + 1..].to_vec(),
            None => line.to_vec(),
        };
        Some(shown.split_inclusive(|byte| *byte == b'\n').flat_map(value).collect())
    }

    /// Makes `aqueduct verify` prove that everything that these channels accepted is visible.
    ///
    /// # Errors
    ///
    /// It is not proved; contains the output of the command.
    pub(crate) fn proof(&self, channels: &[PathBuf]) -> Result<(), String> {
        let mut command: Command = verify(&self.url(), channels);
        match &self.place {
            Place::Hdfs(hdfs) => command.env("HADOOP_CONF_DIR", hdfs.conf_dir()),
            Place::Bucket(server) => command.envs(server.variables()),
        };
        proved(command)
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns the directory of tables.
fn tables(hdfs: &Hdfs) -> String {
    format!("{}/torture-tables", hdfs.url())
}

/// Returns the lines of Parquet files in HDFS.
fn rows(hdfs: &Hdfs, files: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copies = folder.path().display().to_string();
    hdfs.fs(&[&["-get"], files, &[&copies]].concat());
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder.path()).expect("the copies") {
        let path = entry.expect("a copy").path();
        let file = fs::File::open(&path).expect("a copy");
        let reader = SerializedFileReader::new(file);
        let reader = reader.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for row in reader.get_row_iter(None).expect("all columns") {
            let row = row.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            lines.extend_from_slice(row.get_bytes(0).expect("the column `line`").data());
            lines.push(b'\n');
        }
    }
    lines
}
