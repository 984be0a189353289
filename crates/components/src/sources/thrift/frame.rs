//! Reads one frame, with memory proportional to its received bytes: a large announced length alone
//! reserves little.

use std::io;
use std::time::Duration;

use formats::thrift::{self, Head, Malformed};
use kit::serve::Put;
use kit::storing::units;
use kit::tenants::{Member, Memory, Over};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::Thrift;

/// Bytes of a frame that are read before memory is reserved: enough for the head of any message.
const HEAD_BYTES: usize = 256;

/// Minimum reservation, if the frame is that long. Later ones equal the received bytes.
const STEP_BYTES: usize = 64 << 10;

/// Reason why a connection ends.
#[derive(Debug, Error)]
pub(super) enum End {
    /// The connection broke, or ended within a frame.
    #[error("lost the connection to the client, which resends unacknowledged events")]
    Broken(#[from] io::Error),
    /// The connection was idle.
    #[error(
        "no request from the client for {limit:?} (`idle_timeout`), so its connection is closed"
    )]
    Idle { limit: Duration },
    /// A frame or a reply took too long.
    #[error(
        "receiving a frame from the client or sending its response took more than {limit:?} \
         (`frame_timeout`); check the network and the client, or raise the limit"
    )]
    Slow { limit: Duration },
    /// The frame is too large.
    #[error(
        "a Thrift frame has {announced} bytes, over the limit of {max} (`frame_max`): raise the \
         limit, or send smaller batches{hint}"
    )]
    Large { announced: u32, max: usize, hint: &'static str },
    /// The tenant has too many connections, or the frame exceeds its limit.
    #[error(transparent)]
    Tenant(#[from] Over),
    /// The frame is not a message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A frame that was read to its end.
pub(super) struct Frame {
    pub(super) head: Head,
    /// The complete message, with its memory; `None` if the tenant exceeded its rate, or no memory
    /// was available in time: the frame was skipped.
    pub(super) message: Option<(Vec<u8>, Memory)>,
}

/// Reads the frame that begins with these four bytes.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    first: [u8; 4],
    Thrift { protocol, frame_max, .. }: &Thrift,
    (put, member): (&Put, &Member),
) -> Result<Frame, End> {
    let announced = u32::from_be_bytes(first);
    let size = usize::try_from(announced).ok().filter(|size| size <= frame_max);
    let size = size.ok_or(End::Large { announced, max: *frame_max, hint: hint(first) })?;
    if size as u64 > member.message_max(*frame_max as u64)
        && let Some(over) = member.too_large()
    {
        return Err(over.into());
    }
    let mut message = vec![0; size.min(HEAD_BYTES)];
    stream.read_exact(&mut message).await?;
    let head = thrift::head(*protocol, &message)?;
    let mut held: Option<Memory> = None;
    if timeout(put.wait_max, member.pass(size as u64)).await.is_err() {
        pass_over(stream, size - message.len()).await?;
        return Ok(Frame { head, message: None });
    }
    loop {
        let come = message.len();
        let next = size.min(STEP_BYTES.max(2 * come));
        let more = units(next as u64) - held.as_ref().map_or(0, Memory::units);
        let Some(memory) = put.memory(member, u64::from(more) << 10).await else {
            drop((message, held));
            pass_over(stream, size - come).await?;
            return Ok(Frame { head, message: None });
        };
        match &mut held {
            Some(held) => held.merge(memory),
            None => held = Some(memory),
        }
        message.resize(next, 0);
        stream.read_exact(&mut message[come..]).await?;
        if next == size {
            let message = held.map(|held| (message, held));
            return Ok(Frame { head, message });
        }
    }
}

/// Names the protocol that a client without frames most likely uses.
fn hint(first: [u8; 4]) -> &'static str {
    match first {
        [0x16, 3, ..] => {
            "; it looks like TLS: set the table `tls` of this source, or disable TLS at the client"
        }
        [0x80 | 0x82, ..] => {
            "; it looks like a message without a frame: use TFramedTransport in the client"
        }
        [b'G' | b'P', ..] => "; it looks like HTTP: send HTTP requests to a source of type `http`",
        _ => "",
    }
}

async fn pass_over(stream: &mut (impl AsyncRead + Unpin), bytes: usize) -> Result<(), End> {
    let bytes = bytes as u64;
    let passed = tokio::io::copy(&mut stream.take(bytes), &mut tokio::io::sink()).await?;
    if passed < bytes {
        return Err(End::Broken(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}
