//! Stores inputs, peers and scratch data between runs: outside of the source tree, on one file
//! system, so that a log can be *linked* into a watched folder.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Doing, Result};

/// The folder shared by all runs.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Returns `AQUEDUCT_BENCH_CACHE`, or `aqueduct-bench` in the user's cache folder.
    pub(crate) fn open() -> Result<Self> {
        let root = env::var_os("AQUEDUCT_BENCH_CACHE").map_or_else(user_cache, PathBuf::from);
        fs::create_dir_all(&root).at("create", &root)?;
        Ok(Self { root })
    }

    /// Returns a path below the cache.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Creates a new folder that is deleted on drop.
    pub(crate) fn scratch(&self) -> Result<TempDir> {
        scratch_in(&self.root)
    }

    /// Same in `place`, if given.
    pub(crate) fn scratch_at(&self, place: Option<&Path>) -> Result<TempDir> {
        scratch_in(place.unwrap_or(&self.root))
    }

    /// Creates `name` once: `build` fills a temporary folder, which is renamed when complete, so
    /// that an interrupted setup is never used.
    pub(crate) fn build_once(
        &self,
        name: &str,
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let ready = self.path(name);
        if ready.exists() {
            return Ok(ready);
        }
        let unfinished = self.scratch()?;
        build(unfinished.path())?;
        let unfinished = unfinished.keep();
        fs::rename(&unfinished, &ready).at("rename to", &ready)?;
        Ok(ready)
    }
}

/// Creates a new folder in `place` that is deleted on drop.
pub(crate) fn scratch_in(place: &Path) -> Result<TempDir> {
    let fresh = tempfile::Builder::new().prefix("aqueduct-bench-").tempdir_in(place);
    fresh.at("create a scratch folder in", place)
}

fn user_cache() -> PathBuf {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(env::temp_dir);
    base.join("aqueduct-bench")
}
