//! A file being written into a bucket: a single put while it is small, otherwise the parts of an
//! upload. Nothing of it is visible before it is closed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use storage::{FileWriter, FsError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::request_error::failed;

/// Size of a part: the minimum of S3, and 20 times the unit of Google. Each open file buffers this
/// many bytes.
pub const PART_BYTES: usize = 5 << 20;
/// Time limit of one request with a part.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Time limit for the server to copy an object to another name.
pub(crate) const COPY_LIMIT: Duration = Duration::from_secs(300);
/// Time limit for aborting an upload.
const ABORT_LIMIT: Duration = Duration::from_secs(10);

/// A part that is being uploaded or waits for its turn among all files.
type Part = AbortOnDropHandle<Result<(), FsError>>;

/// Does a request within its limit.
pub(crate) async fn bounded<T>(
    call: &'static str,
    path: &str,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, FsError> {
    within(CALL_LIMIT, call, path, request).await
}

/// Does the same with another limit.
pub(crate) async fn within<T>(
    limit: Duration,
    call: &'static str,
    path: &str,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, FsError> {
    match timeout(limit, request).await {
        Ok(result) => result.map_err(|error| failed(call, path, error)),
        Err(_) => Err(FsError::Timeout { call, path: path.into(), limit }),
    }
}

/// Puts a small object, unless its name is taken.
pub(crate) async fn put_new(
    store: &dyn ObjectStore,
    call: &'static str,
    path: &str,
    key: &Path,
    content: Bytes,
) -> Result<(), FsError> {
    let content = PutPayload::from(content);
    let put = store.put_opts(key, content.clone(), PutMode::Create.into());
    let taken = match bounded(call, path, put).await {
        Err(taken @ FsError::AlreadyExists { .. }) => taken,
        other => return other.map(drop),
    };
    // In Azure a name may be taken by the blocks of an upload that has not ended, and may never
    // end. The end of another upload passes them over.
    match bounded(call, path, store.head(key)).await {
        Ok(_) => Err(taken),
        Err(FsError::NotFound { .. }) => upload_new(store, call, path, key, content).await,
        Err(error) => Err(error),
    }
}

/// Uploads an object of one part, of any size, unless its name is taken.
pub(crate) async fn upload_new(
    store: &dyn ObjectStore,
    call: &'static str,
    path: &str,
    key: &Path,
    content: PutPayload,
) -> Result<(), FsError> {
    let mut upload = Unfinished(Some(bounded(call, path, store.put_multipart(key)).await?));
    bounded(call, path, upload.get().put_part(content)).await?;
    upload.complete(call, path).await
}

/// An upload that is not complete. Dropping it aborts the upload, as far as that is possible: the
/// parts of one that a killed process leaves are deleted by a rule of the bucket.
struct Unfinished(Option<Box<dyn MultipartUpload>>);

impl Unfinished {
    fn get(&mut self) -> &mut dyn MultipartUpload {
        &mut **self.0.as_mut().expect("it is taken when it is dropped")
    }

    /// Completes the upload.
    async fn complete(mut self, call: &'static str, path: &str) -> Result<(), FsError> {
        bounded(call, path, self.get().complete()).await?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let (Some(mut upload), Ok(runtime)) =
            (self.0.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move { timeout(ABORT_LIMIT, upload.abort()).await });
        }
    }
}

/// A file being written.
pub(crate) struct ObjectWriter {
    store: Arc<dyn ObjectStore>,
    /// Limits the concurrent parts of all files.
    turns: Arc<Semaphore>,
    path: String,
    key: Path,
    part_bytes: usize,
    rest: BytesMut,
    /// Dropped before the upload that it belongs to.
    part: Option<Part>,
    upload: Option<Unfinished>,
}

impl ObjectWriter {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        turns: Arc<Semaphore>,
        path: &str,
        key: Path,
        part_bytes: usize,
    ) -> Self {
        let (rest, upload, part) = (BytesMut::new(), None, None);
        Self { store, turns, path: path.into(), key, part_bytes, rest, upload, part }
    }

    /// Waits for the part under way.
    async fn settled(&mut self) -> Result<(), FsError> {
        match self.part.take() {
            None => Ok(()),
            Some(part) => part.await.unwrap_or_else(|ended| {
                let (call, path) = ("write", self.path.clone());
                Err(FsError::Failed { call, path, source: ended.into() })
            }),
        }
    }

    /// Sends `content` as the next part, once the previous one has arrived and it is its turn.
    async fn send(&mut self, content: Bytes) -> Result<(), FsError> {
        self.settled().await?;
        let turn = self.turns.clone().acquire_owned().await;
        let turn: OwnedSemaphorePermit = turn.expect("the turns of parts are never closed");
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => {
                let begun = bounded("create", &self.path, self.store.put_multipart(&self.key));
                self.upload.insert(Unfinished(Some(begun.await?)))
            }
        };
        let (part, path) = (upload.get().put_part(PutPayload::from(content)), self.path.clone());
        let sending = tokio::spawn(async move {
            let sent = bounded("write", &path, part).await;
            drop(turn);
            sent
        });
        self.part = Some(AbortOnDropHandle::new(sending));
        Ok(())
    }
}

#[async_trait]
impl FileWriter for ObjectWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        self.rest.extend_from_slice(&bytes);
        while self.rest.len() >= self.part_bytes {
            let part = self.rest.split_to(self.part_bytes).freeze();
            self.send(part).await?;
        }
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), FsError> {
        let source = "an object is durable only after it is closed";
        Err(FsError::Unfit { call: "sync", path: self.path.clone(), source: source.into() })
    }

    async fn close(mut self: Box<Self>) -> Result<(), FsError> {
        let rest = self.rest.split().freeze();
        if self.upload.is_none() {
            return put_new(&*self.store, "close", &self.path, &self.key, rest).await;
        }
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        self.settled().await?;
        let upload = self.upload.take().expect("an upload that has parts was begun");
        upload.complete("close", &self.path).await
    }
}
