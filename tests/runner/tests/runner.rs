//! Goal: a run reports every result correctly, and leaves no process, however it ends.
//!
//! Method: the real runner in a small repository. Its `cargo` is a script that returns test
//! programs, which are scripts, too: they pass, fail always or once, crash, and leave processes.
#![allow(
    clippy::disallowed_methods,
    reason = "it looks at real processes: their clock and their disk"
)]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const CARGO: &str = r#"#!/bin/bash
case $1 in
metadata)
  echo '{"workspace_root":"'$PWD'","packages":[{"name":"aqueduct-tests","dependencies":[],
    "manifest_path":"'$PWD'/tests/Cargo.toml","targets":[]},{"name":"wire","dependencies":[],
    "manifest_path":"'$PWD'/crates/wire/Cargo.toml","targets":[]}]}' ;;
build)
  echo '{"package_id":"path+file:///r/tests#aqueduct-tests@0.1.0","profile":{"test":true},"target":
    {"kind":["test"],"name":"system"},"executable":"'$PWD'/system"}' | tr -d '\n'; echo
  echo '{"package_id":"path+file:///r/crates/wire#0.1.0","profile":{"test":true},"target":
    {"kind":["lib"],"name":"wire"},"executable":"'$PWD'/wire"}' | tr -d '\n' ;;
esac
"#;

const SYSTEM: &str = r#"#!/bin/bash
if [ "$1" = --list ]; then
  printf '%s: test\n' good::one good::leaves bad::once bad::always dies::here dies::after
  exit
fi
failed=
for name in "$@"; do
  [[ $name == *::* ]] || continue
  printf 'test %s ... ' "$name"
  case $name in
  good::leaves) setsid sleep "$LEFT" & echo ok ;;
  bad::once)
    if [ -e ../once ]; then echo ok; else touch ../once; failed+=" $name"; echo FAILED; fi ;;
  bad::always) echo 'a message'; failed+=" $name"; echo FAILED ;;
  dies::here) kill -9 $$ ;;
  *) echo ok ;;
  esac
done
if [ -n "$failed" ]; then
  printf '\nfailures:\n'; printf '    %s\n' $failed; printf '\ntest result: FAILED.\n'; exit 101
fi
printf '\ntest result: ok.\n'
"#;

const WIRE: &str = "#!/bin/sh\nsleep \"${WIRE_SECONDS:-0}\"\necho 'test a ... ok'\n\
                    echo 'test b ... ok'\necho 'test result: ok. 2 passed'\n";

/// Creates a repository with three system tests and one crate.
fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder of the test");
    let at = |path: &str| folder.path().join(path);
    for path in ["tests/tests/system", "tests/src", "crates/wire", "bin"] {
        fs::create_dir_all(at(path)).expect("a folder of the test");
    }
    for name in ["good", "bad", "dies"] {
        let head = "Lane: core\n//! Weight: 0\n//! Limit: 1m\n//! Paths: crates/wire";
        let text = format!("//! Goal: {name} works.\n//!\n//! {head}\n");
        fs::write(at(&format!("tests/tests/system/{name}.rs")), text)
            .expect("a folder of the test");
    }
    // Tests never install packages.
    let failing = "#!/bin/sh\nexit 1\n";
    let scripts =
        [("bin/cargo", CARGO), ("system", SYSTEM), ("wire", WIRE), ("bin/apt-get", failing)];
    for (path, text) in scripts {
        fs::write(at(path), text).expect("a folder of the test");
        fs::set_permissions(at(path), fs::Permissions::from_mode(0o755))
            .expect("a folder of the test");
    }
    folder
}

fn runner(folder: &Path, names: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aqueduct-test-runner"));
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(names).current_dir(folder).env_remove("CI");
    command.env("PATH", format!("{}:{path}", folder.join("bin").display()));
    command.env("CARGO_TARGET_DIR", folder.join("target"));
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns whether a process with these arguments is running.
fn runs(arguments: &str) -> bool {
    let wanted = format!("{}\0", arguments.replace(' ', "\0"));
    let entries = fs::read_dir("/proc").expect("Linux").flatten();
    let mut lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| line == wanted.as_bytes())
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn reports_each_end_and_kills_left_processes() {
    let folder = repository();
    let mut command = runner(folder.path(), &["good", "bad", "dies", "wire"]);
    let output = command.env("LEFT", "86391").output().unwrap();
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.last(), Some(&"5 passed, 2 failed, 1 skipped"), "{text}");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("ok   good::one  ")), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("ok   wire/lib  2 tests  ")), "{text}");
    assert!(
        text.contains("\nUNSTEADY: failed, and then passed three times\n  bad::once\n"),
        "{text}"
    );
    let failed = text.split_once("\nFAILED\n").unwrap().1;
    assert!(failed.contains("  bad::always\n") && failed.contains("  dies::here\n"), "{text}");
    assert!(text.contains("good left processes, which were killed: sleep ("), "{text}");
    assert!(!runs("sleep 86391"));
    let xml = fs::read_to_string(folder.path().join("target/junit.xml")).unwrap();
    assert_eq!(xml.matches("<failure").count(), 2, "{xml}");
    assert!(xml.contains("name=\"dies::after\"") && xml.contains("its program ended before"));
}

#[test]
fn leaves_nothing_when_it_is_killed_or_its_output_is_closed() {
    let folder = repository();
    let mut command = runner(folder.path(), &["wire", "good"]);
    command.env("LEFT", "86392").env("WIRE_SECONDS", "86393").stdout(Stdio::piped());
    let mut killed = command.spawn().unwrap();
    until("the job starts", || runs("sleep 86393"));
    killed.kill().unwrap();
    killed.wait().unwrap();
    until("the job is killed", || !runs("sleep 86393"));

    let mut closed = command.spawn().unwrap();
    let mut byte = [0];
    closed.stdout.take().unwrap().read_exact(&mut byte).unwrap();
    assert_eq!(closed.wait().unwrap().code(), Some(141));
    until("the job is killed", || !runs("sleep 86393") && !runs("sleep 86392"));
}

#[test]
fn kills_a_job_whose_time_is_over() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aqueduct-test-runner"));
    command.args([
        "supervise",
        "1",
        "0",
        "",
        "--",
        "bash",
        "-c",
        "setsid sleep 86394 & sleep 86395",
    ]);
    let child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output();
    // `wait_with_output` closes standard input, as if the runner were gone.
    assert_eq!(output.unwrap().status.code(), Some(125));

    let mut child = command.spawn().unwrap();
    let _alive = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(124));
    assert!(!runs("sleep 86394") && !runs("sleep 86395"));
}

#[test]
fn names_what_it_does_not_know() {
    let folder = repository();
    let output = runner(folder.path(), &["goods"]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("named `goods`; closest: good"), "{message}");
    let file = folder.path().join("tests/tests/system/good.rs");
    fs::write(file, "//! Goal: x.\n//!\n//! Lane: core\n//! Speed: 1\n").unwrap();
    let output = runner(folder.path(), &["bad"]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("tests/tests/system/good.rs:4: unknown key `Speed`"), "{message}");
}
