//! A real systemd-journald with its own directories, in its own mount namespace.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aqueduct_tests::process::Process;
use aqueduct_tests::wait;
use serde_json::Value;

use super::LIMIT;

/// The machine id in the journal.
const MACHINE: &str = "0123456789abcdef0123456789abcdef";

/// Creates the directories, and becomes journald. `$0` is the folder of the test.
const BOOT: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journald.conf.d /run/systemd/journal "$0/journal/$1" /var/log/journal
mount --bind "$0/journal" /var/log/journal
echo "$1" > "$0/machine-id"
mount --bind "$0/machine-id" /etc/machine-id
printf '[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nReadKMsg=no\nAudit=no\n' \
  > /run/systemd/journald.conf.d/test.conf
exec /usr/lib/systemd/systemd-journald
"#;

/// The fields of an entry, each with its values.
pub(crate) type Entry = BTreeMap<String, Vec<Vec<u8>>>;

/// A running journal.
pub(crate) struct Journal {
    process: Process,
    socket: UnixDatagram,
    /// Runs the host's journalctl in the journal's namespace.
    pub(crate) journalctl: PathBuf,
}

impl Journal {
    pub(crate) fn start(dir: &Path) -> Self {
        let mut boot = Command::new("unshare");
        boot.args(["--mount", "sh", "-c", BOOT]).arg(dir).arg(MACHINE);
        boot.env("SYSTEMD_LOG_TARGET", "console");
        let process = Process::start("systemd-journald", boot, &dir.join("journald.out"));
        let inside = format!("/proc/{}", process.pid());
        let journalctl = dir.join("journalctl");
        let call = format!("#!/bin/sh\nexec nsenter --mount={inside}/ns/mnt journalctl \"$@\"\n");
        fs::write(&journalctl, call).expect("the test's own folder");
        fs::set_permissions(&journalctl, PermissionsExt::from_mode(0o755)).expect("an own file");
        let socket = UnixDatagram::unbound().expect("a socket");
        wait::until("journald to listen", LIMIT, || {
            socket.connect(format!("{inside}/root/run/systemd/journal/socket")).ok()
        });
        let journal = Self { process, socket, journalctl };
        // From now on it writes to the disk.
        journal.call(&["--flush"]);
        journal
    }

    /// Sends an entry with the native protocol: values with their lengths.
    pub(crate) fn send(&self, fields: &[(&str, &[u8])]) {
        let mut bytes = Vec::new();
        for (name, value) in fields {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(b'\n');
            bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        let sent = self.socket.send(&bytes).expect("journald takes it");
        assert_eq!(sent, bytes.len());
    }

    /// Runs a program in its namespace, with this input.
    pub(crate) fn run(&self, words: &[&str], input: &[u8]) -> Vec<u8> {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.process.pid());
        let mut command = Command::new("nsenter");
        command.arg(namespace).args(words).stdin(Stdio::piped());
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nsenter runs");
        let mut pipe = child.stdin.take().expect("a pipe");
        // Fails if the program has exited.
        let _ = std::io::Write::write_all(&mut pipe, input);
        drop(pipe);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{words:?}: {output:?}");
        output.stdout
    }

    /// Runs journalctl.
    pub(crate) fn call(&self, words: &[&str]) -> Vec<u8> {
        self.run(&[&["journalctl"], words].concat(), b"")
    }

    /// Returns the entries of this identifier, in order, once there are this many: the last ones
    /// may still be in its socket.
    pub(crate) fn list(&self, identifier: &str, entries: usize) -> Vec<Entry> {
        wait::until(&format!("{entries} entries in the journal"), LIMIT, || {
            let bytes = self.call(&["--output=json", "--all", "--no-pager", "-t", identifier]);
            let text = String::from_utf8(bytes).expect("JSON is text");
            (text.lines().count() >= entries).then(|| text.lines().map(entry).collect())
        })
    }

    pub(crate) fn stop(self) {
        self.process.stop(LIMIT);
    }
}

/// Parses an entry from a line of JSON, with either form of values.
pub(crate) fn entry(line: &str) -> Entry {
    let object: BTreeMap<String, Value> = serde_json::from_str(line).expect("an object");
    object.into_iter().map(|(name, value)| (name, values(value))).collect()
}

fn values(value: Value) -> Vec<Vec<u8>> {
    match value {
        Value::Array(items) if items.iter().any(|item| !item.is_number()) => {
            items.into_iter().flat_map(values).collect()
        }
        Value::Array(items) => {
            let byte =
                |item: Value| u8::try_from(item.as_u64().expect("a number")).expect("a byte");
            vec![items.into_iter().map(byte).collect()]
        }
        value => vec![value.as_str().unwrap_or_default().as_bytes().to_vec()],
    }
}
