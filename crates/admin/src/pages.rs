//! The contents of each page.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use agent::health::Readiness;
use agent::status::AGENT;
use control::audit::Audit;
use control::liveness;
use control::monitor::Monitor;
use control::reload::Reloads;
use hyper::StatusCode;
use peers::RefusalReason;
use support::causes::chain;
use tokio::sync::Mutex;
use tokio::time::{Duration, sleep};

use super::answer::{Answer, JSON_UTF_8, fresh, json, page, typed};
use super::feed::Feed;
use super::guard::{self, Client};
use super::{flume, letters};

/// Delay of the answer to a wrong token.
const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);

/// The data of the pages.
pub struct Pages {
    /// Observes the agent.
    pub monitor: Arc<Monitor>,
    /// When the agent has started, in milliseconds since 1970; not affected by later changes of the
    /// clock.
    pub started_ms: u64,
    /// Requests changes of the agent.
    pub reloads: Reloads,
    /// The log of these changes.
    pub audit: Audit,
    /// State that the pages share.
    pub live: Live,
}

/// State that the pages of an agent share.
#[derive(Debug, Default)]
pub struct Live {
    /// Snapshots for continuous readers.
    pub(super) feed: Arc<Feed>,
    /// Readers of events that pass.
    pub(super) taps: AtomicUsize,
    /// Locked while a page reads the disk: one at a time.
    disk: Mutex<()>,
}

impl Pages {
    /// Returns the readiness of the agent, line by line.
    pub(super) fn readiness(&self) -> Answer {
        let Readiness { reasons: mut lines, remarks } = self.monitor.readiness();
        let status = if lines.is_empty() {
            lines.push("ready".to_owned());
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        lines.extend(remarks);
        page(status, lines.join("\n") + "\n")
    }

    /// Returns the liveness: whether a restart would help.
    pub(super) async fn liveness(&self) -> Answer {
        let dead = self.monitor.dead(liveness::STALL_LIMIT).await;
        if dead.is_empty() {
            return page(StatusCode::OK, "alive\n".into());
        }
        page(StatusCode::SERVICE_UNAVAILABLE, dead.join("\n") + "\n")
    }

    /// A request with a wrong token is counted, logged, and answered late, so that tokens cannot be
    /// tried quickly.
    pub(super) async fn refused_token(&self, client: Client<'_>) {
        guard::count(&self.monitor.metrics, "wrong_token");
        let peer = (client.address, client.certificate.map(|name| &**name));
        let problem = "the client must send the value of `agent.admin_token` as its bearer token";
        self.monitor.refusals.refused(AGENT, peer, RefusalReason::WrongToken, &problem);
        sleep(WRONG_TOKEN_DELAY).await;
    }

    /// The same as JSON.
    pub(super) async fn status(&self) -> Answer {
        json(&self.monitor.snapshot().await)
    }

    /// Returns the running configuration and the state of its file.
    pub(super) async fn configuration(&self) -> Answer {
        match self.live.disk.try_lock() {
            Ok(_turn) => json(&self.monitor.compared().await),
            Err(_) => busy(),
        }
    }

    /// The dead letters.
    pub(super) async fn letters(&self, query: &str) -> Answer {
        let Ok(_turn) = self.live.disk.try_lock() else { return busy() };
        match letters::read(&self.monitor.dead_letters, &self.monitor.env, letters::newest(query))
            .await
        {
            Ok(found) => json(&found),
            Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, chain(&error) + "\n"),
        }
    }

    /// The page of Flume's monitoring.
    pub(super) async fn flume(&self) -> Answer {
        let snapshot = self.monitor.snapshot().await;
        let text = flume::page(&snapshot, &self.monitor.metrics, self.started_ms);
        fresh(typed(StatusCode::OK, JSON_UTF_8, text))
    }
}

fn busy() -> Answer {
    let text = "another request is reading the disk; retry\n";
    page(StatusCode::SERVICE_UNAVAILABLE, text.into())
}
