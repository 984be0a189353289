//! Sends the log over a WebSocket (RFC 6455), frame by frame, without the agent's library.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::MutexGuard;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rand::prelude::*;

use super::{Asked, Manner, Server, State};

/// First bytes of frames: complete messages of each kind, and fragments.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const FIRST_PIECE: u8 = 0x01;
const PIECE: u8 = 0x00;
const LAST_PIECE: u8 = 0x80;

/// Data received from WebSocket clients, and actions for the next ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sockets {
    /// Close codes for the next connections.
    codes: VecDeque<u16>,
    pub(crate) said: Vec<String>,
    pub(crate) pings: usize,
    pub(crate) pongs: usize,
    /// Codes of received close frames.
    pub(crate) closes: Vec<u16>,
}

impl Server {
    /// Returns what WebSocket clients have sent so far.
    pub(crate) fn sockets(&self) -> Sockets {
        self.state().sockets.clone()
    }

    /// Closes the next connections with these codes.
    pub(crate) fn close_with(&self, codes: &[u16]) {
        self.state().sockets.codes.extend(codes);
    }

    pub(super) fn socket(
        &self,
        stream: &TcpStream,
        asked: &Asked,
        manner: &Manner,
    ) -> io::Result<()> {
        open(stream, asked)?;
        let mut out = stream;
        let frames = frames_of(stream)?;
        let position = asked.parameter("since").filter(|_| manner.resumes);
        let position = position.and_then(|it| it.parse::<usize>().ok());
        let (mut next, ends, code, mut rng) = {
            let mut state = self.state();
            state.streams += 1;
            let next = position.map_or(0, |it| it + 1).saturating_sub(manner.repeats);
            let rng = StdRng::seed_from_u64(state.streams as u64);
            (next, state.ends, state.sockets.codes.pop_front(), rng)
        };
        if let Some(code) = code {
            out.write_all(&frame(CLOSE, &code.to_be_bytes()))?;
            let _answer = frames.recv_timeout(Duration::from_secs(1));
            return stream.shutdown(Shutdown::Both);
        }
        let mut left = manner.cut_within.map(|most| rng.random_range(1..=most));
        let (mut sent, mut bytes) = (0, Vec::new());
        let mut spoke = Instant::now();
        loop {
            bytes.clear();
            let room = manner.stalls_after.map_or(50, |most| most.saturating_sub(sent).min(50));
            let events: Vec<String> =
                self.state().log.iter().skip(next).take(room).cloned().collect();
            for event in &events {
                message(&mut bytes, event, manner.splits.then_some(&mut rng));
            }
            (next, sent) = (next + events.len(), sent + events.len());
            let is_stalled = manner.stalls_after.is_some_and(|most| sent >= most);
            loop {
                match frames.try_recv() {
                    Ok((CLOSE, payload)) => return self.answered_close(stream, &payload),
                    Ok((PING, _)) if is_stalled => {}
                    Ok((kind, payload)) => {
                        took(&mut self.state(), kind, &payload);
                        if kind == PING {
                            bytes.extend(frame(PONG, &payload));
                        }
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            if manner.keep_alive.is_some_and(|after| spoke.elapsed() > after) {
                bytes.extend(frame(PING, b"there?"));
            }
            if self.state().ends > ends {
                out.write_all(&frame(CLOSE, &1001u16.to_be_bytes()))?;
                return stream.shutdown(Shutdown::Write);
            }
            if bytes.is_empty() {
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            spoke = Instant::now();
            let is_end = left.is_some_and(|left| bytes.len() >= left);
            bytes.truncate(left.unwrap_or(usize::MAX));
            left = left.map(|left| left - bytes.len().min(left));
            out.write_all(&bytes)?;
            self.state().sent_bytes += bytes.len();
            if is_end {
                return stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn answered_close(&self, mut stream: &TcpStream, payload: &[u8]) -> io::Result<()> {
        let code = payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
        self.state().sockets.closes.push(code);
        stream.write_all(&frame(CLOSE, payload))?;
        stream.shutdown(Shutdown::Both)
    }
}

/// Answers the handshake.
fn open(mut stream: &TcpStream, asked: &Asked) -> io::Result<()> {
    let key = asked.header("sec-websocket-key").expect("a key");
    let accept = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, accept.as_bytes()));
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    )
}

fn took(state: &mut MutexGuard<'_, State>, kind: u8, payload: &[u8]) {
    let sockets = &mut state.sockets;
    match kind {
        TEXT => sockets.said.push(String::from_utf8(payload.to_vec()).expect("UTF-8")),
        PING => sockets.pings += 1,
        PONG => sockets.pongs += 1,
        _ => panic!("a frame of no use to a server: {kind:#x}"),
    }
}

/// Returns a server frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        short @ 0..126 => vec![short as u8],
        long => [&[126][..], &u16::try_from(long).expect("an event").to_be_bytes()].concat(),
    };
    [&[first][..], &length, payload].concat()
}

/// Appends a message; fragmented, with pings in between, if there is a random source.
fn message(bytes: &mut Vec<u8>, text: &str, rng: Option<&mut StdRng>) {
    let text = text.as_bytes();
    let Some(rng) = rng else { return bytes.extend(frame(TEXT, text)) };
    let pieces: Vec<&[u8]> = text.chunks(rng.random_range(1..=text.len() * 2)).collect();
    for (place, piece) in pieces.iter().enumerate() {
        let is_last = place + 1 == pieces.len();
        let first = match (place, is_last) {
            (0, true) => TEXT,
            (0, false) => FIRST_PIECE,
            (_, true) => LAST_PIECE,
            (_, false) => PIECE,
        };
        bytes.extend(frame(first, piece));
        if rng.random_ratio(1, 10) {
            bytes.extend(frame(PING, b"there?"));
        }
    }
}

/// Returns the frames of a client, unmasked, as they arrive.
fn frames_of(stream: &TcpStream) -> io::Result<Receiver<(u8, Vec<u8>)>> {
    let (send, receive) = channel();
    let mut stream = stream.try_clone()?;
    thread::spawn(move || {
        let mut head = [0; 6];
        while stream.read_exact(&mut head).is_ok() {
            let length = usize::from(head[1] & 0x7f);
            assert!(head[1] & 0x80 != 0 && length < 126, "a short frame with a mask");
            let mut payload = vec![0; length];
            if stream.read_exact(&mut payload).is_err() {
                return;
            }
            for (place, byte) in payload.iter_mut().enumerate() {
                *byte ^= head[2 + place % 4];
            }
            if send.send((head[0], payload)).is_err() {
                return;
            }
        }
    });
    Ok(receive)
}
