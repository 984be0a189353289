//! Zlib around TLS: what Flume 1.10 and 1.11 send where `ssl` and `compression-type` are both set.
//! Up to 1.9 it is the other way round, which [`super::coding`] does inside of the stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use pipeline::env::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::coding::{Coding, is_zlib};

/// Bytes that are inflated and deflated at once: those of a TLS record.
const STEP_BYTES: usize = 16 << 10;

/// Bytes that are read at once.
const READ_BYTES: usize = 4 << 10;

/// The stream of a server: inflated where its first byte is that of zlib, else as it is.
///
/// # Errors
/// The stream ends before its first byte, or breaks.
pub async fn inflate(mut stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
    let mut coded = BytesMut::with_capacity(STEP_BYTES);
    if stream.read_buf(&mut coded).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let coding = is_zlib(coded[0]).then(|| Coding::of_server(true));
    // What was read is handed out again, inflated or as it is.
    let (coded, plain) = match coding {
        Some(_) => (coded, BytesMut::new()),
        None => (BytesMut::new(), coded),
    };
    Ok(Box::new(Around { stream, coding, coded, plain, out: BytesMut::new() }))
}

/// The stream of a client, deflated at this level.
pub fn deflate(stream: Box<dyn Stream>, level: u32) -> Box<dyn Stream> {
    let coding = Some(Coding::of_client(true, level));
    let [coded, plain, out] = <_>::default();
    Box::new(Around { stream, coding, coded, plain, out })
}

struct Around {
    stream: Box<dyn Stream>,
    /// `None`: bytes go as they are.
    coding: Option<Coding>,
    /// What was read.
    coded: BytesMut,
    /// What was inflated and not handed out.
    plain: BytesMut,
    /// What was deflated and not written.
    out: BytesMut,
}

impl Around {
    /// Writes what is deflated.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.out.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Around {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.plain.is_empty() {
                let piece = this.plain.len().min(buffer.remaining());
                buffer.put_slice(&this.plain.split_to(piece));
                return Poll::Ready(Ok(()));
            }
            let Some(coding) = &mut this.coding else {
                return Pin::new(&mut this.stream).poll_read(cx, buffer);
            };
            if coding.decode(&mut this.coded, &mut this.plain, STEP_BYTES)? {
                continue;
            }
            let mut room = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.coded.extend_from_slice(read.filled());
        }
    }
}

impl AsyncWrite for Around {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // One piece at a time is on its way.
        ready!(this.poll_out(cx))?;
        let Some(coding) = &mut this.coding else {
            return Pin::new(&mut this.stream).poll_write(cx, bytes);
        };
        let piece = &bytes[..bytes.len().min(STEP_BYTES)];
        this.out.extend_from_slice(&coding.encode(piece.to_vec())?);
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_out(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_out(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
