//! What a configuration names, tried from this host.

use agent::Probed;
use config::{ConfigErrors, Plan};
use pipeline::Env;

use super::Connection;

/// What was tried, and what came of it.
///
/// # Errors
/// A setting is wrong.
pub(super) fn tried(plan: &Plan, env: &Env) -> Result<Vec<Connection>, ConfigErrors> {
    // Some stores are asked by threads of the runtime.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let said = format!("nothing can be tried: {error}");
            return Ok(vec![Connection { component: "all".to_owned(), reached: false, said }]);
        }
    };
    let all = runtime.block_on(agent::probe(plan, catalogue::FULL, env))?;
    // A store that hangs holds up nothing more.
    runtime.shutdown_background();
    let connection = |Probed { component, found }| {
        let reached = found.is_ok();
        Connection { component, reached, said: found.unwrap_or_else(|problem| problem) }
    };
    Ok(all.into_iter().map(connection).collect())
}
