//! The rule for plain text: it may leave this host only if the configuration permits it.
//!
//! ```text
//!   a component is built ─► its reports (PlainText) ──┬─ leaves, not `insecure` ─► refused
//!                                                     ├─ leaves, `insecure`     ─► log, /status
//!                                                     └─ none, `insecure`       ─► refused
//! ```

use config::{ComponentPlan, ConfigError, Plan, TraceSettings};
use pipeline::plain_text::{MEANS_NOTHING, leaves_host};
use pipeline::{PlainText, SettingsError, SettingsErrorKind};
use tracing::warn;

use crate::running::Running;
use crate::status::PlainTextStatus;

/// Returns the plain text of the agent itself: its listeners and the exporter of traces. The plan
/// was refused if that is not permitted.
pub(crate) fn of_agent(plan: &Plan) -> Vec<PlainTextStatus> {
    let agent = &plan.agent;
    let admin = agent.admin.as_ref().filter(|_| agent.admin_tls.is_none());
    let traces = agent.traces.as_ref().and_then(|traces| traces.read::<TraceSettings>().ok());
    let traces = traces.and_then(|traces| traces.target().ok()).filter(|target| !target.is_tls);
    let traces = traces.map(|target| target.address);
    let plain = [
        ("admin", admin),
        ("flume_metrics", agent.flume_metrics.as_ref()),
        ("traces.url", traces.as_ref()),
    ];
    let plain = plain.into_iter().filter_map(|(setting, address)| {
        let address = address.filter(|address| leaves_host(address))?.clone();
        Some(PlainTextStatus { component: "agent".into(), setting: setting.into(), address })
    });
    plain.collect()
}

/// Judges the reports of a component of this `role`: plain text that leaves the host is refused, or
/// returned for display.
pub(crate) fn judge(
    (file, role): (&str, &str),
    plan: &ComponentPlan,
    said: &PlainText,
) -> Result<Vec<PlainTextStatus>, Vec<ConfigError>> {
    let refused = |error| ConfigError::at(file, &plan.path, error);
    let leaving = said.leaving();
    match &plan.insecure {
        None if !leaving.is_empty() => {
            let errors = leaving.iter().map(|it| plan.settings.invalid(&it.setting, &it.problem()));
            Err(errors.map(refused).collect())
        }
        Some(place) if said.all().is_empty() => {
            let kind = SettingsErrorKind::Invalid;
            let error = SettingsError::new(kind, place.clone(), MEANS_NOTHING).below("insecure");
            Err(vec![refused(error)])
        }
        None | Some(_) => {
            let component = format!("{role} {}", plan.name);
            let shown = leaving.into_iter().map(|it| PlainTextStatus {
                component: component.clone(),
                setting: it.setting,
                address: it.address,
            });
            Ok(shown.collect())
        }
    }
}

/// Shows these addresses from now on. New ones cause a warning in the log.
pub(crate) fn show(running: &Running, now: &[PlainTextStatus]) {
    let before = running.change(|parts| std::mem::replace(&mut parts.plain_text, now.to_vec()));
    for PlainTextStatus { component, setting, address } in now {
        if !before.iter().any(|it| it.component == *component && it.address == *address) {
            warn!(
                component,
                setting,
                address,
                "plain text leaves this host (`insecure = true`): others can read and change it; \
                 set up TLS, or ignore this if you accept it"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    //! Method: every source and sink of the full program, with an address of another host.

    use std::path::Path;

    use catalogue::FULL;
    use config::Plan;
    use pipeline::{Sink, Source};

    const THIS_HOST: &str = "127.0.0.1";

    const REFUSED: &str = "data would leave this host in plain text";

    /// The example of a component with the addresses of another host, or of all interfaces where it
    /// listens; `None` for a component without an address.
    fn leading_out((role, kind): (&str, &str), example: &str) -> Option<String> {
        // The one has the connection of its source, and the address of the other one is in a URL
        // that its example does not have.
        if matches!((role, kind), ("sink", "sql" | "hdfs")) || !example.contains(THIS_HOST) {
            return None;
        }
        let line = |line: &str| {
            let other = if line.starts_with("listen") { "0.0.0.0" } else { "h" };
            line.replace(THIS_HOST, other)
        };
        Some(example.lines().map(line).collect::<Vec<_>>().join("\n"))
    }

    fn checked(role: &str, kind: &str, settings: &str) -> Result<Vec<String>, String> {
        let (source, sink) = match role {
            "source" => (format!("type = \"{kind}\"\n{settings}"), "type = \"discard\"".into()),
            _ => ("type = \"sequence\"".into(), format!("type = \"{kind}\"\n{settings}")),
        };
        let text = format!(
            "[agent]\ndata_dir = \"/d\"\n[sources.s]\nchannels = [\"c\"]\n{source}\n\
             [channels.c]\ntype = \"memory\"\n[sinks.k]\nchannel = \"c\"\n{sink}\n"
        );
        let plan = config::load(Path::new("a.toml"), &text, "host");
        let plan: Plan = plan.map_err(|errors| errors.to_string())?;
        let checked = crate::check(&plan, FULL, &env::real());
        checked.map(|it| it.warnings).map_err(|errors| errors.to_string())
    }

    #[test]
    fn nothing_leads_out_of_the_host_in_plain_text_unless_it_is_meant() {
        let sources = FULL.entries::<dyn Source>().map(|it| ("source", it.kind, it.example));
        let sinks = FULL.entries::<dyn Sink>().map(|it| ("sink", it.kind, it.example));
        let mut found = 0;
        for (role, kind, example) in sources.chain(sinks) {
            let Some(settings) = leading_out((role, kind), example) else { continue };
            let error = checked(role, kind, &settings).unwrap_err();
            assert!(
                error.contains(REFUSED) && error.lines().count() == 1,
                "{role} {kind}: {error}"
            );
            let meant = format!("insecure = true\n{settings}");
            let warnings = checked(role, kind, &meant).unwrap();
            assert!(warnings[0].contains("plain text leaves this host"), "{kind}: {warnings:?}");
            let stays = format!("insecure = true\n{example}");
            assert!(checked(role, kind, &stays).unwrap().is_empty(), "{role} {kind}");
            found += 1;
        }
        assert!(found >= 30, "{found}");
    }

    #[test]
    fn plain_text_without_an_address_is_not_insecure() {
        let error = checked("sink", "logger", "insecure = true").unwrap_err();
        assert!(error.contains("sinks.k.insecure: has no effect"), "{error}");
        let error = checked("sink", "logger", "insecure = \"yes\"").unwrap_err();
        assert!(error.contains("sinks.k.insecure"), "{error}");
    }
}
