//! A protocol with everything that the adapter offers: a message is its length and lines, each line
//! is an event, and each message has a reply of one byte.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kit::decoding::Undecoded;
use kit::repeats::Calls;
use kit::serve::{Connected, Listening, Preset, Put, Report, Serve, Served, Stored, read_ahead};
use kit::tenants::{Member, Memory, Over};
use pipeline::env::Stream;
use pipeline::units::{ByteSize, Period, mib, seconds};
use pipeline::{BatchBuilder, BuildContext, BuildError, Component, Source};
use schemars::JsonSchema;
use serde::Deserialize;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Every event is in every required channel.
pub(crate) const STORED: u8 = b'+';
/// Nothing is stored, now or later.
pub(crate) const NOTHING: u8 = b'-';
/// Nothing of the message can ever be stored.
pub(crate) const NEVER: u8 = b'!';
/// The events may be stored or not.
pub(crate) const UNKNOWN: u8 = b'?';

/// The message that makes the protocol panic.
pub(crate) const PANICS: &str = "panics";

/// How the protocol treats its connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Conduct {
    #[default]
    Correct,
    /// Drops its work when the client disconnects, as servers of HTTP do.
    LeavesWithClient,
    /// Does not notice a stop.
    IgnoresStop,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(rename = "..")]
    #[schemars(flatten)]
    listening: Listening<Shared>,
    #[serde(default = "mib::<1>")]
    message_max: ByteSize,
    #[serde(default = "seconds::<3>")]
    wait_max: Period,
    #[serde(default = "seconds::<30>")]
    message_timeout: Period,
    #[serde(default = "seconds::<60>")]
    repeat_window: Period,
    #[serde(default)]
    conduct: Conduct,
}

#[derive(Debug)]
pub(crate) enum Shared {}

impl Preset for Shared {
    const CONNECTIONS_MAX: u32 = 8;
    const TEXTS: &[(&str, &str)] = &[("listen", "The port of the protocol.")];
}

impl Component for Config {
    const KIND: &'static str = "lines";
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let message_max = ("message_max", self.message_max);
        let port = self.listening.port(message_max, self.wait_max.0, &[], cx)?;
        let lines = Lines {
            message_max: self.message_max.0 as usize,
            message_timeout: self.message_timeout.0,
            calls: Calls::new(self.repeat_window.0),
            conduct: self.conduct,
        };
        Ok(Box::new(Served::new(port, lines)))
    }
}

struct Lines {
    message_max: usize,
    message_timeout: Duration,
    calls: Calls,
    conduct: Conduct,
}

#[derive(Debug, Error)]
enum End {
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    #[error("a message took too long")]
    Slow,
    #[error("a message is too large")]
    Large,
    #[error("a message is malformed")]
    Malformed,
    #[error("no memory")]
    Memory,
    #[error(transparent)]
    Tenant(#[from] Over),
}

impl Serve for Lines {
    type End = End;

    async fn serve(&self, connected: Connected, put: &Arc<Put>) -> Result<(), End> {
        let Connected { mut stream, client, host, .. } = connected;
        if self.conduct == Conduct::IgnoresStop {
            return std::future::pending().await;
        }
        let (mut buffer, mut is_over) = (BytesMut::new(), false);
        while !is_over {
            let next = self.next(&mut stream, &mut buffer, || client.member(), put);
            let next = put.stop.run_until_cancelled(next).await.unwrap_or(Ok(None));
            let Some((bytes, memory)) = next? else { return Ok(()) };
            assert_ne!(&bytes[..], PANICS.as_bytes(), "planted");
            let (member, mut memory, size) = (client.member(), Some(memory), bytes.len());
            let read = move |events: &mut BatchBuilder| {
                let text = std::str::from_utf8(&bytes)?;
                text.lines().for_each(|line| events.push(line.as_bytes(), &[]));
                Ok::<_, std::str::Utf8Error>(())
            };
            let decoded = put.decode(member, (size, &mut memory), read).await;
            let ((), batch) = decoded.map_err(|error| match error {
                Undecoded::NoMemory => End::Memory,
                Undecoded::Malformed(_) | Undecoded::Excess(_) => End::Malformed,
            })?;
            let call = self.calls.begin(&host, batch);
            let stored = match call.rest() {
                None => Stored::All,
                Some(rest) => {
                    let storing = put.store(rest, memory, member);
                    if self.conduct == Conduct::LeavesWithClient {
                        tokio::select! {
                            biased;
                            stored = storing => stored,
                            _ = stream.read_u8() => return Ok(()),
                        }
                    } else {
                        let ahead = (&mut buffer, 1024);
                        read_ahead(storing, &mut stream, ahead, &mut is_over).await
                    }
                }
            };
            let reply = match stored {
                Stored::All => STORED,
                Stored::Nothing(_) => NOTHING,
                Stored::Never(_) => NEVER,
                Stored::Unknown(_) => UNKNOWN,
            };
            let written = match is_over {
                true => Err(io::ErrorKind::BrokenPipe.into()),
                false => stream.write_all(&[reply]).await,
            };
            if stored == Stored::All {
                put.answered(call, &host, written.is_ok()).await;
            }
        }
        Ok(())
    }

    fn report(&self, end: &End) -> Report {
        let anomaly = match end {
            End::Slow | End::Large | End::Malformed | End::Memory => Some("message_refused"),
            End::Broken(_) | End::Tenant(_) => None,
        };
        Report { anomaly, is_warning: anomaly.is_some() }
    }
}

impl Lines {
    /// Reads a message with its memory; `None` at the end of input.
    async fn next<'a>(
        &self,
        stream: &mut Box<dyn Stream>,
        buffer: &mut BytesMut,
        member: impl Fn() -> &'a Arc<Member>,
        put: &Put,
    ) -> Result<Option<(Bytes, Memory)>, End> {
        if buffer.is_empty() && stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
        let member = member();
        member.check()?;
        let reading = async {
            fill(stream, buffer, 4).await?;
            let length = (&buffer[..4]).get_u32() as usize;
            if length > self.message_max {
                return Err(End::Large);
            }
            let memory = put.memory(member, length as u64).await.ok_or(End::Memory)?;
            fill(stream, buffer, 4 + length).await?;
            let message = buffer.split_to(4 + length).freeze().slice(4..);
            Ok(Some((message, memory)))
        };
        timeout(self.message_timeout, reading).await.map_err(|_| End::Slow)?
    }
}

async fn fill(stream: &mut Box<dyn Stream>, buffer: &mut BytesMut, bytes: usize) -> io::Result<()> {
    while buffer.len() < bytes {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
