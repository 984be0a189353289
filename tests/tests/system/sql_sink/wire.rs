//! A wire to a database that cuts connections around COMMIT.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// The COMMIT message of the clients of PostgreSQL and MariaDB.
const COMMITS: [&[u8]; 2] = [b"COMMIT\0", b"\x03COMMIT"];

/// Forwards bytes to a database. For every fourth COMMIT it drops the response, in one of three
/// ways in turn: it drops the COMMIT, too; it forwards it and disconnects immediately; it waits for
/// the response and then disconnects.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    commits: AtomicUsize,
    cuts: AtomicUsize,
}

impl Wire {
    pub(crate) fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let counts: Arc<Counts> = Arc::default();
        let shared = counts.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                let end = Arc::new(AtomicBool::new(false));
                let other = |stream: &TcpStream| stream.try_clone().expect("a file descriptor");
                let (back, into) = (other(&server), other(&client));
                let (counts, ends) = (shared.clone(), end.clone());
                thread::spawn(move || answers(back, into, &ends));
                thread::spawn(move || requests(client, server, &counts, &end));
            }
        });
        Self { address, counts }
    }

    /// Returns the number of connections cut at a COMMIT.
    pub(crate) fn cuts(&self) -> usize {
        self.counts.cuts.load(Ordering::Relaxed)
    }
}

fn close(one: &TcpStream, other: &TcpStream) {
    for stream in [one, other] {
        let _ended_already = stream.shutdown(Shutdown::Both);
    }
}

fn requests(mut client: TcpStream, mut server: TcpStream, counts: &Counts, end: &AtomicBool) {
    let mut bytes = [0; 1 << 16];
    while let Ok(read @ 1..) = client.read(&mut bytes) {
        let bytes = &bytes[..read];
        let is_commit =
            COMMITS.iter().any(|commit| bytes.windows(commit.len()).any(|part| part == *commit));
        if is_commit && counts.commits.fetch_add(1, Ordering::Relaxed) % 4 == 3 {
            match counts.cuts.fetch_add(1, Ordering::Relaxed) % 3 {
                0 => break,
                1 => {
                    let _ended_already = server.write_all(bytes);
                    thread::sleep(Duration::from_millis(1));
                    break;
                }
                _ => end.store(true, Ordering::SeqCst),
            }
        }
        if server.write_all(bytes).is_err() {
            break;
        }
    }
    close(&client, &server);
}

fn answers(mut server: TcpStream, mut client: TcpStream, end: &AtomicBool) {
    let mut bytes = [0; 1 << 16];
    while let Ok(read @ 1..) = server.read(&mut bytes) {
        if end.load(Ordering::SeqCst) || client.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    close(&client, &server);
}
