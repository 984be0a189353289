//! Reload: applies a changed configuration while everything else runs; also stops and starts parts
//! for an operator.
//!
//! ```text
//!   SIGHUP ─────────┐
//!   POST /reload ───┼─► read and check ─► diff by digests ─► steps ─► ReloadStatus
//!   files changed ──┘        │ wrong: nothing is touched       │ one fails: steps back
//!   POST /stop, /start, /drain ─► the same, with other parts held ──► PartsStatus
//! ```
//!
//! One change runs at a time, in one task. Running parts are compared by their digests and by the
//! state of their handles. The rollback of a change that failed half-way is therefore the same
//! comparison, with the old plan and the parts that were held before.

mod apply;
mod diff;
mod drain;
mod offered;
mod parts;
mod report;
mod shape;
mod watch;

use std::sync::Arc;

use agent::actor::Actor;
use agent::limits;
use agent::resends;
use agent::running::{Running, StartContext};
use agent::status::{ChangeBoard, LeftBehind, PartChange, PartsStatus, ReloadResult, ReloadStatus};
use agent::topology::Topology;
use config::{ConfigErrors, Plan};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::audit::{Audit, Line};
use crate::configuration::{Configuration, Managed, Reread};
use crate::service::Service;
use apply::{Change, Mode};
use diff::Changes;
use drain::{Draining, Flushes};
pub use parts::PartRequest;
use report::{log, outcome};
use shape::{configured_shape, kept_parts, runs};

/// Requests that wait.
const REQUESTS_MAX: usize = 4;

/// A request, and the receiver of its answer.
enum Request {
    /// Read the files again.
    Reload { by: Asked, actor: Actor, answer: Option<oneshot::Sender<ReloadStatus>> },
    /// Parts are to stop or to start.
    Parts { request: PartRequest, actor: Actor, answer: oneshot::Sender<PartsStatus> },
}

/// The trigger of a reload, and the text of the fleet server that it reads.
type Asked = (&'static str, Managed);

/// Requests changes, and returns the results of the last ones. Clones share it.
#[derive(Clone)]
pub struct Reloads {
    requests: mpsc::Sender<Request>,
    /// True if there are files to read.
    can_reload: bool,
    /// The results of the last changes.
    pub changes: ChangeBoard,
    /// Cancelled when the agent is drained and is to end then.
    pub exit: CancellationToken,
}

impl Reloads {
    /// Returns also the receiving end of the requests.
    fn new(can_reload: bool) -> (Self, mpsc::Receiver<Request>) {
        let (request, requests) = mpsc::channel(REQUESTS_MAX);
        let (changes, exit) = Default::default();
        (Self { requests: request, can_reload, changes, exit }, requests)
    }

    fn send(&self, request: Request) -> Option<()> {
        let can = self.can_reload || matches!(request, Request::Parts { .. });
        can.then(|| self.requests.try_send(request).ok())?
    }

    /// Requests a reload. If several requests already wait, one of them covers this one.
    pub fn ask(&self, by: &'static str) {
        let actor = Actor::new(by, None);
        let by = (by, Managed::InForce);
        if self.send(Request::Reload { by, actor, answer: None }).is_none() {
            let (by, _) = by;
            warn!(
                by,
                "cannot reload: other requests are waiting (retry later), or the agent has no \
                 configuration file (restart it)"
            );
        }
    }

    /// Asks for a reload and waits for its end; `None`: the agent does not reload now.
    pub async fn wait(&self, by: &'static str, actor: Actor) -> Option<ReloadStatus> {
        self.wait_with((by, Managed::InForce), actor).await
    }

    async fn wait_with(&self, by: Asked, actor: Actor) -> Option<ReloadStatus> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Reload { by, actor, answer: Some(answer) })?;
        answered.await.ok()
    }

    /// Requests a stop or start of parts, and waits for it; `None` if other requests wait, or the
    /// agent stops.
    pub async fn change(&self, request: PartRequest, actor: Actor) -> Option<PartsStatus> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Parts { request, actor, answer })?;
        answered.await.ok()
    }
}

/// Serves the requests of an agent.
pub struct Reloader {
    /// `None` without files: then parts can only be stopped and started.
    pub reread: Option<Reread>,
    /// The running configuration.
    pub configuration: Arc<Configuration>,
    /// The context in which parts start.
    pub around: StartContext,
    /// The handles.
    pub running: Arc<Running>,
    /// Cancelled when the agent begins to stop.
    pub stopping: CancellationToken,
    /// Follows the channels.
    pub limits: limits::LimitBoards,
    /// Notified when a reload begins and ends.
    pub service: Service,
    /// The log of the changes.
    pub audit: Audit,
}

/// The result of a change, before it is formatted.
enum Ended {
    Unchanged(Changes),
    Applied(Changes),
    Failed(ReloadResult, String),
}

impl Reloads {
    /// Serves requests until the agent stops; without a reloader it serves none.
    pub fn start(reloader: Option<Reloader>) -> (Self, Option<tokio::task::JoinHandle<()>>) {
        let files = reloader.as_ref().and_then(|reloader| reloader.reread.clone());
        let (reloads, requests) = Self::new(files.is_some());
        let task = reloader.map(|reloader| {
            if let Some(reread) = files
                && reloader.configuration.plan().agent.reload == config::Reload::Watch
            {
                let watcher = watch::run(
                    reread,
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
    async fn serve(mut self, mut requests: mpsc::Receiver<Request>, reloads: Reloads) {
        let (stopping, mut draining) = (self.stopping.clone(), None::<Draining>);
        let (health, mut flushes) = (self.around.health.clone(), None::<Flushes>);
        loop {
            let request = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                request = requests.recv() => request,
                () = health.next_source_end() => {
                    flushes.get_or_insert_default();
                    self.flush_ended(&mut flushes);
                    continue;
                }
                () = sleep(drain::POLL_INTERVAL), if draining.is_some() || flushes.is_some() => {
                    self.advance(&mut draining, &reloads).await;
                    self.flush_ended(&mut flushes);
                    continue;
                }
            };
            match request {
                None => return,
                Some(Request::Reload { by, actor, answer }) => {
                    let status = self.reload_for(by, actor).await;
                    reloads.changes.reloaded(status.clone());
                    if let Some(answer) = answer {
                        // It may be gone.
                        drop(answer.send(status));
                    }
                }
                Some(Request::Parts { request, actor, answer }) => {
                    let status = self.change_parts(request, &actor, &mut draining, &reloads).await;
                    drop(answer.send(status));
                }
            }
        }
    }

    async fn reload_for(&mut self, (by, managed): Asked, actor: Actor) -> ReloadStatus {
        let began = Instant::now();
        info!(by, "reloading the configuration");
        self.service.reloading().await;
        let ended = self.reload(managed).await;
        let status = self.status(by, began, ended);
        log(&status);
        let line = Line::new("reload", None, actor, outcome(status.result));
        self.audit.add(line.because(status.error.clone())).await;
        self.service.reloaded().await;
        status
    }

    async fn reload(&mut self, managed: Managed) -> Ended {
        let plan = match self.examined(managed).await.and_then(|it| self.keeping(it, managed)) {
            Ok(plan) => plan,
            Err(problem) => return Ended::Failed(ReloadResult::Refused, problem),
        };
        match self.change(&plan, Mode::Try).await {
            Ok(changes) => {
                if let Err(problem) = self.accept(managed).await {
                    let (result, text) = self.restore(&self.configuration.plan(), problem).await;
                    return Ended::Failed(result, text);
                }
                let is_same = changes.steps.is_empty();
                self.forget_held(&plan).await;
                self.configuration.exchange(plan);
                if is_same { Ended::Unchanged(changes) } else { Ended::Applied(changes) }
            }
            Err(Failed::Before(problem)) => Ended::Failed(ReloadResult::Refused, problem),
            Err(Failed::Midway(problem)) => {
                let (result, problem) = self.restore(&self.configuration.plan(), problem).await;
                Ended::Failed(result, problem)
            }
        }
    }

    /// Returns the plan in the files, if it is sound and needs no restart.
    async fn examined(&self, managed: Managed) -> Result<Plan, String> {
        let Some(reread) = self.reread.clone() else {
            return Err(
                "the agent was started without a configuration file; restart it to change its \
                 configuration"
                    .to_owned(),
            );
        };
        let (env, catalogue) = (self.around.env.clone(), self.configuration.catalogue);
        let read = move || {
            let drafted = reread(&env, managed)?;
            agent::checked(drafted, catalogue, &env).map(|(plan, _)| plan)
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
            "{}: changing {} needs a restart; undo the change, or restart the agent",
            plan.file,
            restart.join(", ")
        ))
    }

    /// Changes from the running parts to `plan`.
    async fn change(&self, plan: &Plan, mode: Mode) -> Result<Changes, Failed> {
        let before = |errors: ConfigErrors| Failed::Before(errors.to_string());
        let (env, metrics) = (&self.around.env, &self.around.metrics);
        // Does not touch boards or metrics of running parts.
        let aside = metrics::Metrics::default();
        let configured =
            Topology::build(plan, self.configuration.catalogue, env, &aside).map_err(before)?;
        let parts = self.running.parts();
        let closed = parts.channels.iter().find(|(_, handle)| !handle.boards.opened.is_open());
        if let Some((name, _)) = closed {
            let problem = format!(
                "channel `{name}` is not open yet; retry when it is; the log of the agent names \
                 the cause"
            );
            return Err(Failed::Before(problem));
        }
        let mut changes = Changes::between(&runs(&parts), &configured_shape(&configured, &parts));
        if changes.steps.is_empty() {
            self.running.refresh_held(configured, &self.around);
            self.follow_channels();
            return Ok(changes);
        }
        let kept = kept_parts(&parts, &changes);
        let topology = Topology::rebuild(plan, self.configuration.catalogue, env, metrics, &kept);
        let topology = topology.map_err(before)?;
        changes.resends = resends::log(&topology, plan, &changes.kept_sources, env).await;
        let mut change = Change::new(&self.running, &self.around, &self.stopping, mode, topology);
        let ended = change.run(changes.steps.clone()).await;
        ended.map_err(Failed::Midway)?;
        change.clean_up(&configured);
        self.running.show_plain_text(&configured.plain_text);
        self.follow_channels();
        Ok(changes)
    }

    /// Uses the limits of the current channels.
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
            Ended::Failed(result, problem) => (result, Some(problem), Changes::default()),
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
            resends: changes.resends,
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
