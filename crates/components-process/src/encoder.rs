//! `process`: encodes the events of files in a plug-in.
//!
//! ```text
//!   events of file 1 ─┐                    ┌─► next bytes of file 1
//!   events of file 2 ─┴─► Encode, in turn ─┴─► next bytes of file 2
//! ```
//!
//! The plug-in has a state for each unfinished file, such as a block or a separator. If its process
//! ends, its files cannot be continued. The sink drops them or begins new ones, and the channel
//! offers their batches again, so no event is lost or repeated.
//!
//! The size of an encoded event is unknown before the answer. A file can therefore exceed its size
//! limit by a batch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pipeline::{
    BuildContext, BuildError, Component, Encoder, EventRef, Events, FileEncoder, FileKind,
    RemoteEncoder, RemoteFile, SinkError, Unwritable,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::answers;
use crate::config::Shared;
use crate::events::{Messages, fits, messages};
use crate::plugin::Plugin;
use crate::running::Role;
use crate::v1::from_agent::Message;
use crate::v1::{Batch, Encode};

/// Settings of the `process` encoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "..")]
    #[schemars(flatten)]
    shared: Shared,
}

impl Component for Config {
    const KIND: &'static str = "process";
    const EXAMPLE: &str = r#"command = ["true"]"#;
    type Role = dyn Encoder;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Encoder>, BuildError> {
        let plugin = Plugin::new(self.shared.options(Role::Encoder, cx)?);
        let (files, dropped) = (AtomicU64::new(0), Mutex::default());
        Ok(Box::new(Process(Arc::new(State { plugin, files, dropped }))))
    }
}

struct Process(Arc<State>);

struct State {
    plugin: Plugin,
    /// The number of files that were begun.
    files: AtomicU64,
    /// Unfinished files that the plug-in may forget.
    dropped: Mutex<Vec<u64>>,
}

impl State {
    fn dropped(&self) -> MutexGuard<'_, Vec<u64>> {
        // Each change is complete.
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Encoder for Process {
    fn file_kind(&self) -> FileKind {
        FileKind { extension: "data", content_type: "application/octet-stream", is_lines: false }
    }

    fn unwritable(&self, events: &Events) -> Vec<Unwritable> {
        let frame_max = self.0.plugin.options().frame_max;
        let reason =
            format!("the event does not fit into a frame of {frame_max} bytes; raise `frame_max`");
        let too_large = events.iter().filter(|event: &EventRef<'_>| !fits(*event, frame_max));
        let unwritable = |index| Unwritable { index, reason: reason.clone() };
        too_large.map(|event| unwritable(event.index())).collect()
    }

    /// An estimate: bodies, and a byte for the end of each.
    fn size_bound(&self, events: &Events) -> u64 {
        events.body_bytes() + events.len() as u64
    }

    fn remote(&self) -> Option<&dyn RemoteEncoder> {
        Some(self)
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        unreachable!("it is remote")
    }
}

impl RemoteEncoder for Process {
    fn begin(&self) -> Box<dyn RemoteFile> {
        let number = 1 + self.0.files.fetch_add(1, Ordering::Relaxed);
        Box::new(File { state: self.0.clone(), number, process: None })
    }
}

/// An unfinished file.
struct File {
    state: Arc<State>,
    number: u64,
    /// The process that has its state; `None` before the first request and after the last.
    process: Option<u64>,
}

impl File {
    async fn ask(&mut self, batch: Batch, ends: bool) -> Result<Bytes, SinkError> {
        let Self { state, number: file, process } = self;
        let file = *file;
        let request = |number| {
            let batch = Some(Batch { number, ..batch });
            let dropped = std::mem::take(&mut *state.dropped());
            Message::Encode(Encode { batch, file, ends, dropped })
        };
        let (content, by) = state.plugin.call_of(*process, request, answers::content).await?;
        *process = Some(by).filter(|_| !ends);
        Ok(content)
    }
}

#[async_trait]
impl RemoteFile for File {
    async fn encode(&mut self, events: &Events) -> Result<Bytes, SinkError> {
        let frame_max = self.state.plugin.options().frame_max;
        let Messages { fit, too_large } = messages(events, frame_max, |_| true);
        assert!(too_large.is_empty(), "unwritable events are left out");
        let mut content = BytesMut::new();
        for batch in fit {
            content.extend_from_slice(&self.ask(batch, false).await?);
        }
        Ok(content.freeze())
    }

    async fn finish(&mut self) -> Result<Bytes, SinkError> {
        self.ask(Batch::default(), true).await
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.state.dropped().push(self.number);
        }
    }
}
