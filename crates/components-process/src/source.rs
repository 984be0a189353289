//! `process`: reads events from a plug-in.
//!
//! ```text
//!   Next ─► plug-in ─► Produced: events, position ─► the channel stores both in one write ─► Next
//! ```
//!
//! The position is opaque. After a restart of the plug-in or the agent, Hello contains the last
//! stored one. A plug-in that resumes exactly there loses and repeats nothing.

use std::time::Duration;

use bytes::Bytes;
use kit::follow::{CatchUp, Follow, Followed, Puts, Start};
use pipeline::{
    Batch, BuildContext, BuildError, Classify, Component, Guarantee, Source, SourceContext,
    SourceError, SourcePosition,
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
    #[serde(default = "pipeline::units::number_u32::<1000>")]
    batch_events: u32,
}

impl Component for Config {
    const KIND: &'static str = "process";
    const EXAMPLE: &str = r#"command = ["true"]"#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        if self.batch_events == 0 {
            return Err(BuildError::invalid("batch_events", "must be at least 1"));
        }
        let options = self.shared.options(Role::Source, cx)?;
        Ok(Box::new(Followed::new(cx, Reader { options, batch_events: self.batch_events })))
    }
}

/// Reads from a process.
struct Reader {
    options: Options,
    batch_events: u32,
}

/// A running plug-in.
struct Plugin {
    /// `None` after a fault.
    running: Option<Running>,
    /// Position at its start; empty at the beginning.
    position: Bytes,
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
        puts: &Puts,
        position: &Bytes,
    ) -> Result<(Batch, Bytes), Fault> {
        let agreed = puts.batch_bytes_max().unwrap_or(u64::MAX);
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

    /// Asks for events and stores them, until a fault.
    async fn events(&self, running: &mut Running, mut position: Bytes, puts: &mut Puts) -> Fault {
        loop {
            let (mut batch, after) = match self.next(running, puts, &position).await {
                Ok(next) => next,
                Err(fault) => return fault,
            };
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
            puts.put(batch).await;
            // The next request tells the plug-in that its events are stored.
            puts.stored().await;
            position = after;
        }
    }
}

impl Follow for Reader {
    const KIND: &'static str = Config::KIND;
    type Link = Plugin;

    /// The agent repeats nothing while it has one channel; whether the plug-in does depends on its
    /// positions.
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn batch_bytes(&self) -> u64 {
        BATCH_BYTES
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::Repeat
    }

    async fn open(&mut self, start: &Start, _: &SourceContext) -> Result<Plugin, SourceError> {
        let known = start.known.iter().find(|(key, _)| *key == POSITION);
        let position = known.map(|(_, value)| value.clone()).unwrap_or_default();
        let started = Running::start(&self.options, &position).await;
        let running = Some(started.map_err(|fault| self.failed(fault))?);
        Ok(Plugin { running, position })
    }

    async fn read(&mut self, plugin: &mut Plugin, puts: &mut Puts) -> Result<(), SourceError> {
        let Plugin { running: place, position } = plugin;
        let running = place.as_mut().expect("a source is opened before it runs");
        let fault = self.events(running, position.clone(), puts).await;
        match place.take() {
            Some(running) => Err(self.failed(running.end(fault).await)),
            None => Err(self.failed(fault)),
        }
    }

    async fn close(&mut self, plugin: Plugin) {
        if let Some(running) = plugin.running {
            running.stop().await;
        }
    }
}
