//! What a running agent says on its admin address.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use pipeline::{Env, Secret, Settings};
use tls::{ClientTls, Dialer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// An agent that takes longer is too busy to be asked now.
const PATIENCE: Duration = Duration::from_secs(2);

/// A reload waits for sources, channels and groups, each within the grace.
const RELOAD_PATIENCE: Duration = Duration::from_secs(600);

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

    /// The body of a page.
    ///
    /// # Errors
    /// There is no answer in time, or no such page, or it wants a token.
    pub(crate) async fn get(&self, page: &str) -> io::Result<String> {
        let (status, body) = self.ask(&format!("GET {page}"), "", PATIENCE).await?;
        match status.starts_with("200 ") {
            true => Ok(body),
            false => Err(io::Error::other(format!("{page} is answered with {status}"))),
        }
    }

    /// The agent reads its configuration again: the status of the answer, and its body.
    ///
    /// # Errors
    /// There is no answer in time, or it wants a token.
    pub(crate) async fn reload(&self) -> io::Result<(String, String)> {
        self.ask("POST /reload", "x-aqueduct: reload\r\n", RELOAD_PATIENCE).await
    }

    /// The status of an answer, and its body.
    async fn ask(
        &self,
        request: &str,
        headers: &str,
        patience: Duration,
    ) -> io::Result<(String, String)> {
        let answer = async {
            let mut stream = self.dialer.connect(&self.address).await?;
            let token = self.token.as_ref().map_or(String::new(), |token| {
                format!("authorization: Bearer {}\r\n", token.expose())
            });
            let request = format!(
                "{request} HTTP/1.1\r\nhost: {}\r\n{headers}{token}connection: close\r\n\r\n",
                self.address
            );
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
            match head.strip_prefix("HTTP/1.1 ") {
                Some(status) if status.starts_with("401 ") => {
                    let problem = match self.token {
                        Some(_) => "the token is not that of its `agent.admin_token`",
                        None => "it wants its `agent.admin_token`: name the file by --token-file",
                    };
                    Err(io::Error::other(problem))
                }
                Some(status) => {
                    let status = status.lines().next().unwrap_or_default();
                    Ok((status.to_owned(), body.to_owned()))
                }
                None => Err(io::Error::other(
                    "this is no agent's admin address, or it speaks TLS: write https://",
                )),
            }
        };
        timeout(patience, answer).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
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
