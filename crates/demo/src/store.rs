//! The visible files in the store of the demo.

use std::path::{Path, PathBuf};

use pipeline::Env;
use pipeline::env::FileKind;

use crate::DemoError;

/// Directory below the store with the ledger and staged files, which readers skip.
const BOOKS: &str = "_aqueduct";

/// Files below the store that readers see.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    /// Their paths and sizes.
    pub(crate) files: Vec<(PathBuf, u64)>,
}

impl Visible {
    /// Lists the files below `store`; none if it does not exist yet.
    pub(crate) fn below(env: &Env, store: &Path) -> Result<Self, DemoError> {
        let mut visible = Self::default();
        if env.disk.stat(store).is_ok() {
            visible.walk(env, store)?;
        }
        Ok(visible)
    }

    /// Their size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    fn walk(&mut self, env: &Env, directory: &Path) -> Result<(), DemoError> {
        let failed = |source| DemoError::File { path: directory.to_owned(), source };
        for (name, kind) in env.disk.list(directory).map_err(failed)? {
            let path = directory.join(&name);
            match kind {
                FileKind::Directory if name != BOOKS => self.walk(env, &path)?,
                FileKind::File => {
                    let bytes = env.disk.stat(&path).map_err(failed)?.len;
                    self.files.push((path, bytes));
                }
                FileKind::Directory | FileKind::Link | FileKind::Other => {}
            }
        }
        Ok(())
    }
}
