//! A server of OpenLineage: it keeps the accepted events, and rejects others on request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// Timeout of a client.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct State {
    status: AtomicU16,
    rejected: AtomicUsize,
    accepted: Mutex<Vec<Value>>,
}

/// A server that runs until the end of the process.
#[derive(Debug)]
pub struct LineageServer {
    state: Arc<State>,
}

impl LineageServer {
    /// Starts a server that answers each event with this status.
    ///
    /// # Panics
    ///
    /// When the address is in use.
    pub fn start(address: SocketAddr, status: u16) -> Self {
        let state = Arc::new(State { status: status.into(), ..State::default() });
        let listener = TcpListener::bind(address).expect("the address is free");
        let of_server = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = of_server.clone();
                thread::spawn(move || drop(serve(stream, &state)));
            }
        });
        Self { state }
    }

    /// Answers with this status from now on.
    pub fn set_status(&self, status: u16) {
        self.state.status.store(status, Ordering::SeqCst);
    }

    /// Returns the number of rejected events.
    pub fn rejected(&self) -> usize {
        self.state.rejected.load(Ordering::SeqCst)
    }

    /// Returns the accepted events.
    pub fn accepted(&self) -> Vec<Value> {
        self.state.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers the requests of a connection.
fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let event = serde_json::from_slice(&body).map_err(std::io::Error::other)?;
        let status = state.status.load(Ordering::SeqCst);
        if (200..300).contains(&status) {
            state.accepted.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        } else {
            state.rejected.fetch_add(1, Ordering::SeqCst);
        }
        write!(writer, "HTTP/1.1 {status} Scripted\r\ncontent-length: 0\r\n\r\n")?;
    }
}
