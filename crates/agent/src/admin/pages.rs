//! The contents of each page.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, MutexGuard, PoisonError};

use hyper::StatusCode;
use metrics::{Format, GroupLabel, Metrics};
use peers::{RefusalBoard, RefusalReason};
use pipeline::env::unix_millis;
use pipeline::{Account, Env};
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, JSON_UTF_8, fresh, json, page, typed};
use super::certificates::Certificates;
use super::configuration::Configuration;
use super::feed::Feed;
use super::guard::{self, Client};
use super::{COMPONENT, flume, letters};
use crate::audit::Audit;
use crate::dead_letters::DeadLetters;
use crate::findings::Findings;
use crate::health::{Health, Readiness};
use crate::opening::NotOpen;
use crate::reload::Reloads;
use crate::running::{Parts, Running};
use crate::status::{CertificateStatus, EVERY_SOURCE_HELD, Finding, HeldStatus, Snapshot};
use crate::{account, held, liveness, scrape, status};

/// How long a comparison of the configuration with its file stays valid. Monitors ask once a
/// minute.
const COMPARED_FOR: Duration = Duration::from_secs(150);

/// Delay of the answer to a wrong token.
const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);

/// The data of the pages. The agent is ready if every source is open (or stopped by an operator
/// while another one is open), no channel has stopped its intake, and the agent is not stopping. A
/// failing sink, or a group that delivers nothing, is reported but does not make the agent unready:
/// its events wait in the channel. If all collectors of a site are in this state, events are safer
/// in their channels than with rejected clients. Senders with a choice use other agents because of
/// the agent's own reports.
pub(crate) struct Pages {
    /// Name of the agent.
    pub(crate) agent: String,
    /// When it has started.
    pub(crate) started: Instant,
    /// The same in milliseconds since 1970; not affected by later changes of the clock.
    pub(crate) started_ms: u64,
    pub(crate) running: Arc<Running>,
    pub(crate) reloads: Reloads,
    pub(crate) audit: Audit,
    pub(crate) dead_letters: Arc<DeadLetters>,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) env: Env,
    /// Cancelled when the agent begins to stop.
    pub(crate) stopping: CancellationToken,
    /// The running configuration.
    pub(crate) configuration: Arc<Configuration>,
    /// State that the pages share.
    pub(crate) live: Live,
}

/// State that the pages of an agent share.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Snapshots for continuous readers.
    pub(super) feed: Feed,
    /// Readers of events that pass.
    pub(super) taps: AtomicUsize,
    /// Peers that the admin address refuses.
    pub(super) refusals: RefusalBoard,
    /// The certificates that the agent shows.
    certificates: Certificates,
    /// Locked while a page reads the disk: one at a time.
    disk: Mutex<()>,
    /// The findings of the last snapshot.
    findings: Findings,
    /// The finding of the last comparison of the configuration with its file, and its time.
    compared: std::sync::Mutex<Option<(Instant, Finding)>>,
}

impl Live {
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

impl Pages {
    /// Returns the readiness of the agent, line by line.
    pub(super) fn readiness(&self) -> Answer {
        let Readiness { reasons: mut lines, remarks } = self.current_readiness();
        let status = if lines.is_empty() {
            lines.push("ready".to_owned());
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        lines.extend(remarks);
        page(status, lines.join("\n") + "\n")
    }

    /// Returns the readiness of the agent, with remarks.
    fn current_readiness(&self) -> Readiness {
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
            None if handle.channel.status().intake_stopped => {
                Some(format!("channel `{name}` accepts no events"))
            }
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
                    "group `{group}` has delivered nothing from channel `{channel}` for \
                     {seconds} s: {agent}{cause}"
                )
            })
        });
        unable.collect()
    }

    /// Returns `true` if every channel and source is open, so that the start is complete.
    pub(crate) fn is_open(&self) -> bool {
        let parts = self.running.parts();
        let mut channels = parts.channels.values();
        channels.all(|handle| handle.boards.opened.is_open()) && self.health.all_open()
    }

    /// Returns the dead or stuck parts, line by line.
    pub(crate) async fn dead(&self, patience: Duration) -> Vec<String> {
        liveness::dead(&self.running, &self.health, patience).await
    }

    /// The verdict in one line.
    pub(crate) async fn verdict(&self) -> String {
        self.snapshot().await.verdict.text
    }

    /// Returns the liveness: whether a restart would help.
    pub(super) async fn liveness(&self) -> Answer {
        let dead = self.dead(liveness::STALL_LIMIT).await;
        if dead.is_empty() {
            return page(StatusCode::OK, "alive\n".into());
        }
        page(StatusCode::SERVICE_UNAVAILABLE, dead.join("\n") + "\n")
    }

    /// The certificates that the agent shows, as their files have them now.
    pub(crate) async fn certificates(&self) -> Vec<CertificateStatus> {
        let plan = self.configuration.plan();
        self.live.certificates.read(&plan, &self.env, &self.metrics).await
    }

    /// A request with a wrong token is counted, logged, and answered late, so that tokens cannot be
    /// tried quickly.
    pub(super) async fn refused_token(&self, client: Client<'_>) {
        guard::count(&self.metrics, "wrong_token");
        let peer = (client.address, client.certificate.map(|name| &**name));
        let problem = "the client must send the value of `agent.admin_token` as its bearer token";
        self.live.refusals.refused(COMPONENT, peer, RefusalReason::WrongToken, &problem);
        sleep(WRONG_TOKEN_DELAY).await;
    }

    /// Takes a snapshot of the agent.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        let certificates = self.certificates().await;
        let gathered = status::gather(status::Sources {
            agent: &self.agent,
            started: self.started,
            running: &self.running,
            readiness: self.current_readiness(),
            recent_failures: self.health.recent_failures(),
            dead_letters: &self.dead_letters,
            metrics: &self.metrics,
            configuration: self.live.configuration(),
            env: &self.env,
            reloads: &self.reloads,
            certificates,
            refusals: &self.live.refusals,
        });
        let mut snapshot = gathered.await;
        self.live.findings.note(&mut snapshot.troubles, Instant::now());
        snapshot
    }

    /// The same as JSON.
    pub(super) async fn status(&self) -> Answer {
        json(&self.snapshot().await)
    }

    /// Returns the running configuration and the state of its file.
    pub(super) async fn configuration(&self) -> Answer {
        match self.live.disk.try_lock() {
            Ok(_turn) => {
                let compared = self.configuration.compared(&self.env).await;
                *self.live.compared() = compared.finding().map(|it| (Instant::now(), it));
                json(&compared)
            }
            Err(_) => busy(),
        }
    }

    /// The dead letters.
    pub(super) async fn letters(&self, query: &str) -> Answer {
        let Ok(_turn) = self.live.disk.try_lock() else { return busy() };
        match letters::read(&self.dead_letters, &self.env, letters::newest(query)).await {
            Ok(found) => json(&found),
            Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, crate::chain(&error) + "\n"),
        }
    }

    /// The page of Flume's monitoring.
    pub(super) async fn flume(&self) -> Answer {
        let snapshot = self.snapshot().await;
        let text = flume::page(&snapshot, &self.metrics, self.started_ms);
        fresh(typed(StatusCode::OK, JSON_UTF_8, text))
    }

    /// Returns the accounts of the durable channels, one line of JSON for each.
    pub(super) fn account(&self) -> String {
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
    pub(super) fn metrics(&self, format: Format) -> String {
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
        format!("{part} has been stopped for {seconds:.0} s, by {by}")
    };
    let is_closed =
        !parts.sources.is_empty() && parts.sources.keys().all(|name| parts.holds_source(name));
    let none = is_closed.then(|| EVERY_SOURCE_HELD.to_owned());
    (none, held::shown(&parts.held, env).into_iter().map(line).collect())
}

fn busy() -> Answer {
    let text = "another request is reading the disk; retry\n";
    page(StatusCode::SERVICE_UNAVAILABLE, text.into())
}
