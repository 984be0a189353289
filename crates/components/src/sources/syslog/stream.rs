//! Messages over TCP.

use std::io;

use pipeline::Frame;
use pipeline::env::{Listener, Stream};
use tokio::io::AsyncReadExt;
use tracing::debug;

use super::Shared;
use super::events::{Messages, Origin};
use crate::framings::FramedStream;
use crate::sources::listening;
use crate::sources::tenants::Client;

/// Bytes that are read at once.
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
            if let Err(error) = connection(stream, &origin, gathered, &shared).await {
                debug!(source = %shared.to.source, peer = %address, %error, "a connection broke");
            }
        }
    })
    .await;
}

/// Takes the messages of one connection to its end, or until the source stops.
async fn connection(
    mut stream: Box<dyn Stream>,
    origin: &Origin,
    mut gathered: Messages,
    shared: &Shared,
) -> io::Result<()> {
    let mut framed = FramedStream::new(&*shared.framing, shared.limits.message_max);
    loop {
        framed.buffer().reserve(READ_BYTES);
        let read = stream.read_buf(framed.buffer());
        let Some(read) = shared.stop.run_until_cancelled(read).await else { return Ok(()) };
        // The first read makes the handshake, which says what the tenant is.
        if let Ok(bytes @ 1..) = &read
            && let Some(member) = gathered.member()
        {
            member.came(*bytes).map_err(io::Error::other)?;
        }
        while let Some(frame) = framed.next() {
            take(frame, &mut gathered, origin, shared).await;
        }
        // At the end, and where the connection broke, what came is taken as well.
        let is_over = !matches!(read, Ok(1..));
        if is_over && let Some(frame) = framed.rest() {
            take(frame, &mut gathered, origin, shared).await;
        }
        gathered.store(shared).await;
        if is_over {
            return read.map(|_| ());
        }
        if let Some(member) = gathered.member() {
            // What is over its rate waits unread.
            let may_read = shared.stop.run_until_cancelled(member.pass(0)).await;
            if may_read.is_none() {
                return Ok(());
            }
        }
    }
}

async fn take(mut frame: Frame, gathered: &mut Messages, origin: &Origin, shared: &Shared) {
    if let Some(member) = gathered.member() {
        // The protocol has no answers; it is counted.
        let _over = member.cut(&mut frame);
    }
    if frame.is_cut {
        shared.to.count("message_cut", 1);
    }
    gathered.push(&frame, origin, shared).await;
}
