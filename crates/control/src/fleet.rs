//! An agent of a fleet: reports to its server, and applies the configurations that it offers.
//!
//! ```text
//!   Monitor ─► report ─► POST /v1/opamp ─► nothing, or text + hash
//!                 ▲                              │ same hash: nothing to do
//!                 │                              ▼
//!     applied, or the problem ◄─ reload ◄─ offered.toml
//!                                   └─► in-force.toml, after it was applied
//! ```
//!
//! By default the agent keeps a WebSocket open instead, so that an offer arrives without a report
//! before it. The reports on it are the same. If the WebSocket is refused, the agent polls.
//!
//! The text of the server is read together with the agent's own file, which has `[agent]`, as if
//! that file included it. It is checked and applied like any reload, with two more rules: it must
//! not have `[agent]`, and it must not remove a channel that has events. A text that was refused
//! changes nothing. Without the server the agent continues with the text in force, also after a
//! restart.

mod counts;
pub mod files;
#[cfg(feature = "web-socket")]
mod socket;
mod transport;

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent::status::{Level, ReloadResult, Snapshot};
use bytes::Bytes;
use config::FleetSettings;
use pipeline::{BuildError, Env};
use prost::Message;
use support::backoff::spread;
use support::failure_log::{FailureLog, seconds};
use thiserror::Error;
use tls::Dialer;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use wire::fleet_v1::Counts;
use wire::opamp::{
    AgentCapabilities, AgentDescription, AgentRemoteConfig, AgentToServer, AnyValue, CAPABILITY,
    COUNTS, ComponentHealth, CustomCapabilities, CustomMessage, KeyValue, RemoteConfigStatus,
    RemoteConfigStatuses, any_value,
};

use self::counts::Addresses;
use self::transport::{Client, ReportError, in_time};
use crate::monitor::Monitor;
use crate::reload::Reloads;

/// Pause before the next attempt to stay connected, after the server or a proxy has refused it.
const WEB_SOCKET_AGAIN: Duration = Duration::from_secs(600);

/// Maximum number of characters of a problem in a report.
const PROBLEM_MAX: usize = 2_000;

/// Why an agent cannot report to its fleet server.
#[derive(Debug, Error)]
pub enum FleetError {
    /// A setting is wrong.
    #[error("`agent.fleet`: {0}")]
    Settings(String),
    /// The folder of the texts cannot be used.
    #[error("cannot use the folder `fleet` of the data directory; check its owner and permissions")]
    Folder(#[source] io::Error),
}

/// Reports of this agent.
struct Reporter {
    settings: FleetSettings,
    client: Client,
    uid: [u8; 16],
    data_dir: PathBuf,
    started_ms: u64,
    monitor: Arc<Monitor>,
    reloads: Reloads,
    env: Env,
    sequence: u64,
    addresses: Addresses,
    /// Hash of the text in force.
    in_force: Vec<u8>,
    /// Hash of the last text that was refused, and the problem.
    failure: Option<(Bytes, String)>,
}

/// Begins to report, if the configuration names a fleet server. The task ends when `stopping` is
/// cancelled.
///
/// # Errors
/// A setting is wrong, or the folder of the texts cannot be used.
pub async fn start(
    monitor: &Arc<Monitor>,
    reloads: &Reloads,
    started_ms: u64,
    stopping: CancellationToken,
) -> Result<Option<JoinHandle<()>>, FleetError> {
    let plan = monitor.configuration.plan();
    let Some(table) = &plan.agent.fleet else { return Ok(None) };
    let settings: FleetSettings =
        table.read().map_err(|error| FleetError::Settings(error.to_string()))?;
    let invalid = |error: BuildError| FleetError::Settings(error.to_string());
    let target = settings.target().map_err(invalid)?;
    let tls = target.is_tls.then(|| settings.tls.clone().unwrap_or_default());
    let env = monitor.env.clone();
    let dialer = Dialer::new(&env, tls, &["http/1.1"]).map_err(invalid)?;
    let (world, data_dir) = (env.clone(), plan.agent.data_dir.clone());
    let read = env.offload(move || {
        let in_force = files::in_force(&*world.disk, &data_dir)?;
        Ok((files::uid(&world, &data_dir)?, in_force.unwrap_or_default()))
    });
    let (uid, in_force) = read.await.map_err(FleetError::Folder)?;
    let reporter = Reporter {
        client: Client::new(&settings, target.address, dialer, &env),
        uid,
        data_dir: plan.agent.data_dir.clone(),
        started_ms,
        monitor: monitor.clone(),
        reloads: reloads.clone(),
        env,
        sequence: 0,
        addresses: Addresses::default(),
        in_force,
        failure: None,
        settings,
    };
    info!(url = reporter.settings.url, "reporting to the fleet server");
    let running = async move {
        stopping.run_until_cancelled(reporter.run()).await;
    };
    Ok(Some(tokio::spawn(running)))
}

impl Reporter {
    async fn run(mut self) {
        let mut failures = FailureLog::default();
        let mut connects_at = Instant::now();
        loop {
            let connects = cfg!(feature = "web-socket")
                && self.settings.web_socket
                && Instant::now() >= connects_at;
            let ended = match connects {
                true => match self.connected(&mut failures).await {
                    Ok(never) => match never {},
                    Err(ReportError::Refused(problem)) => {
                        info!(
                            problem,
                            "the fleet server cannot keep a connection; reporting by requests"
                        );
                        connects_at = Instant::now() + WEB_SOCKET_AGAIN;
                        continue;
                    }
                    Err(error) => Err(error),
                },
                false => self.polled(&mut failures).await,
            };
            match ended {
                // The server waits for the result.
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => self.failed(&mut failures, &error),
            }
            sleep(self.pause()).await;
        }
    }

    /// Time between two reports.
    fn pause(&self) -> Duration {
        spread(self.settings.poll.0, 0.1, self.env.entropy.next_u64())
    }

    /// Sends a report in a request; returns `true` if there is a result to report.
    async fn polled(&mut self, failures: &mut FailureLog) -> Result<bool, ReportError> {
        let report = self.report(&self.monitor.snapshot().await);
        let answer = in_time(self.client.post(report)).await?;
        answered(failures);
        match answer.remote_config {
            Some(offered) => Ok(self.apply(offered).await),
            None => Ok(false),
        }
    }

    #[cfg(not(feature = "web-socket"))]
    async fn connected(&mut self, _: &mut FailureLog) -> Result<Infallible, ReportError> {
        Err(ReportError::Refused("this program only polls".to_owned()))
    }

    /// Stays connected: reports, and applies offers when they arrive, until the connection breaks.
    #[cfg(feature = "web-socket")]
    async fn connected(&mut self, failures: &mut FailureLog) -> Result<Infallible, ReportError> {
        let mut socket = in_time(self.client.open()).await?;
        loop {
            let report = self.report(&self.monitor.snapshot().await);
            in_time(socket.send(&report)).await?;
            let mut answer = in_time(socket.next()).await?;
            answered(failures);
            let next = Instant::now() + self.pause();
            loop {
                if let Some(offered) = answer.remote_config
                    && self.apply(offered).await
                {
                    // The server waits for the result.
                    break;
                }
                match tokio::time::timeout_at(next, socket.next()).await {
                    Ok(came) => answer = came?,
                    Err(_) => break,
                }
            }
        }
    }

    fn failed(&self, failures: &mut FailureLog, error: &ReportError) {
        let (now, text) = (Instant::now(), support::causes::chain(error));
        failures.count(now);
        if let Some((failed, lasts)) = failures.should_log(now, &text) {
            warn!(
                url = self.settings.url,
                error = text,
                failed,
                lasts_seconds = seconds(lasts),
                "cannot report to the fleet server; the agent continues with its configuration; \
                 retrying",
            );
        }
    }

    /// The next report.
    fn report(&mut self, now: &Snapshot) -> AgentToServer {
        self.sequence += 1;
        self.addresses.update(&self.monitor.configuration);
        let counts = Counts {
            in_force: self.in_force.clone().into(),
            poll_seconds: u32::try_from(self.settings.poll.0.as_secs()).unwrap_or(u32::MAX),
            ..counts::counts(now, &self.addresses)
        };
        let bits = [
            AgentCapabilities::ReportsStatus,
            AgentCapabilities::AcceptsRemoteConfig,
            AgentCapabilities::ReportsHealth,
            AgentCapabilities::ReportsRemoteConfig,
        ];
        let labels = self.settings.labels.iter();
        let nanos = |millis: u64| millis.saturating_mul(1_000_000);
        AgentToServer {
            instance_uid: self.uid.to_vec().into(),
            sequence_num: self.sequence,
            agent_description: Some(AgentDescription {
                identifying_attributes: vec![
                    attribute("service.name", "aqueduct"),
                    attribute("service.instance.id", &now.agent),
                    attribute("service.version", &now.version),
                ],
                non_identifying_attributes: labels.map(|(key, it)| attribute(key, it)).collect(),
            }),
            capabilities: bits.into_iter().fold(0, |all, bit| all | bit as u64),
            health: Some(ComponentHealth {
                healthy: now.verdict.level < Level::Bad,
                start_time_unix_nano: nanos(self.started_ms),
                last_error: String::new(),
                status: now.verdict.text.clone(),
                status_time_unix_nano: nanos((now.taken_at_unix_seconds * 1_000.0) as u64),
            }),
            remote_config_status: Some(self.status()),
            agent_disconnect: None,
            custom_capabilities: Some(CustomCapabilities {
                capabilities: vec![CAPABILITY.to_owned()],
            }),
            custom_message: Some(CustomMessage {
                capability: CAPABILITY.to_owned(),
                r#type: COUNTS.to_owned(),
                data: counts.encode_to_vec().into(),
            }),
        }
    }

    /// The result of the last offer.
    fn status(&self) -> RemoteConfigStatus {
        let (hash, status, text) = match &self.failure {
            Some((hash, text)) => (hash.clone(), RemoteConfigStatuses::Failed, text.clone()),
            None if self.in_force.is_empty() => {
                (Bytes::new(), RemoteConfigStatuses::Unset, String::new())
            }
            None => {
                let hash = Bytes::from(self.in_force.clone());
                (hash, RemoteConfigStatuses::Applied, String::new())
            }
        };
        RemoteConfigStatus {
            last_remote_config_hash: hash,
            status: status as i32,
            error_message: text,
        }
    }

    /// Applies an offer; returns `true` if there is a result to report.
    async fn apply(&mut self, offered: AgentRemoteConfig) -> bool {
        let AgentRemoteConfig { config, config_hash: hash } = offered;
        let files = config.map(|it| it.config_map).unwrap_or_default();
        let is_known = self.failure.as_ref().is_some_and(|(known, _)| *known == hash);
        if *self.in_force == *hash || is_known {
            return false;
        }
        let problem = match files.into_values().next() {
            Some(file) if file.body.len() > files::TEXT_MAX => Some("the text is too large"),
            Some(file) if *files::hash(&file.body) != *hash => {
                Some("the hash is not the SHA-256 of the text")
            }
            Some(file) => return self.reload(file.body, hash).await,
            None => Some("the offer has no text"),
        };
        self.failure = problem.map(|problem| (hash, problem.to_owned()));
        true
    }

    async fn reload(&mut self, text: Bytes, hash: Bytes) -> bool {
        let (disk, data_dir) = (self.env.disk.clone(), self.data_dir.clone());
        let stored = self.env.offload(move || files::offer(&*disk, &data_dir, &text)).await;
        if let Err(error) = stored {
            error!(%error, "cannot store the offered configuration; retrying at the next report");
            return false;
        }
        // Other changes wait, or the agent stops: the server offers it again.
        let Some(status) = self.reloads.offer().await else { return false };
        match status.result {
            ReloadResult::Applied | ReloadResult::Unchanged => {
                (self.in_force, self.failure) = (hash.to_vec(), None);
            }
            _ => {
                let problem = status.error.unwrap_or_default();
                self.failure = Some((hash, cut(&problem, PROBLEM_MAX)));
            }
        }
        true
    }
}

/// Notes that the server has answered.
fn answered(failures: &mut FailureLog) {
    if let Some((failed, lasted)) = failures.over(Instant::now()) {
        let lasted_seconds = seconds(lasted);
        info!(failed, lasted_seconds, "the fleet server answers again");
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = any_value::Value::StringValue(value.to_owned());
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
