//! What a configuration names, tried from this host.

use std::fmt::Write;

use agent::Probed;
use config::{ConfigErrors, Plan};
use pipeline::Env;

/// Adds what was reached to the report; whether that is everything.
///
/// # Errors
/// A setting is wrong.
pub(super) fn tried(plan: &Plan, env: &Env, text: &mut String) -> Result<bool, ConfigErrors> {
    // Some stores are asked by threads of the runtime.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(text, "nothing can be tried: {error}");
            return Ok(false);
        }
    };
    let all = runtime.block_on(agent::probe(plan, catalogue::FULL, env))?;
    // A store that hangs holds up nothing more.
    runtime.shutdown_background();
    for Probed { component, found } in &all {
        let line = match found {
            Ok(found) => format!("{component}: {found}"),
            Err(problem) => format!("{component}: FAILED: {problem}"),
        };
        let _ = writeln!(text, "{}", line.replace(char::is_control, " "));
    }
    Ok(all.iter().all(|probed| probed.found.is_ok()))
}
