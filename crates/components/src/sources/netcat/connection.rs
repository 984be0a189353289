//! One client of `netcat`: its bytes become events, which are stored and acknowledged.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use formats::charset::StreamText;
use kit::gathered::{Destination, Gathered};
use kit::multiline::EVENT_DIVIDED;
use kit::multiline::stream::{EventStream, NextEvent};
use kit::serve::{Connected, Put};
use kit::tenants::Client;
use kit::waits::until;
use pipeline::env::Stream;
use pipeline::{Frame, FramingLost};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::{Netcat, READ_BYTES};

/// One client.
pub(super) struct Connection<'a> {
    netcat: &'a Netcat,
    put: &'a Put,
    /// Address of the client.
    peer: Arc<str>,
    host: Arc<str>,
    client: Client,
    events: EventStream,
    to: Destination,
    gathered: Gathered,
    stream: Box<dyn Stream>,
    /// Converts the stream, if it has another charset than UTF-8.
    text: Option<StreamText>,
    /// Bytes in that charset.
    encoded: BytesMut,
}

impl<'a> Connection<'a> {
    /// Creates the state of an accepted connection.
    pub(super) fn new(connected: Connected, netcat: &'a Netcat, put: &'a Put) -> Self {
        let Connected { stream, client, peer, host, .. } = connected;
        let (line_max, joining) = (netcat.line_max.0 as usize, netcat.joining.clone());
        let events = EventStream::new(&*netcat.framing, line_max, joining);
        let (to, gathered) = (put.destination(netcat.batch_events), Gathered::default());
        let (text, encoded) = (netcat.charset.map(StreamText::new), BytesMut::new());
        Self { netcat, put, peer, host, client, events, to, gathered, stream, text, encoded }
    }

    /// Reads events until the connection ends or the source stops.
    pub(super) async fn serve(mut self) -> io::Result<()> {
        let served = self.until_end().await;
        if !self.netcat.ack_every_event {
            // The client does not resend the beginning of the last event.
            self.end_event().await?;
        }
        served
    }

    async fn until_end(&mut self) -> io::Result<()> {
        let mut idle = self.idle_until();
        loop {
            let event_due = self.events.due();
            let into = match self.text {
                Some(_) => &mut self.encoded,
                None => self.events.buffer(),
            };
            into.reserve(READ_BYTES);
            let read = tokio::select! {
                biased;
                () = self.put.stop.cancelled() => return Ok(()),
                read = self.stream.read_buf(into) => read?,
                () = until(event_due) => {
                    self.end_event().await?;
                    continue;
                }
                () = until(idle) => return self.end_event().await,
            };
            // The first read completes the handshake, which determines the tenant.
            if read > 0
                && let Err(over) = self.client.member().came(read)
            {
                return self.fail(&over.to_string()).await;
            }
            let is_valid = self.convert(read == 0);
            if !self.push_all(EventStream::next).await?
                || (read == 0 && !self.push_all(EventStream::rest).await?)
            {
                return Ok(());
            }
            self.store().await?;
            if !is_valid {
                self.to.count("invalid_text", 1);
                return self
                    .fail(
                        "the text is not in the `charset` of the source; correct the client or the \
                         setting",
                    )
                    .await;
            }
            if read == 0 {
                return Ok(());
            }
            // Over the tenant's rate, data waits unread.
            if self.put.stop.run_until_cancelled(self.client.pass()).await.is_none() {
                return Ok(());
            }
            idle = self.idle_until();
        }
    }

    /// Converts the bytes that were read; returns whether they are valid in the charset.
    fn convert(&mut self, is_last: bool) -> bool {
        let Some(text) = &mut self.text else { return true };
        let (text, valid) = text.decode(&self.encoded.split(), is_last);
        self.events.buffer().extend_from_slice(text.as_bytes());
        valid.is_ok()
    }

    /// Sends a reply.
    async fn reply(&mut self, reply: &str) -> io::Result<()> {
        match &mut self.text {
            Some(text) => self.stream.write_all(&text.encode(reply)).await,
            None => self.stream.write_all(reply.as_bytes()).await,
        }
    }

    /// Sends the reason why the connection ends, if replies are on.
    async fn fail(&mut self, problem: &str) -> io::Result<()> {
        if self.netcat.ack_every_event {
            self.reply(&format!("FAILED: {problem}\n")).await?;
        }
        self.stream.shutdown().await
    }

    /// Returns the time at which the idle connection is closed.
    fn idle_until(&self) -> Option<Instant> {
        self.netcat.idle_timeout.and_then(|limit| Instant::now().checked_add(limit))
    }

    /// Stores and acknowledges the open events, after a timeout or at the end.
    async fn end_event(&mut self) -> io::Result<()> {
        while let Some(event) = self.events.end() {
            self.push(event).await?;
        }
        self.store().await
    }

    /// Adds the events that `next` returns; returns true if reading continues.
    async fn push_all(&mut self, next: NextEvent) -> io::Result<bool> {
        loop {
            let goes_on = match next(&mut self.events, self.to.event_bytes_max()) {
                Ok(None) => return Ok(true),
                Ok(Some(event)) => self.push(event).await?,
                Err(lost) => self.lost_framing(&lost).await?,
            };
            if !goes_on {
                return Ok(false);
            }
        }
    }

    /// Handles a framing error; returns true if reading continues. A client with replies resends
    /// the unacknowledged events.
    async fn lost_framing(&mut self, lost: &FramingLost) -> io::Result<bool> {
        if self.to.lost_framing(&self.peer, lost) && !self.netcat.ack_every_event {
            return Ok(true);
        }
        self.store().await?;
        self.fail(&lost.to_string()).await.map(|()| false)
    }

    /// Adds an event; returns true if the connection continues.
    async fn push(&mut self, mut event: Frame) -> io::Result<bool> {
        let over = self.client.member().cut(&mut event);
        if self.gathered.is_full(event.message.len(), &self.to) {
            self.store().await?;
        }
        if event.is_cut && self.netcat.ack_every_event {
            self.store().await?;
            self.to.count("line_too_long", 1);
            let line_max = || {
                format!(
                    "the line is over `line_max` ({}); raise it, or shorten the line",
                    self.netcat.line_max
                )
            };
            let problem = over.map_or_else(line_max, |over| over.to_string());
            return self.fail(&problem).await.map(|()| false);
        }
        if event.is_cut {
            self.to.count("line_cut", 1);
        }
        let client = self.netcat.client_header.as_deref().map(|name| (name, &*self.host));
        let mark = event.is_cut.then_some(("truncated", "true"));
        let headers: Vec<(&str, &str)> = client.into_iter().chain(mark).collect();
        self.gathered.push(&event.message, &headers);
        Ok(true)
    }

    /// Stores the batch, and acknowledges each of its events.
    async fn store(&mut self) -> io::Result<()> {
        let divided = self.events.take_divided();
        if divided > 0 {
            self.to.count(EVENT_DIVIDED, divided);
        }
        if !self.netcat.ack_every_event {
            self.gathered.store_or_lose(&self.to, Some(&self.client), "lines_refused").await;
            return Ok(());
        }
        let count = self.gathered.len();
        if count == 0 {
            return Ok(());
        }
        let answer = match self.to.store_in_turn(self.gathered.take(), &self.client).await {
            Ok(()) => "OK\n".to_owned(),
            Err(error) => {
                self.to.count("lines_refused", count as u64);
                let problem = error.to_string().replace(char::is_control, " ");
                format!("FAILED: {problem}\n")
            }
        };
        self.reply(&answer.repeat(count)).await?;
        self.stream.flush().await
    }
}
