//! The calls of a store, on the objects of one bucket.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt};
use pipeline::Env;
use storage::{CreateOptions, FileSystem, FileWriter, FsError, Listed, Stat};
use support::mutant;
use tokio::sync::{OnceCell, Semaphore};

use crate::odd_keys::OddKeys;
use crate::provider::Provider;
use crate::writer::{COPY_LIMIT, ObjectWriter, PART_BYTES, bounded, put_new, upload_new, within};

/// Maximum size of an object: a larger one cannot be copied to another name in one part.
pub const OBJECT_BYTES_MAX: u64 = 5 << 30;
/// Parts of all files that are under way at the same time.
const PARTS_AT_ONCE: usize = 4;
/// Objects of a directory that are deleted at the same time.
const DELETED_AT_ONCE: usize = 8;

/// One bucket.
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    provider: &'static Provider,
    env: Env,
    /// Bytes of a part of an upload; an object of more is copied another way.
    part_bytes: usize,
    turns: Arc<Semaphore>,
    /// Set once the server has been seen to observe conditions.
    heeds: OnceCell<()>,
    /// The keys that were left out of listings.
    odd_keys: Arc<OddKeys>,
}

/// The key of a path.
fn key(call: &'static str, path: &str) -> Result<Path, FsError> {
    Path::parse(path.trim_start_matches('/')).map_err(|error| FsError::Unfit {
        call,
        path: path.into(),
        source: error.into(),
    })
}

/// Returns `true` if an object represents a directory, as in some of Azure's containers.
fn is_directory(attributes: &Attributes) -> bool {
    let name = Attribute::Metadata("hdi_isfolder".into());
    attributes.get(&name).is_some_and(|value| value.as_ref() == "true")
}

fn not_found(path: &str) -> FsError {
    FsError::NotFound { path: path.into() }
}

/// Returns the error for a condition without effect.
fn unheeded(provider: &Provider, path: &str, what: &str) -> FsError {
    let Provider { condition, heeded_by, .. } = provider;
    let source = format!(
        "the server ignores {condition} for {what}, so it could replace committed files; use a \
         server that supports it; {heeded_by}"
    );
    FsError::Unfit { call: "rename", path: path.into(), source: source.into() }
}

impl Bucket {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, provider: &'static Provider, env: Env) -> Self {
        let (turns, heeds) = (Arc::new(Semaphore::new(PARTS_AT_ONCE)), OnceCell::new());
        let odd_keys = Arc::default();
        Self { store, provider, env, part_bytes: PART_BYTES, turns, heeds, odd_keys }
    }

    /// The same, with the keys that its clients leave out of listings.
    pub(crate) fn counting(self, odd_keys: Arc<OddKeys>) -> Self {
        Self { odd_keys, ..self }
    }

    /// Sets the size of parts.
    #[cfg(feature = "testkit")]
    pub(crate) fn with_parts_of(self, part_bytes: usize) -> Self {
        Self { part_bytes, ..self }
    }

    /// A file on its way to this key.
    fn writer(&self, path: &str, key: Path) -> ObjectWriter {
        ObjectWriter::new(self.store.clone(), self.turns.clone(), path, key, self.part_bytes)
    }

    async fn head(
        &self,
        call: &'static str,
        path: &str,
        key: &Path,
    ) -> Result<Option<ObjectMeta>, FsError> {
        let asked = self.store.get_opts(key, GetOptions { head: true, ..Default::default() });
        match bounded(call, path, asked).await {
            Ok(found) if is_directory(&found.attributes) => Ok(None),
            Ok(found) => Ok(Some(found.meta)),
            Err(FsError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first object below a directory.
    async fn first_below(
        &self,
        call: &'static str,
        path: &str,
        key: &Path,
    ) -> Result<Option<ObjectMeta>, FsError> {
        let mut below = self.store.list(Some(key));
        bounded(call, path, below.try_next()).await
    }

    /// Checks once that the server observes the conditions that every commit depends on. A server
    /// that does not know them accepts the requests anyway.
    async fn honours_conditions(&self, directory: &str) -> Result<(), FsError> {
        let look = async {
            let path = format!("{directory}/condition-{:016x}", self.env.entropy.next_u64());
            let key = key("rename", &path)?;
            put_new(&*self.store, "rename", &path, &key, Bytes::from_static(b"?")).await?;
            let again =
                put_new(&*self.store, "rename", &path, &key, Bytes::from_static(b"!")).await;
            let ended = upload_new(&*self.store, "rename", &path, &key, "!".into()).await;
            bounded("rename", &path, self.store.delete(&key)).await?;
            for (answer, what) in [(again, "a put"), (ended, "the end of an upload")] {
                match answer {
                    Ok(()) => return Err(unheeded(self.provider, &path, what)),
                    Err(FsError::AlreadyExists { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        self.heeds.get_or_try_init(|| look).await.copied()
    }

    /// Copies an object of several parts, unless the new name is taken: inside the server, or
    /// through this process if the server does not support a condition for copies.
    async fn copy_new(&self, source: &ObjectMeta, to: &str) -> Result<(), FsError> {
        let (from, key) = (&source.location, key("rename", to)?);
        if self.provider.copies_inside {
            let copy = self.store.copy_if_not_exists(from, &key);
            return within(COPY_LIMIT, "rename", to, copy).await;
        }
        if mutant!("seen_before_whole") {
            let part = self.store.get_range(from, 0..self.part_bytes as u64);
            let part = bounded("rename", to, part).await?;
            put_new(&*self.store, "rename", to, &key, part).await?;
            drop(self.store.delete(&key).await);
        }
        let mut writer = self.writer(to, key);
        let mut at = 0;
        while at < source.size {
            let range = at..(at + self.part_bytes as u64).min(source.size);
            let part = bounded("rename", to, self.store.get_range(from, range.clone())).await?;
            writer.write(part).await?;
            at = range.end;
        }
        Box::new(writer).close().await
    }

    /// Returns whether both names have the same bytes.
    async fn same(
        &self,
        one: (&str, &Path),
        other: (&str, &Path),
        len: u64,
    ) -> Result<bool, FsError> {
        let mut at = 0;
        while at < len {
            let range = at..(at + self.part_bytes as u64).min(len);
            let (left, right) = tokio::try_join!(
                bounded("rename", one.0, self.store.get_range(one.1, range.clone())),
                bounded("rename", other.0, self.store.get_range(other.1, range.clone())),
            )?;
            if left != right {
                return Ok(false);
            }
            at = range.end;
        }
        Ok(true)
    }

    /// Handles a taken new name. If an earlier attempt of the same rename has taken it, which the
    /// bytes show, finishes the rename.
    async fn taken(&self, from: &str, to: &str, source: &ObjectMeta) -> Result<(), FsError> {
        if mutant!("own_copy_unknown") {
            return Err(FsError::AlreadyExists { path: to.into() });
        }
        let key = key("rename", to)?;
        let Some(target) = self.head("rename", to, &key).await? else {
            let source = "the name was taken, but is free again".into();
            return Err(FsError::Failed { call: "rename", path: to.into(), source });
        };
        let is_same = target.size == source.size
            && self.same((from, &source.location), (to, &key), source.size).await?;
        if is_same { Ok(()) } else { Err(FsError::AlreadyExists { path: to.into() }) }
    }
}

#[async_trait]
impl FileSystem for Bucket {
    fn is_tree(&self) -> bool {
        false
    }

    fn skipped_names(&self) -> u64 {
        self.odd_keys.count()
    }

    async fn create(
        &self,
        path: &str,
        _options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError> {
        let key = key("create", path)?;
        if self.head("create", path, &key).await?.is_some() {
            return Err(FsError::AlreadyExists { path: path.into() });
        }
        Ok(Box::new(self.writer(path, key)))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        let old = key("rename", from)?;
        let Some(source) = self.head("rename", from, &old).await? else {
            return match self.first_below("rename", from, &old).await? {
                None => Err(not_found(from)),
                Some(_) => {
                    let source = "an object store cannot rename directories".into();
                    Err(FsError::Unfit { call: "rename", path: from.into(), source })
                }
            };
        };
        self.honours_conditions(storage::split(from).0).await?;
        let copied = if source.size <= self.part_bytes as u64 {
            let got = bounded("rename", from, self.store.get(&old)).await?;
            let content = bounded("rename", from, got.bytes()).await?;
            let key = key("rename", to)?;
            if mutant!("put_without_condition") {
                bounded("rename", to, self.store.put(&key, content.into())).await.map(drop)
            } else {
                put_new(&*self.store, "rename", to, &key, content).await
            }
        } else if self.head("rename", to, &key("rename", to)?).await?.is_some() {
            // Do not copy if an earlier attempt has done it.
            Err(FsError::AlreadyExists { path: to.into() })
        } else {
            self.copy_new(&source, to).await
        };
        match copied {
            Ok(()) => {}
            Err(FsError::AlreadyExists { .. }) => self.taken(from, to, &source).await?,
            Err(error) => return Err(error),
        }
        // The new name exists, so it is done. The next attempt finds a remaining old one.
        drop(bounded("rename", from, self.store.delete(&old)).await);
        Ok(())
    }

    async fn read(&self, path: &str) -> Result<Bytes, FsError> {
        let key = key("read", path)?;
        let got = bounded("read", path, self.store.get(&key)).await?;
        bounded("read", path, got.bytes()).await
    }

    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError> {
        let key = key("read", path)?;
        let range = at..at.saturating_add(bytes as u64);
        bounded("read", path, self.store.get_range(&key, range)).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, FsError> {
        let key = key("stat", path)?;
        if let Some(meta) = self.head("stat", path, &key).await? {
            let modified = Some(SystemTime::from(meta.last_modified));
            return Ok(Stat { len: meta.size, directory: false, block_size: None, modified });
        }
        match self.first_below("stat", path, &key).await? {
            Some(_) => Ok(Stat { len: 0, directory: true, block_size: None, modified: None }),
            None => Err(not_found(path)),
        }
    }

    async fn list(&self, directory: &str) -> Result<Vec<Listed>, FsError> {
        let key = key("list", directory)?;
        let listed = bounded("list", directory, self.store.list_with_delimiter(Some(&key))).await?;
        let files = listed.objects.into_iter().filter(|object| object.location != key);
        let files = files.map(|object| (object.location, false));
        let directories = listed.common_prefixes.into_iter().map(|prefix| (prefix, true));
        let mut names: Vec<Listed> = files
            .chain(directories)
            .filter_map(|(path, directory)| Some((path.filename()?.to_owned(), directory)))
            .map(|(name, directory)| Listed { name, directory })
            .collect();
        if names.is_empty() {
            return Err(not_found(directory));
        }
        names.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(names)
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        let key = key("delete", path)?;
        if self.head("delete", path, &key).await?.is_some() {
            bounded("delete", path, self.store.delete(&key)).await?;
            return Ok(true);
        }
        let below = self.store.list(Some(&key)).map_ok(|object| object.location);
        let below: Vec<Path> = bounded("delete", path, below.try_collect()).await?;
        let any = !below.is_empty();
        let deleting = below.into_iter().map(|key| {
            let store = self.store.clone();
            async move { bounded("delete", key.as_ref(), store.delete(&key)).await }
        });
        let deleting = futures::stream::iter(deleting).buffer_unordered(DELETED_AT_ONCE);
        deleting.try_collect::<()>().await?;
        Ok(any)
    }

    /// A directory exists with its first object.
    async fn mkdirs(&self, _directory: &str) -> Result<(), FsError> {
        Ok(())
    }
}
