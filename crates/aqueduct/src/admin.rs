//! What a running agent says on its admin address.

use std::io;
use std::time::Duration;

use pipeline::Env;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// An agent that takes longer is too busy to be asked now.
const PATIENCE: Duration = Duration::from_secs(2);

/// The body of a page.
///
/// # Errors
/// There is no answer in time, or no such page.
pub(crate) async fn get(env: &Env, address: &str, page: &str) -> io::Result<String> {
    let answer = async {
        let mut stream = env.net.connect(address).await?;
        let request =
            format!("GET {page} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.strip_prefix("HTTP/1.1 ") {
            Some(status) if status.starts_with("200 ") => Ok(body.to_owned()),
            Some(status) => {
                let status = status.lines().next().unwrap_or_default();
                Err(io::Error::other(format!("{page} is answered with {status}")))
            }
            None => Err(io::Error::other("this is no agent's admin address")),
        }
    };
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
