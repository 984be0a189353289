//! Flags are a short way to write a configuration.
//!
//! Method: arguments as a user types them, and the configuration that they mean, as printed.

use std::fs;

use pipeline::env::OpenMode;

use super::*;

const EDGE: &str = r#"[agent]
name = "web-1"
data_dir = "/d"
grace = "20s"

[sources.tail]
type = "tail_dir"
paths = ["/var/log/nginx/*.log", "/b"]
channels = ["main"]
interceptors = [{ type = "timestamp" }, { type = "host" }]

[channels.main]
type = "durable"
capacity = "8GiB"

[sinks.collector-1]
type = "grpc"
address = "c1:4141"

[sinks.collector-1.tls]
certificate = "/web.pem"
key = "/web.key"
ca = "/ca.pem"

[sinks.collector-2]
type = "grpc"
address = "c2:4141"

[sinks.collector-2.tls]
certificate = "/web.pem"
key = "/web.key"
ca = "/ca.pem"

[groups.collectors]
type = "load_balance"
channel = "main"
sinks = ["collector-1", "collector-2"]
"#;

const COLLECTOR: &str = r#"[agent]
name = "c1"
data_dir = "/d"
grace = "20s"
admin = "127.0.0.1:9464"
insecure = true # plain text leaves this host: docs/tls.md

[sources.edges]
type = "grpc"
insecure = true # plain text leaves this host: docs/tls.md
listen = "0.0.0.0:4141"
channels = ["main"]

[channels.main]
type = "durable"
capacity = "8GiB"

[sinks.store]
type = "hdfs"
url = "hdfs://n:8020/logs/%Y-%m-%d"
channel = "main"
"#;

#[test]
fn the_flags_of_an_edge_mean_this_configuration() {
    let args = "edge --tail /var/log/nginx/*.log --tail /b --to c1:4141,c2:4141 --data-dir /d \
                --name web-1 --ca /ca.pem --certificate /web.pem --key /web.key";
    assert_eq!(printed::<EdgeArgs>(args), EDGE);
    let shown = printed::<EdgeArgs>(&format!("{args} --token-file /web-1.token"));
    assert_eq!(shown.matches("token_file = \"/web-1.token\"\n").count(), 2, "{shown}");
}

#[test]
fn the_flags_of_a_collector_mean_this_configuration() {
    let args = "collector --listen 0.0.0.0:4141 --store hdfs://n:8020/logs/%Y-%m-%d --data-dir /d \
                --name c1 --admin 127.0.0.1:9464 --insecure";
    assert_eq!(printed::<CollectorArgs>(args), COLLECTOR);
    let shown = printed::<CollectorArgs>(&format!("{args} --tokens-file /tokens"));
    assert!(shown.contains("tokens_file = \"/tokens\"\n"), "{shown}");
}

#[test]
fn one_collector_is_a_group_so_that_a_second_one_takes_its_backlog() {
    let args = "edge --tail /a --to c1:4141 --data-dir /d --name web-1";
    let text = printed::<EdgeArgs>(args);
    let group = "[groups.collectors]\ntype = \"single\"\nchannel = \"main\"\n\
                 sinks = [\"collector-1\"]\n";
    assert!(text.ends_with(group), "{text}");
}

#[test]
fn flags_make_a_configuration_that_can_be_built() {
    let env = env::real();
    for to in ["c1:4141", "c1:4141,c2:4141,c3:4141", "dns:c:4141", "srv:_a._tcp.c,c2:4141"] {
        let arguments = format!("edge --tail /a/**/*.log --to {to} --data-dir /d --insecure");
        let draft = plan(&parse::<EdgeArgs>(&arguments).unwrap(), &env).unwrap();
        checked(draft, components::EDGE, &env).unwrap();
    }
    for store in ["hdfs://namenode:8020/logs/%Y-%m-%d", "file:///data/logs/%Y-%m-%d/%{host}"] {
        let arguments =
            format!("collector --listen 0.0.0.0:4141 --store {store} --data-dir /d --insecure");
        let draft = plan(&parse::<CollectorArgs>(&arguments).unwrap(), &env).unwrap();
        checked(draft, catalogue::FULL, &env).unwrap();
    }
}

#[test]
fn plain_text_leaves_the_host_by_no_flag_but_one() {
    let env = env::real();
    let edge = "edge --tail /a --to c1:4141 --data-dir /d";
    let tls = "--ca /ca.pem --certificate /a.pem --key /a.key";
    let remedies =
        "data would leave this host in plain text; set the table `tls`, or set `insecure = true`";
    for (arguments, refused) in [
        (edge.to_owned(), Some(format!("sinks.collector-1.address: `c1:4141`: {remedies}"))),
        (edge.replace("c1:", "localhost:"), None),
        (format!("{edge} --insecure"), None),
        (format!("{edge} {tls}"), None),
        (
            format!("{edge} {tls} --admin 0.0.0.0:1"),
            Some(
                "agent.admin: `0.0.0.0:1`: data would leave this host in plain text; set the \
                 table `admin_tls`, or set `insecure = true`"
                    .to_owned(),
            ),
        ),
        (format!("{edge} {tls} --admin 0.0.0.0:1 --insecure"), None),
    ] {
        let args = parse::<EdgeArgs>(&arguments).unwrap();
        let result = plan(&args, &env).and_then(|it| checked(it, components::EDGE, &env));
        let error = result.err().map(|errors| errors.to_string()).unwrap_or_default();
        match refused {
            Some(expected) => assert!(error.contains(&expected), "{arguments}: {error}"),
            None => assert_eq!(error, "", "{arguments}"),
        }
    }
}

#[test]
fn agent_is_named_after_its_host_by_default() {
    let args = parse::<EdgeArgs>("edge --tail /a --to c1:4141 --data-dir /d").unwrap();
    assert_eq!(drafted(&args).unwrap().agent.name, &*env::real().host);
}

#[test]
fn flags_of_the_agent_go_over_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    let without_directory = EDGE.replace("data_dir = \"/d\"\n", "");
    env_write(&file, &without_directory);
    let arguments =
        format!("edge --config {} --data-dir /e --name other --admin 127.0.0.1:1", file.display());
    let args = parse::<EdgeArgs>(&arguments).unwrap();
    let agent = drafted(&args).unwrap().agent;
    assert_eq!(agent.name, "other");
    assert_eq!(agent.data_dir, Path::new("/e"));
    assert_eq!(agent.admin.as_deref(), Some("127.0.0.1:1"));
}

#[test]
fn file_without_a_configuration_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let env = env::real();
    let missing = dir.path().join("none.toml");
    let error = read(&missing, &env).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot be read: ", missing.display())), "{error}");

    let bytes = dir.path().join("bytes.toml");
    fs::copy("/proc/self/exe", &bytes).unwrap();
    let error = read(&bytes, &env).unwrap_err().to_string();
    assert!(error.contains("at most 4194304 are allowed") || error.contains("UTF-8"), "{error}");

    let list = dir.path().join("list.yaml");
    env_write(&list, "- 1\n");
    let arguments = format!("edge --config {} --data-dir /e", list.display());
    let args = parse::<EdgeArgs>(&arguments).unwrap();
    let error = drafted(&args).unwrap_err().to_string();
    assert!(error.contains("list.yaml:1:1: must contain tables"), "{error}");
}

#[test]
fn missing_flags_are_named() {
    for (arguments, missing) in [
        ("edge --to c1:4141 --data-dir /d", "--tail <PATTERN>"),
        ("edge --tail /a --data-dir /d", "--to <HOST:PORT,…>"),
        ("edge --tail /a --to c1:4141", "--data-dir <DIR>"),
    ] {
        let error = parse::<EdgeArgs>(arguments).unwrap_err();
        assert_eq!(error.exit_code(), i32::from(EXIT_USAGE), "{arguments}");
        assert!(error.to_string().contains(missing), "{error}");
    }
    let both = parse::<EdgeArgs>("edge --config a.toml --tail /a").unwrap_err();
    assert_eq!(both.kind(), clap::error::ErrorKind::ArgumentConflict);
}

#[test]
fn a_directory_to_tail_is_refused_with_what_to_write() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    for path in [format!("{path}"), format!("{path}/")] {
        let arguments = format!("edge --tail {path} --to c1:4141 --data-dir /d");
        let error = parse::<EdgeArgs>(&arguments).unwrap_err();
        assert_eq!(error.exit_code(), i32::from(EXIT_USAGE));
        let hint = format!("'{}/*.log'", path.trim_end_matches('/'));
        assert!(error.to_string().contains(&hint), "{error}");
    }
}

#[test]
fn the_help_shows_an_example_of_each_way() {
    let edge = EdgeArgs::augment_args(Command::new("aqueduct-edge")).render_long_help().to_string();
    assert!(edge.starts_with("Tail files and send each line to a collector"), "{edge}");
    let mut collector = CollectorArgs::augment_args(Command::new("aqueduct-collector"));
    let collector = collector.render_long_help().to_string();
    assert!(collector.starts_with("Take events from edges"), "{collector}");
    for help in [edge, collector] {
        assert!(help.contains("--config /etc/aqueduct/") && help.contains("--data-dir /var/lib/"));
    }
}

fn parse<A: AgentArgs>(arguments: &str) -> Result<A, clap::Error> {
    let command = A::augment_args(Command::new("test"));
    let matches = command.try_get_matches_from(arguments.split_whitespace())?;
    A::from_arg_matches(&matches)
}

fn printed<A: AgentArgs>(arguments: &str) -> String {
    config::to_toml(&drafted(&parse::<A>(arguments).unwrap()).unwrap())
}

/// Returns the plan if its names and its graph are valid.
fn drafted<A: AgentArgs>(args: &A) -> Result<Plan, ConfigErrors> {
    let (plan, errors) = plan(args, &env::real())?;
    ConfigErrors::check(errors)?;
    Ok(plan)
}

fn env_write(path: &Path, text: &str) {
    let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
    let file = env::real().disk.open(path, mode).unwrap();
    file.write_at(&[io::IoSlice::new(text.as_bytes())], 0, false).unwrap();
}
