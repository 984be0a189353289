//! Messages over UDP.

use kit::datagrams::Socket;
use kit::gathered::Destination;
use pipeline::units::ByteSize;
use tokio_util::sync::CancellationToken;

use super::Rules;
use super::events::{Messages, Origin, datagram};

/// Receives datagrams until the source stops, and stores all that it received.
pub(super) async fn serve(
    socket: Socket,
    queue_max: ByteSize,
    shared: (&Rules, &Destination),
    stop: &CancellationToken,
) {
    let local = socket.local_address();
    let (to, message_max) = (shared.1.clone(), shared.0.message_max);
    let read = move |bytes: &[u8], sender: &str| {
        let frame = datagram(bytes, message_max);
        if frame.message.is_empty() {
            return None;
        }
        if frame.is_cut {
            to.count("message_cut", 1);
        }
        Some((frame, Origin::new(sender, &local)))
    };
    let mut queue = socket.receive(shared.1, queue_max, stop, read);
    let mut gathered = Messages::default();
    while let Some((frame, origin)) = queue.next().await {
        gathered.push(&frame, &origin, shared).await;
        while let Some((frame, origin)) = queue.try_next() {
            gathered.push(&frame, &origin, shared).await;
        }
        gathered.store(shared.1).await;
    }
}
