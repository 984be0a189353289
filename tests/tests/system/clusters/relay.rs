//! A relay to a NameNode that cuts a connection around one call.
//!
//! ```text
//!  collector ──request──► relay ──request──► NameNode
//!                │            ◄─response── │
//!                │                         └ lost: done, but the collector does not learn of it
//!                └ lost: not done, which the collector cannot know
//! ```
//!
//! The used parts of Hadoop's RPC: after seven bytes, a connection carries frames, each with a
//! length of four bytes, and messages with length prefixes. The first message contains the number
//! of the call; the second one of a request starts with the name of the method.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The part of a call to lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Request,
    Answer,
}

/// The next call to cut, and the number of cuts so far.
#[derive(Default)]
struct Plan {
    next: Option<(&'static str, Lost)>,
    cuts: usize,
}

/// A relay before a NameNode, which runs until the process ends.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
}

impl Relay {
    pub(crate) fn to(namenode: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let plan = Arc::<Mutex<Plan>>::default();
        let of_connections = plan.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(namenode) else { continue };
                Connection::join(client, server, of_connections.clone());
            }
        });
        Self { address, plan }
    }

    /// Cuts the connection of the next call of this method.
    pub(crate) fn cut(&self, method: &'static str, lost: Lost) {
        self.plan.lock().expect("no thread panics").next = Some((method, lost));
    }

    /// Returns the number of cut connections.
    pub(crate) fn cuts(&self) -> usize {
        self.plan.lock().expect("no thread panics").cuts
    }
}

/// A connection, and the call whose response ends it.
#[derive(Clone)]
struct Connection {
    client: Arc<TcpStream>,
    server: Arc<TcpStream>,
    plan: Arc<Mutex<Plan>>,
    awaited: Arc<Mutex<Option<u64>>>,
}

impl Connection {
    fn join(client: TcpStream, server: TcpStream, plan: Arc<Mutex<Plan>>) {
        let _slower_without = (client.set_nodelay(true), server.set_nodelay(true));
        let (client, server) = (Arc::new(client), Arc::new(server));
        let there = Self { client, server, plan, awaited: Arc::default() };
        let back = there.clone();
        thread::spawn(move || {
            let _broken = there.requests();
            there.close();
        });
        thread::spawn(move || {
            let _broken = back.answers();
            back.close();
        });
    }

    fn close(&self) {
        let _gone = (self.client.shutdown(Shutdown::Both), self.server.shutdown(Shutdown::Both));
    }

    fn requests(&self) -> std::io::Result<()> {
        let (mut client, mut server) = (&*self.client, &*self.server);
        let mut greeting = [0; 7];
        client.read_exact(&mut greeting)?;
        server.write_all(&greeting)?;
        loop {
            let frame = frame_of(client)?;
            match self.lost_of(&frame) {
                Some(Lost::Request) => return Ok(()),
                Some(Lost::Answer) => {
                    *self.awaited.lock().expect("no thread panics") = call(&frame);
                }
                None => {}
            }
            server.write_all(&frame)?;
        }
    }

    /// Returns what to lose of this request.
    fn lost_of(&self, frame: &[u8]) -> Option<Lost> {
        let mut plan = self.plan.lock().expect("no thread panics");
        let (method, lost) = plan.next?;
        if method_of(frame)? != method.as_bytes() {
            return None;
        }
        (plan.next, plan.cuts) = (None, plan.cuts + 1);
        Some(lost)
    }

    fn answers(&self) -> std::io::Result<()> {
        let (mut client, server) = (&*self.client, &*self.server);
        loop {
            let frame = frame_of(server)?;
            let awaited = *self.awaited.lock().expect("no thread panics");
            if awaited.is_some() && answered(&frame) == awaited {
                return Ok(());
            }
            client.write_all(&frame)?;
        }
    }
}

/// Reads the next frame, with its length.
fn frame_of(mut from: &TcpStream) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame)?;
    let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
    frame.resize(4 + length as usize, 0);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}

/// Splits off a varint.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let value = bytes[..length].iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
    Some((value, &bytes[length..]))
}

/// Splits off a message with a length prefix.
fn message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = number(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// Returns the number of a call: `callId`, the third field of a request, signed.
fn call(frame: &[u8]) -> Option<u64> {
    let (mut header, _) = message(&frame[4..])?;
    loop {
        let (key, value) = number(header)?;
        // All fields before it are numbers, too.
        let (value, rest) = number(value)?;
        if key == 3 << 3 {
            return Some(value >> 1);
        }
        header = rest;
    }
}

/// Returns the call number of a response, its first field.
fn answered(frame: &[u8]) -> Option<u64> {
    let (header, _) = message(&frame[4..])?;
    let (_, value) = number(header)?;
    Some(number(value)?.0)
}

/// Returns the name of the method, the first field of the second message.
fn method_of(frame: &[u8]) -> Option<&[u8]> {
    let (_, rest) = message(&frame[4..])?;
    let (request, _) = message(rest)?;
    let (_, name) = number(request)?;
    Some(message(name)?.0)
}
