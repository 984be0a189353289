//! An event server: a numbered log, which it sends from a position on, as a stream or in pages. It
//! can simulate failures of servers and networks.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rand::prelude::*;

mod socket;

use socket::Sockets;

/// The behaviour of the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    /// Server-sent events with ids; otherwise JSON lines.
    pub(crate) is_sse: bool,
    /// Continues after `Last-Event-ID` or the parameter `since`.
    pub(crate) resumes: bool,
    /// Number of events at the end of the log to resend to a client without a position.
    pub(crate) repeats: usize,
    /// Ends each connection after at most this many bytes, usually within an event.
    pub(crate) cut_within: Option<usize>,
    /// Whether an end looks like the end of a complete response.
    pub(crate) ends_well: bool,
    /// Sends this many events, then nothing more, and keeps the connection open.
    pub(crate) stalls_after: Option<usize>,
    /// Sends pieces of a few bytes.
    pub(crate) splits: bool,
    /// Interval of empty lines or comments.
    pub(crate) keep_alive: Option<Duration>,
    /// The required token; without it all requests are accepted.
    pub(crate) token: Option<String>,
}

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let query = self.line.split(' ').nth(1)?.split_once('?')?.1;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

#[derive(Debug, Default)]
struct State {
    log: Vec<String>,
    manner: Manner,
    asked: Vec<Asked>,
    /// Prepared responses, heads and bodies, which precede all others.
    answers: VecDeque<String>,
    streams: usize,
    sent_bytes: usize,
    rules: Vec<(String, String)>,
    tokens: usize,
    /// How often all streams were ended.
    ends: usize,
    sockets: Sockets,
}

/// The server. Its threads end with the test.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State { manner, ..State::default() }));
        let server = Self { address, state };
        let listening = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = listening.clone();
                // The client may disconnect at any time.
                thread::spawn(move || server.serve(&stream).unwrap_or_default());
            }
        });
        server
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread of the server fails")
    }

    /// Appends events with bodies `{"n":NUMBER,…}`. Returns their number.
    pub(crate) fn append_numbers(&self, count: usize, padding: &str) -> usize {
        let mut state = self.state();
        for _ in 0..count {
            let number = state.log.len();
            state.log.push(format!("{{\"n\":{number},\"text\":\"{padding}\"}}"));
        }
        state.log.len()
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.state().manner);
    }

    /// Responds to the next requests with these.
    pub(crate) fn answer_with(&self, answers: &[&str]) {
        self.state().answers.extend(answers.iter().map(|it| (*it).to_owned()));
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// Ends all streams.
    pub(crate) fn end_streams(&self) {
        self.state().ends += 1;
    }

    /// Returns the number of started streams.
    pub(crate) fn streams(&self) -> usize {
        self.state().streams
    }

    pub(crate) fn sent_bytes(&self) -> usize {
        self.state().sent_bytes
    }

    /// Returns the rules of the stream, each with its tag.
    pub(crate) fn rules(&self) -> Vec<(String, String)> {
        self.state().rules.clone()
    }

    pub(crate) fn set_rules(&self, rules: &[(&str, &str)]) {
        let owned = |(value, tag): &(&str, &str)| ((*value).to_owned(), (*tag).to_owned());
        self.state().rules = rules.iter().map(owned).collect();
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(asked) = read_request(&mut reader)? {
            let (canned, manner) = {
                let mut state = self.state();
                state.asked.push(asked.clone());
                (state.answers.pop_front(), state.manner.clone())
            };
            if let Some(answer) = canned {
                (&*stream).write_all(answer.as_bytes())?;
                if answer.contains("connection: close") {
                    return stream.shutdown(Shutdown::Both);
                }
                continue;
            }
            let path = asked.line.split(' ').nth(1).unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default();
            let is_known = manner.token.as_ref().is_none_or(|token| {
                path == "/token"
                    || asked.header("authorization") == Some(&format!("Bearer {token}"))
            });
            match path {
                _ if !is_known => answer(stream, "401 Unauthorized", "", "no token")?,
                "/token" => self.token(stream)?,
                "/list" => self.list(stream, &asked)?,
                "/stream/rules" => self.change_rules(stream, &asked)?,
                "/socket" => return self.socket(stream, &asked, &manner),
                _ => return self.stream(stream, &asked, &manner),
            }
        }
        Ok(())
    }

    fn token(&self, stream: &TcpStream) -> io::Result<()> {
        let token = {
            let mut state = self.state();
            state.tokens += 1;
            let token = format!("token-{}", state.tokens);
            state.manner.token = Some(token.clone());
            token
        };
        let body = format!("{{\"access_token\":\"{token}\",\"expires_in\":3600}}");
        answer(stream, "200 OK", "", &body)
    }

    /// Returns pages of ten events, newest first, like most lists.
    fn list(&self, stream: &TcpStream, asked: &Asked) -> io::Result<()> {
        let (log, etag) = {
            let state = self.state();
            (state.log.clone(), format!("\"{}\"", state.log.len()))
        };
        let number = |name: &str| asked.parameter(name).and_then(|it| it.parse::<usize>().ok());
        if asked.header("if-none-match") == Some(&etag) {
            return answer(stream, "304 Not Modified", "", "");
        }
        let since = number("since").map_or(0, |since| since + 1);
        let until = number("until").unwrap_or(log.len());
        let from = until.saturating_sub(10).max(since);
        let mut head = format!("etag: {etag}\r\n");
        if from > since {
            let since = number("since").map(|it| format!("&since={it}")).unwrap_or_default();
            write!(head, "link: </list?until={from}{since}>; rel=\"next\"\r\n").expect("a text");
        }
        let events: Vec<&str> =
            log[from..until.max(from)].iter().rev().map(String::as_str).collect();
        answer(stream, "200 OK", &head, &format!("{{\"data\": [\n{}\n]}}", events.join(",\n ")))
    }

    fn change_rules(&self, stream: &TcpStream, asked: &Asked) -> io::Result<()> {
        let mut state = self.state();
        if asked.line.starts_with("POST") {
            let body: serde_json::Value = serde_json::from_str(&asked.body).expect("JSON");
            for id in body.pointer("/delete/ids").and_then(|it| it.as_array()).into_iter().flatten()
            {
                let value = id.as_str().expect("an id").strip_prefix("id of ").expect("ours");
                state.rules.retain(|(rule, _)| rule != value);
            }
            for rule in body["add"].as_array().into_iter().flatten() {
                let text = |name: &str| rule[name].as_str().unwrap_or_default().to_owned();
                state.rules.push((text("value"), text("tag")));
            }
        }
        let rules = state.rules.iter().map(|(value, tag)| {
            serde_json::json!({ "id": format!("id of {value}"), "value": value, "tag": tag })
        });
        let body = serde_json::json!({ "data": rules.collect::<Vec<_>>() }).to_string();
        drop(state);
        answer(stream, "200 OK", "", &body)
    }

    fn stream(&self, stream: &TcpStream, asked: &Asked, manner: &Manner) -> io::Result<()> {
        let position = asked.header("last-event-id").or_else(|| asked.parameter("since"));
        let position = position.filter(|_| manner.resumes).and_then(|it| it.parse::<usize>().ok());
        let (mut next, ends) = {
            let mut state = self.state();
            state.streams += 1;
            let live = state.log.len().saturating_sub(manner.repeats);
            let live = if manner.resumes { 0 } else { live };
            (position.map_or(live, |it| it + 1), state.ends)
        };
        let kind = if manner.is_sse { "text/event-stream" } else { "application/x-ndjson" };
        let mut rng = StdRng::seed_from_u64(next as u64);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let mut out = stream;
        out.write_all(head.as_bytes())?;
        let mut left = manner.cut_within.map(|most| rng.random_range(1..=most));
        let (mut sent, mut said) = (0, Instant::now());
        let mut bytes = Vec::new();
        loop {
            let room = manner.stalls_after.map_or(50, |most| most.saturating_sub(sent).min(50));
            let events: Vec<String> =
                self.state().log.iter().skip(next).take(room).cloned().collect();
            bytes.clear();
            for event in &events {
                match manner.is_sse {
                    true => write!(bytes, "event: n\nid: {next}\ndata: {event}\n\n")?,
                    false => write!(bytes, "{event}\r\n")?,
                }
                next += 1;
                sent += 1;
            }
            if bytes.is_empty() && manner.keep_alive.is_some_and(|after| said.elapsed() > after) {
                bytes.extend_from_slice(if manner.is_sse { b": alive\n\n" } else { b"\r\n" });
            }
            if self.state().ends > ends {
                return stream.shutdown(Shutdown::Both);
            }
            if bytes.is_empty() {
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            said = Instant::now();
            let is_end = left.is_some_and(|left| bytes.len() >= left);
            bytes.truncate(left.unwrap_or(usize::MAX));
            left = left.map(|left| left - bytes.len().min(left));
            let piece = if manner.splits { rng.random_range(1..200) } else { bytes.len() };
            for piece in bytes.chunks(piece) {
                write!(out, "{:x}\r\n", piece.len())?;
                out.write_all(piece)?;
                out.write_all(b"\r\n")?;
                self.state().sent_bytes += piece.len();
            }
            if is_end {
                if manner.ends_well {
                    out.write_all(b"0\r\n\r\n")?;
                }
                return stream.shutdown(Shutdown::Both);
            }
        }
    }
}

fn answer(mut stream: &TcpStream, status: &str, head: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\n{head}content-length: {length}\r\n\r\n{body}")
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Asked>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Asked { at: Instant::now(), line: line.trim_end().to_owned(), headers, body }))
}
