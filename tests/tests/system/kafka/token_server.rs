//! A token server (OAuth 2) that fails, is slow, and returns expired tokens.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::tokens::token;

/// The response to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A token with this lifetime.
    Good(Duration),
    /// An expired token.
    Expired,
    /// Status 500.
    Fails,
    /// No response until the client times out.
    Slow,
}

/// The server. It responds to requests with the remaining responses in order, and then repeats the
/// last one.
pub(crate) struct TokenServer {
    pub(crate) address: SocketAddr,
    given: Arc<Mutex<Vec<Answer>>>,
}

impl TokenServer {
    /// Starts a server for the client `agent` with this secret and this scope.
    pub(crate) fn start(secret: &'static str, scope: &'static str, answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let given = Arc::<Mutex<Vec<Answer>>>::default();
        let all = given.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, answers) = (all.clone(), answers.clone());
                thread::spawn(move || {
                    let Some(is_known) = asked(&stream, secret, scope) else { return };
                    if !is_known {
                        return answer(
                            &stream,
                            "401 Unauthorized",
                            "{\"error\":\"invalid_client\"}",
                        );
                    }
                    let mut given = all.lock().unwrap_or_else(PoisonError::into_inner);
                    let next = answers[given.len().min(answers.len() - 1)];
                    given.push(next);
                    drop(given);
                    serve(&stream, next);
                });
            }
        });
        Self { address, given }
    }

    /// Returns its responses so far.
    pub(crate) fn given(&self) -> Vec<Answer> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads a request. Returns whether it comes from the client; `None` if there is none.
fn asked(stream: &TcpStream, secret: &str, scope: &str) -> Option<bool> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut credentials) = (0, String::new());
    for line in reader.by_ref().lines() {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else {
            if line.is_empty() {
                break;
            }
            continue;
        };
        match &*name.to_ascii_lowercase() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => value.clone_into(&mut credentials),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let expected = format!("Basic {}", STANDARD.encode(format!("agent:{secret}")));
    let form = format!("grant_type=client_credentials&scope={scope}");
    Some(credentials == expected && body == form.as_bytes())
}

fn serve(stream: &TcpStream, with: Answer) {
    let good = |token: String, seconds: u64| {
        format!("{{\"access_token\":\"{token}\",\"expires_in\":{seconds}}}")
    };
    match with {
        Answer::Good(life) => answer(stream, "200 OK", &good(token(life), life.as_secs())),
        Answer::Expired => answer(stream, "200 OK", &good(token(Duration::ZERO), 60)),
        Answer::Fails => answer(stream, "500 Internal Server Error", "{}"),
        Answer::Slow => thread::sleep(Duration::from_secs(60)),
    }
}

fn answer(mut stream: &TcpStream, status: &str, body: &str) {
    let length = body.len();
    // Fails if the client has disconnected.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
}
