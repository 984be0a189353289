//! Turns built groups and sources into handles.

use std::sync::{Arc, Mutex};

use metrics::Metrics;
use peers::progress::Role;
use pipeline::{Backlog, Channel, Env, ResendMode, Source, SourceError};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

use super::{
    ChannelHandle, GroupHandle, Parts, QUESTIONS_MAX, Running, SourceHandle, Tasks, Wiring,
};
use crate::built::{BuiltGroup, BuiltSource};
use crate::dead_letters::DeadLetters;
use crate::failure::Failure;
use crate::group::{self, GroupParts, Passed};
use crate::health::{ComponentHealth, Health};
use crate::intake::AgentIntake;
use crate::source;
use crate::status::PassedEvents;
use crate::tap::Point;
use crate::topology::Topology;

/// The context in which every component of an agent starts.
#[derive(Clone)]
pub struct StartContext {
    /// Time limit of a stop.
    pub grace: Duration,
    /// The world.
    pub env: Env,
    /// The metrics.
    pub metrics: Metrics,
    /// Shows the health of components.
    pub health: Health,
    /// Stores events that can never be delivered.
    pub dead_letters: Arc<DeadLetters>,
    /// Raised by a source that can do nothing until an operator acts.
    pub failure: Failure,
}

/// A source that is not started yet.
pub struct Prepared {
    name: Arc<str>,
    handle: SourceHandle,
    source: Box<dyn Source>,
    runner: source::Runner,
    /// How it takes part in the reports of its channels, if it does.
    role: Option<Role>,
}

impl Prepared {
    /// A source that feeds these channels.
    pub fn new(
        built: BuiltSource,
        topology: &Topology,
        component_health: ComponentHealth,
        around: &StartContext,
    ) -> Self {
        let wiring = Wiring { naming: built.naming.clone(), routing: built.routing.clone() };
        let fed = |names: &[String]| topology.feeds(names, &built.naming);
        let intake = Arc::new(AgentIntake::new(
            built.name.clone(),
            (built.interceptors, built.selector),
            around.dead_letters.clone(),
            (fed(&built.required), fed(&built.optional)),
            built.routing,
            around.metrics.clone(),
        ));
        let role = if built.source.reports_progress() { Role::Reports } else { Role::Silent };
        // Relays create no batches of their own.
        let role = (built.source.resend_mode() != ResendMode::ByIdentity).then_some(role);
        let channels = built.required.iter().chain(&built.optional);
        let handle = SourceHandle {
            kind: built.kind,
            digest: built.digest,
            wiring,
            channels: channels.map(|name| name.as_str().into()).collect(),
            since: Instant::now(),
            guarantee: built.source.guarantee(),
            intake: intake.clone(),
            component_health: component_health.clone(),
            senders: built.senders,
            files: built.files,
            tenants: built.tenants,
            refusals: built.refusals,
            tasks: Tasks::default(),
        };
        let runner = source::Runner {
            name: built.name.clone(),
            intake,
            env: around.env.clone(),
            failure: around.failure.clone(),
            component_health,
            health: around.health.clone(),
            metrics: around.metrics.clone(),
        };
        Self { name: built.name, handle, source: built.source, runner, role }
    }

    /// Announces on the boards of its channels that it creates batches there.
    pub(super) fn expect_progress(&self) {
        if let Some(role) = self.role {
            self.handle.intake.expect_progress(role);
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Takes its ports and looks for its files.
    ///
    /// # Errors
    /// It cannot be opened; nothing is held.
    pub async fn open(&mut self) -> Result<(), SourceError> {
        self.runner.open(&mut *self.source, &self.handle.tasks.stop).await
    }

    /// Returns only its handle: its tasks are only the end of its predecessor.
    pub(super) fn held(self, before: Option<TaskTracker>) -> (Arc<str>, SourceHandle) {
        self.handle.tasks.hold(before);
        if self.role.is_some() {
            self.handle.intake.expect_progress(Role::Stopped);
            self.handle.intake.report_progress();
        }
        (self.name, self.handle)
    }

    /// Runs it after its predecessor has ended.
    pub(super) fn run(
        self,
        is_open: bool,
        before: Option<TaskTracker>,
    ) -> (Arc<str>, SourceHandle) {
        self.expect_progress();
        let Self { name, handle, source, runner, .. } = self;
        let stop = handle.tasks.stop.clone();
        let component_health = handle.component_health.clone();
        let agreeing = handle.intake.clone().merge_committed(stop.clone());
        handle.tasks.spawn(component_health.clone().watch(agreeing));
        handle.tasks.spawn(component_health.watch(async move {
            if let Some(before) = before
                && stop.run_until_cancelled(before.wait()).await.is_none()
            {
                return;
            }
            runner.run(source, stop, is_open).await;
        }));
        (name, handle)
    }
}

impl Running {
    /// Starts a group: it begins when its channel is open, and its predecessor with the same name
    /// has ended.
    pub fn start_group(&self, built: BuiltGroup, around: &StartContext) {
        self.add_group(built, around, false);
    }

    /// Replaces a group by the handle of one that does not run.
    pub(super) fn place_group(&self, built: BuiltGroup, around: &StartContext) {
        self.add_group(built, around, true);
    }

    fn add_group(&self, built: BuiltGroup, around: &StartContext, is_held: bool) {
        let parts = self.parts();
        let channel = &parts.channels[&*built.channel];
        let old = parts.groups.get(&built.name);
        let passed = parts.passed_by(old, channel, &built);
        let before = old.map(|old| old.tasks.ended());
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let channel_name: Arc<str> = built.channel.into();
        let sinks = built.sinks.iter();
        let handle = GroupHandle {
            digest: built.digest,
            processor: built.kind,
            channel: channel_name.clone(),
            sinks: sinks.clone().map(|it| (it.kind.clone(), it.sink.guarantee())).collect(),
            members: sinks.map(|named| named.name.clone()).collect(),
            since: Instant::now(),
            passed: passed.clone(),
            tap: Point::default(),
            opened: channel.boards.opened.clone(),
            questions,
            flush: Arc::new(Notify::new()),
            waits: Mutex::default(),
            tasks: Tasks::default(),
        };
        let tap = handle.tap.clone();
        let group = GroupParts {
            name: built.name.clone(),
            channel: channel.channel.clone(),
            outlet: channel.boards.outlet.clone(),
            channel_name,
            dead_letters: around.dead_letters.clone(),
            processor: built.processor,
            sinks: built.sinks,
            metrics: around.metrics.clone(),
            env: around.env.clone(),
            health: around.health.clone(),
            passed,
            tap,
            traces: channel.boards.traces.clone(),
            questions: asked,
            flush: handle.flush.clone(),
        };
        let (stop, opened) = (handle.tasks.stop.clone(), handle.opened.clone());
        let grace = around.grace;
        if is_held {
            handle.tasks.hold(before);
            self.change(|parts| parts.groups.insert(built.name, Arc::new(handle)));
            return;
        }
        channel.boards.outlet.set_working(&built.name);
        handle.tasks.spawn(async move {
            let begin = async {
                if let Some(before) = before {
                    before.wait().await;
                }
                opened.wait().await;
            };
            if stop.run_until_cancelled(begin).await.is_some() {
                group::run(group, stop, grace).await;
            }
        });
        self.change(|parts| parts.groups.insert(built.name, Arc::new(handle)));
    }
}

impl Parts {
    /// Returns the initial totals of a group that takes from this channel: the totals of its
    /// predecessor, or the events that had left the channel before.
    fn passed_by(
        &self,
        old: Option<&Arc<GroupHandle>>,
        channel: &ChannelHandle,
        built: &BuiltGroup,
    ) -> Arc<Passed> {
        match old.filter(|old| *old.channel == *built.channel && old.since >= channel.since) {
            Some(old) => old.passed.clone(),
            None => {
                let others = self.groups.values().filter(|group| {
                    *group.channel == *built.channel && group.since >= channel.since
                });
                let slowest = others.map(|group| &group.passed).min_by_key(|it| it.events());
                slowest.map(|passed| Arc::new(Passed::starting_at(passed))).unwrap_or_default()
            }
        }
    }

    /// Returns the events that have left the channel since it was opened: the totals of the group
    /// that has delivered least. Groups that were ahead when it was opened had less to deliver, so
    /// only the others count. If they have delivered all, what the channel still holds has not
    /// left it.
    pub fn passed(&self, channel: &ChannelHandle) -> PassedEvents {
        let at_open = |name: &Arc<str>| channel.boards.opened.backlog(name);
        let most = channel.consumers.iter().map(at_open).max();
        let behind = channel.consumers.iter().filter(|name| Some(at_open(name)) == most);
        let groups = behind.filter_map(|name| Some((name, &self.groups.get(name)?.passed)));
        let Some((name, least)) = groups.min_by_key(|(_, passed)| passed.events()) else {
            return PassedEvents::default();
        };
        let mut passed = least.read();
        let is_done = |open: &Arc<dyn Channel>| {
            let Backlog { ready, held } = open.backlog(name);
            ready + held == 0
        };
        let is_ahead = channel.consumers.iter().any(|other| Some(at_open(other)) != most);
        if is_ahead && channel.opened().is_some_and(is_done) {
            passed.delivered = passed.delivered.saturating_sub(channel.status().events);
        }
        passed
    }
}
