//! Components that hang or panic when they see the event `fault`.

use std::thread;
use std::time::Duration;

use pipeline::component::entry;
use pipeline::sink::{Observer, ObserverSink};
use pipeline::{
    Batch, BuildContext, BuildError, Component, Events, Group, Interceptor, MemberView, Origin,
    Rejects, Report, Selection, Sink, SinkProcessor,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The components that fail.
pub(crate) static FAULTS: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    interceptors: &[entry::<InterceptorFault>()],
    processors: &[entry::<Hanging>()],
    sinks: &[entry::<Faulty>()],
    ..Group::EMPTY
};

/// What an interceptor does when it sees the event `fault`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InterceptorFault {
    /// `hang`, `hold the thread` or `panic`.
    fault: String,
}

impl Component for InterceptorFault {
    const KIND: &'static str = "fault";
    type Role = dyn Interceptor;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        Ok(Box::new(self))
    }
}

impl Interceptor for InterceptorFault {
    fn intercept(&self, events: &mut Events, _rejects: &mut Rejects) {
        if events.iter().any(|event| event.body() == b"fault") {
            match &*self.fault {
                "hang" => hang(),
                "hold the thread" => hold(),
                fault => panic!("{fault} on purpose"),
            }
        }
    }

    fn routing_effect(&self, _header: Option<&str>) -> Option<String> {
        None
    }
}

/// Blocks forever, like a deadlock, but lets tokio replace this thread.
fn hang() -> ! {
    tokio::task::block_in_place(|| hold())
}

/// Blocks forever without informing tokio: its timers may stop, too.
fn hold() -> ! {
    loop {
        thread::park();
    }
}

/// A sink that panics when it sees the event `fault`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Faulty {}

impl Component for Faulty {
    const KIND: &'static str = "faulty";
    type Role = dyn Sink;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        Ok(Box::new(ObserverSink::new(self)))
    }
}

impl Observer for Faulty {
    fn observe(&mut self, batch: &Batch) {
        let has_fault = batch.events.iter().any(|event| event.body() == b"fault");
        assert!(!has_fault, "a fault on purpose");
    }
}

/// A sink processor that hangs at the first batch.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Hanging {
    /// The group's sinks. Filled in by the agent.
    #[serde(rename = "sinks")]
    _sinks: Vec<String>,
}

impl Component for Hanging {
    const KIND: &'static str = "hanging";
    type Role = dyn SinkProcessor;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn SinkProcessor>, BuildError> {
        Ok(Box::new(self))
    }
}

impl SinkProcessor for Hanging {
    fn select(
        &mut self,
        _origin: Option<Origin>,
        _members: &[MemberView],
        _now: tokio::time::Instant,
    ) -> Selection {
        hang()
    }

    fn report(&mut self, _member: usize, _report: Report, _now: tokio::time::Instant) {}

    fn longest_pause(&self) -> Duration {
        Duration::from_secs(1)
    }
}
