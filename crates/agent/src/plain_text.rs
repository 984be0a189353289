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
                "plain text leaves this host, as `insecure = true` allows: others can read and \
                 change it"
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

    const REFUSED: &str = "plain text would leave this host";

    /// Returns settings that lead to another host in plain text.
    fn leading_out(role: &str, kind: &str) -> Option<&'static str> {
        let settings = match (role, kind) {
            (
                "source",
                "avro" | "fluent_forward" | "grpc" | "http" | "lumberjack" | "netcat"
                | "netcat_udp" | "thrift",
            ) => "listen = \"0.0.0.0:1\"",
            ("source", "syslog") => "listen = [\"udp://127.0.0.1:1\", \"udp://[::]:2\"]",
            ("source", "http_poll" | "http_stream") => "url = \"http://h:1/\"",
            ("source", "hdfs") => "url = \"webhdfs://h:1/in\"",
            ("source", "kafka") => "brokers = [\"h:1\"]\ntopics = [\"a\"]\ngroup = \"g\"",
            ("sink", "kafka") => "brokers = [\"h:1\"]\ntopic = \"a\"",
            ("source" | "sink", "amqp") => {
                "address = \"a\"\ndestination_type = \"queue\"\n\
                 broker = { urls = [\"amqp://h:1\"] }"
            }
            ("source", "nats") => "stream = \"a\"\nserver = { urls = [\"nats://h:1\"] }",
            ("sink", "nats") => "subject = \"a\"\nserver = { urls = [\"nats://h:1\"] }",
            ("source", "rabbitmq") => "queue = \"a\"\nbroker = { urls = [\"amqp://h:1\"] }",
            ("sink", "rabbitmq") => "exchange = \"a\"\nbroker = { urls = [\"amqp://h:1\"] }",
            ("source", "mqtt") => "filters = [\"a/#\"]\nbroker = { address = \"h:1\" }",
            ("sink", "mqtt") => "topic = \"a\"\nbroker = { address = \"h:1\" }",
            ("source", "sql") => {
                "table = \"t\"\nmode = \"append\"\ncheck_column = \"id\"\n\
                 database = { url = \"mysql://h:1/a\", user = \"u\" }"
            }
            ("source", "sql_changes") => {
                "tables = [\"t\"]\ncreate = true\n\
                 database = { url = \"postgres://h:1/a\", user = \"u\" }"
            }
            ("sink", "avro" | "grpc" | "thrift") => "address = \"h:1\"",
            ("sink", "elasticsearch") => "urls = [\"http://h:1\"]\nindex = \"a\"",
            ("sink", "solr") => "urls = [\"http://h:1/solr\"]\ncollection = \"a\"",
            ("source", "otlp") => "listen = [\"0.0.0.0:1\"]",
            ("sink", "http" | "otlp") => "url = \"http://h:1/\"",
            ("source", "exec" | "journald" | "sequence" | "spool_dir" | "stress" | "tail_dir")
            | ("sink", "discard" | "file_roll" | "logger") => return None,
            ("sink", "files") => "url = \"webhdfs://h:1/in\"",
            // The first one uses the connection of its source, the second one has a separate test,
            // and HBase uses the protection of its cluster.
            ("sink", "sql" | "hdfs" | "hbase") => return None,
            (role, kind) => panic!("{role} {kind}: say here how it leads out of the host"),
        };
        Some(settings)
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
        let sources = FULL.entries::<dyn Source>().map(|entry| ("source", entry.kind));
        let sinks = FULL.entries::<dyn Sink>().map(|entry| ("sink", entry.kind));
        let mut found = 0;
        for (role, kind) in sources.chain(sinks) {
            let Some(settings) = leading_out(role, kind) else { continue };
            let error = checked(role, kind, settings).unwrap_err();
            assert!(
                error.contains(REFUSED) && error.lines().count() == 1,
                "{role} {kind}: {error}"
            );
            let meant = format!("insecure = true\n{settings}");
            let warnings = checked(role, kind, &meant).unwrap();
            assert!(warnings[0].contains("plain text leaves this host"), "{kind}: {warnings:?}");
            let stays = meant.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
            let stays = stays.replace("h:1", "localhost:1");
            assert!(checked(role, kind, &stays).unwrap().is_empty(), "{role} {kind}");
            found += 1;
        }
        assert!(found >= 11, "{found}");
    }

    #[test]
    fn what_speaks_plain_text_with_nothing_is_not_insecure() {
        let error = checked("sink", "logger", "insecure = true").unwrap_err();
        assert!(error.contains("sinks.k.insecure: nothing here speaks plain text"), "{error}");
        let error = checked("sink", "logger", "insecure = \"yes\"").unwrap_err();
        assert!(error.contains("sinks.k.insecure"), "{error}");
    }
}
