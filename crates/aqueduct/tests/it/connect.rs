//! Goal: `aqueduct check --connect` reports for each component what the first minutes of an agent
//! would show: reachable servers, rejections, ports in use. It leaves nothing behind.
//!
//! Method: configurations over real listeners, files and a real downstream agent.

#[allow(dead_code, reason = "a part of it is used here")]
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::common::{Agent, aqueduct, text, write};
use support::loopback::free_address;

/// Returns exit code and report of a configuration with this source and these sinks.
fn check(dir: &Path, listen: &str, sinks: &str) -> (Option<i32>, String) {
    let file = dir.join("tried.toml");
    let config = format!(
        "[agent]\nname = \"a\"\ndata_dir = \"{}/data\"\n\
         [sources.in]\ntype = \"avro\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n\
         [channels.main]\ntype = \"memory\"\ncapacity = \"16MiB\"\n{sinks}",
        dir.display()
    );
    write(&file, &config);
    let output = aqueduct(&["check", "--connect", &file.display().to_string()]);
    (output.status.code(), text(&output))
}

fn sink(name: &str, settings: &str) -> String {
    format!("[sinks.{name}]\nchannel = \"main\"\n{settings}\n")
}

#[test]
fn working_connections_are_named_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    fs::create_dir(dir.path().join("logs")).unwrap();
    let (collector, address) = Agent::collector(dir.path(), "4MiB");
    collector.until(|| std::net::TcpStream::connect(&address).is_ok());
    let (_, port) = address.rsplit_once(':').unwrap();
    let sinks = [
        sink("next", &format!("type = \"grpc\"\naddress = \"{address}\"")),
        sink("found", &format!("type = \"grpc\"\ndiscover = \"dns:127.0.0.1:{port}\"")),
        sink("store", &format!("type = \"hdfs\"\nurl = \"file://{at}/logs/a/b-%Y\"")),
        sink("log", "type = \"logger\""),
    ];
    let listen = free_address().to_string();
    let (code, report) = check(dir.path(), &listen, &sinks.concat());
    assert_eq!(code, Some(0), "{report}");
    let wanted = [
        format!("\nsource in: {listen} is free\n"),
        format!("\nsink next: {address} is reachable\n"),
        format!("\nsink found-0: {address} is reachable\n"),
        format!("\nsink store: store in file://{at}/logs/a: {at}/logs accepts files\n"),
    ];
    for wanted in &wanted {
        assert!(report.contains(wanted), "{wanted}: {report}");
    }
    assert!(!report.contains("sink log:"), "nothing lies behind it: {report}");
    assert_eq!(fs::read_dir(dir.path().join("logs")).unwrap().count(), 0);
    assert!(!dir.path().join("data").exists());

    // A port with another protocol must not pass.
    let others = [
        sink("old", &format!("type = \"avro\"\naddress = \"{address}\"")),
        sink("other", &format!("type = \"thrift\"\naddress = \"{address}\"")),
        sink("web", &format!("type = \"http\"\nurl = \"http://{address}/x\"")),
    ];
    let (code, report) = check(dir.path(), &listen, &others.concat());
    assert_eq!(code, Some(1), "{report}");
    for name in ["old", "other", "web"] {
        assert!(report.contains(&format!("\nsink {name}: FAILED: ")), "{name}: {report}");
    }
    collector.stop();
}

#[test]
fn failed_connections_are_named_with_their_cause() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    write(&dir.path().join("file"), "in the way");
    // Accepts connections into its queue but never answers.
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let (listen, nothing) = (occupied.local_addr().unwrap().to_string(), free_address());
    let sinks = [
        sink("next", &format!("type = \"grpc\"\naddress = \"{nothing}\"")),
        sink(
            "plain",
            &format!(
                "type = \"avro\"\naddress = \"{listen}\"\ntls = {{}}\nconnect_timeout = \"1s\""
            ),
        ),
        sink("store", &format!("type = \"hdfs\"\nurl = \"file://{at}/file/%Y\"")),
    ];
    let (code, report) = check(dir.path(), &listen, &sinks.concat());
    assert_eq!(code, Some(1), "{report}");
    for wanted in [
        format!("\nsource in: FAILED: {listen}: Address already in use"),
        format!("\nsink next: FAILED: cannot connect to {nothing}: "),
        format!(
            "\nsink plain: FAILED: cannot connect to {listen}; check that the server is running"
        ),
        "\nsink store: FAILED: ".to_owned(),
    ] {
        assert!(report.contains(&wanted), "{wanted}: {report}");
    }
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"in the way");
}
