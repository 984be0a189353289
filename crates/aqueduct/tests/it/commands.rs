//! Tests of the program as users run it: exit codes, output, and the database demo.
//!
//! Method: runs the real executable in a child process.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

#[test]
fn demo_db_returns_every_row_once_although_both_commands_are_killed() {
    let output = run(&["demo", "db"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for expected in [
        "(aqueduct import): its first rows",
        "(aqueduct export): half of the rows",
        "aqueduct export resumed, and is complete",
        "\nrows           300,000 in the table\nback           300,000 in the other table\n",
        "\nmissing              0\nrepeated             0\nchanged              0\n",
        "\nboth tables are the same: every row arrived once\n",
    ] {
        assert!(shown.contains(expected), "`{expected}` is not in:\n{shown}");
    }
}

#[test]
fn demo_table_has_every_line_once_although_a_collector_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    put(&log, &(0..50_000).map(|number| format!("line {}\n", number % 999)).collect::<String>());
    let mut demo = command(&["demo", "table", &log.display().to_string()]);
    let output = demo.env("TMPDIR", dir.path()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let folder = dir.path().join("aqueduct-demo-").display().to_string();
    for expected in [
        "which append them to an Iceberg table.\n",
        "kill -9 ",
        "\nread            50,000 lines\nstored          50,000 lines\n",
        "\nmissing              0\nrepeated             0\n",
        "\nevery line arrived exactly once\n",
        &format!("StaticTable.from_metadata(\"{folder}"),
        &format!("iceberg_scan('{folder}"),
    ] {
        assert!(shown.contains(expected), "`{expected}` is not in:\n{shown}");
    }
}

#[test]
fn several_configurations_and_standard_input_can_be_checked() {
    let dir = tempfile::tempdir().unwrap();
    let good =
        run(&["edge", "--tail", "/a", "--to", "localhost:1", "--data-dir", "/d", "--print-config"]);
    let good = String::from_utf8(good.stdout).unwrap();
    let files = ["a.toml", "b.toml", "c.toml"].map(|name| dir.path().join(name));
    put(&files[0], &good);
    put(&files[1], &good.replace("localhost:1", "localhost:100000"));
    put(&files[2], &good);
    let paths = files.map(|file| file.display().to_string());
    let output = run(&["check", &paths[0], &paths[1], &paths[2]]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(&format!("{}: valid, for ", paths[0])), "{shown}");
    assert!(shown.contains(&format!("{}: valid, for ", paths[2])), "{shown}");
    let refused = String::from_utf8(output.stderr).unwrap();
    // On a machine with little disk space, warnings precede this line.
    let mut refused_lines = refused.lines().filter(|line| !line.starts_with("warning: "));
    let first = refused_lines.next().unwrap_or_default();
    assert!(first.starts_with(&format!("{}:", paths[1])), "{refused}");

    let piped = |text: &str, more: &[&str]| {
        let mut check = command(&[&["check", "-"], more].concat());
        let check = check.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut check = check.spawn().unwrap();
        check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        check.wait_with_output().unwrap()
    };
    let output = piped(&good, &[]);
    assert!(output.stdout.starts_with(b"-: valid, for "), "{output:?}");
    let output = piped("agent:\n  data_dir: /d\n  admn: 1\n", &["--format", "yaml"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(output.stderr.starts_with(b"-:"), "{output:?}");
}

#[test]
fn a_shell_completes_commands_and_each_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(&["completions", "bash"]);
    put(&dir.path().join("aqueduct.bash"), &String::from_utf8(output.stdout).unwrap());
    let complete = "source ./aqueduct.bash; COMP_WORDS=(aqueduct ch); COMP_CWORD=1; \
                    _aqueduct aqueduct ch aqueduct; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", complete]).current_dir(dir.path()).output();
    assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), "check channel\n");

    let output = run(&["man", &dir.path().display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for (name, part) in [
        ("aqueduct.1", "aqueduct\\-check(1)"),
        ("aqueduct-check.1", "Exit codes"),
        ("aqueduct-channel-stats.1", "aqueduct channel stats"),
    ] {
        let page = std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(page.contains(".TH "), "{name}: {page}");
        assert!(page.contains(part), "`{part}` is not in {name}: {page}");
    }
    let nowhere = dir.path().join("none").display().to_string();
    let output = run(&["man", &nowhere]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(&nowhere), "{output:?}");
}

#[test]
fn wrong_configuration_exits_with_78_and_places_and_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edge.toml");
    let data = dir.path().join("data");
    put(&file, &format!("[agent]\ndata_dir = \"{}\"\nadmn = 1\n", data.display()));
    let path = file.display().to_string();
    for arguments in [["edge", "--config", &path].as_slice(), &["check", &path]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let shown = String::from_utf8_lossy(&output.stderr);
        let place = format!("{path}:3:1: agent.admn: unknown key `admn`; did you mean `admin`?");
        assert!(shown.contains(&place), "{shown}");
        assert!(!data.exists());
    }
}

#[test]
fn included_files_are_checked_and_printed_as_one_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        put(&path, text);
        path.display().to_string()
    };
    let channel = "[channels.main]\ntype = \"memory\"\n";
    let main = format!("include = \"part-*.toml\"\n[agent]\ndata_dir = \"/d\"\n{channel}");
    let main = file("main.toml", &main);
    file(
        "part-1.toml",
        "[sources.in]\ntype = \"sequence\"\nchannels = [\"main\"]\ncount = \"${N}\"\n",
    );
    let sink = "[sinks.out]\ntype = \"http\"\nurl = \"http://127.0.0.1:1/\"\nchannel = \"main\"\n\
                secret_headers = { authorization = \"${file:token}\", cookie = \"hunter2\" }\n";
    file("part-2.toml", sink);
    file("token", "Bearer hunter2\n");
    let given = |arguments: &[&str]| command(arguments).env("N", "7").output().unwrap();

    let output = given(&["check", &main]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("in (sequence) -> main (memory) -> out: "), "{shown}");

    let output = given(&["edge", "--config", &main, "--print-config"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in ["count = \"${N}\"\n", "authorization = \"${file:token}\"", "cookie = \"***\""] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");

    // An unset variable, or one that is not a number.
    let output = command(&["check", &main]).env_remove("N").output().unwrap();
    let problem = "part-1.toml:4:9: sources.in.count: environment variable `N` is not set;";
    assert!(String::from_utf8_lossy(&output.stderr).contains(problem), "{output:?}");
    let output = command(&["check", &main]).env("N", "many").output().unwrap();
    let problem = "part-1.toml:4:9: sources.in.count: the value of `${N}` is not a whole";
    assert!(String::from_utf8_lossy(&output.stderr).contains(problem), "{output:?}");
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn wrong_arguments_end_with_2_and_help_and_version_with_0() {
    assert_eq!(run(&["edge", "--tail", "/a"]).status.code(), Some(2));
    assert_eq!(run(&["edge", "--tails", "/a"]).status.code(), Some(2));
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["collector", "--help"]).status.code(), Some(0));
    let version = run(&["--version"]);
    let shown = String::from_utf8_lossy(&version.stdout).into_owned();
    let commit = shown.trim().strip_prefix(concat!("aqueduct ", env!("CARGO_PKG_VERSION"), " ("));
    assert!(commit.is_some_and(|commit| commit.len() > 7 && commit.ends_with(')')), "{shown}");
}

#[test]
fn a_data_directory_in_use_ends_with_1_and_names_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data").display().to_string();
    let arguments = ["edge", "--tail", "/none/*.log", "--to", "127.0.0.1:9", "--data-dir", &data];
    let mut first = command(&arguments).stderr(Stdio::null()).spawn().unwrap();
    let lock = dir.path().join("data/format");
    while !lock.exists() {
        assert!(first.try_wait().unwrap().is_none(), "the first agent has ended");
        std::thread::yield_now();
    }

    let second = run(&arguments);
    let shown = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{shown}");
    assert!(shown.contains(&format!("process {} is using it", first.id())), "{shown}");

    let pid = Pid::from_raw(i32::try_from(first.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(0), "a signal is a way to end well");
}

#[test]
fn a_stopped_channel_can_be_looked_at_checked_exported_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    put(&log, "one\r\n\nthree\n");
    let (log, data) = (log.display().to_string(), dir.path().join("data").display().to_string());
    // Without a listener, the lines stay in the channel.
    let arguments = ["edge", "--tail", &log, "--to", "127.0.0.1:9", "--data-dir", &data];
    let mut edge = command(&arguments).stderr(Stdio::null()).spawn().unwrap();
    let channel = format!("{data}/channels/main");
    let stats = ["channel", "stats", &channel, "--json"];
    wait_until_stored(&channel, b"three", &mut edge);
    let looked: serde_json::Value = serde_json::from_slice(&run(&stats).stdout).unwrap();
    assert_eq!(looked["events"], 3, "a channel in use can be looked at");
    let refused = run(&["channel", "check", &channel]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let owner = format!("process {} uses it", edge.id());
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&owner), "{refused:?}");
    // Damage at the very end of a log looks like a torn write of a crash.
    append(Path::new(&log), b"four\n");
    wait_until_stored(&channel, b"four", &mut edge);
    edge.kill().unwrap();
    edge.wait().unwrap();

    let shown: serde_json::Value = serde_json::from_slice(&run(&stats).stdout).unwrap();
    assert_eq!((&shown["events"], &shown["consumers"]["collectors"]), (&4.into(), &2.into()));
    let text = run(&["channel", "export", &channel]);
    assert_eq!(text.stdout, b"one\r\n\nthree\nfour\n", "{text:?}");
    let json = run(&["channel", "export", &channel, "--format", "json"]);
    let lines = String::from_utf8(json.stdout).unwrap();
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["body"], "one\r", "{lines}");
    assert_eq!(run(&["channel", "check", &channel]).status.code(), Some(0));

    // The file still has its lines, so that the repair restores the batch.
    flip(&channel, b"three");
    let report = run(&["channel", "check", &channel]);
    assert_eq!(report.status.code(), Some(1), "{report:?}");
    let shown = String::from_utf8_lossy(&report.stdout);
    let lines = format!("{log} bytes 0 to 12");
    assert!(shown.contains(&format!("\nrepairable   {lines}: ")), "{shown}");
    let mended = run(&["channel", "repair", &channel]);
    assert_eq!(mended.status.code(), Some(0), "{mended:?}");
    let shown = String::from_utf8_lossy(&mended.stdout);
    assert!(shown.contains(&format!("\nrepaired     {lines}: ")), "{shown}");
    assert_eq!(run(&["channel", "export", &channel]).stdout, b"one\r\n\nthree\nfour\n");
    assert_eq!(run(&["channel", "check", &channel]).status.code(), Some(0));

    // Without its lines, the repair drops and names the batch.
    flip(&channel, b"three");
    put(Path::new(&log), "something else");
    let report = run(&["channel", "check", &channel]);
    assert_eq!(report.status.code(), Some(1), "{report:?}");
    let shown = String::from_utf8_lossy(&report.stdout);
    assert!(shown.starts_with("NOT sound") && shown.contains("\ndamaged "), "{report:?}");
    let mended = run(&["channel", "repair", &channel]);
    assert_eq!(mended.status.code(), Some(0), "{mended:?}");
    assert!(mended.stdout.starts_with(b"1 damaged places given up, "), "{mended:?}");
    let shown = String::from_utf8_lossy(&mended.stdout);
    assert!(shown.contains(&format!("\ngiven up     {lines}: lost, not resent")), "{shown}");
    let shown: serde_json::Value = serde_json::from_slice(&run(&stats).stdout).unwrap();
    assert_eq!(shown["events"], 1);
    assert_eq!(run(&["channel", "export", &channel]).stdout, b"four\n");
    assert_eq!(run(&["channel", "stats", "/none"]).status.code(), Some(1));
}

/// Flips a bit of this text, which must be in the channel exactly once.
fn flip(channel: &str, text: &[u8]) {
    let mut flipped = 0;
    for path in segments(channel) {
        let mut bytes = read(&path);
        if let Some(at) = memchr::memmem::find(&bytes, text) {
            bytes[at] ^= 1;
            flipped += 1;
            put_bytes(&path, &bytes);
        }
    }
    assert_eq!(flipped, 1, "the text is in the log once");
}

#[test]
fn log_lines_are_json_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    put(&dir.path().join("data"), "a file, where a directory is needed");
    let data = dir.path().join("data").display().to_string();
    let arguments = ["edge", "--tail", "/none", "--to", "127.0.0.1:9", "--data-dir", &data];
    let output = run(&[arguments.as_slice(), &["--log-format", "json"]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let shown = String::from_utf8_lossy(&output.stderr);
    let last: serde_json::Value = serde_json::from_str(shown.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(last["error"].as_str().unwrap().contains(&data), "{shown}");
}

#[test]
fn the_address_of_an_agent_without_its_scheme_is_recognised() {
    let output = run(&["verify", "--store", "file:///none", "127.0.0.1:16003"]);
    let shown = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    let hint = "127.0.0.1:16003 is not a file; for a running agent write http://127.0.0.1:16003";
    assert!(shown.contains(hint), "{shown}");
}

#[test]
fn a_filter_that_is_none_ends_with_2() {
    let mut command =
        command(&["edge", "--tail", "/a", "--to", "localhost:1", "--data-dir", "/none"]);
    let output = command.env("RUST_LOG", "info,=,").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn the_configuration_that_flags_mean_is_one_that_check_finds_right() {
    let dir = tempfile::tempdir().unwrap();
    let store = "file:///logs/%Y-%m-%d";
    let printed = run(&[
        "collector",
        "--listen",
        "127.0.0.1:4141",
        "--store",
        store,
        "--data-dir",
        "/d",
        "--print-config",
    ]);
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    let file = dir.path().join("collector.toml");
    put(&file, &String::from_utf8(printed.stdout).unwrap());
    let checked = run(&["check", &file.display().to_string()]);
    let shown = String::from_utf8_lossy(&checked.stdout);
    assert!(shown.contains("edges (grpc) -> main (durable) -> store: exactly once\n"), "{shown}");
    assert!(shown.contains("edges routes all into store in file:///logs ["), "{shown}");
}

fn wait_until_stored(channel: &str, line: &[u8], edge: &mut Child) {
    let is_stored = |path: &PathBuf| memchr::memmem::find(&read(path), line).is_some();
    while !segments(channel).iter().any(is_stored) {
        assert!(matches!(edge.try_wait(), Ok(None)), "the edge has ended");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test prepares files as a user would")]
fn append(path: &Path, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().append(true).open(path);
    file.and_then(|mut file| file.write_all(bytes)).expect("a temporary file is written");
}

/// Returns the segment files of a channel.
fn segments(channel: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(format!("{channel}/log")).into_iter().flatten();
    entries.map(|entry| entry.expect("the folder can be read").path()).collect()
}

#[expect(clippy::disallowed_methods, reason = "it waits for another process")]
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aqueduct"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

fn put(path: &Path, text: &str) {
    put_bytes(path, text.as_bytes());
}

#[expect(clippy::disallowed_methods, reason = "a test prepares files as a user would")]
fn put_bytes(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a temporary file is written");
}

#[expect(clippy::disallowed_methods, reason = "a test looks at files as a user would")]
fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("the file is there")
}
