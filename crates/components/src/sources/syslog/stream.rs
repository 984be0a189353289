//! Messages over TCP.

use std::io;

use bytes::BytesMut;
use pipeline::Frame;
use pipeline::env::{Listener, Stream};
use tokio::io::AsyncReadExt;
use tracing::debug;

use super::Shared;
use super::events::{Gathered, Origin, count};
use crate::sources::listening;

/// Bytes that are read at once.
const READ_BYTES: usize = 16 << 10;

/// Serves the connections of one address until the source stops.
pub(super) async fn serve(listener: Box<dyn Listener>, shared: Shared) {
    let local = listener.local_address();
    let (max, stop) = (shared.limits.connections_max, shared.cx.stop.clone());
    let name = shared.name.clone();
    listening::serve(listener, &name, max, &stop, |stream, peer| {
        let (shared, origin) = (shared.clone(), Origin::new(&peer, &local));
        async move {
            if let Err(error) = connection(stream, &origin, &shared).await {
                debug!(source = %shared.name, peer, %error, "a connection broke");
            }
        }
    })
    .await;
}

/// Takes the messages of one connection to its end, or until the source stops.
async fn connection(
    mut stream: Box<dyn Stream>,
    origin: &Origin,
    shared: &Shared,
) -> io::Result<()> {
    let mut framer = shared.framing.begin(shared.limits.message_max);
    let mut buffer = BytesMut::new();
    let mut gathered = Gathered::default();
    loop {
        buffer.reserve(READ_BYTES);
        let read = tokio::select! {
            biased;
            () = shared.cx.stop.cancelled() => return Ok(()),
            read = stream.read_buf(&mut buffer) => read,
        };
        while let Some(frame) = framer.next(&mut buffer) {
            take(&frame, &mut gathered, origin, shared).await;
        }
        // At the end, and where the connection broke, what came is taken as well.
        let is_over = !matches!(read, Ok(1..));
        if is_over && let Some(frame) = framer.rest(&mut buffer) {
            take(&frame, &mut gathered, origin, shared).await;
        }
        gathered.store(shared).await;
        if is_over {
            return read.map(|_| ());
        }
    }
}

async fn take(frame: &Frame, gathered: &mut Gathered, origin: &Origin, shared: &Shared) {
    if frame.is_cut {
        count(shared, "message_cut", 1);
    }
    if gathered.is_full(frame.message.len(), shared) {
        gathered.store(shared).await;
    }
    gathered.push(frame, origin, shared);
}
