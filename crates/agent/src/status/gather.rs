//! From the handles to a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use metrics::{ChannelReason, Metrics, Seconds, SinkLabel};
use peers::RefusalBoard;
use pipeline::env::unix_millis;
use pipeline::{Env, Guarantee};
use tokio::time::{Duration, Instant};

use super::outlook::Outlook;
use super::{
    AGENT, AgentStatus, CertificateStatus, ChangeBoard, ChannelStatus, Conservation,
    DeadLetterStatus, FilesStatus, Finding, Flow, GroupStatus, HeldStatus, IncompleteStatus,
    LatencyStatus, MemberStatus, RefusedStatus, SenderStatus, Snapshot, SourceStatus, State,
    Throughput, UnableStatus, Verdict,
};
use crate::dead_letters::DeadLetters;
use crate::group::{GroupView, MemberPart, OutflowPart};
use crate::health::Readiness;
use crate::held;
use crate::opened::NotOpen;
use crate::recent_failures::RecentFailures;
use crate::running::{Answer, ChannelHandle, GroupHandle, Parts, Running, SourceHandle};

/// The channel counters of events that were dropped or given up.
const DROPPED: &[&str] = &["dropped_oldest_event", "dropped_newest_event", "given_up_events"];

/// The channel counter of events that were resent after they were stored.
const RESENT: &str = "duplicate_event";

/// Senders of a source that are listed.
const SENDERS_SHOWN: usize = 100;

/// Tenants of a source that are listed.
const TENANTS_SHOWN: usize = 100;

/// The data of a snapshot.
pub struct Sources<'a> {
    /// Name of the agent.
    pub agent: &'a str,
    /// When it has started.
    pub started: Instant,
    /// The handles.
    pub running: &'a Running,
    /// The readiness.
    pub readiness: Readiness,
    /// The latest failures.
    pub recent_failures: &'a RecentFailures,
    /// The dead letters.
    pub dead_letters: &'a DeadLetters,
    /// The metrics of the channels.
    pub metrics: &'a Metrics,
    /// The known finding about the configuration file.
    pub configuration: Option<Finding>,
    /// The world.
    pub env: &'a Env,
    /// The results of the last changes.
    pub changes: &'a ChangeBoard,
    /// The certificates that the agent shows.
    pub certificates: Vec<CertificateStatus>,
    /// Peers that the admin address refuses.
    pub refusals: &'a RefusalBoard,
}

/// Takes a snapshot of the agent.
pub async fn gather(of: Sources<'_>) -> Snapshot {
    let parts = of.running.parts();
    // Concurrently, because a busy group takes a whole second.
    let asked = parts.groups.iter();
    let asked = asked.map(async |(name, handle)| (name.clone(), handle.ask().await));
    let answers = join_all(asked).await.into_iter().collect();
    let now = Instant::now();
    let views = Views { answers, now };
    let channels = parts.channels.iter();
    let channels: Vec<ChannelStatus> =
        channels.map(|(name, handle)| views.channel(name, handle, of.metrics)).collect();
    let sources = parts.sources.iter().map(|(name, handle)| source(name, handle, now));
    let mut sources: Vec<SourceStatus> = sources.collect();
    let groups = parts.groups.iter();
    let mut groups: Vec<GroupStatus> =
        groups.map(|(name, handle)| views.group(name, handle, of.metrics)).collect();
    let held = held::shown(&parts.held, of.env);
    for HeldStatus { part, since_seconds_ago, by, .. } in &held {
        let is_it = |role: &str, name: &str| part.strip_prefix(role) == Some(name);
        let sources = sources.iter_mut().filter(|it| is_it("sources.", &it.name));
        let groups = groups.iter_mut().filter(|it| is_it("groups.", &it.name));
        let states = sources.map(|it| &mut it.state).chain(groups.map(|it| &mut it.state));
        for state in states {
            *state = State::Held { since_seconds_ago: *since_seconds_ago, by: by.clone() };
        }
    }
    let snapshot = Snapshot {
        agent: of.agent.to_owned(),
        version: crate::version::VERSION.to_owned(),
        taken_at_unix_seconds: unix_millis(of.env.clock.now()) as f64 / 1_000.0,
        uptime_seconds: (now - of.started).as_secs_f64(),
        ready: of.readiness.reasons.is_empty(),
        reasons: of.readiness.reasons,
        remarks: of.readiness.remarks,
        verdict: Verdict::default(),
        troubles: Vec::new(),
        flow: Flow::new(&sources, &channels, &groups),
        sources,
        groups,
        dead_letters: views.dead_letters(&parts, of.dead_letters),
        conservation: views.conservation(&parts, &channels, (of.metrics, of.dead_letters)),
        channels,
        refused: refused(&parts, of.refusals, now),
        certificates: of.certificates,
        plain_text: parts.plain_text.clone(),
        held,
        drain: of.changes.drain(now),
        last_reload: of.changes.reload(now),
        bulletin: of.recent_failures.read(now),
    };
    snapshot.judged(of.configuration)
}

/// Peers that the sources and the admin address refuse.
fn refused(parts: &Parts, admin: &RefusalBoard, now: Instant) -> Vec<RefusedStatus> {
    let sources = parts.sources.iter().flat_map(|(name, handle)| {
        // Only agents speak this protocol.
        let peer_kind = if handle.kind == "grpc" { "agent" } else { "client" };
        RefusedStatus::read(&format!("source {name}"), peer_kind, &handle.refusals, now)
    });
    sources.chain(RefusedStatus::read(AGENT, "client", admin, now)).collect()
}

fn guarantee(of: Guarantee) -> String {
    let text = match of {
        Guarantee::BestEffort => "best_effort",
        Guarantee::AtLeastOnce => "at_least_once",
        Guarantee::ExactlyOnce => "exactly_once",
    };
    text.to_owned()
}

fn digest(of: u64) -> String {
    format!("{of:016x}")
}

fn ago(now: Instant, then: Instant) -> f64 {
    now.saturating_duration_since(then).as_secs_f64()
}

fn source(name: &str, handle: &SourceHandle, now: Instant) -> SourceStatus {
    let flow = handle.intake.flow();
    let waits_for = handle.intake.waits_for();
    let state = match (handle.component_health.status(), waits_for) {
        (State::Starting, _) => match handle.intake.not_open() {
            Some((channel, why)) => waits_for_opening(&channel, &why),
            None => State::Starting,
        },
        (State::Running, Some((channel, since))) => State::Waiting {
            waits_for: format!("free capacity in channel `{channel}`"),
            since_seconds_ago: ago(now, since),
        },
        (State::Running, None) => flow.failing(now).unwrap_or(State::Running),
        (state, _) => state,
    };
    let (senders_total, senders) = handle.senders.read(SENDERS_SHOWN);
    let (tenants_total, tenants) = handle.tenants.read(TENANTS_SHOWN, now);
    SourceStatus {
        name: name.to_owned(),
        kind: handle.kind.clone(),
        guarantee: guarantee(handle.guarantee),
        config_digest: digest(handle.digest),
        started_seconds_ago: ago(now, handle.since),
        state,
        channels: handle.intake.channels(),
        optional_channels: handle.intake.optional_channels(),
        senders: senders.iter().map(|it| SenderStatus::new(it, now)).collect(),
        senders_total: senders_total as u64,
        incarnation: handle.senders.incarnation().map(digest),
        tenants,
        tenants_total: tenants_total as u64,
        accepted: flow.accepted.read(now),
        accepted_batches: flow.batches,
        failed_batches: flow.failed_batches,
        failed_events: flow.failed_events,
        dropped_events: flow.dropped().into_iter().filter(|(_, events)| *events > 0).collect(),
        files: handle.files.read().map(|it| FilesStatus {
            followed: it.followed,
            unread_bytes: it.unread_bytes,
            unreadable: it.unreadable,
            problem: it.problem,
        }),
    }
}

/// Returns the latency of a stage of a sink; `None` before the first batch.
fn latency(seconds: Option<&Seconds>) -> Option<LatencyStatus> {
    let read = seconds?.read();
    let ends = read.buckets.iter().map(|(end, _)| *end).filter(|end| *end < f64::MAX);
    Some(LatencyStatus {
        p50_seconds: read.quantile(0.5)?,
        p99_seconds: read.quantile(0.99)?,
        bucket_seconds: ends.collect(),
        bucket_batches: read.buckets.iter().map(|(_, batches)| *batches).collect(),
    })
}

/// Returns the state of a part that waits for a channel that is not open.
fn waits_for_opening(channel: &str, why: &NotOpen) -> State {
    let waits_for = format!("channel `{channel}`, which is not open: {}", why.cause);
    State::Waiting { waits_for, since_seconds_ago: why.waits.as_secs_f64() }
}

/// The answers of the groups.
struct Views {
    answers: BTreeMap<Arc<str>, Answer>,
    now: Instant,
}

impl Views {
    fn view(&self, group: &str) -> Option<&GroupView> {
        match self.answers.get(group)? {
            Answer::View(view) => Some(view),
            Answer::Busy | Answer::NotBegun(_) | Answer::Ended => None,
        }
    }

    /// Returns the rate at which events leave a channel: that rate of the group that has delivered
    /// least.
    fn leaving(&self, channel: &ChannelHandle) -> Option<Throughput> {
        let views = channel.consumers.iter().filter_map(|name| self.view(name));
        let outflows = views.map(|view| &view.outflow);
        let slowest = outflows.min_by_key(|outflow| outflow.delivered.total().events)?;
        Some(slowest.delivered.read(self.now))
    }

    fn channel(&self, name: &str, handle: &ChannelHandle, metrics: &Metrics) -> ChannelStatus {
        let (held, stored) = (handle.status(), handle.boards.inflow.read(self.now));
        let leaving = self.leaving(handle);
        let seconds = |duration: Duration| duration.as_secs_f64();
        let leaving = leaving.map_or(0.0, |leaving: Throughput| leaving.events_per_second);
        let outlook = Outlook::forecast(&held, stored.events_per_second, leaving);
        ChannelStatus {
            name: name.to_owned(),
            kind: handle.kind.clone(),
            guarantee: guarantee(handle.channel.guarantee()),
            config_digest: digest(handle.digest),
            started_seconds_ago: ago(self.now, handle.since),
            consumers: handle.consumers.iter().map(ToString::to_string).collect(),
            depth_events: held.events,
            depth_bytes: held.bytes,
            capacity_bytes: held.capacity_bytes,
            fill_ratio: held.bytes as f64 / held.capacity_bytes.max(1) as f64,
            in_flight_events: held.unsettled_events,
            oldest_event_seconds: held.oldest_uncommitted.map(seconds),
            intake_stopped: held.intake_stopped,
            waiting_since_seconds_ago: handle
                .boards
                .inflow
                .waiting()
                .map(|since| ago(self.now, since)),
            stored,
            failed_events: handle.boards.inflow.failures(),
            until_full_seconds: outlook.until_full_seconds,
            until_empty_seconds: outlook.until_empty_seconds,
            dropped_events: dropped(name, metrics),
            resent_events: counted(name, RESENT, metrics),
        }
    }

    fn group(&self, name: &str, handle: &GroupHandle, metrics: &Metrics) -> GroupStatus {
        let mut status = GroupStatus {
            name: name.to_owned(),
            channel: handle.channel.to_string(),
            processor: handle.processor.clone(),
            config_digest: digest(handle.digest),
            started_seconds_ago: ago(self.now, handle.since),
            state: State::Stopped,
            delivered: Throughput::default(),
            dead_letter_events: 0,
            in_flight_batches: 0,
            in_flight_events: 0,
            members: Vec::new(),
        };
        match self.answers.get(name) {
            Some(Answer::View(view)) => {
                status.state = view.state.clone();
                status.delivered = view.outflow.delivered.read(self.now);
                status.dead_letter_events = view.outflow.dead_letter_events;
                status.in_flight_batches = view.in_flight_batches;
                status.in_flight_events = view.in_flight_events;
                let members = view.members.iter().zip(&handle.sinks).zip(&view.outflow.by_member);
                let members =
                    members.map(|((part, sink), left)| self.member(part, sink, left, metrics));
                status.members = members.collect();
            }
            Some(Answer::Busy) => {
                let waits_for = "its own task, which does not respond; restart the agent if this \
                                 lasts"
                    .to_owned();
                status.state = State::Waiting { waits_for, since_seconds_ago: 0.0 };
            }
            Some(Answer::NotBegun(why)) => status.state = waits_for_opening(&status.channel, why),
            Some(Answer::Ended) | None => {}
        }
        status
    }

    fn member(
        &self,
        part: &MemberPart,
        (kind, promise): &(String, Guarantee),
        left: &OutflowPart,
        metrics: &Metrics,
    ) -> MemberStatus {
        let label = SinkLabel { sink: part.name.to_string() };
        MemberStatus {
            sink: part.name.to_string(),
            kind: kind.clone(),
            guarantee: guarantee(*promise),
            state: part.state.clone(),
            penalty_seconds: part.penalty_ends.map(|ends| ago(ends, self.now)),
            in_hand_batches: part.in_hand,
            unacknowledged_bytes: part.unacknowledged_bytes,
            delivered_events: left.events,
            delivered_batches: left.batches,
            refused_events: part.refused_events,
            last_delivery_seconds_ago: left.last.map(|last| ago(self.now, last)),
            open_files: part.sink.open_files,
            last_commit: part.sink.last_commit.clone(),
            peer: part.sink.peer.clone(),
            peer_incarnation: part.incarnation.map(digest),
            trouble: part.sink.trouble.clone(),
            incomplete: part.sink.incomplete.as_ref().map(|oldest| IncompleteStatus {
                directory: oldest.directory.clone(),
                waits_for: oldest.waits_for.clone(),
                since_seconds_ago: ago(self.now, oldest.since),
            }),
            unable: part.unable.as_ref().map(|outage| UnableStatus {
                since_seconds_ago: ago(self.now, outage.since),
                cause: outage.cause.to_string(),
                agent: AgentStatus {
                    address: outage.agent.address.as_deref().unwrap_or_default().to_owned(),
                    page: outage.agent.page.as_deref().map(str::to_owned),
                },
            }),
            stored_after: latency(metrics.sink_stored_after.get(&label).as_deref()),
            committed_after: latency(metrics.sink_committed_after.get(&label).as_deref()),
        }
    }

    fn dead_letters(&self, running: &Parts, letters: &DeadLetters) -> DeadLetterStatus {
        let added = running.groups.iter().filter_map(|(name, handle)| {
            let events = self.view(name)?.outflow.dead_letter_events;
            (events > 0).then(|| (format!("{}/{name}", handle.channel), events))
        });
        let groups = running.groups.keys().filter_map(|name| self.view(name));
        let lasts = groups.filter_map(|view| view.outflow.last_downstream);
        DeadLetterStatus {
            batches: letters.batches(),
            events: letters.opened().map_or(0, |channel| channel.status().events),
            added_events: added.collect(),
            downstream_last_seconds_ago: lasts.max().map(|last| ago(self.now, last)),
        }
    }

    fn conservation(
        &self,
        parts: &Parts,
        channels: &[ChannelStatus],
        (metrics, letters): (&Metrics, &DeadLetters),
    ) -> Conservation {
        let mut sum = parts.past.clone();
        parts.sources.values().for_each(|handle| handle.intake.flow().add_to(&mut sum));
        for (handle, status) in parts.channels.values().zip(channels) {
            sum.add_channel(handle.boards.opened.held_events(), parts.passed(handle));
            sum.held_events += status.depth_events;
            sum.add_dropped(&status.dropped_events);
            sum.resent_events += status.resent_events;
        }
        for name in &parts.gone {
            sum.add_dropped(&dropped(name, metrics));
            sum.resent_events += counted(name, RESENT, metrics);
        }
        sum.replayed_events += letters.replayed_events();
        sum.balanced()
    }
}

/// Events that a channel has dropped, by reason.
fn dropped(channel: &str, metrics: &Metrics) -> BTreeMap<String, u64> {
    let all = DROPPED.iter().map(|reason| (*reason, counted(channel, reason, metrics)));
    let dropped = all.filter(|(_, events)| *events > 0);
    dropped.map(|(reason, events)| (reason.to_owned(), events)).collect()
}

/// Events that a channel has counted by this reason.
fn counted(channel: &str, reason: &'static str, metrics: &Metrics) -> u64 {
    let label = ChannelReason { channel: channel.to_owned(), reason };
    metrics.channel_anomalies.get(&label).map_or(0, |events| events.get())
}
