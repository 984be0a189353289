//! Messages over TCP.

use std::io;

use formats::framings::FramedStream;
use kit::listening;
use kit::tenants::Client;
use pipeline::Frame;
use pipeline::env::{Listener, Stream};
use tokio::io::AsyncReadExt;
use tracing::debug;

use super::Shared;
use super::events::{Messages, Origin};

/// Read size.
const READ_BYTES: usize = 16 << 10;

/// Serves the connections of one address until the source stops.
pub(super) async fn serve(listener: Box<dyn Listener>, shared: Shared) {
    let local = listener.local_address();
    let stop = shared.stop.clone();
    let allowed = (shared.limits.connections_max, shared.guard.as_ref());
    let name = shared.to.source.clone();
    listening::serve(listener, &name, allowed, &stop, |stream, peer| {
        let (shared, origin) = (shared.clone(), Origin::new(&peer.address, &local));
        let address = peer.address.clone();
        let gathered = Messages::of(Client::new(shared.sharing.clone(), peer));
        async move {
            let origin = (&*address, &origin);
            if let Err(error) = connection(stream, origin, gathered, &shared).await {
                debug!(source = %shared.to.source, peer = %address, %error, "a connection broke");
            }
        }
    })
    .await;
}

/// Receives the messages of one connection until it ends or the source stops.
async fn connection(
    mut stream: Box<dyn Stream>,
    (peer, origin): (&str, &Origin),
    mut gathered: Messages,
    shared: &Shared,
) -> io::Result<()> {
    let mut framed = FramedStream::new(&*shared.framing, shared.limits.message_max);
    loop {
        framed.buffer().reserve(READ_BYTES);
        let read = stream.read_buf(framed.buffer());
        let Some(read) = shared.stop.run_until_cancelled(read).await else { return Ok(()) };
        // The first read completes the handshake, which determines the tenant.
        if let Ok(bytes @ 1..) = &read
            && let Some(member) = gathered.member()
        {
            member.came(*bytes).map_err(io::Error::other)?;
        }
        // At the end, or if the connection broke, use the data that has arrived.
        let is_over = !matches!(read, Ok(1..));
        let is_readable =
            take_all(&mut framed, is_over, (peer, origin), &mut gathered, shared).await;
        gathered.store(shared).await;
        if is_over || !is_readable {
            return read.map(|_| ());
        }
        if let Some(member) = gathered.member() {
            // Over the tenant's rate, data waits unread.
            let may_read = shared.stop.run_until_cancelled(member.pass(0)).await;
            if may_read.is_none() {
                return Ok(());
            }
        }
    }
}

/// Stores the received messages; returns true if the stream continues.
async fn take_all(
    framed: &mut FramedStream,
    is_over: bool,
    (peer, origin): (&str, &Origin),
    gathered: &mut Messages,
    shared: &Shared,
) -> bool {
    loop {
        match framed.next(is_over) {
            Ok(Some(frame)) => take(frame, gathered, origin, shared).await,
            Ok(None) => return true,
            Err(lost) if shared.to.lost_framing(peer, &lost) => {}
            Err(_) => return false,
        }
    }
}

async fn take(mut frame: Frame, gathered: &mut Messages, origin: &Origin, shared: &Shared) {
    if let Some(member) = gathered.member() {
        // The protocol has no replies; the limit is only counted.
        let _over = member.cut(&mut frame);
    }
    if frame.is_cut {
        shared.to.count("message_cut", 1);
    }
    gathered.push(&frame, origin, shared).await;
}
