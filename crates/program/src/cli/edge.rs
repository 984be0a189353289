//! `aqueduct-edge`: files → durable channel → collectors.

use std::path::{Path, PathBuf};

use clap::Args;
use peers::discovery::Query;
use pipeline::settings::Settings;

use super::{AgentArgs, Common, component, table, texts};

/// Its examples; the program is called `aqueduct-edge`.
pub(super) const EXAMPLES: &str = "\
Examples:
  aqueduct-edge --tail '/var/log/nginx/*.log' --to collector-1:4141,collector-2:4141 \\
                --data-dir /var/lib/aqueduct --ca ca.pem --certificate web-1.pem --key web-1.key
  aqueduct-edge --tail '/var/log/app.log' --to dns:collectors.logs.svc:4141 --data-dir /data \\
                --insecure
  aqueduct-edge --config /etc/aqueduct/edge.toml

Several collectors share the load: an edge sends its batches to one collector, and to another one if
that fails. With dns:HOST:PORT (every address of a host), the edge looks up the collectors
repeatedly; the program `aqueduct` also accepts srv:NAME (SRV records). `aqueduct pki` creates
certificates. In a trusted network, --insecure allows plain text.
--print-config prints the configuration of these flags.

Exit codes: 0 stopped as asked, 1 failed while running, 2 wrong arguments, 78 wrong configuration";

/// Tail files and send each line to a collector, exactly once.
#[derive(Debug, Clone, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub struct EdgeArgs {
    /// Files to tail: a path or a pattern, quoted; may be given several times
    #[arg(long, value_name = "PATTERN", required_unless_present = "config")]
    #[arg(value_parser = files_of_a_directory_are_named)]
    #[arg(conflicts_with = "config")]
    pub tail: Vec<String>,

    /// Collectors to send to, or a DNS name to look up: dns:HOST:PORT, or srv:NAME (`aqueduct`)
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',')]
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    pub to: Vec<String>,

    /// File with the token of this agent, for collectors that require tokens: one line, NAME TOKEN
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub token_file: Option<PathBuf>,

    /// What both agents have.
    #[command(flatten)]
    pub common: Common,
}

/// A pattern; flags are of this machine, so one that is a directory here is a mistake.
fn files_of_a_directory_are_named(pattern: &str) -> Result<String, String> {
    if Path::new(pattern).is_dir() {
        let directory = pattern.trim_end_matches('/');
        return Err(format!("it is a directory; name the files in it, as in '{directory}/*.log'"));
    }
    Ok(pattern.to_owned())
}

impl AgentArgs for EdgeArgs {
    fn common(&self) -> &Common {
        &self.common
    }

    fn settings(&self) -> Settings {
        let stamps = ["timestamp", "host"].map(|kind| component(kind, &[]));
        let source = component(
            "tail_dir",
            &[
                ("paths", texts(&self.tail)),
                ("channels", texts(["main"])),
                ("interceptors", Settings::list(stamps)),
            ],
        );
        let channel = component("durable", &[("capacity", Settings::text("8GiB"))]);
        let mut sinks = Settings::empty();
        let mut names = Vec::new();
        for (index, address) in self.to.iter().enumerate() {
            let name = format!("collector-{}", index + 1);
            let setting = if Query::is_meant_by(address) { "discover" } else { "address" };
            let mut sink = component("grpc", &[(setting, Settings::text(address))]);
            if let Some(file) = &self.token_file {
                sink.set("token_file", Settings::text(file.display().to_string()));
            }
            self.common.secure(&mut sink, "ca");
            sinks.set(&name, sink);
            names.push(name);
        }
        // Always a group, even for one sink: its name is the consumer in the channel. A collector
        // can then be added later without losing the backlog of the first one.
        let processor = if names.len() == 1 { "single" } else { "load_balance" };
        let group =
            component(processor, &[("channel", Settings::text("main")), ("sinks", texts(&names))]);
        table(&[
            ("sources", table(&[("tail", source)])),
            ("channels", table(&[("main", channel)])),
            ("sinks", sinks),
            ("groups", table(&[("collectors", group)])),
        ])
    }
}
