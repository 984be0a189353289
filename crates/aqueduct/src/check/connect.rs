//! Tries the connections that a configuration names, from this host.

use agent::Probed;
use config::{ConfigErrors, Plan};
use pipeline::Env;

use super::Connection;

/// Tries all connections and returns the results.
///
/// # Errors
/// A setting is wrong.
pub(super) fn tried(plan: &Plan, env: &Env) -> Result<Vec<Connection>, ConfigErrors> {
    // Some stores need threads of the runtime.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let said = format!(
                "cannot start the test: {error}; raise the limit of processes (`ulimit -u`)"
            );
            return Ok(vec![Connection { component: "all".to_owned(), reached: false, said }]);
        }
    };
    let all = runtime.block_on(agent::probe(plan, catalogue::FULL, env))?;
    // Do not wait for a store that hangs.
    runtime.shutdown_background();
    let connection = |Probed { component, found }| {
        let reached = found.is_ok();
        Connection { component, reached, said: found.unwrap_or_else(|problem| problem) }
    };
    Ok(all.into_iter().map(connection).collect())
}
