//! Goal: data that programs of a host put into a directory, print, or send over TCP and UDP is
//! stored; files of a spool directory once each, through `kill -9`.
//!
//! Method: files of real `gzip`, `zstd` and `iconv` are in the directories of an edge that is
//! killed while it reads them; `aqueduct verify` and a comparison of all lines check the result. A
//! real `nc` sends to the `netcat` sources, and `exec` runs a command.
//!
//! Lane: core
//! Needs: gzip zstd iconv nc
//! Weight: 1
//! Limit: 10m
//! Paths: @core

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::http::free_address;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::Site;
use aqueduct_tests::wait;

/// Returns an edge with these sources and sinks.
fn edge(dir: &Path, sources_and_sinks: &str) -> Agent {
    let text = format!(
        "[agent]\ndata_dir = \"{}/edge\"\n[channels.main]\ntype = \"durable\"\n\
         capacity = \"256MiB\"\n{sources_and_sinks}",
        dir.display()
    );
    Agent::configured("aqueduct-edge", dir, "edge", &text)
}

#[test]
#[ignore = "needs the programs, gzip and zstd: tests/run"]
fn files_of_a_spool_directory_are_stored_once_through_kills() {
    const LIVES: usize = 8;
    const LINES: usize = 20_000;
    const TOOLS: [&str; 4] = ["", "gzip", "zstd", "iconv"];
    let site = Site::new();
    let dir = site.path();
    for name in ["spool", "wide", "made"] {
        fs::create_dir(dir.join(name)).expect("the test's own directory");
    }
    let mut collector = site.collector();
    collector.start();
    let mut edge = edge(
        dir,
        &format!(
            "[sources.spool]\ntype = \"spool_dir\"\ndirectory = \"{0}/spool\"\n\
             completed_dir = \"{0}/done\"\npoll_delay = \"10ms\"\nsettle = \"0s\"\n\
             batch_events = 200\nchannels = [\"main\"]\n\
             [sources.wide]\ntype = \"spool_dir\"\ndirectory = \"{0}/wide\"\n\
             charset = \"UTF-16\"\ncompleted_dir = \"{0}/done\"\n\
             poll_delay = \"10ms\"\nsettle = \"0s\"\nbatch_events = 200\nchannels = [\"main\"]\n\
             [sinks.collector]\ntype = \"grpc\"\naddress = \"{1}\"\nchannel = \"main\"\n",
            dir.display(),
            site.listen()
        ),
    );
    let mut written = Vec::new();
    for life in 0..LIVES {
        for tool in TOOLS {
            written.extend(put(dir, &format!("{life}-{tool}.log"), tool, LINES));
        }
        edge.start();
        std::thread::sleep(Duration::from_millis(20 + 67 * life as u64 % 200));
        edge.kill();
    }
    edge.start();
    wait::until("all files to be moved away", Duration::from_secs(60), || {
        let left = |name| fs::read_dir(dir.join(name)).expect("it is there").count();
        (left("spool") + left("wide") == 0).then_some(())
    });
    site.wait_until_stored(LIVES * TOOLS.len() * LINES);
    edge.stop(Duration::from_secs(25));
    collector.stop(Duration::from_secs(25));
    site.prove();
    let found = compare(&written, &site.stored());
    assert!(found.is_none(), "{found}");
    let done = fs::read_dir(dir.join("done")).expect("it is made").count();
    assert_eq!(done, LIVES * TOOLS.len());
}

/// Creates a file of numbered lines, compresses it or encodes it in UTF-16, and moves it into its
/// spool directory.
fn put(dir: &Path, name: &str, tool: &str, lines: usize) -> Vec<u8> {
    let text: String = (0..lines).map(|line| format!("{name} Zeile für {line}\n")).collect();
    let made = dir.join("made").join(name);
    fs::write(&made, &text).expect("a file is written");
    let (ending, spool) = match tool {
        "gzip" => (".gz", "spool"),
        "zstd" => (".zst", "spool"),
        "iconv" => (".utf16", "wide"),
        _ => ("", "spool"),
    };
    let name = format!("{name}{ending}");
    let mut command = Command::new(tool);
    match tool {
        "iconv" => {
            command.args(["-f", "UTF-8", "-t", "UTF-16", "-o"]).arg(dir.join("made").join(&name))
        }
        _ => command.arg("-q"),
    };
    if !tool.is_empty() {
        let done = command.arg(&made).status();
        assert!(done.is_ok_and(|status| status.success()), "{tool}");
    }
    let moved = fs::rename(dir.join("made").join(&name), dir.join(spool).join(&name));
    moved.expect("a file is moved");
    text.into_bytes()
}

#[test]
#[ignore = "needs the programs and nc: tests/run"]
fn lines_of_nc_and_of_a_command_are_stored_and_answered_over_tcp() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    let (tcp, udp) = (free_address(), free_address());
    let mut edge = edge(
        dir,
        &format!(
            "[sources.tcp]\ntype = \"netcat\"\nlisten = \"{tcp}\"\nchannels = [\"main\"]\n\
             [sources.udp]\ntype = \"netcat_udp\"\nlisten = \"{udp}\"\nchannels = [\"main\"]\n\
             [sources.command]\ntype = \"exec\"\nshell = \"/bin/sh -c\"\n\
             command = \"printf 'x1\\\\nx2\\\\n'\"\nchannels = [\"main\"]\n\
             [sinks.files]\ntype = \"file_roll\"\ndirectory = \"{}/files\"\nchannel = \"main\"\n",
            dir.display()
        ),
    );
    edge.start();
    wait::until("the port to be open", Duration::from_secs(60), || {
        std::net::TcpStream::connect(tcp).ok()
    });
    let port = |address: std::net::SocketAddr| address.port().to_string();
    let answers = nc(dir, &["-N", "127.0.0.1", &port(tcp)], b"t1\nt2\xff\nt3");
    assert_eq!(answers, "OK\nOK\nOK\n");
    nc(dir, &["-u", "-w", "1", "127.0.0.1", &port(udp)], b"u1\nu2\n");
    let expected: [&[u8]; 7] = [b"t1", b"t2\xff", b"t3", b"u1", b"u2", b"x1", b"x2"];
    wait::until("all lines in the files", Duration::from_secs(60), || {
        let stored = aqueduct_tests::site::read_below(&dir.join("files"));
        let mut lines: Vec<&[u8]> = stored.split(|byte| *byte == b'\n').collect();
        lines.retain(|line| !line.is_empty());
        lines.sort_unstable();
        (lines == expected).then_some(())
    });
    edge.stop(Duration::from_secs(25));
}

/// Sends this with `nc` and returns its output.
fn nc(dir: &Path, arguments: &[&str], input: &[u8]) -> String {
    let file = dir.join("input");
    fs::write(&file, input).expect("the input is written");
    let input = fs::File::open(&file).expect("the input is there");
    let output = Command::new("nc").args(arguments).stdin(Stdio::from(input)).output();
    let output = output.expect("nc runs");
    assert!(output.status.success(), "nc {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
