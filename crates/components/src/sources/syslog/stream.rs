//! Messages over TCP.

use std::io;
use std::sync::Arc;

use formats::framings::FramedStream;
use kit::gathered::Destination;
use kit::serve::{Connected, Put, Serve};
use pipeline::{Frame, Framing, Guarantee};
use tokio::io::AsyncReadExt;

use super::Rules;
use super::events::{Messages, Origin};

/// Read size.
const READ_BYTES: usize = 16 << 10;

/// The protocol over TCP.
pub(super) struct Streams {
    pub(super) framing: Arc<dyn Framing>,
    pub(super) rules: Arc<Rules>,
}

impl Serve for Streams {
    type End = io::Error;

    fn guarantee(&self) -> Guarantee {
        Guarantee::BestEffort
    }

    async fn serve(&self, connected: Connected, put: &Arc<Put>) -> io::Result<()> {
        let Connected { mut stream, client, peer, local, .. } = connected;
        let mut framed = FramedStream::new(&*self.framing, self.rules.message_max);
        let (origin, to) = (Origin::new(&peer, &local), put.destination(self.rules.batch_events));
        let mut gathered = Messages::of(client);
        let shared = (&*self.rules, &to);
        loop {
            framed.buffer().reserve(READ_BYTES);
            let read = stream.read_buf(framed.buffer());
            let Some(read) = put.stop.run_until_cancelled(read).await else { return Ok(()) };
            // The first read completes the handshake, which determines the tenant.
            if let Ok(bytes @ 1..) = &read
                && let Some(member) = gathered.member()
            {
                member.came(*bytes).map_err(io::Error::other)?;
            }
            // At the end, or if the connection broke, use the data that has arrived.
            let is_over = !matches!(read, Ok(1..));
            let is_readable =
                take_all(&mut framed, is_over, (&peer, &origin), &mut gathered, shared).await;
            gathered.store(&to).await;
            if is_over || !is_readable {
                return read.map(|_| ());
            }
            if let Some(member) = gathered.member() {
                // Over the tenant's rate, data waits unread.
                let may_read = put.stop.run_until_cancelled(member.pass(0)).await;
                if may_read.is_none() {
                    return Ok(());
                }
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
    shared: (&Rules, &Destination),
) -> bool {
    loop {
        match framed.next(is_over) {
            Ok(Some(frame)) => take(frame, gathered, origin, shared).await,
            Ok(None) => return true,
            Err(lost) if shared.1.lost_framing(peer, &lost) => {}
            Err(_) => return false,
        }
    }
}

async fn take(
    mut frame: Frame,
    gathered: &mut Messages,
    origin: &Origin,
    shared: (&Rules, &Destination),
) {
    if let Some(member) = gathered.member() {
        // The protocol has no replies; the limit is only counted.
        let _over = member.cut(&mut frame);
    }
    if frame.is_cut {
        shared.1.count("message_cut", 1);
    }
    gathered.push(&frame, origin, shared).await;
}
