//! A connection to a broker, with one session.
//!
//! The library runs it in its own tasks, which still write queued frames after its handles are
//! dropped: dropping a link *closes* it at the broker, and removes a durable subscription. So this
//! module owns the stream beneath and can cut it: nothing more is written, and the broker detects a
//! broken connection, keeps the subscription, and redelivers unaccepted messages.
//!
//! Input passes through a [`Watch`] first, because the library decodes recursively.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fe2o3_amqp::connection::{ConnectionHandle, OpenError};
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Connection as Library, Session};
use kit::broker::BrokerError;
use kit::first::first_reachable;
use pipeline::env::Stream;
use pipeline::{Classify, ErrorClass};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::broker::Target;
use crate::watch::Watch;

/// Maximum size of a frame in both directions; a larger message has several.
const FRAME_BYTES_MAX: u32 = 128 << 10;

/// Reason why a connection cannot be opened, or has ended.
pub(crate) type AmqpError = BrokerError<OnlyAmqp>;

/// The errors that other brokers do not have.
#[derive(Debug, Error)]
pub(crate) enum OnlyAmqp {
    /// The broker refuses the connection.
    #[error("{address} rejects the connection: {problem}; see the log of the broker")]
    Open { address: Arc<str>, problem: String },
    /// The channels refuse a message permanently.
    #[error(
        "a channel rejects a message of `{address}`: {problem}; the source waits and tries again, \
         and reads no other message: raise the limits of the channel, or remove the message from \
         the broker"
    )]
    Refused { address: String, problem: String },
}

impl Classify for OnlyAmqp {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Open { .. } => ErrorClass::Transient,
            Self::Refused { .. } => ErrorClass::Blocked,
        }
    }
}

/// An open connection; cut when dropped.
pub(crate) struct Connection {
    pub(crate) address: Arc<str>,
    pub(crate) session: SessionHandle<()>,
    connection: ConnectionHandle<()>,
    is_cut: Arc<AtomicBool>,
    watch: Arc<Mutex<Watch>>,
    /// Signals that the library has dropped the stream. That does not end everything that waits for
    /// replies.
    gone: CancellationToken,
}

impl Connection {
    /// Connects to the first address that works.
    ///
    /// # Errors
    /// Fails if none works; returns the last error.
    pub(crate) async fn open(target: &Target, client_id: &str) -> Result<Self, AmqpError> {
        let open = |address| Self::open_at(target, address, client_id);
        let limit = target.timeout;
        let silent = |address| AmqpError::NoAnswer { address, limit };
        first_reachable(&target.addresses, limit, open, silent).await
    }

    async fn open_at(
        target: &Target,
        address: &Arc<str>,
        client_id: &str,
    ) -> Result<Self, AmqpError> {
        let stream = target.dialer.connect(address).await;
        let stream =
            stream.map_err(|source| AmqpError::Connect { address: address.clone(), source })?;
        let is_cut = Arc::new(AtomicBool::new(false));
        let gone = CancellationToken::new();
        let _gone = gone.clone().drop_guard();
        let watch = Arc::<Mutex<Watch>>::default();
        let stream = Cuttable { stream, is_cut: is_cut.clone(), watch: watch.clone(), _gone };
        let host = address.rsplit_once(':').map_or(&**address, |(host, _)| host);
        let opened = Library::builder()
            .container_id(client_id)
            .hostname(host)
            .sasl_hostname(host)
            .scheme("amqp")
            .max_frame_size(FRAME_BYTES_MAX)
            .idle_time_out(u32::try_from(target.idle_timeout.as_millis()).unwrap_or(u32::MAX))
            .sasl_profile(target.login())
            .open_with_stream(stream)
            .await;
        let mut connection = opened.map_err(|error| failed_to_open(address, error))?;
        let begun = Session::begin(&mut connection).await;
        let session = begun.map_err(|error| not_opened(address.clone(), error.to_string()))?;
        Ok(Self { address: address.clone(), session, connection, is_cut, watch, gone })
    }

    /// Returns true if the connection is open, as far as this side knows.
    pub(crate) fn is_open(&self) -> bool {
        !self.connection.is_closed() && !self.session.is_ended()
    }

    /// Waits until the connection has ended, for any reason. Cancel safe.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        self.gone.clone().cancelled_owned()
    }

    /// Takes the reason why a message was made malformed on its way to the library, if one was.
    pub(crate) fn take_refused(&self) -> Option<String> {
        lock(&self.watch).take_refused()
    }

    /// Sets the size of the largest message, as [`Watch::limit_messages`].
    pub(crate) fn limit_messages(&self, bytes: u64) {
        lock(&self.watch).limit_messages(bytes);
    }

    /// Stops all writing and reading.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    /// Sends everything that is queued and closes the connection; waits for `limit` at most.
    pub(crate) async fn close(mut self, limit: Duration) {
        let _ = timeout(limit, async {
            let _ = self.session.end().await;
            self.connection.close().await
        })
        .await;
    }

    /// Creates an error of this connection.
    pub(crate) fn ended(&self, problem: impl fmt::Display) -> AmqpError {
        AmqpError::Ended { address: self.address.clone(), problem: problem.to_string() }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.cut();
    }
}

fn not_opened(address: Arc<str>, problem: String) -> AmqpError {
    AmqpError::Other(OnlyAmqp::Open { address, problem })
}

fn failed_to_open(address: &Arc<str>, error: OpenError) -> AmqpError {
    let address = address.clone();
    match error {
        OpenError::Io(source) => AmqpError::Connect { address, source },
        OpenError::SaslError { code, .. } => {
            AmqpError::Login { address, problem: format!("{code:?}") }
        }
        OpenError::NotImplemented(_) => {
            let problem = "the broker offers neither SASL PLAIN nor ANONYMOUS, so enable one of \
                           them there"
                .to_owned();
            AmqpError::Login { address, problem }
        }
        error => not_opened(address, error.to_string()),
    }
}

/// The watch is consistent between calls.
fn lock(watch: &Mutex<Watch>) -> MutexGuard<'_, Watch> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A watched stream that fails after it was cut.
struct Cuttable {
    stream: Box<dyn Stream>,
    is_cut: Arc<AtomicBool>,
    watch: Arc<Mutex<Watch>>,
    /// Cancels its token when dropped.
    _gone: DropGuard,
}

impl Cuttable {
    fn check(&self) -> io::Result<()> {
        match self.is_cut.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for Cuttable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cuttable")
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let passed = lock(&self.watch).pass(&mut buffer.filled_mut()[before..]);
        Poll::Ready(passed.map_err(|problem| io::Error::new(io::ErrorKind::InvalidData, problem)))
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A cut stream may still have bytes in a buffer, for example of TLS: do not send them.
        self.check()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn nothing_is_written_to_a_connection_that_is_cut_not_even_its_end() {
        let (near, mut far) = duplex(64);
        let is_cut = Arc::new(AtomicBool::new(false));
        let gone = CancellationToken::new();
        let _gone = gone.clone().drop_guard();
        let mut stream = {
            let watch = Arc::default();
            Cuttable { stream: Box::new(near), is_cut: is_cut.clone(), watch, _gone }
        };
        stream.write_all(b"before").await.unwrap();
        is_cut.store(true, Ordering::SeqCst);
        assert!(stream.write_all(b"detach").await.is_err());
        assert!(stream.shutdown().await.is_err());
        assert!(stream.read_u8().await.is_err());
        assert!(!gone.is_cancelled());
        drop(stream);
        assert!(gone.is_cancelled());
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"before");
    }
}
