//! Receives datagrams (UDP).
//!
//! ```text
//!   kernel ─► receive buffer ─► task ─► queue ─► source ─► channels
//!             full: dropped             full: dropped
//! ```
//!
//! UDP has no backpressure. Datagrams without room are lost, counted, and logged once per minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pipeline::env::{Datagrams, Net};
use pipeline::units::ByteSize;
use pipeline::{BuildError, ErrorClass, SourceError};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::gathered::Destination;

/// Maximum size of a datagram.
const DATAGRAM_MAX: usize = 64 << 10;
/// Overhead of a datagram in the queue.
const DATAGRAM_OVERHEAD: usize = 256;
/// Pause after an error of the socket.
const RETRY: Duration = Duration::from_millis(100);
/// Interval for reading the kernel's counter of dropped datagrams.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Interval of log lines about dropped datagrams.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Default size of the receive buffer.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Maximum size of the receive buffer and of the queue.
const BUFFER_MAX: ByteSize = ByteSize::mib(1024);

/// Default size of the queue of datagrams that wait for room in the channels.
pub fn default_queue_max() -> ByteSize {
    ByteSize::mib(32)
}

/// Checks the settings `queue_max` and `receive_buffer`.
pub fn check(queue_max: ByteSize, receive_buffer: Option<ByteSize>) -> Result<(), BuildError> {
    for (setting, size) in [("queue_max", Some(queue_max)), ("receive_buffer", receive_buffer)] {
        if size.is_some_and(|size| size.0 == 0 || size > BUFFER_MAX) {
            return Err(BuildError::invalid(setting, format!("must be from 1B to {BUFFER_MAX}")));
        }
    }
    Ok(())
}

/// Opens the socket, with a receive buffer as large as requested, or as the kernel permits.
pub async fn bind(
    net: &dyn Net,
    address: &str,
    source: &str,
    receive_buffer: Option<ByteSize>,
) -> Result<Socket, SourceError> {
    let failed = |error: std::io::Error| SourceError {
        class: ErrorClass::Transient,
        message: format!(
            "cannot listen on {address} (UDP); use a free address of this host, and give the agent \
             the right to use ports below 1024"
        ),
        source: Some(error.into()),
    };
    let datagrams = net.bind(address).await.map_err(failed)?;
    let asked = receive_buffer.map_or(RECEIVE_BUFFER, |size| size.0 as usize);
    let given = datagrams.set_receive_buffer(asked).map_err(failed)?;
    if given < asked && receive_buffer.is_some() {
        warn!(
            source,
            address,
            receive_buffer = given,
            asked,
            "the kernel allows a smaller receive buffer than `receive_buffer`, so bursts may be \
             lost: raise net.core.rmem_max",
        );
    }
    Ok(Socket { datagrams: datagrams.into(), receive_buffer: given })
}

/// A socket that receives datagrams.
pub struct Socket {
    datagrams: Arc<dyn Datagrams>,
    receive_buffer: usize,
}

impl Socket {
    /// Returns its address with the actual port.
    pub fn local_address(&self) -> String {
        self.datagrams.local_address()
    }

    /// Receives datagrams until `stop` into a queue of `queue_max` bytes. `read` converts a
    /// datagram and its sender's address to a queue entry; `None` drops it. A separate task
    /// receives, so that slow storing does not fill the receive buffer.
    pub fn receive<T: Send + 'static>(
        self,
        to: &Destination,
        queue_max: ByteSize,
        stop: &CancellationToken,
        read: impl FnMut(&[u8], &str) -> Option<T> + Send + 'static,
    ) -> Queue<T> {
        let (sender, received) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(queue_max.0 as usize));
        let queue_max = queue_max.0 as usize;
        let receiver = Receiver {
            socket: self,
            to: to.clone(),
            stop: stop.clone(),
            queue: sender,
            room,
            queue_max,
            dropped: AtomicU64::new(0),
        };
        let receiving = AbortOnDropHandle::new(tokio::spawn(receiver.run(read)));
        Queue { received, _receiving: receiving }
    }
}

/// Datagrams that wait to be stored.
pub struct Queue<T> {
    received: UnboundedReceiver<(T, OwnedSemaphorePermit)>,
    _receiving: AbortOnDropHandle<()>,
}

impl<T> Queue<T> {
    /// Returns the next datagram; `None` after the source has stopped.
    pub async fn next(&mut self) -> Option<T> {
        self.received.recv().await.map(|(datagram, _room)| datagram)
    }

    /// Returns the next datagram if one is available.
    pub fn try_next(&mut self) -> Option<T> {
        self.received.try_recv().ok().map(|(datagram, _room)| datagram)
    }
}

/// Puts datagrams into the queue.
struct Receiver<T> {
    socket: Socket,
    to: Destination,
    stop: CancellationToken,
    queue: UnboundedSender<(T, OwnedSemaphorePermit)>,
    /// Free bytes of the queue.
    room: Arc<Semaphore>,
    queue_max: usize,
    /// Number of datagrams without room.
    dropped: AtomicU64,
}

impl<T> Receiver<T> {
    async fn run(self, read: impl FnMut(&[u8], &str) -> Option<T>) {
        tokio::join!(self.receive(read), self.watch());
    }

    async fn receive(&self, mut read: impl FnMut(&[u8], &str) -> Option<T>) {
        let mut bytes = vec![0; DATAGRAM_MAX];
        loop {
            let received = self.socket.datagrams.receive(&mut bytes);
            let Some(received) = self.stop.run_until_cancelled(received).await else { return };
            match received {
                Ok((length, sender)) => {
                    if let Some(datagram) = read(&bytes[..length], &sender) {
                        self.put(datagram, length);
                    }
                }
                Err(error) => {
                    let address = self.socket.local_address();
                    warn!(
                        source = %self.to.source, address, %error,
                        "cannot receive datagrams; those that arrive in the meantime are lost; \
                         retrying; fix the cause in `error`"
                    );
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Puts a datagram of `length` bytes into the queue. An empty queue accepts any size.
    fn put(&self, datagram: T, length: usize) {
        let bytes = (length + DATAGRAM_OVERHEAD).min(self.queue_max);
        let bytes = u32::try_from(bytes).expect("a datagram is shorter than 4 GiB");
        match self.room.clone().try_acquire_many_owned(bytes) {
            // It fails only when the source ends.
            Ok(room) => drop(self.queue.send((datagram, room))),
            Err(_) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                self.to.count("datagrams_dropped", 1);
            }
        }
    }

    /// Counts the kernel's drops, and logs losses, until the source stops.
    async fn watch(&self) {
        let (mut by_kernel, mut logged) = (0, (0, 0));
        let mut logged_at: Option<Instant> = None;
        loop {
            let is_over = timeout(POLL_INTERVAL, self.stop.cancelled()).await.is_ok();
            match self.socket.datagrams.dropped().await {
                Ok(dropped) => {
                    // The kernel's counter has 32 bits.
                    let more = u64::from((dropped as u32).wrapping_sub(by_kernel as u32));
                    by_kernel += more;
                    self.to.count("receive_buffer_full", more);
                }
                Err(error) => {
                    let source = &self.to.source;
                    debug!(%source, %error, "cannot count datagrams that the kernel drops");
                }
            }
            let lost = (by_kernel, self.dropped.load(Ordering::Relaxed));
            let is_due = logged_at.is_none_or(|then| then.elapsed() >= LOG_INTERVAL);
            if lost != logged && (is_due || is_over) {
                self.log(lost.0 - logged.0, lost.1 - logged.1);
                (logged, logged_at) = (lost, Some(Instant::now()));
            }
            if is_over {
                return;
            }
        }
    }

    /// Logs the datagrams that the receive buffer and the queue dropped.
    fn log(&self, by_kernel: u64, by_queue: u64) {
        let (source, address) = (&self.to.source, self.socket.local_address());
        if by_kernel > 0 {
            let receive_buffer = self.socket.receive_buffer;
            warn!(
                %source, address, datagrams = by_kernel, receive_buffer,
                "datagrams lost: the receive buffer is full; raise `receive_buffer` and the \
                 kernel's net.core.rmem_max, or use TCP",
            );
        }
        if by_queue > 0 {
            let queue_max = self.queue_max;
            warn!(
                %source, address, datagrams = by_queue, queue_max,
                "datagrams lost: the channels store them too slowly and the queue is full; raise \
                 `queue_max`, or use TCP",
            );
        }
    }
}
