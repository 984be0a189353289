//! `process`: reads events from a plug-in.
//!
//! ```text
//!   Next ─► plug-in ─► Produced: events, position ─► the channel stores both in one write ─► Next
//! ```
//!
//! The position is opaque. After a restart of the plug-in or the agent, Hello contains the last
//! stored one. A plug-in that resumes exactly there loses and repeats nothing.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use kit::one_channel;
use kit::until_stored::UntilStored;
use pipeline::{
    Batch, BuildContext, BuildError, Classify, Component, Guarantee, ResendMode, Source,
    SourceContext, SourceError, SourcePosition,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::sleep;

use crate::answers;
use crate::config::{Options, Shared};
use crate::error::{Fault, PluginError};
use crate::events::Builder;
use crate::running::{Role, Running};
use crate::v1::Next;
use crate::v1::from_agent::Message;

/// Key of the position in the channel.
const POSITION: Bytes = Bytes::from_static(b"position");
/// Size limit of a batch.
const BATCH_BYTES: u64 = 1 << 20;
/// Time within which a plug-in answers without events.
const WAIT: Duration = Duration::from_secs(1);
/// Pause after an answer without events.
const IDLE: Duration = Duration::from_millis(10);

/// Settings of the `process` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "..")]
    #[schemars(flatten)]
    shared: Shared,
    /// Limit of events in a batch.
    #[serde(default = "default_batch_events")]
    batch_events: u32,
}

fn default_batch_events() -> u32 {
    1000
}

impl Component for Config {
    const KIND: &'static str = "process";
    const EXAMPLE: &str = r#"command = ["true"]"#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        if self.batch_events == 0 {
            return Err(BuildError::invalid("batch_events", "it must be at least 1"));
        }
        let options = self.shared.options(Role::Source, cx)?;
        let reader = Reader { options, batch_events: self.batch_events };
        Ok(Box::new(Process { reader, opened: None }))
    }
}

struct Process {
    reader: Reader,
    /// The process and the stored position, between opening and running.
    opened: Option<(Running, Bytes)>,
}

/// Reads from a process.
struct Reader {
    options: Options,
    batch_events: u32,
}

impl Reader {
    fn failed(&self, fault: Fault) -> SourceError {
        let error = PluginError { command: self.options.shown.clone(), fault };
        SourceError { class: error.class(), message: error.to_string(), source: None }
    }

    /// Asks for events, and returns them with the position after them.
    async fn next(
        &self,
        running: &mut Running,
        cx: &SourceContext,
        position: &Bytes,
    ) -> Result<(Batch, Bytes), Fault> {
        let agreed = cx.intake.batch_bytes_max().unwrap_or(u64::MAX);
        let bytes_max = BATCH_BYTES.min(agreed / 2).min(self.options.frame_max as u64 / 2);
        let number = running.next_number();
        let next = Next {
            number,
            events_max: self.batch_events,
            bytes_max,
            wait_ms: WAIT.as_millis() as u64,
        };
        let answer = running.ask(Message::Next(next), WAIT + self.options.timeout).await?;
        let limits = (self.batch_events as usize, position);
        let (events, after) = answers::produced(answer, number, limits)?;
        let mut builder = Builder::new(self.options.frame_max);
        events.iter().for_each(|event| builder.push(event));
        Ok((builder.finish()?.into(), after))
    }

    /// Asks for events and stores them, until an error.
    async fn read(
        &self,
        running: &mut Running,
        cx: &SourceContext,
        (mut position, until_stored): (Bytes, &mut UntilStored),
    ) -> Result<(), Ended> {
        loop {
            let (mut batch, after) =
                self.next(running, cx, &position).await.map_err(Ended::Fault)?;
            if after.is_empty() || after == position && batch.is_empty() {
                // It may answer immediately.
                sleep(IDLE).await;
                continue;
            }
            batch.envelope.positions = vec![SourcePosition {
                source: self.options.name.clone(),
                key: POSITION,
                value: Some(after.clone()),
                after: None,
            }];
            let lacks = |known: &[(Bytes, Bytes)]| stored_position(known) != after;
            if let Err(refused) = until_stored.put(batch, None, lacks).await {
                return Err(Ended::NotStored(one_channel::cause(refused).await));
            }
            position = after;
        }
    }
}

/// Why reading has ended.
enum Ended {
    Fault(Fault),
    NotStored(SourceError),
}

/// Returns the position among those of a channel; empty without one.
fn stored_position(known: &[(Bytes, Bytes)]) -> Bytes {
    let found = known.iter().find(|(key, _)| *key == POSITION);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

#[async_trait]
impl Source for Process {
    /// The agent repeats nothing; whether the plug-in does depends on its positions.
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::ByPosition
    }

    fn batch_bytes(&self) -> u64 {
        BATCH_BYTES
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        let known = one_channel::known(Config::KIND, &self.reader.options.name, cx)?;
        let position = stored_position(&known);
        let started = Running::start(&self.reader.options, &position).await;
        let running = started.map_err(|fault| self.reader.failed(fault))?;
        self.opened = Some((running, position));
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let (mut running, position) =
            self.opened.take().expect("a source is opened before it runs");
        let (name, entropy) =
            (self.reader.options.name.clone(), self.reader.options.env.entropy.clone());
        let mut until_stored = UntilStored::new(name, entropy, cx.positions.clone());
        let reading = self.reader.read(&mut running, &cx, (position, &mut until_stored));
        let ended = cx.stop.run_until_cancelled(reading).await;
        until_stored.finish(one_channel::FINISH_WITHIN).await;
        match ended {
            None | Some(Ok(())) => {
                running.stop().await;
                Ok(())
            }
            Some(Err(Ended::NotStored(error))) => {
                running.stop().await;
                Err(error)
            }
            Some(Err(Ended::Fault(fault))) => {
                let fault = running.end(fault).await;
                Err(self.reader.failed(fault))
            }
        }
    }
}
