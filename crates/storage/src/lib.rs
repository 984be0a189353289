//! File systems by URL scheme, with the few operations that a commit needs.
//!
//! | scheme | module | description |
//! |---|---|---|
//! | `file:///dir` | [`local`] | the disk of `Env`, with fsync of files and directories |
//! | none | `memory` (feature `testkit`) | for tests and the simulator |
//! | none | `objects` (feature `testkit`) | another store with the guarantees of an object store |
//!
//! Stores in separate crates: `storage-hdfs` (HDFS by its own protocol), `storage-webhdfs` (HDFS by
//! HTTP), `storage-objects` (buckets). [`hdfs`] has the parts that the first two share.
//!
//! All of them have the same guarantees, which `conformance` asserts. Two of them are fundamental:
//! a name is never replaced, and a rename is atomic. Object stores (the crate `storage-objects`)
//! have neither directories nor renames; see [`FileSystem::is_tree`] for their guarantees.

#[cfg(feature = "testkit")]
pub mod conformance;
mod error;
#[cfg(feature = "testkit")]
pub mod faults;
pub mod hdfs;
pub mod local;
#[cfg(feature = "testkit")]
pub mod memory;
#[cfg(feature = "testkit")]
pub mod objects;
mod url;

use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::FsError;
pub use url::StoreUrl;

/// Maximum size of a file that [`FileSystem::read`] reads from a server: larger files are read in
/// parts.
pub const READ_BYTES_MAX: usize = 256 << 20;

/// Metadata of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Bytes of a file that a reader can see; 0 for a directory.
    pub len: u64,
    /// True for a directory.
    pub directory: bool,
    /// Size of a block of this file, if files consist of blocks.
    pub block_size: Option<u64>,
    /// Last change of its content by the store's clock, if the store records it.
    pub modified: Option<SystemTime>,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name, without its directory.
    pub name: String,
    /// True for a directory.
    pub directory: bool,
}

/// The layout of a new file; `None` leaves it to the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Bytes of a block.
    pub block_size: Option<u64>,
    /// Copies of each block.
    pub replication: Option<u32>,
}

/// A store of files. Paths are absolute, with `/` between names and none at the end.
///
/// Every call ends within a bounded time. An error that is [`pipeline::ErrorClass::Indeterminate`]
/// may have been applied anyway: the caller must check.
#[async_trait]
pub trait FileSystem: Send + Sync {
    /// Returns `true` for a tree of directories, in which a rename is one step, and `false` for an
    /// object store.
    ///
    /// In an object store a directory exists while a file is below it, whether it was created or
    /// not, and directories cannot be renamed. A rename of a file creates the complete new name in
    /// one step; the old name is deleted afterwards, and may stay if the caller dies. Repeating the
    /// rename finds the same bytes at the new name, and finishes it. A rename in progress succeeds
    /// even if the old name is deleted in the meantime. A file exists, and is durable, only once it
    /// is closed.
    fn is_tree(&self) -> bool {
        true
    }

    /// Returns the number of names that listings have skipped so far because they cannot be file
    /// names, such as keys of a bucket with `//` in them. Each counts once.
    fn skipped_names(&self) -> u64 {
        0
    }

    /// Returns `true` if [`FileWriter::sync`] makes the contents of an open file durable. Otherwise
    /// `sync` fails.
    fn syncs_open_files(&self) -> bool {
        self.is_tree()
    }

    /// Begins a new file. Its directory must exist; the name must not.
    ///
    /// # Errors
    /// [`FsError::AlreadyExists`], [`FsError::NotFound`] for the directory, or the store failed. If
    /// two callers begin the same file at the same time, one may get the error from
    /// [`FileWriter::close`].
    async fn create(
        &self,
        path: &str,
        options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError>;

    /// Renames a file or directory in one step, durably. Never replaces anything.
    ///
    /// If several directories may be renamed to the same name concurrently, each must contain a
    /// file or directory with the last component of its old name: then HDFS behind a gateway
    /// refuses the second rename. Otherwise it would move the directory into the first one, and
    /// report success.
    ///
    /// # Errors
    /// [`FsError::AlreadyExists`] for the new name; [`FsError::NotFound`] for the old name or the
    /// directory of the new one; or the store failed.
    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError>;

    /// Checks that files can be merged, by [`FileSystem::concat`] with this `desk` and
    /// [`FileSystem::replace`].
    ///
    /// # Errors
    /// [`FsError::Unfit`] if they cannot, or the store failed.
    async fn can_concat(&self, desk: &str) -> Result<(), FsError> {
        Err(FsError::lacks("concat", desk))
    }

    /// Checks that files of this directory can be merged, in a store that supports merging.
    ///
    /// # Errors
    /// [`FsError::Unfit`] if they cannot, or the store failed.
    async fn can_concat_in(&self, _directory: &str, _desk: &str) -> Result<(), FsError> {
        Ok(())
    }

    /// Appends closed files to another one in their directory, in this order, and removes their
    /// names: one durable step, for all of them or none. `desk` is a separate directory in which a
    /// store may prepare it; see [`FileSystem::tidy`].
    ///
    /// # Errors
    /// [`FsError::NotFound`] for any of them; or the store failed, or does not support it.
    async fn concat(&self, target: &str, _sources: &[String], _desk: &str) -> Result<(), FsError> {
        Err(FsError::lacks("concat", target))
    }

    /// Removes leftovers of [`FileSystem::concat`] on its desk, once no reader needs them. Any
    /// caller must call it from time to time.
    ///
    /// # Errors
    /// The store failed.
    async fn tidy(&self, _desk: &str) -> Result<(), FsError> {
        Ok(())
    }

    /// Renames a file in one step, durably, replacing the file with the new name.
    ///
    /// # Errors
    /// [`FsError::NotFound`] for the old name; or the store failed, or does not support it.
    async fn replace(&self, _from: &str, to: &str) -> Result<(), FsError> {
        Err(FsError::lacks("replace", to))
    }

    /// Reads a whole file; meant for small ones. A store that is not a local disk reads at most
    /// [`READ_BYTES_MAX`].
    ///
    /// # Errors
    /// [`FsError::NotFound`], or the store failed.
    async fn read(&self, path: &str) -> Result<Bytes, FsError>;

    /// Reads up to `bytes` bytes of a file from `at` on, which must be less than its length.
    /// Returns fewer only at the end of the file.
    ///
    /// # Errors
    /// [`FsError::NotFound`], or the store failed.
    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError>;

    /// Returns the metadata of a name.
    ///
    /// # Errors
    /// [`FsError::NotFound`], or the store failed.
    async fn stat(&self, path: &str) -> Result<Stat, FsError>;

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// [`FsError::NotFound`], or the store failed.
    async fn list(&self, directory: &str) -> Result<Vec<Listed>, FsError>;

    /// Deletes a file, or a directory with all in it. `false`: there was nothing of that name.
    ///
    /// # Errors
    /// The store failed.
    async fn delete(&self, path: &str) -> Result<bool, FsError>;

    /// Creates a directory and its parents, durably; existing ones are fine.
    ///
    /// # Errors
    /// The store failed.
    async fn mkdirs(&self, directory: &str) -> Result<(), FsError>;
}

/// A file being written. Dropping it without [`FileWriter::close`] leaves a file of unknown length,
/// which must be deleted.
#[async_trait]
pub trait FileWriter: Send {
    /// Appends. May return while the bytes are still in transit.
    ///
    /// # Errors
    /// The file is unusable, perhaps since an earlier call.
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError>;

    /// Makes everything written before durable.
    ///
    /// # Errors
    /// The store does not support it ([`FileSystem::syncs_open_files`]), or the file is unusable.
    async fn sync(&mut self) -> Result<(), FsError>;

    /// Completes the file: it is durable and has its name when this returns.
    ///
    /// # Errors
    /// The file is unusable.
    async fn close(self: Box<Self>) -> Result<(), FsError>;
}

/// The directory of `path` and its last name.
///
/// # Panics
/// If the path is not absolute: that is a bug of the caller.
pub fn split(path: &str) -> (&str, &str) {
    let (directory, name) = path.rsplit_once('/').expect("paths of a store are absolute");
    (if directory.is_empty() { "/" } else { directory }, name)
}
