//! `-Dflume.monitoring.type=…`: shows an agent's counters under Flume's names.
//!
//! Only `http` is supported: Flume's JSON page, on every address of the host, as in Flume. The
//! other types push to their own system or need Java; `/metrics` of `--admin` replaces them.

use super::HostContext;
use flume::World;

/// Default port of Flume's page.
const PORT: u16 = 41_414;

/// The requested monitoring.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Monitoring {
    /// Host and port of Flume's page; `None` turns it off.
    pub(super) address: Option<String>,
    /// Warning about an unsupported type, with its replacement.
    pub(super) warning: Option<String>,
}

/// Reads the monitoring properties of this command line.
///
/// # Errors
/// The port is invalid. The message contains a hint.
pub(super) fn monitoring(here: &HostContext<'_>) -> Result<Monitoring, String> {
    let Some(kind) = here.system("flume.monitoring.type") else {
        return Ok(Monitoring::default());
    };
    let instead = match kind.to_lowercase().as_str() {
        "http" | "org.apache.flume.instrumentation.http.httpmetricsserver" => {
            let port = here.system("flume.monitoring.port");
            let port = port.map_or(Ok(PORT), |port| {
                let problem = "must be a port from 1 to 65535";
                let port = port.parse::<u16>().ok().filter(|port| *port > 0);
                port.ok_or_else(|| format!("-Dflume.monitoring.port: {problem}"))
            })?;
            return Ok(Monitoring { address: Some(format!("0.0.0.0:{port}")), warning: None });
        }
        "ganglia" | "org.apache.flume.instrumentation.ganglia.gangliaserver" => {
            "Ganglia is not supported"
        }
        "prometheus" => "Flume 1.11 does not have this type",
        "jmx" => "Aqueduct does not run in a JVM",
        _ if kind.contains('.') => "Java classes are not supported",
        _ => "unknown type",
    };
    let warning = format!(
        "-Dflume.monitoring.type={kind}: {instead}; `http` serves Flume's JSON page, and `--admin \
         HOST:PORT` serves /metrics for Prometheus"
    );
    Ok(Monitoring { address: None, warning: Some(warning) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(defines: &[&str]) -> Result<Monitoring, String> {
        let env = env::real();
        let defines: Vec<String> = defines.iter().map(|&it| it.to_owned()).collect();
        monitoring(&HostContext::new(&env, &defines, false))
    }

    #[test]
    fn page_of_flume_is_at_the_address_of_the_properties() {
        let address = |defines: &[&str]| parse(defines).unwrap().address;
        assert_eq!(address(&[]), None);
        assert_eq!(address(&["flume.monitoring.port=1"]), None);
        assert_eq!(address(&["flume.monitoring.type=http"]), Some("0.0.0.0:41414".into()));
        let both = ["flume.monitoring.type=HTTP", "flume.monitoring.port=34545"];
        assert_eq!(address(&both), Some("0.0.0.0:34545".into()));
        for port in ["x", "0", "65536", "-1", ""] {
            let port = format!("flume.monitoring.port={port}");
            let problem = parse(&["flume.monitoring.type=http", &port]).unwrap_err();
            assert!(problem.contains("from 1 to 65535"), "{problem}");
        }
    }

    #[test]
    fn missing_type_is_refused_with_its_replacement() {
        for (kind, reason) in [
            ("ganglia", "Ganglia"),
            ("GANGLIA", "Ganglia"),
            ("jmx", "in a JVM"),
            ("com.example.Reporter", "Java classes"),
            ("htpp", "unknown type"),
        ] {
            let found = parse(&[&format!("flume.monitoring.type={kind}")]).unwrap();
            let warning = found.warning.unwrap();
            assert!(warning.contains(reason) && warning.contains("--admin"), "{warning}");
            assert_eq!(found.address, None);
        }
    }
}
