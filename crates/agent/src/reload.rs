//! Reload: what a changed configuration changes, while all else runs.
//!
//! ```text
//!   SIGHUP ─────────┐
//!   POST /reload ───┼─► read and check ─► diff by digests ─► steps ─► ReloadStatus
//!   files changed ──┘        │ wrong: nothing is touched       │ one fails: steps back
//! ```
//!
//! One reload runs at a time, in one task. What runs is compared by its digests, and by what the
//! handles say of it; so the way back from a change that failed half way is the same comparison
//! with the old plan.

mod apply;
mod diff;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};

use config::{ConfigErrors, Plan};
use pipeline::Env;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admin::Configuration;
use crate::cli::{self, Draft};
use crate::limits;
use crate::plain_text;
use crate::running::{Parts, Running, Surroundings, Wiring};
use crate::service::Service;
use crate::status::{LeftBehind, PartChange, ReloadResult, ReloadStatus};
use crate::topology::{Kept, Topology};
use apply::{Change, Mode, keeps};
use diff::{Changes, ChannelShape, GroupShape, Shape, SourceShape};

/// Requests that wait.
const ASKED_MAX: usize = 4;

/// Reads the configuration again, as it was read at the start. Blocks.
pub type Reread = Arc<dyn Fn(&Env) -> Result<Draft, ConfigErrors> + Send + Sync>;

/// A request, and where its answer goes.
struct Asked {
    by: &'static str,
    answer: Option<oneshot::Sender<ReloadStatus>>,
}

/// Asks for reloads, and shows what the last one did. Clones are the same.
#[derive(Clone)]
pub(crate) struct Reloads {
    asked: mpsc::Sender<Asked>,
    last: Arc<Mutex<Option<(Instant, ReloadStatus)>>>,
}

impl Reloads {
    /// With the other end, from which requests are served.
    fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (asked, requests) = mpsc::channel(ASKED_MAX);
        (Self { asked, last: Arc::default() }, requests)
    }

    /// Asks for a reload. Where several wait already, one of them does what this one would.
    pub(crate) fn ask(&self, by: &'static str) {
        if self.asked.try_send(Asked { by, answer: None }).is_err() {
            warn!(by, "no reload: several wait already, or the agent was started without a file");
        }
    }

    /// Asks for a reload and waits for its end; `None`: the agent does not reload now.
    pub(crate) async fn wait(&self, by: &'static str) -> Option<ReloadStatus> {
        let (answer, answered) = oneshot::channel();
        self.asked.try_send(Asked { by, answer: Some(answer) }).ok()?;
        answered.await.ok()
    }

    /// What the last reload did, as it is `now`.
    pub(crate) fn last(&self, now: Instant) -> Option<ReloadStatus> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.map(|(ended, status)| ReloadStatus {
            finished_seconds_ago: now.saturating_duration_since(ended).as_secs_f64(),
            ..status
        })
    }

    fn ended(&self, status: ReloadStatus) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((Instant::now(), status));
    }
}

/// Serves the requests of an agent.
pub(crate) struct Reloader {
    pub(crate) reread: Reread,
    /// What runs.
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) around: Surroundings,
    pub(crate) running: Arc<Running>,
    pub(crate) stopping: CancellationToken,
    /// Follows the channels.
    pub(crate) limits: limits::Followed,
    /// Hears when one begins and ends.
    pub(crate) service: Service,
}

/// How a change ended, before it is put in words.
enum Ended {
    Unchanged(Changes),
    Applied(Changes),
    Refused(String),
    RolledBack(String),
}

impl Reloads {
    /// Serves requests until the agent stops; without a reloader there are none.
    pub(crate) fn start(reloader: Option<Reloader>) -> (Self, Option<tokio::task::JoinHandle<()>>) {
        let (reloads, requests) = Self::new();
        let task = reloader.map(|reloader| {
            if reloader.configuration.plan().agent.reload == config::Reload::Watch {
                let watcher = watch::run(
                    reloader.reread.clone(),
                    (*reloader.configuration.plan()).clone(),
                    reloader.around.env.clone(),
                    reloads.clone(),
                );
                tokio::spawn(reloader.stopping.clone().run_until_cancelled_owned(watcher));
            }
            tokio::spawn(reloader.serve(requests, reloads.clone()))
        });
        (reloads, task)
    }
}

impl Reloader {
    async fn serve(mut self, mut requests: mpsc::Receiver<Asked>, reloads: Reloads) {
        let stopping = self.stopping.clone();
        while let Some(Some(asked)) = stopping.run_until_cancelled(requests.recv()).await {
            let began = Instant::now();
            info!(by = asked.by, "reads the configuration again");
            self.service.reloading().await;
            let ended = self.reload().await;
            let status = self.status(asked.by, began, ended);
            log(&status);
            self.service.reloaded().await;
            reloads.ended(status.clone());
            if let Some(answer) = asked.answer {
                // It may be gone.
                drop(answer.send(status));
            }
        }
    }

    async fn reload(&mut self) -> Ended {
        let plan = match self.examined().await {
            Ok(plan) => plan,
            Err(problem) => return Ended::Refused(problem),
        };
        match self.change(&plan, Mode::Try).await {
            Ok(changes) => {
                let is_same = changes.steps.is_empty();
                self.configuration.exchange(plan);
                if is_same { Ended::Unchanged(changes) } else { Ended::Applied(changes) }
            }
            Err(Failed::Before(problem)) => Ended::Refused(problem),
            Err(Failed::Midway(problem)) => {
                if self.stopping.is_cancelled() {
                    return Ended::RolledBack(problem);
                }
                let back = self.configuration.plan();
                match self.change(&back, Mode::Restore).await {
                    Ok(_) => Ended::RolledBack(problem),
                    Err(Failed::Before(more) | Failed::Midway(more)) => {
                        Ended::RolledBack(format!("{problem}; and on the way back: {more}"))
                    }
                }
            }
        }
    }

    /// The plan that the files say now, if it is sound and needs no restart.
    async fn examined(&self) -> Result<Plan, String> {
        let (reread, env, catalogue) =
            (self.reread.clone(), self.around.env.clone(), self.configuration.catalogue);
        let read = move || {
            let drafted = reread(&env)?;
            cli::checked(drafted, catalogue, &env).map(|(plan, _)| plan)
        };
        let plan = self.around.env.offload(read).await.map_err(|errors| errors.to_string())?;
        let runs = self.configuration.plan();
        let settings = runs.agent.differences(&plan.agent);
        let mut restart: Vec<String> =
            settings.iter().map(|setting| format!("`agent.{setting}`")).collect();
        if runs.dead_letters != plan.dead_letters {
            restart.push("`dead_letters`".to_owned());
        }
        if restart.is_empty() {
            return Ok(plan);
        }
        Err(format!(
            "{}: {} needs a restart; set it back, or restart the agent",
            plan.file,
            restart.join(", ")
        ))
    }

    /// From what runs to `plan`.
    async fn change(&self, plan: &Plan, mode: Mode) -> Result<Changes, Failed> {
        let before = |errors: ConfigErrors| Failed::Before(errors.to_string());
        let (env, metrics) = (&self.around.env, &self.around.metrics);
        // Touches no board and no metric of what runs.
        let aside = metrics::Metrics::default();
        let configured =
            Topology::build(plan, self.configuration.catalogue, env, &aside).map_err(before)?;
        let parts = self.running.parts();
        let closed = parts.channels.iter().find(|(_, handle)| !handle.boards.opened.is_open());
        if let Some((name, _)) = closed {
            let problem = format!("channel `{name}` is not open yet; try again when it is");
            return Err(Failed::Before(problem));
        }
        let changes = Changes::between(&runs(&parts), &wanted(&configured, &parts));
        if changes.steps.is_empty() {
            self.follow_channels();
            return Ok(changes);
        }
        let kept = kept(&parts, &changes);
        let topology = Topology::rebuild(plan, self.configuration.catalogue, env, metrics, &kept);
        let topology = topology.map_err(before)?;
        let mut change = Change::new(&self.running, &self.around, &self.stopping, mode, topology);
        let ended = change.run(changes.steps.clone()).await;
        ended.map_err(Failed::Midway)?;
        change.tidy(&configured);
        plain_text::show(&self.running, &configured.plain_text);
        self.follow_channels();
        Ok(changes)
    }

    /// The limits are those of the channels that there are now.
    fn follow_channels(&self) {
        let parts = self.running.parts();
        let channels = parts.channels.iter();
        let boards = channels.map(|(name, handle)| (name.clone(), handle.boards.limits.clone()));
        self.limits.exchange(boards.collect());
    }

    fn status(&self, by: &str, began: Instant, ended: Ended) -> ReloadStatus {
        let (result, error, changes) = match ended {
            Ended::Unchanged(changes) => (ReloadResult::Unchanged, None, changes),
            Ended::Applied(changes) => (ReloadResult::Applied, None, changes),
            Ended::Refused(problem) => (ReloadResult::Refused, Some(problem), Changes::default()),
            Ended::RolledBack(problem) => {
                (ReloadResult::RolledBack, Some(problem), Changes::default())
            }
        };
        let list = |parts: std::collections::BTreeMap<String, String>| {
            parts.into_iter().map(|(part, why)| PartChange { part, why }).collect()
        };
        let left = self.running.parts().left_behind.clone();
        let left = left.into_iter();
        ReloadStatus {
            asked_by: by.to_owned(),
            finished_seconds_ago: 0.0,
            took_seconds: began.elapsed().as_secs_f64(),
            result,
            error,
            started: list(changes.started),
            stopped: list(changes.stopped),
            restarted: list(changes.restarted),
            kept: changes.kept.into_iter().collect(),
            left_behind: left
                .map(|(channel, events)| LeftBehind { channel: channel.to_string(), events })
                .collect(),
        }
    }
}

/// When a change failed.
enum Failed {
    /// Nothing was touched.
    Before(String),
    /// Some steps are taken.
    Midway(String),
}

/// What runs.
fn runs(parts: &Parts) -> Shape {
    let sources = parts.sources.iter().filter(|(_, handle)| !handle.is_stopped());
    let groups = parts.groups.iter().filter(|(_, handle)| !handle.is_stopped());
    Shape {
        sources: sources
            .map(|(name, handle)| {
                let (digest, wiring) = (handle.digest, handle.wiring.clone());
                let channels = handle.channels.clone();
                (name.clone(), SourceShape { digest, wiring, channels })
            })
            .collect(),
        channels: parts
            .channels
            .iter()
            .map(|(name, handle)| {
                let (kind, consumers) = (handle.kind.clone(), handle.consumers.clone());
                let (digest, keeps) = (handle.digest, keeps(handle));
                (name.clone(), ChannelShape { digest, kind, keeps, consumers })
            })
            .collect(),
        groups: groups
            .map(|(name, handle)| {
                let (digest, channel) = (handle.digest, handle.channel.clone());
                (name.clone(), GroupShape { digest, channel })
            })
            .collect(),
    }
}

/// What a configuration says.
fn wanted(topology: &Topology, parts: &Parts) -> Shape {
    let is_kept = |name: &str| parts.channels.get(name).is_some_and(|handle| keeps(handle));
    Shape {
        sources: topology
            .sources
            .iter()
            .map(|built| {
                let wiring =
                    Wiring { naming: built.naming.clone(), routing: built.routing.clone() };
                let channels = built.required.iter().chain(&built.optional);
                let channels = channels.map(|name| name.as_str().into()).collect();
                let digest = built.digest;
                (built.name.clone(), SourceShape { digest, wiring, channels })
            })
            .collect(),
        channels: topology
            .channels
            .iter()
            .map(|built| {
                let (kind, consumers) = (built.kind.clone(), built.consumers.clone());
                let (digest, keeps) = (built.digest, is_kept(&built.name));
                (built.name.clone(), ChannelShape { digest, kind, keeps, consumers })
            })
            .collect(),
        groups: topology
            .groups
            .iter()
            .map(|built| {
                let (digest, channel) = (built.digest, built.channel.as_str().into());
                (built.name.clone(), GroupShape { digest, channel })
            })
            .collect(),
    }
}

/// What a new topology takes over.
fn kept(parts: &Parts, changes: &Changes) -> Kept {
    let channels = parts.channels.iter().filter(|(name, _)| changes.kept_channels.contains(*name));
    let channels = channels
        .map(|(name, handle)| (name.clone(), (handle.channel.clone(), handle.boards.clone())));
    let first = parts.channels.values().next();
    Kept {
        floors: first.map(|handle| handle.boards.floors.of_another_channel()),
        channels: channels.collect(),
        sources: changes.kept_sources.clone(),
        groups: changes.kept_groups.clone(),
    }
}

fn log(status: &ReloadStatus) {
    let of = |parts: &[PartChange]| {
        let names: Vec<&str> = parts.iter().map(|change| &*change.part).collect();
        names.join(", ")
    };
    let (by, took_seconds) = (&status.asked_by, status.took_seconds);
    match (&status.error, status.result) {
        (Some(error), ReloadResult::RolledBack) => {
            error!(by, took_seconds, error, "the new configuration does not run; all is as before");
        }
        (Some(error), _) => {
            error!(by, error, "the new configuration is refused; nothing was touched");
        }
        (None, ReloadResult::Unchanged) => info!(by, "the configuration has not changed"),
        (None, _) => info!(
            by,
            took_seconds,
            started = of(&status.started),
            stopped = of(&status.stopped),
            restarted = of(&status.restarted),
            kept = status.kept.len(),
            "the new configuration runs",
        ),
    }
}
