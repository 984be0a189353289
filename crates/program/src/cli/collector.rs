//! `aqueduct-collector`: edges → durable channel → store.

use std::path::PathBuf;

use clap::Args;
use pipeline::settings::Settings;

use super::{AgentArgs, Common, component, table, texts};

/// Its examples; the program is called `aqueduct-collector`.
pub(super) const EXAMPLES: &str = "\
Examples:
  aqueduct-collector --listen 0.0.0.0:4141 --store 'hdfs://namenode:8020/logs/%Y-%m-%d' \\
                     --data-dir /var/lib/aqueduct --ca ca.pem --certificate collector-1.pem \\
                     --key collector-1.key
  aqueduct-collector --listen 0.0.0.0:4141 --store file:///data/logs/%Y-%m-%d/%{host} \\
                     --data-dir /var/lib/aqueduct --insecure
  aqueduct-collector --config /etc/aqueduct/collector.toml

With --ca, edges must present a certificate of that authority; with --tokens-file, a token.
`aqueduct pki` creates both. In a trusted network, --insecure allows plain text.
%Y, %m, %d, %H … come from the header `timestamp`, in UTC; %{name} is a header.
--print-config prints the configuration of these flags.

Exit codes: 0 stopped as asked, 1 failed while running, 2 wrong arguments, 78 wrong configuration";

/// Take events from edges and store each in HDFS or a file system, exactly once.
#[derive(Debug, Clone, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub struct CollectorArgs {
    /// Address to listen on for edges
    #[arg(long, value_name = "HOST:PORT")]
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    pub listen: Option<String>,

    /// Where to store: hdfs://… or file:///…, with escapes for day and headers
    #[arg(long, value_name = "URL")]
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    pub store: Option<String>,

    /// File with the tokens of edges that may send: each line is NAME TOKEN or NAME sha256:HEX
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub tokens_file: Option<PathBuf>,

    /// What both agents have.
    #[command(flatten)]
    pub common: Common,
}

impl AgentArgs for CollectorArgs {
    fn common(&self) -> &Common {
        &self.common
    }

    fn settings(&self) -> Settings {
        let given = |flag: &Option<String>| Settings::text(flag.clone().unwrap_or_default());
        let mut source =
            component("grpc", &[("listen", given(&self.listen)), ("channels", texts(["main"]))]);
        if let Some(file) = &self.tokens_file {
            source.set("tokens_file", Settings::text(file.display().to_string()));
        }
        self.common.secure(&mut source, "client_ca");
        let channel = component("durable", &[("capacity", Settings::text("8GiB"))]);
        let sink =
            component("hdfs", &[("url", given(&self.store)), ("channel", Settings::text("main"))]);
        table(&[
            ("sources", table(&[("edges", source)])),
            ("channels", table(&[("main", channel)])),
            ("sinks", table(&[("store", sink)])),
        ])
    }
}
