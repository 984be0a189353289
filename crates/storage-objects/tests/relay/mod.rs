//! A relay between a client and a server of HTTP, which treats chosen requests badly.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use pipeline::env::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The handling of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// The server answers it.
    Passes,
    /// The server gets it; the connection breaks before the answer.
    LosesAnswer,
    /// The connection breaks; the server gets nothing.
    LosesRequest,
    /// The server gets it without its condition.
    IgnoresConditions,
    /// This status with this code in XML; the server gets nothing.
    Answers(u16, &'static str),
    /// No answer, and no end.
    Silent,
}

type Chosen = Box<dyn Fn(&str) -> bool + Send>;

struct Shared {
    server: SocketAddr,
    mood: Mutex<(Mood, Chosen)>,
}

/// A running relay.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Relay {
    /// Before the server at this address; everything passes.
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = env::real().net.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_address().parse().unwrap();
        let mood: Mutex<(Mood, Chosen)> = Mutex::new((Mood::Passes, Box::new(|_| false)));
        let shared = Arc::new(Shared { server, mood });
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, serving.clone()));
            }
        });
        Self { address, shared }
    }

    /// Returns the address on which it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Handles requests from now on whose head matches `chosen`.
    pub(crate) fn mood_of(&self, mood: Mood, chosen: impl Fn(&str) -> bool + Send + 'static) {
        *self.shared.mood.lock().unwrap() = (mood, Box::new(chosen));
    }
}

async fn serve(mut client: Box<dyn Stream>, shared: Arc<Shared>) {
    while let Some((head, body)) = message(&mut client).await {
        let mood = {
            let (mood, chosen) = &*shared.mood.lock().unwrap();
            if chosen(&head) { *mood } else { Mood::Passes }
        };
        let kept = |line: &&str| {
            mood != Mood::IgnoresConditions || !line.to_lowercase().starts_with("if-none-match")
        };
        match mood {
            Mood::LosesRequest => return,
            Mood::Silent => return std::future::pending().await,
            Mood::Answers(status, code) => {
                let text = format!("<Error><Code>{code}</Code><Message>planned</Message></Error>");
                let answer =
                    format!("HTTP/1.1 {status} Planned\r\nContent-Length: {}\r\n\r\n", text.len());
                client.write_all(answer.as_bytes()).await.unwrap();
                client.write_all(text.as_bytes()).await.unwrap();
                continue;
            }
            Mood::Passes | Mood::LosesAnswer | Mood::IgnoresConditions => {}
        }
        // One connection for each request: the answer ends with it.
        let mut lines: Vec<&str> = head.trim_end().split("\r\n").filter(kept).collect();
        lines.push("Connection: close");
        let mut head = format!("{}\r\n\r\n", lines.join("\r\n"));
        if mood == Mood::IgnoresConditions {
            head = head.replacen("&ifGenerationMatch=0", "", 1);
        }
        let mut server = env::real().net.connect(&shared.server.to_string()).await.unwrap();
        server.write_all(head.as_bytes()).await.unwrap();
        // A server that refuses a request by its head may answer and close before the body has
        // arrived.
        drop(server.write_all(&body).await);
        let mut answer = Vec::new();
        drop(server.read_to_end(&mut answer).await);
        if mood == Mood::LosesAnswer || client.write_all(&answer).await.is_err() {
            return;
        }
        // It announced the close.
        drop(client.shutdown().await);
        return;
    }
}

/// The head of the next request, and its body.
async fn message(client: &mut Box<dyn Stream>) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let is_chunked =
        head.lines().any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"));
    let is_whole = |body: &[u8]| match length {
        Some(length) => body.len() >= length,
        None => !is_chunked || body.ends_with(b"0\r\n\r\n"),
    };
    while !is_whole(&body) {
        if client.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, body))
}
