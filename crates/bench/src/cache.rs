//! Where inputs, peers and scratch data live between runs: outside the source tree, on one file
//! system, so that a log can be *linked* into a watched folder.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Doing, Result};

/// The folder that all runs share.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `AQUEDUCT_BENCH_CACHE`, else `aqueduct-bench` in the user's cache folder.
    pub(crate) fn open() -> Result<Self> {
        let root = env::var_os("AQUEDUCT_BENCH_CACHE").map_or_else(user_cache, PathBuf::from);
        fs::create_dir_all(&root).at("create", &root)?;
        Ok(Self { root })
    }

    /// A path below the cache.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A fresh folder that is deleted when dropped.
    pub(crate) fn scratch(&self) -> Result<TempDir> {
        scratch_in(&self.root)
    }

    /// The same in `place`, where one is given.
    pub(crate) fn scratch_at(&self, place: Option<&Path>) -> Result<TempDir> {
        scratch_in(place.unwrap_or(&self.root))
    }

    /// Makes `name` once: `build` fills a temporary folder, which takes its final name when it is
    /// complete, so that an interrupted set-up is never mistaken for a finished one.
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

/// A fresh folder in `place` that is deleted when dropped.
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
