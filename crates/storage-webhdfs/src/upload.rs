//! A file on its way: one request to a DataNode, whose body is the file. The DataNode creates it,
//! writes what comes, and answers when the file is closed and its blocks are synced.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::poll_fn;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{Method, Uri};
use storage::{FileWriter, FsError};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::calls::{Asked, Calls, DATA_LIMIT, accepted};

/// Limit of closing a file: the DataNodes sync, and the NameNode learns of every block.
const CLOSE_LIMIT: Duration = Duration::from_secs(60);
/// Chunks of a file that wait for its connection.
const CHUNKS_WAITING: usize = 1;

/// A file being written.
pub(crate) struct Upload {
    path: String,
    /// Dropped in front of `chunks`, so that a file that is given up is not ended as if it was
    /// whole. `None` once it was heard.
    answer: Option<AbortOnDropHandle<Result<(), FsError>>>,
    chunks: mpsc::Sender<Bytes>,
}

impl Upload {
    /// Begins it at the URL that the NameNode has named.
    pub(crate) fn begin(calls: Arc<Calls>, to: Uri, path: &str) -> Self {
        let (chunks, mut waiting) = mpsc::channel::<Bytes>(CHUNKS_WAITING);
        let frames = poll_fn(move |cx| waiting.poll_recv(cx).map(|it| it.map(Frame::data).map(Ok)));
        let (body, path) = (StreamBody::new(frames).boxed_unsync(), path.to_owned());
        let of = path.clone();
        let sending = async move {
            let asked = Asked::of("write", &of);
            let answer = calls.send(asked, Method::PUT, to, body).await?;
            accepted(asked, answer).await.map(drop)
        };
        let answer = Some(AbortOnDropHandle::new(tokio::spawn(sending)));
        Self { path, answer, chunks }
    }

    fn is_answered(&self) -> bool {
        self.answer.as_ref().is_none_or(AbortOnDropHandle::is_finished)
    }
}

/// What the DataNode answers.
async fn heard(
    asked: Asked<'_>,
    answer: Option<AbortOnDropHandle<Result<(), FsError>>>,
) -> Result<(), FsError> {
    match answer {
        Some(answer) => answer.await.unwrap_or_else(|ended| Err(asked.failed(&ended.to_string()))),
        None => Err(asked.failed("the file has failed before")),
    }
}

#[async_trait]
impl FileWriter for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        let path = self.path.clone();
        let asked = Asked::of("write", &path);
        let work = async {
            if bytes.is_empty() {
                return Ok(());
            }
            if !self.is_answered() && self.chunks.send(bytes).await.is_ok() {
                return Ok(());
            }
            heard(asked, self.answer.take()).await?;
            Err(asked.failed("the DataNode ended the file before it was whole"))
        };
        asked.within(DATA_LIMIT, work).await
    }

    /// A DataNode syncs the blocks of a file when it is closed.
    async fn sync(&mut self) -> Result<(), FsError> {
        Err(Asked::of("sync", &self.path).unfit("over HTTP a file is synced when it is closed"))
    }

    async fn close(self: Box<Self>) -> Result<(), FsError> {
        let Self { path, answer, chunks } = *self;
        drop(chunks);
        let asked = Asked::of("close", &path);
        asked.within(CLOSE_LIMIT, heard(asked, answer)).await
    }
}
