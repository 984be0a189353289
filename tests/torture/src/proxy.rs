//! A TCP proxy that can cut a connection at the worst moment: after the request was delivered and
//! before its response has returned.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What to do with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    /// Forward them.
    Pass = 0,
    /// Forward the client's bytes; drop the server's.
    SwallowAnswers = 1,
    /// Hold all bytes back, like a broken switch.
    Stall = 2,
}

struct Shared {
    target: SocketAddr,
    mode: AtomicU8,
    open: Mutex<Vec<TcpStream>>,
}

/// A proxy between its address and `target`, which runs until the process ends.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts to accept on a free loopback port.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port of loopback");
        let address = listener.local_addr().expect("a listener has an address");
        let mode = AtomicU8::new(Mode::Pass as u8);
        let shared = Arc::new(Shared { target, mode, open: Mutex::new(Vec::new()) });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.connect(client);
            }
        });
        Self { address, shared }
    }

    /// Returns the address for clients.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets what to do with bytes from now on.
    pub(crate) fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Cuts all connections, and forwards bytes of later ones.
    pub(crate) fn heal(&self) {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain(..) {
            let _closed_already = stream.shutdown(Shutdown::Both);
        }
        // With the lock held, so that no connection with lost bytes survives.
        self.set(Mode::Pass);
    }
}

impl Shared {
    fn is(&self, mode: Mode) -> bool {
        self.mode.load(Ordering::SeqCst) == mode as u8
    }

    /// Connects a client with the target. If the target is down, the client's connection closes.
    fn connect(self: &Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect_timeout(&self.target, Duration::from_secs(1)) else {
            return;
        };
        let pair = |stream: &TcpStream| stream.set_nodelay(true).and_then(|()| stream.try_clone());
        let (Ok(client_too), Ok(server_too)) = (pair(&client), pair(&server)) else { return };
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|stream| stream.peer_addr().is_ok());
            open.extend([&client, &server].into_iter().filter_map(|one| one.try_clone().ok()));
        }
        let (there, back) = (self.clone(), self.clone());
        thread::spawn(move || there.pump(client, server_too, false));
        thread::spawn(move || back.pump(server, client_too, true));
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, answers: bool) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            while self.is(Mode::Stall) {
                thread::sleep(Duration::from_millis(20));
            }
            let swallowed = answers && self.is(Mode::SwallowAnswers);
            if !swallowed && to.write_all(&buffer[..len]).is_err() {
                break;
            }
        }
        // Close both ends: half a connection is of no use.
        let _gone_already = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}
