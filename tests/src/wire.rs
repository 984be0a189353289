//! A wire to a server that can be cut, and whose answers can be held back.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Forwards bytes to a server, and cuts all connections when it is asked to.
#[derive(Debug)]
pub struct Wire {
    /// Where clients connect.
    pub address: SocketAddr,
    open: Arc<Mutex<Vec<Open>>>,
}

/// A connection.
#[derive(Debug)]
struct Open {
    client: TcpStream,
    server: TcpStream,
    /// What the server sends is swallowed.
    is_mute: Arc<AtomicBool>,
}

impl Wire {
    /// One to this server.
    ///
    /// # Panics
    /// There is no port.
    pub fn new(to: SocketAddr) -> Self {
        Self::after_greetings(to, 0)
    }

    /// One that cuts the first connections, so many, behind the greeting of the server.
    ///
    /// # Panics
    /// There is no port.
    pub fn after_greetings(to: SocketAddr, mut cuts: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let open: Arc<Mutex<Vec<Open>>> = Arc::default();
        let connections = open.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                let (is_mute, never) = (Arc::<AtomicBool>::default(), Arc::default());
                if cuts > 0 {
                    cuts -= 1;
                    forward(&client, &server, &never);
                    forward(&server, &client, &never);
                    continue;
                }
                for (from, into, is_mute) in
                    [(&client, &server, &never), (&server, &client, &is_mute)]
                {
                    let from = from.try_clone().expect("a file descriptor to spare");
                    let into = into.try_clone().expect("a file descriptor to spare");
                    let is_mute = is_mute.clone();
                    thread::spawn(move || copy(&from, &into, &is_mute));
                }
                connections.lock().expect("no holder panics").push(Open {
                    client,
                    server,
                    is_mute,
                });
            }
        });
        Self { address, open }
    }

    /// Cuts what is connected now.
    ///
    /// # Panics
    /// A thread of it has panicked.
    pub fn cut(&self) {
        for Open { client, server, .. } in self.open.lock().expect("no holder panics").drain(..) {
            let _ended_already = client.shutdown(Shutdown::Both);
            let _ended_already = server.shutdown(Shutdown::Both);
        }
    }

    /// From now on, what the server sends to those that are connected now is swallowed.
    ///
    /// # Panics
    /// A thread of it has panicked.
    pub fn mute(&self) {
        for open in &*self.open.lock().expect("no holder panics") {
            open.is_mute.store(true, Ordering::SeqCst);
        }
    }
}

fn copy(from: &TcpStream, into: &TcpStream, is_mute: &AtomicBool) {
    while forward(from, into, is_mute) {}
    let _ended_already = into.shutdown(Shutdown::Both);
}

fn forward(mut from: &TcpStream, mut into: &TcpStream, is_mute: &AtomicBool) -> bool {
    let mut bytes = [0; 4096];
    match from.read(&mut bytes) {
        Ok(1..) if is_mute.load(Ordering::SeqCst) => true,
        Ok(read @ 1..) => into.write_all(&bytes[..read]).is_ok(),
        _ => false,
    }
}
