//! Watches the configuration for changes: for `agent.reload = "watch"`.
//!
//! The files are read periodically, and their meaning is compared. Included files, files that a
//! pattern finds later, files of `${file:…}`, and a directory that a link replaces are therefore
//! covered. A change counts when two checks have found the same, so that no file is read
//! half-written.

use agent::Draft;
use config::Plan;
use pipeline::Env;
use tokio::time::{Duration, sleep};

use super::Reloads;
use crate::configuration::{Managed, Reread};

/// Interval of checks.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The result of one check: a plan, or the problems, for the operator.
#[derive(Clone, PartialEq)]
enum Seen {
    Plan(Box<Plan>, String),
    Wrong(String),
}

impl Seen {
    fn from_result(read: Result<Draft, config::ConfigErrors>) -> Self {
        match read {
            Ok((plan, errors)) => {
                Self::Plan(Box::new(plan), config::ConfigErrors(errors).to_string())
            }
            Err(errors) => Self::Wrong(errors.to_string()),
        }
    }
}

/// Requests a reload whenever the meaning of the files changes, forever. `runs` is the plan that
/// was started.
pub(super) async fn run(reread: Reread, runs: Plan, env: Env, reloads: Reloads) {
    let mut examined = Seen::Plan(Box::new(runs), config::ConfigErrors(Vec::new()).to_string());
    let mut before = examined.clone();
    loop {
        sleep(POLL_INTERVAL).await;
        let (reread, world) = (reread.clone(), env.clone());
        let seen = env.offload(move || Seen::from_result(reread(&world, Managed::InForce))).await;
        if seen != examined && seen == before {
            examined = seen.clone();
            reloads.ask("file change");
        }
        before = seen;
    }
}
