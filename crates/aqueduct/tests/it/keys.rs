//! Channel keys change under a running agent, and an agent hides its data from other users of the
//! host.
//!
//! Method: the real program. An edge without a collector fills an encrypted channel, while keys are
//! added and `rotate-key` and the edge are killed repeatedly. Then a collector starts, and each
//! line must arrive once. A crash is SIGABRT, with enough space for a core dump.

#[allow(dead_code, reason = "a part of it is used here")]
use crate::common;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::common::{Agent, aqueduct, command, read, stored, text, write};
use rustix::process::{Pid, Signal, kill_process};
use support::loopback::free_address;

fn settings(dir: &Path, agent: &str) -> String {
    let at = dir.display();
    common::edge(&format!("{at}/data"), &format!("{at}/in.log"))
        .replace("grace = \"1s\"\n", &format!("grace = \"1s\"\n{agent}"))
        .replace(
            "capacity = \"64MiB\"\n",
            &format!(
                "capacity = \"64MiB\"\nsegment_bytes = \"64KiB\"\n\
                 encryption = {{ key_file = \"{at}/channel.keys\", reload = \"1s\" }}\n"
            ),
        )
}

/// Returns the numbers of the keys in a key file.
fn numbers(file: &Path) -> Vec<u32> {
    let text = String::from_utf8(read(file)).unwrap();
    text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

fn rotate(keys: &Path, finish: Option<&Path>) -> serde_json::Value {
    let keys = keys.display().to_string();
    let mut arguments = vec!["channel", "rotate-key", &keys, "--json"];
    let data = finish.map(|data| data.display().to_string());
    arguments.extend(data.iter().flat_map(|data| ["--finish", data]));
    let output = aqueduct(&arguments);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_str(&text(&output)).unwrap()
}

/// Returns whether a channel was opened there: it has a segment with data.
fn sealed(log: &Path) -> bool {
    let mut entries = std::fs::read_dir(log).into_iter().flatten().flatten();
    entries.any(|entry| {
        entry.file_name().to_string_lossy().ends_with(".seg")
            && entry.metadata().is_ok_and(|about| about.len() > 0)
    })
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it looks at files as a user would, and waits")]
fn every_line_arrives_once_while_keys_rotate_and_the_agent_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (at, data) = (dir.path(), dir.path().join("data"));
    let keys = at.join("channel.keys");
    assert_eq!(rotate(&keys, None)["added"], 1);
    assert_eq!(std::fs::metadata(&keys).unwrap().permissions().mode() & 0o7777, 0o600);
    std::fs::set_permissions(&keys, PermissionsExt::from_mode(0o400)).unwrap();

    write(&at.join("edge.toml"), &settings(at, ""));
    let mut file = std::fs::File::create(at.join("in.log")).unwrap();
    let mut lines = 0;
    let collector = free_address().to_string();
    for round in 0..6 {
        let mut edge = Agent::edge(at, &collector);
        for _ in 0..500 {
            writeln!(file, "{lines:06} {}", "x".repeat(200)).unwrap();
            lines += 1;
        }
        edge.until(|| sealed(&data.join("channels/main/log")));
        let before = numbers(&keys);
        let mut killed = command(&["channel", "rotate-key", &keys.display().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(2 * round));
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert!(numbers(&keys).starts_with(&before), "a key is gone");
        rotate(&keys, None);
        rotate(&keys, (round % 2 == 0).then_some(&*data));
        // Longer than the interval at which the agent reads its keys.
        std::thread::sleep(Duration::from_millis(1_100));
        edge.child.kill().unwrap();
        edge.child.wait().unwrap();
    }
    assert_eq!(std::fs::metadata(&keys).unwrap().permissions().mode() & 0o7777, 0o400);

    let edge = Agent::edge(at, &collector);
    let store = Agent::collector_at(at, &collector, "1MiB");
    edge.until(|| stored(at).len() >= lines);
    let found = stored(at);
    assert_eq!(found.len(), lines, "something came twice");
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), lines);
    // Old segments, and the last ones with old keys, are deleted when the next segment starts.
    let newest = numbers(&keys).last().copied().unwrap();
    edge.until(|| {
        writeln!(file, "{lines:06} {}", "y".repeat(60_000)).unwrap();
        lines += 1;
        rotate(&keys, Some(&data))["keys"] == serde_json::json!([newest])
    });
    edge.stop();
    let data = data.join("channels/main").display().to_string();
    let keys = keys.display().to_string();
    let check = aqueduct(&["channel", "check", &data, "--key-file", &keys]);
    assert!(check.status.success(), "{check:?}");
    store.stop();
}

/// Collects every file and directory below, with its mode.
fn rights(at: &Path, found: &mut Vec<(PathBuf, u32)>) {
    for entry in std::fs::read_dir(at).unwrap().flatten() {
        let path = entry.path();
        // A file that is replaced in the meantime appears under the same name again.
        let Ok(about) = std::fs::symlink_metadata(&path) else { continue };
        found.push((path.clone(), about.permissions().mode() & 0o777));
        if about.is_dir() {
            rights(&path, found);
        }
    }
}

#[test]
fn files_are_readable_by_the_group_or_only_by_their_owner() {
    for (setting, others) in [("file_mode = \"0640\"\n", 0o007), ("file_mode = \"0600\"\n", 0o077)]
    {
        let dir = tempfile::tempdir().unwrap();
        rotate(&dir.path().join("channel.keys"), None);
        write(&dir.path().join("edge.toml"), &settings(dir.path(), setting));
        let data = dir.path().join("data");
        let edge = Agent::edge(dir.path(), &free_address().to_string());
        edge.until(|| data.join("channels/main/log").is_dir());
        edge.until(|| data.join("channels/main/channel").exists());
        edge.stop();
        let mut found = Vec::new();
        rights(&data, &mut found);
        assert!(found.len() > 5, "{found:?}");
        for (path, mode) in &found {
            assert_eq!(mode & others, 0, "{} {mode:04o}", path.display());
        }
        let group = found.iter().any(|(_, mode)| mode & 0o040 != 0);
        assert_eq!(group, others == 0o007, "the group reads: {group}");
    }
}

/// Returns whether a crash of the agent leaves a core dump.
#[expect(clippy::disallowed_methods, reason = "it waits for another process")]
fn dumps_core(setting: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    rotate(&dir.path().join("channel.keys"), None);
    let configuration = settings(dir.path(), setting).replace("ADDRESS", "127.0.0.1:1");
    write(&dir.path().join("edge.toml"), &configuration);
    // Programs inherit the limit of the shell; the dump is written to their working directory.
    let script = "ulimit -c unlimited && exec \"$0\" edge --config edge.toml";
    let mut child = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_aqueduct")])
        .current_dir(dir.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let channel = dir.path().join("data/channels/main/channel");
    for _ in 0..500 {
        if channel.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(channel.exists(), "it does not start");
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::ABORT).unwrap();
    child.wait().unwrap().core_dumped()
}

#[test]
fn crash_writes_no_core_dump_unless_it_is_enabled() {
    assert!(
        dumps_core("core_dumps = true\n"),
        "the test sees none: is `ulimit -c` forbidden here?"
    );
    assert!(!dumps_core(""));
}
