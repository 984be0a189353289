//! What a running agent says on its admin address.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::status::Snapshot;
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::http::request::Builder;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use pipeline::{Env, Secret, Settings};
use serde::de::DeserializeOwned;
use tls::{ClientTls, Dialer};
use tokio::time::timeout;

/// An agent that takes longer is too busy to be asked now.
const PATIENCE: Duration = Duration::from_secs(2);

/// A change waits for sources, channels and groups, each within the grace.
const CHANGE_PATIENCE: Duration = Duration::from_secs(600);

/// A stream that is silent for so long is lost: there is a message a second.
const SILENCE: Duration = Duration::from_secs(10);

/// Most bytes of a message of a stream.
const MESSAGE_MAX: usize = 64 << 20;

/// Most bytes of a file with a token.
const TOKEN_MAX: u64 = 4_096;

/// How an admin address is reached that is closed to most.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Access {
    /// File with the token of `agent.admin_token`
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file of authorities that the agent's certificate is trusted by; with it the agent is
    /// asked by https
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

/// An agent that runs.
pub(crate) struct Admin {
    address: String,
    token: Option<Secret>,
    dialer: Dialer,
}

impl Admin {
    /// The agent at `address`: `host:port`, or a URL of one of its pages.
    ///
    /// # Errors
    /// The token cannot be read, with its file.
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

    /// Where it is: `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What is said where it does not answer.
    pub(crate) fn unanswered(&self, problem: &dyn std::fmt::Display) -> String {
        format!(
            "no agent answers at {}: {problem}; is it the address of `agent.admin`, and does the \
             agent run?",
            self.address
        )
    }

    /// A snapshot that it has sent.
    ///
    /// # Errors
    /// It is of another form, with what helps.
    pub(crate) fn snapshot(&self, text: &str) -> Result<Snapshot, String> {
        serde_json::from_str(text).map_err(|error| {
            let problem = format!("its /status is of another form ({error})");
            format!("{}: {problem}; use the version of the agent", self.address)
        })
    }

    /// The body of a page.
    ///
    /// # Errors
    /// There is no answer in time, or no such page, or it wants a token.
    pub(crate) async fn get(&self, page: &str) -> io::Result<String> {
        let (status, body) = self.whole(Request::get(page), PATIENCE).await?;
        match status {
            StatusCode::OK => Ok(body),
            status => Err(refused(page, status)),
        }
    }

    /// The agent changes: reads its configuration again, or stops or starts parts, as `action`
    /// says. The status of the answer, and its body.
    ///
    /// # Errors
    /// There is no answer in time, or it wants a token.
    pub(crate) async fn change(
        &self,
        action: &str,
        query: &str,
    ) -> io::Result<(StatusCode, String)> {
        let request = Request::post(format!("/{action}{query}")).header("x-aqueduct", action);
        self.whole(request, CHANGE_PATIENCE).await
    }

    /// As [`Admin::change`], where the answer is this document; with its text.
    ///
    /// # Errors
    /// For people: there is no such answer.
    pub(crate) async fn changed<T: DeserializeOwned>(
        &self,
        action: &str,
        query: &str,
    ) -> Result<(String, T), String> {
        let problem = |problem: &dyn std::fmt::Display| {
            format!("no {action} at the agent at {}: {problem}", self.address)
        };
        let (code, answer) = self.change(action, query).await.map_err(|error| {
            problem(&format!(
                "{error}; is it the address of `agent.admin`, and does the agent run?"
            ))
        })?;
        let document = serde_json::from_str(&answer);
        let document = document.map_err(|_| problem(&format!("{code}: {}", answer.trim_end())))?;
        Ok((answer, document))
    }

    /// The status of an answer, and its body.
    async fn whole(
        &self,
        request: Builder,
        patience: Duration,
    ) -> io::Result<(StatusCode, String)> {
        let answer = async {
            let (_connection, answer) = self.ask(request).await?;
            let status = answer.status();
            let body = answer.collect().await.map_err(io::Error::other)?.to_bytes();
            let body = String::from_utf8(body.into()).map_err(io::Error::other)?;
            Ok((status, body))
        };
        timeout(patience, answer).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Its snapshots, one a second.
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub(crate) async fn follow(&self) -> io::Result<Follow> {
        self.stream("/status/events").await
    }

    /// The messages of a page that is a stream.
    ///
    /// # Errors
    /// As [`Admin::get`], with what the agent says.
    pub(crate) async fn stream(&self, page: &str) -> io::Result<Follow> {
        let asked = timeout(PATIENCE, self.ask(Request::get(page))).await;
        let (connection, answer) =
            asked.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        match answer.status() {
            StatusCode::OK => {
                let body = answer.into_body();
                Ok(Follow { _connection: connection, body, held: Vec::new() })
            }
            status => {
                let said = timeout(PATIENCE, answer.into_body().collect()).await;
                let said = said.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
                let said = said.map_err(io::Error::other)?.to_bytes();
                Err(io::Error::other(match String::from_utf8_lossy(&said).trim() {
                    "" => status.to_string(),
                    said => said.to_owned(),
                }))
            }
        }
    }

    /// The answer to a request, with the connection that its body comes by.
    async fn ask(
        &self,
        mut request: Builder,
    ) -> io::Result<(SendRequest<Empty<Bytes>>, Response<Incoming>)> {
        let stream = self.dialer.connect(&self.address).await?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut connection, driver) = handshake.map_err(io::Error::other)?;
        tokio::spawn(async move {
            // What breaks is seen by the request.
            let _ = driver.await;
        });
        request = request.header(header::HOST, &self.address);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request = request.body(Empty::new()).map_err(io::Error::other)?;
        let answer = connection.send_request(request).await.map_err(|_| {
            io::Error::other("this is no agent's admin address, or it speaks TLS: write https://")
        })?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(io::Error::other(match self.token {
                Some(_) => "the token is not that of its `agent.admin_token`",
                None => "it wants its `agent.admin_token`: name the file by --token-file",
            }));
        }
        Ok((connection, answer))
    }
}

fn refused(page: &str, status: StatusCode) -> io::Error {
    io::Error::other(format!("{page} is answered with {status}"))
}

/// The messages of a stream.
pub(crate) struct Follow {
    /// Held until the last of the body.
    _connection: SendRequest<Empty<Bytes>>,
    body: Incoming,
    /// The beginning of the next event.
    held: Vec<u8>,
}

impl Follow {
    /// The next message, as JSON.
    ///
    /// # Errors
    /// The stream has ended, or nothing has come for a while.
    pub(crate) async fn next(&mut self) -> io::Result<String> {
        loop {
            if let Some(event) = event(&mut self.held) {
                return event;
            }
            let frame = timeout(SILENCE, self.body.frame()).await;
            let frame = frame.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
            let frame = frame.ok_or_else(|| io::Error::other("the agent has ended the stream"))?;
            let frame = frame.map_err(io::Error::other)?;
            self.held.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if self.held.len() > MESSAGE_MAX {
                let problem = format!("a message of more than {MESSAGE_MAX} bytes");
                return Err(io::Error::other(problem));
            }
        }
    }
}

/// The data of the first server-sent event, once it is whole.
fn event(held: &mut Vec<u8>) -> Option<io::Result<String>> {
    let end = memchr::memmem::find(held, b"\n\n")?;
    let rest = held.split_off(end + 2);
    let mut event = std::mem::replace(held, rest);
    event.truncate(end);
    let text = String::from_utf8(event).ok();
    let data = text.as_deref().and_then(|text| text.strip_prefix("data: "));
    Some(data.map(str::to_owned).ok_or_else(|| io::Error::other("it sends no messages")))
}

/// The token in a file, without spaces and line ends around it.
fn token(env: &Env, path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let text = config::file_text(path, TOKEN_MAX, env);
    let text = text.map_err(|problem| format!("--token-file {shown}: it {problem}"))?;
    let text = text.trim();
    if text.is_empty() || text.contains(|c: char| !c.is_ascii_graphic()) {
        return Err(format!("--token-file {shown}: it holds no token of ASCII characters alone"));
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
