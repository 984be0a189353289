//! Receiving datagrams (UDP), for every source that does.

use pipeline::env::{Datagrams, Net};
use pipeline::{ErrorClass, SourceError};
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Datagrams have at most so many bytes.
const DATAGRAM_MAX: usize = 64 << 10;
/// Pause after the socket failed.
const RETRY: Duration = Duration::from_millis(100);

/// Opens the socket.
pub(super) async fn bind(net: &dyn Net, address: &str) -> Result<Box<dyn Datagrams>, SourceError> {
    net.bind(address).await.map_err(|error| SourceError {
        class: ErrorClass::Transient,
        message: format!("cannot listen on {address} (UDP)"),
        source: Some(error.into()),
    })
}

/// Gives each datagram, with its sender's address, to `take`, until the source stops or `take` says
/// that it takes no more.
pub(super) async fn receive(
    socket: &dyn Datagrams,
    source: &str,
    stop: &CancellationToken,
    mut take: impl FnMut(&[u8], &str) -> bool,
) {
    let mut room = vec![0; DATAGRAM_MAX];
    loop {
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            received = socket.receive(&mut room) => received,
        };
        match received {
            Ok((bytes, sender)) if take(&room[..bytes], &sender) => {}
            Ok(_) => return,
            Err(error) => {
                let address = socket.local_address();
                warn!(source, address, %error, "cannot receive datagrams");
                sleep(RETRY).await;
            }
        }
    }
}
