//! A relay between Flume's clients and an `avro` or `thrift` source that detects calls and
//! responses, and cuts connections between the two.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use aqueduct_tests::http::free_address;
use rustix::net::sockopt::set_tcp_cork;

/// Where to cut each call on its first attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The source receives the end of the connection together with the last byte of the call, so
    /// before it can respond.
    BeforeAnswer,
    /// The relay has read the complete response of the source, and the client gets none of it.
    AfterAnswer,
}

/// Framing of calls and responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frames {
    /// Avro's Netty transport: `serial │ n │ n × (length │ bytes)`.
    Avro,
    /// Thrift: `length │ bytes`.
    Thrift,
}

/// A running relay.
pub(crate) struct Proxy {
    /// The address for clients.
    pub(crate) address: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    /// Starts a relay to the source at `to`. Of two calls the first is cut, and the second is not.
    pub(crate) fn start(to: SocketAddr, frames: Frames, cut: Cut) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).expect("the address is free");
        let cuts = Arc::new(AtomicUsize::new(0));
        let counted = cuts.clone();
        thread::spawn(move || {
            let mut calls = 0;
            for client in listener.incoming() {
                // Fails if the client ended its connection; it reconnects.
                let _ended = client
                    .and_then(|client| relay(client, (to, frames), cut, &mut calls, &counted));
            }
        });
        Self { address, cuts }
    }

    /// Returns the number of cut connections.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

/// Serves one connection to its end.
fn relay(
    mut client: TcpStream,
    (to, frames): (SocketAddr, Frames),
    cut: Cut,
    calls: &mut usize,
    cuts: &AtomicUsize,
) -> io::Result<()> {
    let mut source = TcpStream::connect(to)?;
    loop {
        let call = frame(&mut client, frames)?;
        let is_call = call.windows(11).any(|name| name == b"appendBatch");
        *calls += usize::from(is_call);
        let is_cut = is_call && *calls % 2 == 1;
        if is_cut && cut == Cut::BeforeAnswer {
            // The kernel holds it back until the end is written, and sends both together.
            set_tcp_cork(&source, true)?;
            source.write_all(&call)?;
            source.shutdown(Shutdown::Write)?;
            cuts.fetch_add(1, Ordering::SeqCst);
            // When the source has closed its side, its events are stored.
            let mut rest = Vec::new();
            source.read_to_end(&mut rest)?;
            assert!(rest.is_empty(), "a connection without a client is not answered");
            return client.shutdown(Shutdown::Both);
        }
        source.write_all(&call)?;
        let answer = frame(&mut source, frames)?;
        if is_cut {
            cuts.fetch_add(1, Ordering::SeqCst);
            source.shutdown(Shutdown::Both)?;
            return client.shutdown(Shutdown::Both);
        }
        client.write_all(&answer)?;
    }
}

/// Reads the next call or response.
fn frame(stream: &mut TcpStream, frames: Frames) -> io::Result<Vec<u8>> {
    let mut frame = Vec::new();
    let mut parts = 1;
    if frames == Frames::Avro {
        frame.resize(8, 0);
        stream.read_exact(&mut frame)?;
        parts = number(&frame[4..]);
    }
    for _ in 0..parts {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        frame.extend(length);
        let start = frame.len();
        frame.resize(start + number(&length), 0);
        stream.read_exact(&mut frame[start..])?;
    }
    Ok(frame)
}

fn number(bytes: &[u8]) -> usize {
    bytes[..4].iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
