//! Observes a running agent: readiness, liveness, metrics, certificates, findings and snapshots.
//!
//! ```text
//!   handles, health, channels ─┐
//!   results of changes ────────┼─► Monitor ─► pages, service manager, log
//!   certificates, the file ────┘
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent::dead_letters::DeadLetters;
use agent::health::{Health, Readiness};
use agent::opened::NotOpen;
use agent::running::{Parts, Running};
use agent::status::{
    self, CertificateStatus, ChangeBoard, EVERY_SOURCE_HELD, Finding, HeldStatus, Snapshot,
};
use agent::{account, held, scrape};
use metrics::{Format, GroupLabel, Metrics};
use peers::RefusalBoard;
use pipeline::env::unix_millis;
use pipeline::{Account, Env};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::certificates::Certificates;
use crate::configuration::{Compared, Configuration};
use crate::findings::Findings;
use crate::liveness;

/// How long a comparison of the configuration with its file stays valid. Monitors ask once a
/// minute.
const COMPARED_FOR: Duration = Duration::from_secs(150);

/// Observes a running agent: its readiness, its liveness, its metrics, and snapshots of its state.
///
/// The agent is ready if every source is open (or stopped by an operator while another one is
/// open), no channel has stopped its intake, and the agent is not stopping. A failing sink, or a
/// group that delivers nothing, is reported but does not make the agent unready: its events wait in
/// the channel. If all collectors of a site are in this state, events are safer in their channels
/// than with rejected clients. Senders with a choice use other agents because of the agent's own
/// reports.
pub struct Monitor {
    /// Name of the agent.
    pub agent: String,
    /// When it has started.
    pub started: Instant,
    /// The handles.
    pub running: Arc<Running>,
    /// The results of the last changes.
    pub changes: ChangeBoard,
    /// Events that can never be delivered.
    pub dead_letters: Arc<DeadLetters>,
    /// The health of sources and sinks.
    pub health: Health,
    /// The metrics.
    pub metrics: Metrics,
    /// The world.
    pub env: Env,
    /// Cancelled when the agent begins to stop.
    pub stopping: CancellationToken,
    /// The running configuration.
    pub configuration: Arc<Configuration>,
    /// Peers that the admin address refuses.
    pub refusals: RefusalBoard,
    /// State that snapshots share.
    pub seen: Seen,
}

/// State that the snapshots of an agent share.
#[derive(Debug, Default)]
pub struct Seen {
    /// The certificates that the agent shows.
    certificates: Certificates,
    /// The findings of the last snapshot.
    findings: Findings,
    /// The finding of the last comparison of the configuration with its file, and its time.
    compared: Mutex<Option<(Instant, Finding)>>,
}

impl Seen {
    fn compared(&self) -> MutexGuard<'_, Option<(Instant, Finding)>> {
        // The value is replaced as a whole.
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the finding about the configuration file, while it is recent.
    fn configuration(&self) -> Option<Finding> {
        let compared = self.compared();
        let (at, trouble) = compared.as_ref()?;
        (at.elapsed() < COMPARED_FOR).then(|| trouble.clone())
    }
}

impl Monitor {
    /// Returns the readiness of the agent, with remarks.
    pub fn readiness(&self) -> Readiness {
        let Readiness { reasons, mut remarks } = self.health.readiness();
        remarks.extend(self.unable());
        let stopping = self.stopping.is_cancelled().then(|| "stopping".to_owned());
        let parts = self.running.parts();
        let (none, some) = held(&parts, &self.env);
        remarks.extend(some);
        let channels = parts.channels.iter();
        let full = channels.filter_map(|(name, handle)| match handle.boards.opened.reason() {
            Some(NotOpen { waits, cause }) => {
                let seconds = waits.as_secs();
                Some(format!("channel `{name}` has not been open for {seconds} s: {cause}"))
            }
            None if handle.channel.status().intake_stopped => Some(format!(
                "channel `{name}` accepts no events: it is full, or its disk is; check the sinks \
                 of its group and the free disk space"
            )),
            None => None,
        });
        let reasons = stopping.into_iter().chain(full).chain(none).chain(reasons);
        Readiness { reasons: reasons.collect(), remarks }
    }

    /// Updates since when each group delivers nothing; a held group has a separate gauge.
    fn show_unable(&self) {
        let (now, at) = (Instant::now(), self.env.clock.now());
        let parts = self.running.parts();
        for handle in parts.channels.values() {
            let unable = handle.boards.outlet.unable(now);
            for group in &handle.consumers {
                let outage = unable.iter().find(|(name, _)| name == group);
                let outage = outage.filter(|_| !parts.holds_group(group));
                let since = outage.map_or(0.0, |(_, outage)| {
                    let began = at.checked_sub(now.saturating_duration_since(outage.since));
                    began.map_or(0.0, |began| unix_millis(began) as f64 / 1_000.0)
                });
                let label = GroupLabel { group: group.to_string() };
                self.metrics.group_unable_since.get_or_create(&label).set(since);
            }
        }
    }

    /// Returns the groups that deliver nothing although they are not held, line by line.
    fn unable(&self) -> Vec<String> {
        let (now, parts) = (Instant::now(), self.running.parts());
        let unable = parts.channels.iter().flat_map(|(channel, handle)| {
            let unable = handle.boards.outlet.unable(now).into_iter();
            let unable = unable.filter(|(group, _)| !parts.holds_group(group));
            unable.map(move |(group, outage)| {
                let seconds = now.saturating_duration_since(outage.since).as_secs();
                let cause = outage.cause.replace(char::is_control, " ");
                let agent = outage.agent.address;
                let agent = agent.map_or(String::new(), |it| format!("{it} cannot store events: "));
                format!(
                    "group `{group}` has delivered nothing from channel `{channel}` for {seconds} \
                     s: {agent}{cause}"
                )
            })
        });
        unable.collect()
    }

    /// Returns `true` if every channel and source is open, so that the start is complete.
    pub fn is_open(&self) -> bool {
        let parts = self.running.parts();
        let mut channels = parts.channels.values();
        channels.all(|handle| handle.boards.opened.is_open()) && self.health.all_open()
    }

    /// Returns the dead or stuck parts, line by line.
    pub async fn dead(&self, patience: Duration) -> Vec<String> {
        liveness::dead(&self.running, &self.health, patience).await
    }

    /// The verdict in one line.
    pub async fn verdict(&self) -> String {
        self.snapshot().await.verdict.text
    }

    /// The certificates that the agent shows, as their files have them now.
    pub async fn certificates(&self) -> Vec<CertificateStatus> {
        let plan = self.configuration.plan();
        self.seen.certificates.read(&plan, &self.env, &self.metrics).await
    }

    /// Compares the running configuration with its file, for the next snapshots too.
    pub async fn compared(&self) -> Compared {
        let compared = self.configuration.compared(&self.env).await;
        *self.seen.compared() = compared.finding().map(|it| (Instant::now(), it));
        compared
    }

    /// Takes a snapshot of the agent.
    pub async fn snapshot(&self) -> Snapshot {
        let certificates = self.certificates().await;
        let gathered = status::gather(status::Sources {
            agent: &self.agent,
            started: self.started,
            running: &self.running,
            readiness: self.readiness(),
            recent_failures: self.health.recent_failures(),
            dead_letters: &self.dead_letters,
            metrics: &self.metrics,
            configuration: self.seen.configuration(),
            env: &self.env,
            changes: &self.changes,
            certificates,
            refusals: &self.refusals,
        });
        let mut snapshot = gathered.await;
        self.seen.findings.note(&mut snapshot.troubles, Instant::now());
        snapshot
    }

    /// Returns the accounts of the durable channels, one line of JSON for each.
    pub fn accounts(&self) -> String {
        let parts = self.running.parts();
        let open = parts
            .channels
            .values()
            .filter_map(|handle| Some((handle.opened()?.account()?, handle.consumers.len())));
        let channels: Vec<(Account, usize)> = open.collect();
        // After the channels: an event that becomes a letter at this moment is counted twice rather
        // than never.
        let letters = self.dead_letters.by_channel();
        let remarks = account::remarks(&self.metrics.text());
        let accounts = account::from_agent(channels, letters, self.dead_letters.origin(), remarks);
        accounts.iter().map(|account| account.to_json() + "\n").collect()
    }

    /// Returns the metrics, with current values for the channels.
    pub fn metrics(&self, format: Format) -> String {
        let parts = self.running.parts();
        let channels = parts.channels.iter();
        let channels = channels.map(|(name, handle)| (&**name, handle.status()));
        let letters = self.dead_letters.opened();
        let letters = letters.map(|channel| ("dead-letters", channel.status()));
        scrape::channels(&self.metrics, channels.chain(letters));
        self.show_unable();
        scrape::process(&self.metrics, &self.env);
        scrape::log(&self.metrics);
        self.health.show(&self.metrics);
        self.metrics.dead_letter_batches.set(scrape::gauge(self.dead_letters.batches()));
        self.metrics.text_in(format)
    }
}

/// Returns the parts that an operator has stopped: the reason for being unready, if no event can
/// enter any more, and a remark for each part.
fn held(parts: &Parts, env: &Env) -> (Option<String>, Vec<String>) {
    let line = |it: HeldStatus| {
        let HeldStatus { part, since_seconds_ago: seconds, by, .. } = it;
        format!(
            "{part} has been stopped for {seconds:.0} s, by {by}; start it with `aqueduct start`"
        )
    };
    let is_closed =
        !parts.sources.is_empty() && parts.sources.keys().all(|name| parts.holds_source(name));
    let none = is_closed.then(|| EVERY_SOURCE_HELD.to_owned());
    (none, held::shown(&parts.held, env).into_iter().map(line).collect())
}
