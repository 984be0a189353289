//! The connections of the admin listener: which one is closed for a new one, and the time limit for
//! reading an answer.
//!
//! No client waits for another one. At the maximum number of connections, the listener closes the
//! one that has read and written nothing for the longest time: it is idle, or does not read.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// Maximum number of concurrent connections.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// Time limit for a client to read an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// Counts activity on all connections.
    steps: AtomicU64,
    present: Mutex<BTreeMap<u64, Entry>>,
}

#[derive(Debug)]
struct Entry {
    /// The last step of this connection.
    last: Arc<AtomicU64>,
    close: CancellationToken,
}

/// The place of one connection, released when this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    connections: Arc<Connections>,
    number: u64,
    last: Arc<AtomicU64>,
    leave: CancellationToken,
}

impl Connections {
    fn step(&self) -> u64 {
        self.steps.fetch_add(1, Ordering::Relaxed)
    }

    fn present(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a place for a new connection; closes the connection that was idle for the longest
    /// time if necessary.
    pub(super) fn admit(self: &Arc<Self>) -> Connection {
        let number = self.step();
        let (last, leave) = (Arc::new(AtomicU64::new(number)), CancellationToken::new());
        let mut present = self.present();
        if present.len() >= CONNECTIONS_MAX {
            let quiet = present.iter().min_by_key(|(_, place)| place.last.load(Ordering::Relaxed));
            if let Some(quiet) = quiet.map(|(number, _)| *number)
                && let Some(place) = present.remove(&quiet)
            {
                place.close.cancel();
            }
        }
        present.insert(number, Entry { last: last.clone(), close: leave.clone() });
        drop(present);
        Connection { connections: self.clone(), number, last, leave }
    }
}

impl Connection {
    /// Waits until this connection must close.
    pub(super) async fn must_close(&self) {
        self.leave.cancelled().await;
    }

    /// Records reads and writes of this connection.
    pub(super) fn watch<S>(&self, stream: S) -> Watched<S> {
        let (connections, last) = (self.connections.clone(), self.last.clone());
        Watched { stream, connections, last, deadline: None }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.present().remove(&self.number);
    }
}

/// A connection that is counted as quiet while nothing moves, and ends when an answer is not read.
pub(super) struct Watched<S> {
    stream: S,
    connections: Arc<Connections>,
    last: Arc<AtomicU64>,
    /// Runs while an answer waits to be read.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    fn moved(&self) {
        self.last.store(self.connections.step(), Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.moved();
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, bytes) {
            self.moved();
            return Poll::Ready(written);
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(ANSWER_TIMEOUT)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not read the response",
        )))
    }

    /// Called when all of an answer is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.deadline = None;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn the_connection_that_was_quiet_for_the_longest_time_gives_way() {
        let connections = Arc::new(Connections::default());
        let all: Vec<Connection> = (0..CONNECTIONS_MAX).map(|_| connections.admit()).collect();
        let (mut client, server) = tokio::io::duplex(16);
        let mut first = all[0].watch(server);
        client.write_all(b"x").await.unwrap();
        first.read_u8().await.unwrap();
        let newest = connections.admit();
        let gone: Vec<usize> =
            (0..CONNECTIONS_MAX).filter(|index| all[*index].leave.is_cancelled()).collect();
        assert_eq!(gone, [1], "the first one has just read something");
        assert!(!newest.leave.is_cancelled());
        drop(all);
        assert_eq!(connections.present().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_read_byte_by_byte_ends_in_time_all_the_same() {
        let connections = Arc::new(Connections::default());
        let (mut client, server) = tokio::io::duplex(16);
        let mut stream = connections.admit().watch(server);
        let began = Instant::now();
        let reader = tokio::spawn(async move {
            while client.read_u8().await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let error = stream.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() <= ANSWER_TIMEOUT + Duration::from_secs(1));
        drop(stream);
        reader.await.unwrap();
    }
}
