//! One connection: reads windows of events one after the other, and acknowledges each.

use std::sync::Arc;

use kit::decoding::STEPS_MAX;
use pipeline::{BatchBuilder, BuilderLimits};

use super::frame::{self, Extent, Frame, Length, Parsed};
use super::{Lumberjack, event};
use crate::client::{Client, End, Memory};
use crate::record::Mapping;

/// Size of bodies at which a part of a window is stored and acknowledged.
const PART_BYTES: usize = 1 << 20;

/// Consecutive events without an acknowledgement.
#[derive(Default)]
struct Window {
    /// Number of missing events.
    open: u32,
    /// Number and version of the last event.
    last: (u32, u8),
    events: BatchBuilder,
    divided: usize,
}

impl Window {
    /// Adds the event of a frame.
    fn add(&mut self, frame: &Frame<'_>, version: u8, rules: &Rules) -> Result<(), String> {
        let (number, record) = match frame {
            Frame::Json { number, json } => (*number, event::of_json(json)?),
            Frame::Pairs { number, pairs } => (*number, event::of_pairs(pairs, rules.message_max)?),
            Frame::Window(_) | Frame::Compressed(_) => {
                return Err("a compressed frame may contain only events".into());
            }
        };
        self.open =
            self.open.checked_sub(1).ok_or("the client sent more events than it announced")?;
        self.last = (number, version);
        self.divided += rules.mapping.push(&record, &[], rules.body_max, &mut self.events);
        self.events.excess().map_or(Ok(()), |excess| Err(excess.to_string()))
    }

    /// Adds the events of a decompressed frame.
    fn add_all(mut self, bytes: &[u8], rules: &Rules) -> Result<Self, String> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match frame::parse(rest)? {
                Parsed::Whole(frame, version, length) => {
                    self.add(&frame, version, rules)?;
                    rest = &rest[length..];
                }
                Parsed::Needs(_) => return Err("a compressed frame ends within an event".into()),
            }
        }
        Ok(self)
    }
}

/// Rules for converting frames to events.
struct Rules {
    mapping: Arc<Mapping>,
    message_max: usize,
    body_max: usize,
}

/// A connection.
pub(super) struct Connection<'a> {
    lumberjack: &'a Lumberjack,
    client: Client,
    window: Window,
}

impl<'a> Connection<'a> {
    /// Creates the state of an accepted connection.
    pub(super) fn new(lumberjack: &'a Lumberjack, client: Client) -> Self {
        Self { lumberjack, client, window: Window::default() }
    }

    /// Serves the connection until it ends or the source stops.
    pub(super) async fn windows(mut self) -> Result<(), End> {
        let stop = self.client.put.stop.clone();
        loop {
            // A stop can interrupt a window between two parts: stored events are acknowledged.
            let read = stop.run_until_cancelled(self.part()).await;
            let Some(memory) = read.unwrap_or(Ok(None))? else { return Ok(()) };
            self.store(memory).await?;
        }
    }

    /// Reads events up to the end of their window, or until a part is full. `None`: the client has
    /// finished.
    async fn part(&mut self) -> Result<Option<Memory>, End> {
        if !self.client.begins().await? {
            return Ok(None);
        }
        let mut memory = Memory::default();
        let max = self.client.message_max();
        let body_max = self.client.put.body_max();
        if self.window.events.is_empty() {
            // Events of a part, and of the next frame: with their headers they need little more
            // memory than the frame.
            let limits = BuilderLimits { bytes: 2 * (PART_BYTES + max), steps: STEPS_MAX };
            self.window.events = BatchBuilder::within(limits);
        }
        let mut extent = Extent::default();
        loop {
            let found = extent.find(&self.client.buffer).map_err(End::Malformed)?;
            let (length, is_whole) = match found {
                Length::AtLeast(bytes) => (bytes, false),
                Length::Whole(length) => (length, true),
            };
            // Also checked for a message that arrived in one piece.
            if length > max {
                return Err(self.client.too_large(length as u64));
            }
            if !is_whole {
                self.client.fill(length, &mut memory).await?;
                continue;
            }
            extent = Extent::default();
            let bytes = self.client.buffer.split_to(length).freeze();
            let Parsed::Whole(frame, version, _) = frame::parse(&bytes).map_err(End::Malformed)?
            else {
                unreachable!("the frame was whole");
            };
            let mapping = self.lumberjack.mapping.clone();
            let rules = Rules { mapping, message_max: max, body_max };
            match frame {
                Frame::Window(events) => {
                    if self.window.open > 0 {
                        let problem =
                            "the client began a window before the previous one was complete";
                        return Err(End::Malformed(problem.into()));
                    }
                    self.window.open = events;
                }
                Frame::Compressed(compressed) => {
                    self.client.cover_compressed(&mut memory).await;
                    let window = std::mem::take(&mut self.window);
                    let compressed = bytes.slice_ref(compressed);
                    // A short compressed frame may expand to any message size.
                    let add = move || {
                        let bytes = frame::inflate(&compressed, max)?;
                        window.add_all(&bytes, &rules)
                    };
                    // The work continues if the client disconnects, and keeps the memory until its
                    // end.
                    let held = std::mem::take(&mut memory);
                    let work = move || (add(), held);
                    let (added, held) = self.client.put.env.offload(work).await;
                    memory = held;
                    self.window = added.map_err(End::Malformed)?;
                }
                Frame::Json { .. } | Frame::Pairs { .. } => {
                    self.client.cover(self.window.events.body_bytes(), &mut memory).await;
                    self.window.add(&frame, version, &rules).map_err(End::Malformed)?;
                }
            }
            let events = &self.window.events;
            if !events.is_empty() && (self.window.open == 0 || events.body_bytes() > PART_BYTES) {
                return Ok(Some(memory));
            }
        }
    }

    /// Stores the events, and acknowledges them.
    async fn store(&mut self, memory: Memory) -> Result<(), End> {
        let batch = std::mem::take(&mut self.window.events).finish();
        self.client.gave(&batch);
        let divided = std::mem::take(&mut self.window.divided);
        if divided > 0 {
            self.client.put.count("event_divided", divided as u64);
        }
        let (number, version) = self.window.last;
        let (calls, host) = (&self.lumberjack.calls, &self.client.host);
        let (call, memory) = self.client.put.begin(calls, host, (batch, memory)).await;
        if let Some(rest) = call.rest() {
            // Beats keep waiting while they receive keepalives; version 1 has none.
            let alive = frame::acknowledgement(version, 0);
            let busy = if version == b'2' { &alive[..] } else { &[] };
            self.client.store(rest, memory, Some(busy)).await?;
        }
        // If the client has disconnected, a reply would be lost.
        let written = match self.client.is_over {
            true => Ok(()),
            false => self.client.write(&frame::acknowledgement(version, number)).await,
        };
        let is_answered = written.is_ok() && !self.client.is_over;
        self.client.put.answered(call, &self.client.host, is_answered).await;
        written
    }
}
