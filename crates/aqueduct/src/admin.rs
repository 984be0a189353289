//! What a running agent says on its admin address.

use std::io;
use std::time::Duration;

use pipeline::Env;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// An agent that takes longer is too busy to be asked now.
const PATIENCE: Duration = Duration::from_secs(2);

/// A reload waits for sources, channels and groups, each within the grace.
const RELOAD_PATIENCE: Duration = Duration::from_secs(600);

/// The body of a page.
///
/// # Errors
/// There is no answer in time, or no such page.
pub(crate) async fn get(env: &Env, address: &str, page: &str) -> io::Result<String> {
    let (status, body) = ask(env, address, &format!("GET {page}"), "", PATIENCE).await?;
    match status.starts_with("200 ") {
        true => Ok(body),
        false => Err(io::Error::other(format!("{page} is answered with {status}"))),
    }
}

/// Asks the agent to read its configuration again: the status of the answer and its body.
///
/// # Errors
/// There is no answer in time.
pub(crate) async fn reload(env: &Env, address: &str) -> io::Result<(String, String)> {
    ask(env, address, "POST /reload", "x-aqueduct: reload\r\n", RELOAD_PATIENCE).await
}

/// The agent at an address as people write it, and as a page of it is called.
pub(crate) fn bare(address: &str) -> &str {
    let address = address.strip_prefix("http://").unwrap_or(address);
    address.trim_end_matches("/status").trim_end_matches("/reload").trim_end_matches('/')
}

/// The status of an answer, and its body.
async fn ask(
    env: &Env,
    address: &str,
    request: &str,
    headers: &str,
    patience: Duration,
) -> io::Result<(String, String)> {
    let answer = async {
        let mut stream = env.net.connect(address).await?;
        let request =
            format!("{request} HTTP/1.1\r\nhost: {address}\r\n{headers}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.strip_prefix("HTTP/1.1 ") {
            Some(status) => {
                let status = status.lines().next().unwrap_or_default();
                Ok((status.to_owned(), body.to_owned()))
            }
            None => Err(io::Error::other("this is no agent's admin address")),
        }
    };
    timeout(patience, answer).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
