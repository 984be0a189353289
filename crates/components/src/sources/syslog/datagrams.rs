//! Messages over UDP: one reads them, another one stores them, so that a slow disk costs none.

use pipeline::env::{Datagrams, Net};
use pipeline::{ErrorClass, SourceError};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Duration, sleep};
use tracing::warn;

use super::events::{Messages, Origin, datagram};
use super::framing::Frame;
use super::{DATAGRAM_MAX, Shared};

/// Pause after the socket failed.
const RETRY: Duration = Duration::from_millis(100);

/// Opens the socket.
pub(super) async fn bind(net: &dyn Net, address: &str) -> Result<Box<dyn Datagrams>, SourceError> {
    net.bind(address).await.map_err(|error| SourceError {
        class: ErrorClass::Transient,
        message: format!("cannot listen on {address} (UDP)"),
        source: Some(error.into()),
    })
}

/// Takes datagrams until the source stops, and stores all that were taken.
pub(super) async fn serve(socket: Box<dyn Datagrams>, shared: Shared) {
    let (queue, messages) = mpsc::channel(shared.limits.queue_max);
    tokio::join!(receive(socket, queue, &shared), store(messages, &shared));
}

async fn receive(
    socket: Box<dyn Datagrams>,
    queue: mpsc::Sender<(Frame, Origin)>,
    shared: &Shared,
) {
    let local = socket.local_address();
    let mut room = vec![0; DATAGRAM_MAX];
    loop {
        let received = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            received = socket.receive(&mut room) => received,
        };
        let (bytes, sender) = match received {
            Ok(received) => received,
            Err(error) => {
                warn!(source = %shared.to.source, address = local, %error, "cannot receive datagrams");
                sleep(RETRY).await;
                continue;
            }
        };
        let frame = datagram(&room[..bytes], shared.limits.message_max);
        if frame.message.is_empty() {
            continue;
        }
        if frame.is_cut {
            shared.to.count("message_cut", 1);
        }
        match queue.try_send((frame, Origin::new(&sender, &local))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => shared.to.count("datagrams_dropped", 1),
            Err(TrySendError::Closed(_)) => return,
        }
    }
}

async fn store(mut messages: mpsc::Receiver<(Frame, Origin)>, shared: &Shared) {
    let mut gathered = Messages::default();
    while let Some((frame, origin)) = messages.recv().await {
        gathered.push(&frame, &origin, shared).await;
        while let Ok((frame, origin)) = messages.try_recv() {
            gathered.push(&frame, &origin, shared).await;
        }
        gathered.store(shared).await;
    }
}
