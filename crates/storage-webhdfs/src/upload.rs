//! A file being written: one request to a DataNode, or to a gateway, whose body is the file. The
//! server creates it, writes the received bytes, and answers when the file is closed.
//!
//! Servers and proxies end a connection that is quiet for too long (HttpFS after 60 s), and with it
//! the file. Therefore the request begins with the first bytes of the file, and the last available
//! bytes are **held back**: while no more arrive, one of them is sent from time to time.

use std::mem::{replace, take};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{Stream, unfold};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{Method, Uri};
use storage::{FileWriter, FsError};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::calls::{Call, Calls, DATA_LIMIT, accepted};

/// Limit of closing a file: the DataNodes sync, and the NameNode learns of every block.
const CLOSE_LIMIT: Duration = Duration::from_secs(60);
/// Chunks of a file that wait for its connection.
const CHUNKS_WAITING: usize = 1;
/// Number of held back bytes: enough for five hours without any others.
const HELD_BYTES: usize = 1 << 10;
/// Longest time without a byte, while some are held back.
const QUIET_MAX: Duration = Duration::from_secs(20);

/// A file being written.
pub(crate) struct Upload {
    path: String,
    /// Dropped before `chunks`, so that an abandoned file is not ended as if it were complete.
    /// `None` once it was received.
    answer: Option<AbortOnDropHandle<Result<(), FsError>>>,
    chunks: mpsc::Sender<Bytes>,
}

impl Upload {
    /// Begins an upload to this URL.
    pub(crate) fn begin(calls: Arc<Calls>, to: Uri, path: &str) -> Self {
        let (chunks, mut waiting) = mpsc::channel::<Bytes>(CHUNKS_WAITING);
        let path = path.to_owned();
        let of = path.clone();
        let sending = async move {
            let first = waiting.recv().await.unwrap_or_default();
            let frames = never_quiet(first, waiting).map(Frame::data).map(Ok);
            let body = StreamBody::new(frames).boxed_unsync();
            let asked = Call::new("write", &of);
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

/// Holds back the last bytes of a chunk; returns the bytes to send instead.
fn hold_back(held: &mut Bytes, mut chunk: Bytes) -> [Bytes; 2] {
    let last = chunk.split_off(chunk.len().saturating_sub(HELD_BYTES));
    [replace(held, last), chunk]
}

/// Returns the body: `first` and all further chunks, and a single byte from time to time while none
/// arrives.
fn never_quiet(first: Bytes, waiting: mpsc::Receiver<Bytes>) -> impl Stream<Item = Bytes> {
    let mut held = Bytes::new();
    let ready = hold_back(&mut held, first);
    unfold((ready, held, waiting), |(mut ready, mut held, mut waiting)| async move {
        loop {
            if let Some(part) = ready.iter_mut().find(|part| !part.is_empty()) {
                return Some((take(part), (ready, held, waiting)));
            }
            let came = match held.is_empty() {
                true => Ok(waiting.recv().await),
                false => timeout(QUIET_MAX, waiting.recv()).await,
            };
            ready = match came {
                Ok(Some(chunk)) => hold_back(&mut held, chunk),
                Ok(None) if held.is_empty() => return None,
                Ok(None) => [take(&mut held), Bytes::new()],
                Err(_quiet) => [held.split_to(1), Bytes::new()],
            };
        }
    })
}

/// Waits for the answer of the DataNode.
async fn heard(
    asked: Call<'_>,
    answer: Option<AbortOnDropHandle<Result<(), FsError>>>,
) -> Result<(), FsError> {
    match answer {
        Some(answer) => answer.await.unwrap_or_else(|ended| Err(asked.failed(&ended.to_string()))),
        None => Err(asked.failed("an earlier write of this file failed; the log has its cause")),
    }
}

#[async_trait]
impl FileWriter for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        let path = self.path.clone();
        let asked = Call::new("write", &path);
        let work = async {
            if bytes.is_empty() {
                return Ok(());
            }
            if !self.is_answered() && self.chunks.send(bytes).await.is_ok() {
                return Ok(());
            }
            heard(asked, self.answer.take()).await?;
            Err(asked.failed("the DataNode closed the file before it was complete; see its log"))
        };
        asked.within(DATA_LIMIT, work).await
    }

    /// A DataNode syncs the blocks of a file when it is closed.
    async fn sync(&mut self) -> Result<(), FsError> {
        Err(Call::new("sync", &self.path)
            .unfit("over HTTP, a file is synced only when it is closed"))
    }

    async fn close(self: Box<Self>) -> Result<(), FsError> {
        let Self { path, answer, chunks } = *self;
        drop(chunks);
        let asked = Call::new("close", &path);
        asked.within(CLOSE_LIMIT, heard(asked, answer)).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// HttpFS ends a connection without data for 60 s, and with it the file.
    #[tokio::test(start_paused = true)]
    async fn no_minute_is_quiet_and_each_byte_goes_out_once_in_its_order() {
        let (chunks, waiting) = mpsc::channel(CHUNKS_WAITING);
        let sent: Vec<u8> = (0..5_000).map(|n: u32| (n % 251) as u8).collect();
        let content = sent.clone();
        let writing = tokio::spawn(async move {
            let mut rest = Bytes::from(content).slice(10..);
            for (len, pause) in [(1, 0), (1_023, 3_000), (3_000, 100), (0, 0), (900, 70)] {
                chunks.send(rest.split_to(len)).await.unwrap();
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
            chunks.send(rest).await.unwrap();
        });
        let mut frames = Box::pin(never_quiet(Bytes::from(sent.clone()).slice(..10), waiting));
        let (mut got, mut last) = (Vec::new(), Instant::now());
        while let Some(frame) = frames.next().await {
            assert!(!frame.is_empty(), "that would end the body");
            assert!(last.elapsed() <= QUIET_MAX + Duration::from_secs(1), "{:?}", last.elapsed());
            last = Instant::now();
            got.extend_from_slice(&frame);
        }
        assert_eq!(got, sent);
        writing.await.unwrap();
    }
}
