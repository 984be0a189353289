//! Executes the steps of a change on the running parts.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent::built::{BuiltGroup, BuiltSource};
use agent::running::{
    AbsentParts, ChannelHandle, Prepared, Running, StartContext, end_groups, end_sources,
};
use agent::topology::Topology;
use agent::{opening, scrape};
use futures::future::join_all;
use pipeline::ChannelError;
use support::causes::chain;
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::diff::{Names, Step};

/// A source that is not open after this has failed.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval of checks of a draining channel.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Handling of a failing change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// To a new configuration: a failing step ends it.
    Try,
    /// Back to the previous one: running parts retry failing steps, and a channel that does not
    /// drain stays.
    Restore,
}

/// A change under way.
pub(super) struct Change<'a> {
    pub(super) running: &'a Running,
    pub(super) around: &'a StartContext,
    pub(super) stopping: &'a CancellationToken,
    pub(super) mode: Mode,
    topology: Topology,
    sources: Vec<BuiltSource>,
    groups: Vec<BuiltGroup>,
    /// Channels that did not drain in time.
    full: BTreeSet<Arc<str>>,
}

/// Why a change ends, for people.
pub(super) type Problem = String;

/// Returns `true` if this channel still has its contents when it is reopened.
pub(super) fn keeps_contents(handle: &ChannelHandle) -> bool {
    handle.opened().is_some_and(|channel| channel.own_epoch().is_some())
}

impl<'a> Change<'a> {
    pub(super) fn new(
        running: &'a Running,
        around: &'a StartContext,
        stopping: &'a CancellationToken,
        mode: Mode,
        mut topology: Topology,
    ) -> Self {
        let sources = std::mem::take(&mut topology.sources);
        let groups = std::mem::take(&mut topology.groups);
        Self { running, around, stopping, mode, topology, sources, groups, full: BTreeSet::new() }
    }

    /// Takes all steps.
    ///
    /// # Errors
    /// A step failed, or the agent is to stop: the steps before it are taken.
    pub(super) async fn run(&mut self, steps: Vec<Step>) -> Result<(), Problem> {
        for step in steps {
            if self.stopping.is_cancelled() {
                return Err(
                    "the agent is stopping; its next start reads the configuration".to_owned()
                );
            }
            match step {
                Step::Open(name) => self.open(&name).await?,
                Step::StopSources(names) => self.stop_sources(&names).await,
                Step::StopGroups(names) => self.stop_groups(&names).await,
                Step::Drain(all) => self.drain(all).await?,
                Step::Close(name) => self.close(&name).await?,
                Step::Reopen(name) => {
                    if self.full.contains(&name) {
                        continue;
                    }
                    self.close(&name).await?;
                    self.open(&name).await?;
                }
                Step::Register(name) => self.register(&name).await?,
                Step::StartGroups(names) => self.start_groups(&names),
                Step::StartSources(names) => self.start_sources(&names).await?,
            }
        }
        Ok(())
    }

    async fn open(&mut self, name: &Arc<str>) -> Result<(), Problem> {
        let built = self.topology.built(name);
        match opening::open_channel(built).await {
            Ok(()) => {
                self.running.add_channel(built);
                self.running.announce_channels();
                Ok(())
            }
            Err(error) if self.mode == Mode::Try => Err(chain(&error)),
            // As at a start: nothing works without it.
            Err(error) => {
                let problem = chain(&error);
                self.around.failure.channel_failed(error);
                Err(problem)
            }
        }
    }

    /// Stopped parts stay among the handles until they are replaced, or until the end.
    async fn stop_sources(&mut self, names: &Names) {
        let parts = self.running.parts();
        let stop = parts.sources.iter().filter(|(name, _)| names.contains(*name));
        end_sources(stop, self.around.grace).await;
    }

    async fn stop_groups(&mut self, names: &Names) {
        let parts = self.running.parts();
        let stop = parts
            .groups
            .iter()
            .filter(|(name, handle)| names.contains(*name) && !self.full.contains(&handle.channel));
        end_groups(stop.clone(), self.around.grace).await;
        for (name, handle) in stop {
            if let Some(channel) = parts.channels.get(&handle.channel) {
                channel.boards.outlet.set_working(name);
                handle.members.iter().for_each(|sink| channel.boards.ledgers.withdraw(sink));
            }
        }
    }

    /// Waits within the grace until these consumers have committed everything; batches in their
    /// sinks are settled when these stop.
    async fn drain(&mut self, all: Vec<(Arc<str>, Names)>) -> Result<(), Problem> {
        let parts = self.running.parts();
        let deadline = Instant::now() + self.around.grace;
        let wait = async |channel: &Arc<str>, names: &Names| -> Option<u64> {
            let opened = parts.channels.get(channel)?.opened()?;
            loop {
                let backlogs = names.iter().map(|name| opened.backlog(name));
                let (ready, held) =
                    backlogs.fold((0, 0), |(ready, held), it| (ready + it.ready, held + it.held));
                if ready + held == 0 {
                    return None;
                }
                if Instant::now() >= deadline {
                    return Some(ready).filter(|ready| *ready > 0);
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        let waits = join_all(all.iter().map(|(channel, names)| wait(channel, names)));
        let Some(left) = self.stopping.run_until_cancelled(waits).await else {
            return Err("the agent is stopping; its next start reads the configuration".to_owned());
        };
        for ((channel, names), left) in all.iter().zip(left) {
            let Some(batches) = left else { continue };
            let is_gone = self.topology.channels.iter().all(|built| built.name != *channel);
            let is_kept = parts.channels.get(channel).is_some_and(|handle| keeps_contents(handle));
            if is_gone && is_kept {
                // It stays on disk until it is configured again.
                continue;
            }
            let groups: Vec<&str> = names.iter().map(|name| &**name).collect();
            let problem = not_drained(channel, &groups, batches, self.around.grace);
            self.must_not(channel, problem)?;
        }
        Ok(())
    }

    /// Closes a channel, which must keep its contents, or be empty.
    async fn close(&mut self, name: &Arc<str>) -> Result<(), Problem> {
        let parts = self.running.parts();
        let Some(handle) = parts.channels.get(name).filter(|_| !self.full.contains(name)) else {
            return Ok(());
        };
        let Some(opened) = handle.opened() else {
            return Err(format!(
                "channel `{name}` is not open yet; retry when it is; the log of the agent names \
                 the cause"
            ));
        };
        let kind = self.topology.channels.iter().find(|built| built.name == *name);
        let is_found_again =
            keeps_contents(handle) && kind.is_none_or(|built| built.kind == handle.kind);
        let events = opened.status().events;
        if events > 0 && !is_found_again {
            let problem = format!(
                "channel `{name}` still has {events} events, which would be lost because its \
                 type is `{}`; retry when it is empty",
                handle.kind
            );
            return self.must_not(name, problem);
        }
        if let Err(cause) = opened.close().await {
            // Acknowledged batches are safe; the last committed ones may be resent.
            warn!(channel = %name, error = %chain(&cause), "cannot close the channel cleanly; no \
                                                            event is lost; the next start may \
                                                            deliver batches again, which \
                                                            exactly-once sinks drop and others \
                                                            store twice");
        }
        // Batches that were settled while it closed.
        let events = opened.status().events;
        let held_at_start = handle.boards.opened.held_events();
        self.running.change(|parts| {
            let passed = parts.passed(handle);
            parts.past.add_channel(held_at_start, passed);
            parts.past.add_left_behind(events);
            parts.channels.remove(name);
            parts.gone.insert(name.clone());
            if events > 0 {
                parts.left_behind.insert(name.clone(), events);
            }
        });
        self.running.announce_channels();
        if kind.is_none() {
            scrape::forget_channel(&self.around.metrics, name);
        }
        Ok(())
    }

    /// Ends a try; on the way back this channel stays.
    fn must_not(&mut self, channel: &Arc<str>, problem: Problem) -> Result<(), Problem> {
        if self.mode == Mode::Try {
            return Err(problem);
        }
        warn!(%channel, "the reload is undone, but this channel keeps the settings of the failed \
                         reload, because {problem}; reload again when it is empty");
        self.full.insert(channel.clone());
        Ok(())
    }

    async fn register(&mut self, name: &Arc<str>) -> Result<(), Problem> {
        let parts = self.running.parts();
        let Some(handle) = parts.channels.get(name).filter(|_| !self.full.contains(name)) else {
            return Ok(());
        };
        let consumers = &self.topology.built(name).consumers;
        let joins = consumers.iter().any(|new| !handle.consumers.contains(new));
        let leave = handle.consumers.iter().filter(|old| !consumers.contains(old));
        for group in leave.filter(|_| !joins) {
            let backlog = handle.channel.backlog(group);
            let batches = backlog.ready + backlog.held;
            if batches > 0 {
                let problem = not_drained(name, &[&**group], batches, self.around.grace);
                return self.must_not(name, problem);
            }
        }
        handle.channel.register(consumers).await.map_err(|error: ChannelError| chain(&error))?;
        let handle = ChannelHandle { consumers: consumers.clone(), ..(**handle).clone() };
        self.running.change(|parts| parts.channels.insert(name.clone(), Arc::new(handle)));
        Ok(())
    }

    fn start_groups(&mut self, names: &Names) {
        let (start, rest) = std::mem::take(&mut self.groups)
            .into_iter()
            .partition::<Vec<_>, _>(|built| names.contains(&built.name));
        self.groups = rest;
        for built in start {
            // If a channel did not drain, its groups continue.
            if !self.full.contains(&*built.channel) {
                self.running.start_group(built, self.around);
            }
        }
    }

    /// Opens all of them before one runs.
    async fn start_sources(&mut self, names: &Names) -> Result<(), Problem> {
        let (start, rest) = std::mem::take(&mut self.sources)
            .into_iter()
            .partition::<Vec<_>, _>(|built| names.contains(&built.name));
        self.sources = rest;
        let mut prepared = Vec::new();
        for built in start {
            let component_health = self.around.health.add_source(&built.name);
            let mut source = Prepared::new(built, &self.topology, component_health, self.around);
            let is_free = self.running.has_stopped(source.name());
            // A source whose predecessor still holds its resources is opened later.
            if !is_free {
                prepared.push((source, false));
                continue;
            }
            let is_open = match timeout(OPEN_TIMEOUT, source.open()).await {
                Ok(Ok(())) => true,
                Ok(Err(error)) if self.mode == Mode::Try => {
                    return Err(format!("source `{}`: {}", source.name(), chain(&error)));
                }
                Err(_) if self.mode == Mode::Try => {
                    let seconds = OPEN_TIMEOUT.as_secs();
                    let name = source.name();
                    return Err(format!(
                        "source `{name}` did not open within {seconds} s; the log of the agent \
                         names the cause"
                    ));
                }
                Ok(Err(_)) | Err(_) => false,
            };
            prepared.push((source, is_open));
        }
        for (source, is_open) in prepared {
            self.running.run_source(source, is_open);
        }
        Ok(())
    }

    /// Removes stopped parts without a successor, and data about former peers. `configured` was
    /// built from the same configuration, and does not run.
    pub(super) fn clean_up(self, configured: &Topology) {
        let AbsentParts { sources, groups } = self.running.forget_stopped(configured);
        self.running.place_held(&self.topology, (self.sources, self.groups), self.around);
        let parts = self.running.parts();
        let metrics = &self.around.metrics;
        sources.iter().for_each(|name| self.around.health.forget_source(name, metrics));
        let present = parts.groups.values().filter(|group| !group.is_stopped());
        let present: BTreeSet<&Arc<str>> = present.flat_map(|group| &group.members).collect();
        for (name, members) in &groups {
            if !parts.groups.contains_key(name) {
                scrape::forget_group(metrics, name);
            }
            let gone = members.iter().filter(|sink| !present.contains(sink));
            gone.for_each(|sink| self.around.health.forget_sink(sink, metrics));
        }
        for built in &configured.channels {
            if let Some(handle) = parts.channels.get(&built.name) {
                handle.boards.limits.configure(&built.boards.limits);
            }
        }
        for (channel, events) in &parts.left_behind {
            error!(
                %channel, events,
                "a removed channel still has events on disk; configure it again to deliver them, \
                 unless a source resends them",
            );
        }
    }
}

fn not_drained(channel: &str, groups: &[&str], batches: u64, grace: Duration) -> Problem {
    let (groups, seconds) = (groups.join("`, `"), grace.as_secs_f64());
    format!(
        "group `{groups}` has not delivered {batches} batches of channel `{channel}` after \
         {seconds} s and would lose them; retry when they are delivered, or check its sinks with \
         `aqueduct status`"
    )
}
