//! Reports the agent's state to its service manager, systemd: ready, reloading and stopping, its
//! verdict in a line, and the watchdog.
//!
//! ```text
//!   channels and sources open ─► READY      a reload ─► RELOADING … READY      stop ─► STOPPING
//!   a quarter of the watchdog's time ─► liveness ── nothing is dead ─► WATCHDOG
//!                                           └────── something is ────► not fed; logged
//! ```
//!
//! The watchdog depends on measured progress, not only on a timer. A thread for blocking work feeds
//! it, so that an agent whose blocking threads hang does not count as alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::env::{Notification, ServiceManager};
use agent::status::words::printable;
use pipeline::Env;
use tokio::time::{Duration, Instant, sleep};
use tracing::{error, warn};

use crate::monitor::Monitor;

/// Interval of checks for readiness.
const STARTING: Duration = Duration::from_millis(100);

/// Maximum interval of checks of the verdict.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Time between two snapshots that nothing else asks for.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum size of a verdict: a datagram is limited, and it is shown in one line.
const STATUS_MAX: usize = 500;

/// The service manager of this process, if it has one. Clones are the same.
#[derive(Clone, Default)]
pub struct Service(Option<Arc<Inner>>);

struct Inner {
    manager: ServiceManager,
    env: Env,
    /// Set once READY was sent.
    is_ready: AtomicBool,
    /// Set once a failure to notify was logged.
    is_silent: AtomicBool,
}

impl Inner {
    /// Off the reactor: the manager may be slow to read.
    async fn notify(self: &Arc<Self>, words: Vec<Notification>) {
        let this = self.clone();
        let said = self.env.offload(move || this.manager.notify(&words)).await;
        if let Err(error) = said
            && !self.is_silent.swap(true, Ordering::Relaxed)
        {
            warn!(%error, "cannot notify the service manager (`NOTIFY_SOCKET`), which may restart \
                           the agent; check `NotifyAccess=` of its unit");
        }
    }
}

impl Service {
    /// Of this process.
    pub fn from_env(env: &Env) -> Self {
        let (is_ready, is_silent) = (AtomicBool::new(false), AtomicBool::new(false));
        let inner = |manager| Inner { manager, env: env.clone(), is_ready, is_silent };
        Self(ServiceManager::from_env().map(|manager| Arc::new(inner(manager))))
    }

    async fn notify(&self, words: Vec<Notification>) {
        if let Some(inner) = &self.0 {
            inner.notify(words).await;
        }
    }

    /// Reports that the start has begun; large channels take time to read.
    pub async fn starting(&self) {
        self.notify(vec![Notification::Status("opening the channels".to_owned())]).await;
    }

    /// The stop begins.
    pub async fn stopping(&self) {
        self.notify(vec![Notification::Stopping, Notification::Status("stopping".to_owned())])
            .await;
    }

    /// Reports that a reload begins. Before READY the manager expects no other state.
    pub async fn reloading(&self) {
        if self.is_ready() {
            self.notify(vec![Notification::Reloading]).await;
        }
    }

    /// Reports the end of a reload, whatever its result.
    pub async fn reloaded(&self) {
        if self.is_ready() {
            self.notify(vec![Notification::Ready]).await;
        }
    }

    fn is_ready(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.is_ready.load(Ordering::Relaxed))
    }

    /// Reports the state of the agent, until it is dropped.
    pub async fn announce(self, monitor: Arc<Monitor>) {
        let Some(inner) = &self.0 else { return };
        let watchdog = inner.manager.watchdog();
        let pause = watchdog.map_or(POLL_INTERVAL, |watchdog| POLL_INTERVAL.min(watchdog / 4));
        let (mut shown, mut was_dead, mut looked) = (String::new(), false, None::<Instant>);
        loop {
            let is_ready = monitor.is_open();
            if !inner.is_ready.load(Ordering::Relaxed) && is_ready {
                // Set first: a reload that begins now sends its own state.
                inner.is_ready.store(true, Ordering::Relaxed);
                inner.notify(vec![Notification::Ready]).await;
            }
            if looked.is_none_or(|looked| looked.elapsed() >= pause) {
                looked = Some(Instant::now());
                let dead = match watchdog {
                    Some(watchdog) => monitor.dead(watchdog / 2).await,
                    None => Vec::new(),
                };
                let mut words = Vec::new();
                if dead.is_empty() {
                    words.extend(watchdog.map(|_| Notification::Watchdog));
                } else if !was_dead {
                    let dead = dead.join("; ");
                    error!(
                        dead,
                        "parts are dead or stuck; stopping the watchdog notifications, so that the \
                         service manager restarts the agent; report this as a bug if it repeats"
                    );
                }
                was_dead = !dead.is_empty();
                let verdict = match dead.first() {
                    Some(dead) => format!("dead: {dead}"),
                    None => monitor.verdict().await,
                };
                if verdict != shown {
                    words.push(Notification::Status(one_line(&verdict)));
                    shown = verdict;
                }
                if !words.is_empty() {
                    inner.notify(words).await;
                }
            }
            let is_starting = !inner.is_ready.load(Ordering::Relaxed);
            sleep(if is_starting { STARTING.min(pause) } else { pause }).await;
        }
    }
}

/// Reports findings to the log and the service manager, until it is dropped.
pub async fn announce(service: Service, monitor: Arc<Monitor>) {
    let logged = async {
        loop {
            sleep(SNAPSHOT_INTERVAL).await;
            // The snapshot records its findings here.
            monitor.snapshot().await;
        }
    };
    tokio::join!(logged, service.announce(monitor.clone()));
}

/// Formats a text as one line, without control characters.
fn one_line(text: &str) -> String {
    let end = text.floor_char_boundary(STATUS_MAX);
    printable(&text[..end])
}
