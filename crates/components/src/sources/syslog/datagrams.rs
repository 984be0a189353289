//! Messages over UDP: one reads them, another one stores them, so that a slow disk costs none.

use pipeline::Frame;
use pipeline::env::Datagrams;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::Shared;
use super::events::{Messages, Origin, datagram};
use crate::sources::datagrams;

/// Takes datagrams until the source stops, and stores all that were taken.
pub(super) async fn serve(socket: Box<dyn Datagrams>, shared: Shared) {
    let (queue, messages) = mpsc::channel(shared.limits.queue_max);
    tokio::join!(receive(&*socket, queue, &shared), store(messages, &shared));
}

async fn receive(socket: &dyn Datagrams, queue: mpsc::Sender<(Frame, Origin)>, shared: &Shared) {
    let local = socket.local_address();
    let take = |bytes: &[u8], sender: &str| {
        let frame = datagram(bytes, shared.limits.message_max);
        if frame.message.is_empty() {
            return true;
        }
        if frame.is_cut {
            shared.to.count("message_cut", 1);
        }
        match queue.try_send((frame, Origin::new(sender, &local))) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                shared.to.count("datagrams_dropped", 1);
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    };
    datagrams::receive(socket, &shared.to.source, &shared.stop, take).await;
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
