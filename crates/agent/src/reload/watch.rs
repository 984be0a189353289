//! Looks whether the configuration has changed: for `agent.reload = "watch"`.
//!
//! The files are read again and compared by what they mean, so that included files, those that a
//! pattern finds later, and those behind `${file:…}` count as well, and so does a directory that is
//! exchanged by a link. A change counts when two looks have seen the same: no file is read half
//! written.

use config::Plan;
use pipeline::Env;
use tokio::time::{Duration, sleep};

use super::{Reloads, Reread};
use crate::cli::Draft;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(2);

/// What one look has seen: a plan, or what is wrong, for people.
#[derive(Clone, PartialEq)]
enum Seen {
    Plan(Box<Plan>, String),
    Wrong(String),
}

impl Seen {
    fn of(read: Result<Draft, config::ConfigErrors>) -> Self {
        match read {
            Ok((plan, errors)) => {
                Self::Plan(Box::new(plan), config::ConfigErrors(errors).to_string())
            }
            Err(errors) => Self::Wrong(errors.to_string()),
        }
    }
}

/// Asks for a reload whenever the files mean something else than at the last one, for ever. `runs`
/// is what was started.
pub(super) async fn run(reread: Reread, runs: Plan, env: Env, reloads: Reloads) {
    let mut examined = Seen::Plan(Box::new(runs), config::ConfigErrors(Vec::new()).to_string());
    let mut before = examined.clone();
    loop {
        sleep(LOOK).await;
        let (reread, world) = (reread.clone(), env.clone());
        let seen = env.offload(move || Seen::of(reread(&world))).await;
        if seen != examined && seen == before {
            examined = seen.clone();
            reloads.ask("file change");
        }
        before = seen;
    }
}
