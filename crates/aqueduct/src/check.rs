//! `aqueduct check`: everything that is wrong with a configuration, or what it promises.

mod connect;
mod paths;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use agent::cli::{self, EXIT_CONFIG, EXIT_RUNTIME};
use clap::{Args, ValueEnum};
use config::ConfigErrors;
use peers::discovery::{Discovery, Found, Query};
use pipeline::{Env, Routing, Settings};

use paths::{Path, paths, words};

const EXAMPLES: &str = "\
Examples:
  aqueduct check /etc/aqueduct/collector.toml
  aqueduct check /etc/aqueduct/*.toml
  aqueduct check --resolve /etc/aqueduct/edge.toml
  aqueduct check --connect /etc/aqueduct/collector.toml
  aqueduct edge --tail '/a/*.log' --to c:4141 --data-dir /d --print-config | aqueduct check -

Nothing is opened, connected or written; only --resolve asks DNS, and --connect tries from this host
what the sinks connect to, whether their stores take a file, and whether the ports are free.
A channel larger than what its disk has free is warned of.

Exit codes: 0 all valid, 1 something cannot be reached, 2 wrong arguments,
78 a configuration is wrong";

/// Standard input, as an argument and in messages.
const STDIN: &str = "-";

/// Report everything that is wrong with a configuration, or what each path of it promises.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    /// Configuration files: .toml, .yaml or .yml; - for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Format of standard input
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Look up the collectors that are not named but discovered, and show them
    #[arg(long)]
    resolve: bool,

    /// Try to connect, to store and to listen, as the agent would; nothing stays
    #[arg(long)]
    connect: bool,
}

/// The format of a configuration that has no file name.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// TOML
    #[default]
    Toml,
    /// YAML
    Yaml,
}

/// Checks the files and prints what is to be said of each.
pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let env = env::real();
    let (mut all_valid, mut all_reached) = (true, true);
    for file in &args.files {
        let settings = match file.as_os_str() == STDIN {
            true => cli::read_stdin(
                match args.format {
                    Format::Toml => "toml",
                    Format::Yaml => "yaml",
                },
                &env,
            ),
            false => cli::read(file, &env),
        };
        let name = file.display().to_string();
        match settings.and_then(|settings| report(&name, settings, args, &env)) {
            Ok(Report { text, warnings, is_reached }) => {
                all_reached &= is_reached;
                warnings.iter().for_each(|warning| cli::say(&format!("warning: {warning}")));
                if cli::print(&text) != ExitCode::SUCCESS {
                    return ExitCode::FAILURE;
                }
            }
            Err(errors) => {
                cli::say(&errors.to_string());
                all_valid = false;
            }
        }
    }
    match (all_valid, all_reached) {
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::from(EXIT_RUNTIME),
        (false, _) => ExitCode::from(EXIT_CONFIG),
    }
}

/// What is to be said of a configuration.
struct Report {
    text: String,
    /// What of it does not suit the disk.
    warnings: Vec<String>,
    /// Whether all that was tried was reached.
    is_reached: bool,
}

/// What is to be said of the configuration `file`.
fn report(
    file: &str,
    settings: Settings,
    args: &CheckArgs,
    env: &Env,
) -> Result<Report, ConfigErrors> {
    let draft = config::examine(file, settings, &env.host);
    let (plan, checked) = cli::checked(draft, catalogue::FULL, env)?;
    let programs = match agent::check(&plan, components::EDGE, env) {
        Ok(_) => "aqueduct-edge and aqueduct-collector",
        Err(_) => "aqueduct-collector",
    };
    let mut text = format!("{file}: valid, for {programs}\n");
    for path in paths(&plan, &checked) {
        let Path { source, channel, sink, guarantee, weakest } = path;
        let promise = words(guarantee);
        let weakest = weakest.map(|link| format!("; weakest link: {link}")).unwrap_or_default();
        writeln!(text, "{source} -> {channel} -> {sink}: {promise}{weakest}")
            .expect("a string takes it");
    }
    for (source, routing) in &checked.routings {
        let Routing { digest, text: routing } = routing;
        writeln!(text, "{source} routes {routing} [{digest:016x}]").expect("a string takes it");
    }
    for (sink, discovery) in &checked.discoveries {
        let found = if args.resolve { found(discovery, env) } else { String::new() };
        writeln!(text, "{sink} discovers {}{found}", discovery.query).expect("a string takes it");
    }
    let is_reached = !args.connect || connect::tried(&plan, env, &mut text)?;
    Ok(Report { text, warnings: checked.warnings, is_reached })
}

/// The addresses that are found now, or why none is.
fn found(discovery: &Discovery, env: &Env) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.and_then(|runtime| {
        runtime.block_on(discovery.query.look_up(&*env.names, discovery.server))
    });
    match answer {
        Ok(found) => {
            let one = |Found { address, priority, weight }: &Found| match discovery.query {
                Query::Host { .. } => address.to_string(),
                Query::Service(_) => format!("{address} (priority {priority}, weight {weight})"),
            };
            format!(": {}", found.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Err(error) => format!(": cannot be looked up: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use pipeline::env::OpenMode;

    use super::*;

    const GOOD: &str = r#"
[agent]
data_dir = "/d"
[sources.files]
type = "tail_dir"
paths = ["/a/*.log"]
channels = ["safe", "fast"]
optional_channels = ["spare"]
[channels.safe]
type = "durable"
[channels.fast]
type = "memory"
[channels.spare]
type = "durable"
[sinks.next]
type = "grpc"
address = "c:4141"
channel = "safe"
[sinks.again]
type = "grpc"
address = "c:4141"
channel = "fast"
[sinks.other]
type = "grpc"
address = "c:4141"
channel = "spare"
[sinks.show]
type = "logger"
channel = "safe"
"#;

    #[test]
    fn each_path_shows_its_weakest_promise() {
        let text = checked(GOOD).unwrap();
        let expected = "valid, for aqueduct-edge and aqueduct-collector
files (tail_dir) -> safe (durable) -> next: exactly once
files (tail_dir) -> safe (durable) -> show: best effort: events may be lost; weakest link: sink show
files (tail_dir) -> fast (memory) -> again: at least once: events may be repeated; weakest link: \
channel fast ends with its process: events are read or sent again
files (tail_dir) -> spare (durable) -> other: best effort: events may be lost; weakest link: \
channel spare is optional: passed over when it is full
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_source_whose_senders_have_no_identity_is_the_weakest_link() {
        let tail = "type = \"tail_dir\"\npaths = [\"/a/*.log\"]";
        for (source, promise) in [
            (
                "type = \"http\"\nlisten = \"127.0.0.1:0\"",
                "at least once: events may be repeated; weakest link: source files: what was not \
                 answered is sent again under a new identity\n",
            ),
            (
                "type = \"syslog\"\nlisten = [\"udp://127.0.0.1:514\"]",
                "best effort: events may be lost; weakest link: source files: its protocol has no \
                 answers\n",
            ),
        ] {
            let text = checked(&GOOD.replace(tail, source)).unwrap();
            assert!(text.contains(&format!("-> safe (durable) -> next: {promise}")), "{text}");
        }
    }

    #[test]
    fn a_discovered_sink_is_one_path_and_says_what_it_looks_up() {
        let address = "address = \"c:4141\"\nchannel = \"safe\"";
        let discover = "discover = \"dns:127.0.0.1:4141\"\nchannel = \"safe\"";
        let text = checked(&GOOD.replace(address, discover)).unwrap();
        assert!(text.contains("-> safe (durable) -> next: exactly once\n"), "{text}");
        assert!(text.ends_with("next discovers dns:127.0.0.1:4141\n"), "{text}");
        let query: Query = "dns:127.0.0.1:4141".parse().unwrap();
        let discovery = Discovery { query, server: None };
        assert_eq!(found(&discovery, &env::real()), ": 127.0.0.1:4141");
    }

    #[test]
    fn settings_that_weaken_a_path_are_told() {
        let text = GOOD
            .replace("[channels.fast]\ntype = \"memory\"", "[channels.fast]\ntype = \"durable\"")
            .replacen("type = \"durable\"", "type = \"durable\"\noverflow = \"drop_oldest\"", 1)
            .replace("channel = \"fast\"", "channel = \"fast\"\nretain = \"stored\"");
        let text = checked(&text).unwrap();
        for line in [
            "-> next: best effort: events may be lost; weakest link: channel safe drops events \
             when it is full\n",
            "-> again: exactly once; weakest link: sink again has `retain = \"stored\"`: events \
             are lost with the disk of the next agent\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn what_only_a_collector_can_run_is_said() {
        let text = GOOD.replace("type = \"logger\"", "type = \"hdfs\"\nurl = \"file:///logs/%Y\"");
        assert!(checked(&text).unwrap().starts_with("valid, for aqueduct-collector\n"));
    }

    #[test]
    fn a_wrong_address_gets_one_message_that_names_the_cause() {
        for (address, cause) in [
            ("c:161001", "has port 161001, and the highest port is 65535"),
            ("c:0", "has port 0, which no one can connect to"),
            ("c", "has no port"),
            ("http://c:4141", "begins with `http://`: an address is a host and a port alone"),
        ] {
            let errors = checked(&GOOD.replacen("c:4141", address, 1)).unwrap_err();
            let example = "write for example \"collector-1:4141\"";
            let expected = format!(":17:11: sinks.next.address: `{address}` {cause}; {example}");
            assert!(errors.ends_with(&expected) && errors.lines().count() == 1, "{errors}");
        }
    }

    #[test]
    fn an_address_that_two_listen_on_is_refused_with_both_places() {
        let admin = GOOD.replacen("data_dir = \"/d\"", "data_dir = \"/d\"\nadmin = \"[::]:5\"", 1);
        let source = |name: &str, listen: &str| {
            let table = "type = \"grpc\"\nchannels = [\"safe\"]";
            format!("[sources.{name}]\n{table}\nlisten = \"{listen}\"\n")
        };
        let two = |one: &str, other: &str| admin.clone() + &source("a", one) + &source("b", other);
        let errors = checked(&two("127.0.0.1:5", "10.0.0.1:6")).unwrap_err();
        let expected = "a.toml:4:9)` listens on [::]:5 already";
        assert!(errors.contains(": sources.a.listen: `agent.admin ("), "{errors}");
        assert!(errors.contains(expected) && errors.lines().count() == 1, "{errors}");
        let errors = checked(&two("0.0.0.0:6", "localhost:6")).unwrap_err();
        let expected = ": sources.b.listen: `sources.a.listen (";
        assert!(errors.contains(expected) && errors.lines().count() == 1, "{errors}");
        assert!(checked(&two("127.0.0.1:6", "127.0.0.1:7")).is_ok());
        assert!(checked(&two("127.0.0.1:0", "127.0.0.1:0")).is_ok());
    }

    #[test]
    fn the_names_the_graph_and_the_components_are_all_checked() {
        let text = GOOD
            .replace("channel = \"fast\"", "channel = \"fsat\"")
            .replace("paths =", "pahts =")
            .replace("type = \"logger\"", "type = \"loger\"");
        let errors = checked(&text).unwrap_err();
        let lines: Vec<&str> = errors.lines().collect();
        assert_eq!(lines.len(), 4, "{errors}");
        assert!(
            lines[0]
                .contains(":6:1: sources.files.pahts: unknown key `pahts`; did you mean `paths`?")
        );
        assert!(
            lines[1].contains(":11:11: channels.fast: no sink empties this channel"),
            "{errors}"
        );
        assert!(lines[2].contains("unknown channel `fsat`; did you mean `fast`?"), "{errors}");
        assert!(lines[3].contains("unknown type `loger`; did you mean `logger`?"), "{errors}");
    }

    #[test]
    fn an_unknown_channel_is_reported_where_it_is_the_only_problem() {
        let errors =
            checked(&GOOD.replace("channel = \"fast\"", "channel = \"fsat\"")).unwrap_err();
        assert!(errors.contains("unknown channel `fsat`; did you mean `fast`?"), "{errors}");
    }

    #[test]
    fn a_capacity_that_no_batch_fits_is_refused_and_one_that_fits_is_not() {
        let text = |capacity: &str, batch: &str| {
            format!(
                "[agent]\nname = \"a\"\ndata_dir = \"/var/lib/aqueduct\"\n[sources.files]\n\
                 type = \"tail_dir\"\npaths = [\"/var/log/*.log\"]\nchannels = [\"main\"]\n\
                 batch_bytes = \"{batch}\"\n[channels.main]\ntype = \"durable\"\n\
                 capacity = \"{capacity}\"\n[sinks.out]\ntype = \"logger\"\nchannel = \"main\"\n"
            )
        };
        let refused = checked(&text("1MiB", "1MiB")).unwrap_err();
        assert!(refused.contains(":11:12: channels.main.capacity: "), "{refused}");
        assert!(refused.contains("a batch of source `files` has up to 1048576 bytes"), "{refused}");
        checked(&text("3MiB", "1MiB")).unwrap();
        checked(&text("1MiB", "256KiB")).unwrap();
    }

    #[test]
    fn a_capacity_that_no_disk_holds_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
        let opened = env::real().disk.open(&file, mode).unwrap();
        let text = "[agent]\nname = \"a\"\ndata_dir = \"/nowhere/aqueduct\"\n[sources.files]\n\
             type = \"sequence\"\ncount = 1\nchannels = [\"main\"]\n[channels.main]\n\
             type = \"durable\"\ncapacity = \"900000TiB\"\n[sinks.out]\ntype = \"logger\"\n\
             channel = \"main\"\n";
        opened.write_at(&[IoSlice::new(text.as_bytes())], 0, false).unwrap();
        let settings = cli::read(&file, &env::real());
        let report = settings.and_then(|it| report("a.toml", it, &offline(), &env::real()));
        let Report { warnings, .. } = report.unwrap_or_else(|errors| panic!("{errors}"));
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        for word in ["`main`", "900000TiB", "/nowhere/aqueduct/channels/main", "bytes free"] {
            assert!(warning.contains(word), "{word} is not in: {warning}");
        }
    }

    fn offline() -> CheckArgs {
        let format = Format::default();
        CheckArgs { files: Vec::new(), format, resolve: false, connect: false }
    }

    /// The report without the name of the file.
    fn checked(text: &str) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
        let opened = env::real().disk.open(&file, mode).unwrap();
        opened.write_at(&[IoSlice::new(text.as_bytes())], 0, false).unwrap();
        let prefix = format!("{}: ", file.display());
        let settings = cli::read(&file, &env::real());
        let name = file.display().to_string();
        let report = settings.and_then(|it| report(&name, it, &offline(), &env::real()));
        report.map(|it| it.text.replace(&prefix, "")).map_err(|errors| errors.to_string())
    }
}
