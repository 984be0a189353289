//! A group of sinks that accept or refuse a given number of events, on a clock that the test
//! controls.

use std::path::Path;
use std::time::Duration;

use pipeline::testkit::build;
use pipeline::{
    BuildContext, Component, ErrorClass, MemberView, Origin, Report, Selection, SettingsError,
    SinkProcessor,
};
use tokio::time::Instant;

/// Builds the processor of `settings`, with real randomness.
pub(super) fn built<C>(
    settings: &serde_json::Value,
) -> Result<Box<dyn SinkProcessor>, SettingsError>
where
    C: Component<Role = dyn SinkProcessor>,
{
    build::<C>(settings, &BuildContext::alone("group", Path::new("unused"), env::real()))
}

/// Drives a processor: offers each event until a sink accepts it.
pub(super) struct Group {
    pub(super) processor: Box<dyn SinkProcessor>,
    /// Number of events that each sink accepts before it fails.
    pub(super) room: Vec<u32>,
    /// Number of events that each sink has accepted.
    pub(super) taken: Vec<u32>,
    /// Number of events that each sink has refused.
    pub(super) refused: Vec<u32>,
    pub(super) views: Vec<MemberView>,
    pub(super) now: Instant,
}

impl Group {
    pub(super) fn new(processor: Box<dyn SinkProcessor>, room: &[u32]) -> Self {
        let none = vec![0; room.len()];
        let view =
            MemberView { has_room: true, is_open: true, proves: true, ..MemberView::default() };
        Self {
            processor,
            room: room.to_vec(),
            taken: none.clone(),
            refused: none,
            views: vec![view; room.len()],
            now: Instant::now(),
        }
    }

    pub(super) fn select(&mut self, origin: Option<Origin>) -> Selection {
        self.processor.select(origin, &self.views, self.now)
    }

    /// Offers `events` at the same time; returns how many a sink accepted before all sinks were
    /// backing off.
    pub(super) fn offer(&mut self, events: u32, origin: Option<Origin>) -> u32 {
        let mut delivered = 0;
        while delivered < events {
            let Selection::Use(sink) = self.select(origin) else { break };
            if self.room[sink] > 0 {
                self.room[sink] -= 1;
                self.taken[sink] += 1;
                delivered += 1;
                self.processor.report(sink, Report::Proved, self.now);
            } else {
                self.refused[sink] += 1;
                self.processor.report(sink, Report::Failed(ErrorClass::Transient.into()), self.now);
            }
        }
        delivered
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}
