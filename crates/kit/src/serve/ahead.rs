//! Notices the end of a client while its batch is stored.

use bytes::BytesMut;
use futures::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Read size.
const READ_BYTES: usize = 16 << 10;

/// Waits for `storing`, and in the meantime reads from the client into `buffer`, up to about `max`
/// bytes; sets `is_over` at the end of input. A reply to a client that has disconnected would be
/// lost. A disconnection after more than `max` bytes is not noticed.
pub async fn read_ahead<T>(
    storing: impl Future<Output = T>,
    stream: &mut (impl AsyncRead + Unpin),
    (buffer, max): (&mut BytesMut, usize),
    is_over: &mut bool,
) -> T {
    let mut storing = std::pin::pin!(storing);
    let stored = loop {
        buffer.reserve(max.saturating_sub(buffer.len()).min(READ_BYTES));
        let may_read = !*is_over && buffer.len() < max;
        tokio::select! {
            biased;
            stored = &mut storing => break stored,
            read = stream.read_buf(buffer), if may_read => *is_over = !matches!(read, Ok(1..)),
        }
    };
    if !*is_over
        && buffer.len() < max
        && let Some(read) = stream.read_buf(buffer).now_or_never()
    {
        *is_over = !matches!(read, Ok(1..));
    }
    stored
}
