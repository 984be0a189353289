//! Helpers for tests of sinks: a server on loopback, and the outcome of a batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pipeline::env::Stream;
use pipeline::{Batch, IntervalSet, Outcome, Sink, Taken};
use tokio::io::AsyncReadExt;

/// Serves each connection in a task. Returns the address, and the number of connections.
pub async fn server<R>(
    serve: impl Fn(Box<dyn Stream>) -> R + Send + 'static,
) -> (String, Arc<AtomicUsize>)
where
    R: Future<Output = ()> + Send + 'static,
{
    let listener = env::real().net.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream));
        }
    });
    (address, connections)
}

/// Reads a request of HTTP/1.1: its head and its body. `None` if the client has closed the
/// connection.
pub async fn http_request(stream: &mut dyn Stream) -> Option<(String, String)> {
    let mut read = Vec::new();
    loop {
        match stream.read_buf(&mut read).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |it| it.parse().unwrap()) {
            return Some((head.to_owned(), body.to_owned()));
        }
    }
}

/// Returns the outcome of a batch in a sink without other batches.
pub async fn outcome(sink: &mut dyn Sink, batch: Batch) -> Outcome {
    sink.write(Taken { ticket: 1, batch }).await.unwrap();
    let settlement = sink.settled().await;
    assert_eq!(settlement.tickets, IntervalSet::from(1..2));
    settlement.outcome
}
