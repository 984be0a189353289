//! Reads the store like a consumer. Visible files never change, so each is read once.

use std::collections::BTreeSet;

use ledger::{LedgerError, VisibleFiles};
use pipeline::Env;
use proof::{Opened, ProofError};

use super::OtherError;
use super::count::Count;

/// Name of the sink in the collector's configuration.
const SINK: &str = "store";

/// The files of a run.
pub(super) struct Stored {
    url: String,
    env: Env,
    opened: Option<Opened>,
    seen: BTreeSet<String>,
}

impl Stored {
    /// Reads files below this URL.
    pub(super) fn new(url: String, env: &Env) -> Self {
        Self { url, env: env.clone(), opened: None, seen: BTreeSet::new() }
    }

    /// Returns the number of files so far.
    pub(super) fn files(&self) -> usize {
        self.seen.len()
    }

    /// Counts the lines of new files.
    pub(super) async fn count_new_lines(&mut self, count: &mut Count) -> Result<(), OtherError> {
        let failed =
            |source| OtherError::Store(ProofError::Ledger { url: self.url.clone(), source });
        let Opened { fs, dataset, sink } = match &mut self.opened {
            Some(opened) => opened,
            none => {
                let opened = proof::opened(&self.url, Some(SINK), &self.env).await;
                none.insert(opened.map_err(OtherError::Store)?)
            }
        };
        let mut files = VisibleFiles::new(fs.clone(), dataset, sink);
        loop {
            let path = match files.next().await {
                Ok(Some(file)) => file.path,
                Ok(None) => return Ok(()),
                // Nothing has been stored yet.
                Err(LedgerError::Store(error)) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(failed(error)),
            };
            if self.seen.contains(&path) {
                continue;
            }
            let bytes = fs.read(&path).await.map_err(|error| failed(error.into()))?;
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.for_each(|line| count.line(&path, line));
            self.seen.insert(path);
        }
    }
}
