//! A separate Docker engine, which leaves no trace on the machine.
//!
//! It runs in its own network, mount and process namespaces, so that its bridges, packet filter
//! rules and mounts do not collide with another engine. When its first process ends, the kernel
//! kills every container, even if the test was killed (-9).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::wait;

/// Engines use folders `/var/tmp/aqueduct-engine-<process number of the owner>`: on a disk, because
/// the overlay file system does not work on every other, and short, because a socket path is
/// limited.
const PARENT: &str = "/var/tmp";
const PREFIX: &str = "aqueduct-engine-";

/// Runs in the new network and mount namespaces: hides other engines' sockets under /run, sets the
/// name server of the network below, and starts the engine as the first process of a new process
/// namespace.
const BOOT: &str = r#"
set -eu
resolv=$(readlink -m /etc/resolv.conf)
mount -t tmpfs tmpfs /run
mkdir -p "${resolv%/*}"
touch "$resolv"
mount --bind "$1/resolv.conf" "$resolv"
ip link set lo up
exec unshare --pid --fork --kill-child --mount-proc dockerd --host "unix://$1/docker.sock" \
  --config-file "$1/daemon.json" --data-root "$1/data" --exec-root "$1/exec" \
  --pidfile "$1/pid" --storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs \
  --cgroup-parent "/${1##*/}"
"#;

/// A running engine. Dropping it kills it with all of its containers, and deletes its files.
pub(crate) struct Engine {
    dir: PathBuf,
    daemon: Option<Process>,
    network: Option<Process>,
}

impl Engine {
    /// Starts an engine and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not answer, with the end of its log.
    pub(crate) fn start() -> Self {
        sweep();
        let dir = Path::new(PARENT).join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a folder for the engine");
        fs::write(dir.join("resolv.conf"), "nameserver 10.0.2.3\n").expect("resolv.conf");
        fs::write(dir.join("daemon.json"), "{}\n").expect("daemon.json");
        let mut engine = Self { dir, daemon: None, network: None };

        let mut boot = Command::new("setpriv");
        boot.args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "sh", "-c", BOOT, "boot"]);
        boot.arg(&engine.dir);
        let daemon = Process::start("dockerd", boot, &engine.dir.join("dockerd.log"));
        let pid = daemon.pid().to_string();
        engine.daemon = Some(daemon);
        // Before that, its network is the machine's, which must not change.
        let own = network_of("self");
        wait::until("a network namespace", Duration::from_secs(60), || {
            (network_of(&pid)? != own.clone()?).then_some(())
        });

        let mut network = Command::new("setpriv");
        network.args(["--pdeathsig", "KILL", "slirp4netns", "--configure", "--mtu=65520"]);
        network.args(["--disable-host-loopback", &pid, "tap0"]);
        let log = engine.dir.join("network.log");
        engine.network = Some(Process::start("slirp4netns", network, &log));
        engine.await_answer();
        engine
    }

    fn await_answer(&mut self) {
        for _ in 0..300 {
            let answer = self.command("docker").arg("version").stdout(Stdio::null()).output();
            if answer.is_ok_and(|answer| answer.status.success()) {
                return;
            }
            if !self.daemon.as_mut().is_some_and(Process::is_alive) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the engine does not answer:\n{}", tail(&self.log()));
    }

    fn log(&self) -> String {
        self.daemon.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Returns a command that uses this engine. It is killed after ten minutes.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["600", program]);
        // Debian's own client first: it supports BuildKit without a plugin.
        command.env("PATH", format!("/usr/bin:{}", std::env::var("PATH").unwrap_or_default()));
        command.env("DOCKER_HOST", format!("unix://{}/docker.sock", self.dir.display()));
        command.env("DOCKER_BUILDKIT", "1").env("COMPOSE_DOCKER_CLI_BUILD", "1");
        command.stdin(Stdio::null());
        command
    }

    /// Returns a command that can reach the ports that containers publish at 127.0.0.1.
    pub(crate) fn command_on_its_network(&self, program: &str) -> Command {
        let daemon = self.daemon.as_ref().expect("the engine runs until it is dropped");
        let mut command = Command::new("nsenter");
        command.args([&format!("--net=/proc/{}/ns/net", daemon.pid()), program]);
        command
    }

    /// Returns a folder for the test's files, which exists as long as the engine.
    pub(crate) fn scratch(&self) -> PathBuf {
        let dir = self.dir.join("scratch");
        fs::create_dir_all(&dir).expect("a folder next to the engine's");
        dir
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.daemon.take());
        drop(self.network.take());
        remove(&self.dir);
    }
}

fn network_of(pid: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

/// Removes folders of engines whose owner was killed.
fn sweep() {
    for entry in fs::read_dir(PARENT).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(owner) = name.strip_prefix(PREFIX)
            && !Path::new("/proc").join(owner).exists()
        {
            remove(&entry.path());
        }
    }
}

/// Removes an engine's folder and its control groups, if they still exist.
fn remove(dir: &Path) {
    let name = dir.file_name().expect("an engine's folder has a name");
    let root = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_dir(root).into_iter().flatten().flatten().map(|it| it.path());
    for parent in controllers.chain([root.to_owned()]) {
        remove_group(&parent.join(name));
    }
    // Its processes may need a moment to exit, and keep files open until then.
    for _ in 0..50 {
        if fs::remove_dir_all(dir).is_ok() || !dir.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Removes control groups from the innermost out; files in them cannot be deleted.
fn remove_group(group: &Path) {
    for child in fs::read_dir(group).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&child.path());
        }
    }
    let _not_there = fs::remove_dir(group);
}
