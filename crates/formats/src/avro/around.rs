//! Zlib outside of TLS: the order in Flume 1.10 and 1.11 if both `ssl` and `compression-type` are
//! set. Up to 1.9 zlib is inside of TLS, which [`super::coding`] handles.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use pipeline::env::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::coding::{Coding, is_zlib};

/// Size of a compression step: one TLS record.
const STEP_BYTES: usize = 16 << 10;

/// Read size.
const READ_BYTES: usize = 4 << 10;

/// Wraps a server's stream: inflates it if its first byte is that of zlib.
///
/// # Errors
/// Fails if the stream ends before its first byte, or breaks.
pub async fn inflate(mut stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
    let mut coded = BytesMut::with_capacity(STEP_BYTES);
    if stream.read_buf(&mut coded).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let coding = is_zlib(coded[0]).then(|| Coding::of_server(true));
    // Return the bytes that were read, inflated or unchanged.
    let (coded, plain) = match coding {
        Some(_) => (coded, BytesMut::new()),
        None => (BytesMut::new(), coded),
    };
    Ok(Box::new(Around { stream, coding, coded, plain, out: BytesMut::new() }))
}

/// Wraps a client's stream, and deflates it at this level.
pub fn deflate(stream: Box<dyn Stream>, level: u32) -> Box<dyn Stream> {
    let coding = Some(Coding::of_client(true, level));
    let [coded, plain, out] = <_>::default();
    Box::new(Around { stream, coding, coded, plain, out })
}

struct Around {
    stream: Box<dyn Stream>,
    /// `None`: bytes pass unchanged.
    coding: Option<Coding>,
    /// Bytes that were read.
    coded: BytesMut,
    /// Bytes that were inflated and not returned yet.
    plain: BytesMut,
    /// Bytes that were deflated and not written yet.
    out: BytesMut,
}

impl Around {
    /// Writes the deflated bytes.
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
        // One piece at a time is in flight.
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
