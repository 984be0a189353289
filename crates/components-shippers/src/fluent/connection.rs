//! One connection: reads messages one after the other, and replies to each that requests it.

use bytes::Bytes;
use pipeline::BatchBuilder;
use tokio::time::Instant;

use super::Fluent;
use super::login::{Login, Salts};
use super::message::{self, Message, Rules};
use super::pack::Scan;
use crate::client::{Client, End, Memory};

/// A connection.
pub(super) struct Connection<'a> {
    pub(super) fluent: &'a Fluent,
    pub(super) client: Client,
}

impl Connection<'_> {
    /// Serves the connection until it ends or the source stops.
    pub(super) async fn messages(mut self) -> Result<(), End> {
        if let Some(login) = &self.fluent.login {
            self.login(login).await?;
        }
        while let Some((bytes, memory)) = self.next().await? {
            self.take(bytes, memory).await?;
        }
        Ok(())
    }

    /// Runs the login, in which both sides prove that they know the shared key.
    async fn login(&mut self, login: &Login) -> Result<(), End> {
        let entropy = &self.client.put.env.entropy;
        let salts = Salts { nonce: entropy.bytes16(), auth: entropy.bytes16() };
        self.client.write(&login.helo(&salts)).await?;
        let Some((ping, _)) = self.next().await? else {
            return Err(End::Refused(
                "the client disconnected before it logged in; check `shared_key` and the user and \
                 password of the client"
                    .into(),
            ));
        };
        let pong = login.pong(&ping, &salts).map_err(|problem| malformed(&ping, &problem))?;
        self.client.write(&pong.bytes).await?;
        match pong.refused {
            None => Ok(()),
            Some(reason) => Err(End::Refused(format!(
                "the login of the client failed: {reason}; use the same `shared_key`, user and \
                 password in the client and in this source"
            ))),
        }
    }

    /// Returns the next message with its memory; `None` at the end of input.
    async fn next(&mut self) -> Result<Option<(Bytes, Memory)>, End> {
        let stop = self.client.put.stop.clone();
        let reading = async {
            if !self.client.begins().await? {
                return Ok(None);
            }
            let mut memory = Memory::default();
            let bytes = read(&mut self.client, &mut memory).await?;
            Ok(Some((bytes, memory)))
        };
        stop.run_until_cancelled(reading).await.unwrap_or(Ok(None))
    }

    /// Stores the events of a message, and replies.
    async fn take(&mut self, bytes: Bytes, mut memory: Memory) -> Result<(), End> {
        let (message_max, body_max) = (self.client.message_max(), self.client.put.body_max());
        let size = if message::is_compressed(&bytes) {
            self.client.cover_compressed(&mut memory).await;
            message_max
        } else {
            bytes.len()
        };
        let mapping = self.fluent.mapping.clone();
        let read = move |events: &mut BatchBuilder| {
            let rules = Rules { mapping: &mapping, message_max, body_max };
            message::message(&bytes, &rules, events).map_err(|problem| hinted(&bytes, &problem))
        };
        let (read, batch) = self.client.decode((size, &mut memory), read).await?;
        let Some(Message { divided, chunk }) = read else { return Ok(()) };
        self.client.gave(&batch);
        if divided > 0 {
            self.client.put.count("event_divided", divided as u64);
        }
        let Some(chunk) = chunk else {
            if self.fluent.require_ack {
                let problem = "a message requests no acknowledgement, but `require_ack` is set: \
                               set `Require_ack_response` (Fluent Bit) or `require_ack_response` \
                               (Fluentd) in the client";
                return Err(End::Refused(problem.into()));
            }
            if batch.is_empty() {
                return Ok(());
            }
            return self.client.store(batch, memory, None).await;
        };
        let place = self.fluent.chunks.place(Instant::now(), &self.client.host, &chunk);
        let mut is_stored = place.lock().await;
        if *is_stored {
            self.client.put.repeated(&self.client.host, batch.len());
        } else if !batch.is_empty() {
            self.client.store(batch, memory, Some(&[])).await?;
        }
        *is_stored = true;
        drop(is_stored);
        self.client.write(&chunk.acknowledgement()).await
    }
}

/// Reads up to the end of a message.
async fn read(client: &mut Client, memory: &mut Memory) -> Result<Bytes, End> {
    let (mut scan, max) = (Scan::new(), client.message_max());
    loop {
        let end = scan.end(&client.buffer);
        let announced = scan.least();
        if announced > max as u64 {
            return Err(client.too_large(announced));
        }
        match end {
            Some(end) => return Ok(client.buffer.split_to(end).freeze()),
            None => client.more(memory).await?,
        }
    }
}

/// Returns the error for invalid bytes, with their most likely sender.
fn malformed(bytes: &[u8], problem: &str) -> End {
    End::Malformed(hinted(bytes, problem))
}

fn hinted(bytes: &[u8], problem: &str) -> String {
    let hint = match bytes.first() {
        Some(0x16) => {
            "; it looks like TLS: set the table `tls` of this source, or disable TLS at the \
             client"
        }
        Some(b'{' | b'[') => {
            "; it looks like JSON, but only MessagePack is supported: use the `forward` output of \
             Fluent Bit or Fluentd"
        }
        Some(b'G' | b'P') => "; it looks like HTTP: send HTTP requests to a source of type `http`",
        _ => "",
    };
    format!("{problem}{hint}")
}
