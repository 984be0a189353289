//! The store as an object server, behind the trait of the library that `storage-objects` uses.
//!
//! ```text
//!   ledger, sink ─► storage-objects: Bucket ─► Server: ObjectStore ── request ──► store
//!     production code, as with S3 or Google       │                                 put, if the
//!                                                 └◄─ answer, 503, or silence ──    name is free
//! ```
//!
//! There are no renames and no directories. An object appears completely. A conditional put checks
//! and takes the name in one step, when the request arrives. Parts of an upload become visible only
//! when it completes.
//!
//! If a response is missing, the caller cannot tell whether the request was performed, is in
//! progress, or never arrived. A rejection has the form of each of the real servers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, UploadPart,
};
use storage::memory::Memory;
use storage_objects::testkit::Answer;

use crate::asked::Asked;
use crate::store::{Silence, Way};
use crate::world::lock;

/// The server, as one machine reaches it.
#[derive(Clone)]
pub(crate) struct Server {
    way: Way,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated server")
    }
}

/// Returns the store path of an object.
fn place(key: &Path) -> String {
    format!("/{key}")
}

fn not_found(path: &str) -> Error {
    Error::NotFound { path: path.into(), source: "there is no such object".into() }
}

fn put(memory: &Memory, path: &str, content: &[u8], is_new: bool) -> Result<()> {
    if is_new && memory.file(path).is_some() {
        return Err(Error::AlreadyExists { path: path.into(), source: "412".into() });
    }
    memory.put(path, content);
    Ok(())
}

fn done() -> PutResult {
    PutResult { e_tag: None, version: None, extensions: Default::default() }
}

fn described((path, size): (String, u64)) -> Result<ObjectMeta> {
    let location = Path::parse(path.trim_start_matches('/'))?;
    let last_modified = SystemTime::UNIX_EPOCH.into();
    Ok(ObjectMeta { location, last_modified, size, e_tag: None, version: None })
}

impl Server {
    pub(crate) fn new(way: Way) -> Self {
        Self { way }
    }

    fn memory(&self) -> Memory {
        self.way.store.memory().clone()
    }

    async fn ask<T: Send + 'static>(
        &self,
        asked: Asked,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let is_put = matches!(asked, Asked::Put(_));
        let silence = match self.way.ask(asked, async move { work() }).await {
            Ok(result) => return result,
            Err(silence) => silence,
        };
        let dice = self.way.store.dice();
        let answer = match silence {
            Silence::Refused if is_put && dice.chance(200) => Answer::Conflict,
            Silence::Refused => {
                *dice.pick(&[Answer::Unreached, Answer::SlowDown, Answer::Unavailable])
            }
            Silence::Reset => *dice.pick(&[Answer::Broken, Answer::Unavailable]),
            Silence::Late => Answer::Broken,
        };
        Err(answer.error())
    }

    async fn put(&self, path: String, content: Bytes, is_new: bool) -> Result<PutResult> {
        let memory = self.memory();
        let asked = Asked::Put(path.clone());
        self.ask(asked, move || put(&memory, &path, &content, is_new)).await?;
        Ok(done())
    }

    /// Lists the objects below a prefix, at any depth.
    async fn below(&self, prefix: Option<&Path>) -> Result<Vec<ObjectMeta>> {
        let (memory, path) = (self.memory(), prefix.map(place).unwrap_or_default());
        let asked = Asked::Other("list", path.clone());
        self.ask(asked, move || memory.lengths_below(&path).into_iter().map(described).collect())
            .await
    }
}

#[async_trait]
impl ObjectStore for Server {
    async fn put_opts(
        &self,
        key: &Path,
        content: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let is_new = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                let (operation, implementer) = ("update".into(), self.to_string());
                return Err(Error::NotImplemented { operation, implementer });
            }
        };
        self.put(place(key), content.into(), is_new).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = place(key);
        self.ask(Asked::Other("begin an upload", path.clone()), || Ok(())).await?;
        Ok(Box::new(Upload { server: self.clone(), path, parts: Arc::default(), begun: 0 }))
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        let (memory, path) = (self.memory(), place(key));
        let call = if options.head { "head" } else { "get" };
        let asked = Asked::Other(call, path.clone());
        let work = move || memory.file(&path).ok_or_else(|| not_found(&path));
        let content = self.ask(asked, work).await?;
        let size = content.len() as u64;
        let range = match &options.range {
            None => Ok(0..size),
            Some(range) => range.as_range(size),
        };
        let range =
            range.map_err(|error| Error::Generic { store: "simulated", source: error.into() })?;
        let part = content.slice(range.start as usize..range.end as usize);
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::iter([Ok(part)]).boxed()),
            meta: described((place(key), size))?,
            range,
            attributes: Attributes::new(),
            extensions: Default::default(),
        })
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let server = self.clone();
        let deleted = keys.then(move |key| {
            let server = server.clone();
            async move {
                let key = key?;
                let (memory, path) = (server.memory(), place(&key));
                let work = move |path: String| {
                    move || {
                        // Deleting a missing object succeeds.
                        memory.remove(&path);
                        Ok(())
                    }
                };
                server.ask(Asked::Delete(path.clone()), work(path)).await?;
                Ok(key)
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (server, prefix) = (self.clone(), prefix.cloned());
        let listed = async move { server.below(prefix.as_ref()).await };
        stream::once(listed)
            .map_ok(|all| stream::iter(all.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let root = Path::default();
        let (mut objects, mut common_prefixes) = (Vec::new(), Vec::new());
        for meta in self.below(prefix).await? {
            let prefix = prefix.unwrap_or(&root);
            let Some(mut parts) = meta.location.prefix_match(prefix) else { continue };
            let Some(first) = parts.next() else { continue };
            if parts.next().is_none() {
                drop(parts);
                objects.push(meta);
                continue;
            }
            let directory = prefix.clone().join(first);
            if common_prefixes.last() != Some(&directory) {
                common_prefixes.push(directory);
            }
        }
        Ok(ListResult { objects, common_prefixes, extensions: Default::default() })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (memory, from, to) = (self.memory(), place(from), place(to));
        let is_new = matches!(options.mode, CopyMode::Create);
        let work = move |to: String| {
            move || {
                let content = memory.file(&from).ok_or_else(|| not_found(&from))?;
                put(&memory, &to, &content, is_new)
            }
        };
        self.ask(Asked::Put(to.clone()), work(to)).await
    }
}

/// A multipart upload in progress.
struct Upload {
    server: Server,
    path: String,
    /// The parts that have arrived at the server.
    parts: Arc<Mutex<BTreeMap<usize, Bytes>>>,
    begun: usize,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upload")
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, content: PutPayload) -> UploadPart {
        let (number, parts, server) = (self.begun, self.parts.clone(), self.server.clone());
        self.begun += 1;
        let asked = Asked::Other("part", self.path.clone());
        Box::pin(async move {
            let content = content.into();
            server
                .ask(asked, move || {
                    lock(&parts).insert(number, content);
                    Ok(())
                })
                .await
        })
    }

    /// Completes only if the name is free, like the S3 client of `storage-objects`.
    async fn complete(&mut self) -> Result<PutResult> {
        let (memory, parts, begun) = (self.server.memory(), self.parts.clone(), self.begun);
        let path = self.path.clone();
        let work = move || {
            let parts = lock(&parts);
            if parts.len() != begun {
                return Err(Error::Generic {
                    store: "simulated",
                    source: "a part is missing".into(),
                });
            }
            let whole: Vec<Bytes> = parts.values().cloned().collect();
            put(&memory, &path, &whole.concat(), true)
        };
        self.server.ask(Asked::Put(self.path.clone()), work).await?;
        Ok(done())
    }

    async fn abort(&mut self) -> Result<()> {
        let parts = self.parts.clone();
        let asked = Asked::Other("give an upload up", self.path.clone());
        let work = move || {
            lock(&parts).clear();
            Ok(())
        };
        self.server.ask(asked, work).await
    }
}

#[cfg(test)]
mod tests;
