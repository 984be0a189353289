//! The health of sources and sinks, for `/readyz` and the gauges: since when each one fails, and
//! why.
//!
//! ```text
//!   ABSENT ◄──► STARTING ──opened──► OPEN ──failed──► FAILING ──opened──► OPEN
//!                    └───────────────failed──────────────┘
//! ```
//!
//! A source works again as soon as it is open. If it fails again before it has stored anything new,
//! its failure continues with its original start. A sink that fails when writing can be opened each
//! time: it works again when it has stored something, or has been open for a minute. A sink that
//! only failed to open works as soon as it is open.
//!
//! [`State`] is pure: time is an argument. [`ComponentHealth`] is one component's state behind a
//! lock, [`Health`] all of them.

mod state;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use metrics::{Metrics, SinkLabel, SourceLabel};
use pipeline::ErrorClass;
use pipeline::env::Clock;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};
use tracing::info;

use crate::recent_failures::RecentFailures;
use crate::status;
use state::{Phase, State, View};

/// The error of a component whose task has panicked.
const DIED: &str = "its task panicked, which is a bug; restart the agent and report the bug";

/// The state of one source or sink. Cheap to clone.
#[derive(Clone)]
pub struct ComponentHealth {
    /// `source` or `sink`.
    role: &'static str,
    name: Arc<str>,
    recent_failures: RecentFailures,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

impl ComponentHealth {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between its calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sink is open.
    pub fn opened(&self) {
        self.state().opened(Instant::now(), false);
    }

    /// Returns `true` if it is open, or has nothing more to do.
    pub fn is_open(&self) -> bool {
        matches!(self.state().phase, Phase::Open(_) | Phase::Ended)
    }

    /// Returns the state for status pages.
    pub fn status(&self) -> status::State {
        match self.state().view(Instant::now()) {
            View::Absent => status::State::Absent,
            View::Starting => status::State::Starting,
            View::Works => status::State::Running,
            View::Ended => status::State::Stopped,
            View::Died { lasts } => status::State::Failing {
                since_seconds_ago: lasts.as_secs_f64(),
                last_error: DIED.to_owned(),
                retry_in_seconds: None,
                needs_operator: true,
            },
            View::Failing { lasts, error, next_try, needs_operator, .. } => {
                status::State::Failing {
                    since_seconds_ago: lasts.as_secs_f64(),
                    last_error: error,
                    retry_in_seconds: next_try.map(|pause| pause.as_secs_f64()),
                    needs_operator,
                }
            }
        }
    }

    /// Records that it has done some of its work.
    pub fn worked(&self) {
        self.state().worked(Instant::now());
    }

    /// Records a failure that is retried after a pause. `class` shows whether a retry may help.
    pub fn failed(&self, error: &str, class: ErrorClass, pause: Duration) {
        let now = Instant::now();
        let needs_operator = matches!(class, ErrorClass::Blocked | ErrorClass::Fatal);
        self.state().failed((now, self.clock.now()), (error, needs_operator), pause);
        self.recent_failures.add(now, (self.role, &self.name), error);
    }

    /// Records that the member was replaced or removed.
    pub fn replaced(&self, is_present: bool) {
        *self.state() = State::new(if is_present { Phase::Starting } else { Phase::Absent });
    }

    /// Its `task`, to its end; one that panics is shown as dead.
    pub async fn watch<T>(self, task: impl Future<Output = T>) -> T {
        let _fuse = PanicGuard(self);
        task.await
    }

    /// Its name and that it has died, if it has.
    fn panicked(&self) -> Option<String> {
        let is_dead = matches!(self.state().phase, Phase::Died(_));
        is_dead.then(|| format!("{} `{}`: {DIED}", self.role, self.name))
    }

    /// Records that it has nothing more to do, or was stopped.
    pub fn ended(&self) {
        self.state().phase = Phase::Ended;
    }

    /// Returns `true` if it has nothing more to do, or was stopped.
    pub fn has_ended(&self) -> bool {
        self.state().phase == Phase::Ended
    }
}

/// Notes the panic that unwinds it.
struct PanicGuard(ComponentHealth);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().phase = Phase::Died(Instant::now());
        }
    }
}

/// The health of all sources and sinks of an agent. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    clock: Arc<dyn Clock>,
    recent_failures: RecentFailures,
    parts: Arc<Mutex<Parts>>,
    /// Some source has ended.
    source_ended: Arc<Notify>,
}

#[derive(Default)]
struct Parts {
    sources: Vec<ComponentHealth>,
    sinks: Vec<ComponentHealth>,
    /// Every source has been open at one time.
    was_ready: bool,
}

/// The readiness of an agent, with reasons and remarks, line by line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why it is not ready.
    pub reasons: Vec<String>,
    /// Problems of an agent that is ready.
    pub remarks: Vec<String>,
}

impl Health {
    /// Of an agent without sources and sinks.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            recent_failures: RecentFailures::default(),
            parts: Arc::default(),
            source_ended: Arc::default(),
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the latest failures.
    pub fn recent_failures(&self) -> &RecentFailures {
        &self.recent_failures
    }

    fn component(&self, role: &'static str, name: &Arc<str>, phase: Phase) -> ComponentHealth {
        let state = Arc::new(Mutex::new(State::new(phase)));
        let (clock, recent_failures) = (self.clock.clone(), self.recent_failures.clone());
        ComponentHealth { role, name: name.clone(), recent_failures, clock, state }
    }

    /// Adds a source that is not open yet, or replaces the one with its name. Sources of a start
    /// are added before the first one runs.
    pub fn add_source(&self, name: &Arc<str>) -> ComponentHealth {
        let component = self.component("source", name, Phase::Starting);
        place(&mut self.parts().sources, component.clone());
        component
    }

    /// Adds a sink that is not open yet, or a free place for a discovered one; replaces the one
    /// with its name.
    pub fn add_sink(&self, name: &Arc<str>, is_present: bool) -> ComponentHealth {
        let phase = if is_present { Phase::Starting } else { Phase::Absent };
        let component = self.component("sink", name, phase);
        place(&mut self.parts().sinks, component.clone());
        component
    }

    /// Removes a source that no longer exists.
    pub fn forget_source(&self, name: &str, metrics: &Metrics) {
        self.parts().sources.retain(|source| &*source.name != name);
        let label = SourceLabel { source: name.to_owned() };
        metrics.source_up.remove(&label);
        metrics.source_failing_since.remove(&label);
    }

    /// Removes a sink that no longer exists.
    pub fn forget_sink(&self, name: &str, metrics: &Metrics) {
        self.parts().sinks.retain(|sink| &*sink.name != name);
        let label = SinkLabel { sink: name.to_owned() };
        metrics.sink_up.remove(&label);
        metrics.sink_failing_since.remove(&label);
    }

    /// Records that this source is open. Logs it after a failure, or if it is the last one that the
    /// agent waited for.
    pub fn source_opened(&self, source: &ComponentHealth) {
        let lasted = source.state().opened(Instant::now(), true);
        if let Some(lasted) = lasted {
            info!(
                source = %source.name, lasted_seconds = lasted.as_secs_f64(),
                "source works again",
            );
        }
        let mut parts = self.parts();
        let ready = parts.sources.iter().all(ComponentHealth::is_open);
        if ready && !std::mem::replace(&mut parts.was_ready, true) {
            info!("ready: every source is open");
        }
    }

    /// Records that this source has nothing more to read.
    pub fn source_ended(&self, source: &ComponentHealth) {
        source.ended();
        self.source_ended.notify_one();
    }

    /// Waits until a source has nothing more to read; one that ended before the call counts. For
    /// one caller.
    pub async fn next_source_end(&self) {
        self.source_ended.notified().await;
    }

    /// Returns `true` if every source is open, or has nothing more to do.
    pub fn all_open(&self) -> bool {
        self.parts().sources.iter().all(ComponentHealth::is_open)
    }

    /// The sources and sinks that have died, line by line.
    pub fn panicked(&self) -> Vec<String> {
        let parts = self.parts();
        parts.sources.iter().chain(&parts.sinks).filter_map(ComponentHealth::panicked).collect()
    }

    /// Returns the current readiness.
    pub fn readiness(&self) -> Readiness {
        let (parts, now) = (self.parts(), Instant::now());
        let mut readiness = Readiness::default();
        for source in &parts.sources {
            let line = match source.state().view(now) {
                View::Starting => format!("source `{}` is not open yet", source.name),
                view @ View::Failing { .. } => failing("source", &source.name, &view),
                View::Died { .. } => format!("source `{}`: {DIED}", source.name),
                View::Absent | View::Works | View::Ended => continue,
            };
            readiness.reasons.push(line);
        }
        for sink in &parts.sinks {
            let view = sink.state().view(now);
            match view {
                View::Failing { .. } => readiness.remarks.push(failing("sink", &sink.name, &view)),
                View::Died { .. } => {
                    readiness.remarks.push(format!("sink `{}`: {DIED}", sink.name));
                }
                View::Absent | View::Starting | View::Works | View::Ended => {}
            }
        }
        readiness
    }

    /// Brings the gauges up to date.
    pub fn show(&self, metrics: &Metrics) {
        let (parts, now) = (self.parts(), Instant::now());
        for source in &parts.sources {
            let label = SourceLabel { source: source.name.to_string() };
            let (up, since) = gauges(&source.state().view(now));
            metrics.source_up.get_or_create(&label).set(up);
            metrics.source_failing_since.get_or_create(&label).set(since);
        }
        for sink in &parts.sinks {
            let label = SinkLabel { sink: sink.name.to_string() };
            let view = sink.state().view(now);
            if view == View::Absent {
                metrics.sink_up.remove(&label);
                metrics.sink_failing_since.remove(&label);
                continue;
            }
            let (up, since) = gauges(&view);
            metrics.sink_up.get_or_create(&label).set(up);
            metrics.sink_failing_since.get_or_create(&label).set(since);
        }
    }
}

/// Replaces the component with its name, or adds it at the end.
fn place(all: &mut Vec<ComponentHealth>, component: ComponentHealth) {
    match all.iter_mut().find(|known| known.name == component.name) {
        Some(known) => *known = component,
        None => all.push(component),
    }
}

/// Returns the values of the gauges: whether it works, and since when it fails.
fn gauges(view: &View) -> (i64, f64) {
    match view {
        View::Works | View::Ended => (1, 0.0),
        View::Absent | View::Starting | View::Died { .. } => (0, 0.0),
        View::Failing { since, .. } => {
            (0, since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
        }
    }
}

fn failing(role: &str, name: &str, view: &View) -> String {
    let View::Failing { lasts, error, next_try, .. } = view else { return String::new() };
    let next = match next_try {
        Some(pause) => format!("next try in {} s", pause.as_secs_f64().ceil()),
        None => "retrying now".to_owned(),
    };
    format!("{role} `{name}` has been failing for {} s: {error}; {next}", lasts.as_secs())
}

#[cfg(test)]
mod tests;
