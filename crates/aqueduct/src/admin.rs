//! A client for the admin address of a running agent.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::status::Snapshot;
use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::request::Builder;
use hyper::{Request, Response, StatusCode, header};
use pipeline::{Env, Secret, Settings};
use serde::de::DeserializeOwned;
use tls::{ClientTls, Dialer};
use tokio::time::timeout;
use web::{Lost, once};

/// Timeout of a read request. A slower agent is too busy to answer now.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Timeout of a change: sources, channels and groups each get their grace period.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(600);

/// A stream without a message for this long is lost. Agents send one message per second.
const SILENCE: Duration = Duration::from_secs(10);

/// Maximum size of a stream message, in bytes.
const MESSAGE_MAX: usize = 64 << 20;

/// Maximum size of a token file, in bytes.
const TOKEN_MAX: u64 = 4_096;

/// Access to a protected admin address.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Access {
    /// File with the token of `agent.admin_token`
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file of authorities that signed the agent's certificate; selects https
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

/// A running agent.
pub(crate) struct Admin {
    address: String,
    token: Option<Secret>,
    dialer: Dialer,
}

impl Admin {
    /// Creates a client for the agent at `address`: `host:port`, or the URL of one of its pages.
    ///
    /// # Errors
    /// The token file cannot be read; the message names the file.
    pub(crate) fn new(env: &Env, address: &str, access: &Access) -> Result<Self, String> {
        let (address, secured) = match address.strip_prefix("https://") {
            Some(rest) => (rest, true),
            None => (address.strip_prefix("http://").unwrap_or(address), access.ca.is_some()),
        };
        let address = address.split('/').next().unwrap_or_default().to_owned();
        let mut settings = Settings::empty();
        if let Some(ca) = &access.ca {
            settings.set("ca", Settings::text(ca.display().to_string()));
        }
        let tls: Option<ClientTls> = secured
            .then(|| settings.read())
            .transpose()
            .map_err(|error| format!("--ca: {error}"))?;
        let dialer = Dialer::new(env, tls, &["http/1.1"]);
        let dialer = dialer.map_err(|error| format!("--ca: {error}"))?;
        let token = access.token_file.as_deref().map(|path| token(env, path)).transpose()?;
        Ok(Self { address, token, dialer })
    }

    /// Returns the address as `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Formats the message for an agent that does not answer.
    pub(crate) fn unanswered(&self, error: &io::Error) -> String {
        format!("cannot query the agent at {}: {}", self.address, advised(error))
    }

    /// Parses a snapshot from this agent.
    ///
    /// # Errors
    /// The snapshot has an unknown format. The message contains a hint.
    pub(crate) fn snapshot(&self, text: &str) -> Result<Snapshot, String> {
        serde_json::from_str(text).map_err(|error| {
            let problem = format!("cannot parse its /status ({error})");
            format!("{}: {problem}; use the same version as the agent", self.address)
        })
    }

    /// Returns the body of a page.
    ///
    /// # Errors
    /// The agent does not answer in time, does not know the page, or requires a token.
    pub(crate) async fn get(&self, page: &str) -> io::Result<String> {
        let (status, body) = self.read_response(Request::get(page), READ_TIMEOUT).await?;
        match status {
            StatusCode::OK => Ok(body),
            status => Err(refused(page, status)),
        }
    }

    /// Sends the change `action`: reload the configuration, or stop or start parts. Returns the
    /// status and body of the response.
    ///
    /// # Errors
    /// The agent does not answer in time, or requires a token.
    pub(crate) async fn change(
        &self,
        action: &str,
        query: &str,
    ) -> io::Result<(StatusCode, String)> {
        let request = Request::post(format!("/{action}{query}")).header("x-aqueduct", action);
        self.read_response(request, CHANGE_TIMEOUT).await
    }

    /// Like [`Admin::change`], but parses the response and also returns its text.
    ///
    /// # Errors
    /// A message for people: the agent does not send such a document.
    pub(crate) async fn changed<T: DeserializeOwned>(
        &self,
        action: &str,
        query: &str,
    ) -> Result<(String, T), String> {
        let problem = |problem: &dyn std::fmt::Display| {
            format!("{action} failed at the agent {}: {problem}", self.address)
        };
        let changed = self.change(action, query).await;
        let (code, answer) = changed.map_err(|error| problem(&advised(&error)))?;
        let document = serde_json::from_str(&answer);
        let document = document.map_err(|_| problem(&format!("{code}: {}", answer.trim_end())))?;
        Ok((answer, document))
    }

    /// Returns the status and body of a response.
    async fn read_response(
        &self,
        request: Builder,
        patience: Duration,
    ) -> io::Result<(StatusCode, String)> {
        let answer = async {
            let answer = self.ask(request).await?;
            let status = answer.status();
            let body = answer.collect().await.map_err(io::Error::other)?.to_bytes();
            let body = String::from_utf8(body.into()).map_err(io::Error::other)?;
            Ok((status, body))
        };
        timeout(patience, answer).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Follows the snapshots of the agent, one per second.
    ///
    /// # Errors
    /// Same as [`Admin::get`].
    pub(crate) async fn follow(&self) -> io::Result<Follow> {
        self.stream("/status/events").await
    }

    /// Follows a page that is a stream of messages.
    ///
    /// # Errors
    /// Same as [`Admin::get`], with the agent's reason.
    pub(crate) async fn stream(&self, page: &str) -> io::Result<Follow> {
        let asked = timeout(READ_TIMEOUT, self.ask(Request::get(page))).await;
        let answer = asked.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        match answer.status() {
            StatusCode::OK => Ok(Follow { body: answer.into_body(), held: Vec::new() }),
            status => {
                let said = timeout(READ_TIMEOUT, answer.into_body().collect()).await;
                let said = said.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
                let said = said.map_err(io::Error::other)?.to_bytes();
                Err(io::Error::other(match String::from_utf8_lossy(&said).trim() {
                    "" => status.to_string(),
                    said => said.to_owned(),
                }))
            }
        }
    }

    /// Sends a request. Returns the response before its body has arrived.
    async fn ask(&self, mut request: Builder) -> io::Result<Response<Incoming>> {
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request = request.body(Full::default()).map_err(io::Error::other)?;
        let answer =
            once(&self.dialer, &self.address, request).await.map_err(|lost| match lost {
                Lost::Connect(cause) => {
                    cause.downcast::<io::Error>().map_or_else(io::Error::other, |error| *error)
                }
                Lost::Broken(_) => io::Error::other(
                    "this is not the admin address of an agent, or it uses TLS: write https://",
                ),
            })?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(io::Error::other(match self.token {
                Some(_) => {
                    "the token differs from `agent.admin_token` of the agent: pass the file of \
                     that token with --token-file"
                }
                None => {
                    "it requires its `agent.admin_token`: name the token's file with --token-file"
                }
            }));
        }
        Ok(answer)
    }
}

/// Adds advice to an error of the system. The texts of this module contain their own.
fn advised(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::Other => error.to_string(),
        _ => format!(
            "{error}; check that it is running and that this is the address of `agent.admin`"
        ),
    }
}

fn refused(page: &str, status: StatusCode) -> io::Error {
    io::Error::other(format!("{page} returned {status}; see the log of the agent"))
}

/// Reads the messages of a stream.
pub(crate) struct Follow {
    body: Incoming,
    /// Start of the next event.
    held: Vec<u8>,
}

impl Follow {
    /// Returns the next message, as JSON.
    ///
    /// # Errors
    /// The stream has ended, or was silent for too long.
    pub(crate) async fn next(&mut self) -> io::Result<String> {
        loop {
            if let Some(event) = event(&mut self.held) {
                return event;
            }
            let frame = timeout(SILENCE, self.body.frame()).await;
            let frame = frame.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
            let frame = frame.ok_or_else(|| {
                io::Error::other(
                    "the agent closed the stream; it may be stopping or restarting; run the \
                     command again",
                )
            })?;
            let frame = frame.map_err(io::Error::other)?;
            self.held.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if self.held.len() > MESSAGE_MAX {
                let problem = format!(
                    "received a message of more than {MESSAGE_MAX} bytes; use the same version as \
                     the agent"
                );
                return Err(io::Error::other(problem));
            }
        }
    }
}

/// Returns the data of the first server-sent event when it is complete.
fn event(held: &mut Vec<u8>) -> Option<io::Result<String>> {
    let end = memchr::memmem::find(held, b"\n\n")?;
    let rest = held.split_off(end + 2);
    let mut event = std::mem::replace(held, rest);
    event.truncate(end);
    let text = String::from_utf8(event).ok();
    let data = text.as_deref().and_then(|text| text.strip_prefix("data: "));
    Some(data.map(str::to_owned).ok_or_else(|| {
        io::Error::other(
            "received something other than messages of an agent; check the address, and use the \
             same version as the agent",
        )
    }))
}

/// Reads the token from a file, without surrounding whitespace.
pub(crate) fn token(env: &Env, path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let text = config::file_text(path, TOKEN_MAX, env);
    let text = text.map_err(|problem| format!("--token-file {shown}: the file {problem}"))?;
    let text = text.trim();
    if text.is_empty() || text.contains(|c: char| !c.is_ascii_graphic()) {
        return Err(format!(
            "--token-file {shown}: must contain one token of printable ASCII characters, as in \
             `agent.admin_token`"
        ));
    }
    Ok(text.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_where_they_end_however_they_arrive() {
        let (mut held, mut seen) = (Vec::new(), Vec::new());
        for byte in b"data: {\"a\":1}\n\ndata: {}\n\n: x\n\ndata: {" {
            held.push(*byte);
            while let Some(event) = event(&mut held) {
                seen.push(event.ok());
            }
        }
        assert_eq!(seen, [Some("{\"a\":1}".to_owned()), Some("{}".to_owned()), None]);
        assert_eq!(held, b"data: {");
    }
}
