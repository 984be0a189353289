//! Messages over UDP.

use super::Shared;
use super::events::{Messages, Origin, datagram};
use kit::datagrams::Socket;

/// Receives datagrams until the source stops, and stores all that it received.
pub(super) async fn serve(socket: Socket, shared: Shared) {
    let local = socket.local_address();
    let (to, message_max) = (shared.to.clone(), shared.limits.message_max);
    let layout = shared.form.layout;
    let read = move |bytes: &[u8], sender: &str| {
        let frame = datagram(bytes, message_max, layout);
        if frame.message.is_empty() {
            return None;
        }
        if frame.is_cut {
            to.count("message_cut", 1);
        }
        Some((frame, Origin::new(sender, &local)))
    };
    let mut queue = socket.receive(&shared.to, shared.limits.queue_max, &shared.stop, read);
    let mut gathered = Messages::default();
    while let Some((frame, origin)) = queue.next().await {
        gathered.push(&frame, &origin, &shared).await;
        while let Some((frame, origin)) = queue.try_next() {
            gathered.push(&frame, &origin, &shared).await;
        }
        gathered.store(&shared).await;
    }
}
