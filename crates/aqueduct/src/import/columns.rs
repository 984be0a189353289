//! The columns of an import, recorded next to its ledger. Later calls write lines of the same
//! columns, and an export finds each value by the name of its column.

use std::sync::Arc;

use components_hdfs::files::COLUMNS;
use components_hdfs::hdfs::place;
use components_hdfs::hdfs::store::{self, Access};
use pipeline::Env;
use sqoop::Import;
use storage::{CreateOptions, FileSystem, StoreUrl};

/// The file with the names.
pub(super) struct Recorded {
    fs: Arc<dyn FileSystem>,
    directory: String,
}

impl Recorded {
    /// Locates the file of an import.
    ///
    /// # Errors
    /// The URL of the import is invalid.
    pub(super) fn of(import: &Import, env: &Env) -> Result<Self, String> {
        let url = &import.url;
        let parsed = StoreUrl::parse(url).map_err(|error| format!("{url}: {error}"))?;
        let fs = store::open(&parsed, &Access::default(), env);
        let (dataset, _) = place::dataset(&parsed, &import.sink())?;
        let directory = dataset.staged("");
        let directory = directory.trim_end_matches('/').to_owned();
        Ok(Self { fs: fs.map_err(|error| agent::chain(&error))?, directory })
    }

    fn path(&self) -> String {
        format!("{}/{COLUMNS}", self.directory)
    }

    /// Returns the names; `None` before the first import, and for one of an earlier version.
    ///
    /// # Errors
    /// The store failed, or the file is damaged.
    pub(super) async fn read(&self) -> Result<Option<Vec<String>>, String> {
        let path = self.path();
        match self.fs.read(&path).await {
            Ok(bytes) => {
                let names = serde_json::from_slice(&bytes);
                names.map(Some).map_err(|error| {
                    format!("{path} is damaged ({error}): restore it, or use another --target-dir")
                })
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(format!("{path}: {}", agent::chain(&error))),
        }
    }

    /// Writes the names.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn write(&self, names: &[String]) -> Result<(), String> {
        let written = async {
            self.fs.mkdirs(&self.directory).await?;
            // A kill must not leave half a file.
            let draft = format!("{}.draft", self.path());
            self.fs.delete(&draft).await?;
            let mut file = self.fs.create(&draft, CreateOptions::default()).await?;
            file.write(serde_json::Value::from(names).to_string().into()).await?;
            file.close().await?;
            self.fs.rename(&draft, &self.path()).await
        };
        written.await.map_err(|error| format!("{}: {}", self.path(), agent::chain(&error)))
    }
}
