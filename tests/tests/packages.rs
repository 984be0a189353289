//! Goal: the Debian packages do what their users expect: what is installed runs under systemd, an
//! upgrade loses no event, a version that refuses the configuration leaves the old one at work, an
//! agent that hangs is started again, and what was removed is kept until it is purged.
//!
//! Method: a real systemd is the first process of namespaces of its own, on an overlay of this
//! machine's files (`packages/boot`), and this machine's dpkg installs there what
//! `deploy/debian/build` makes of the programs that are built. The edge's file is readable for the
//! group `adm` alone. Its collector is started only after the upgrades, so that all of them find a
//! backlog.
#![allow(clippy::disallowed_methods, reason = "a system test looks at the machine as it is")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::program;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::wait;
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(30);

/// What a command printed.
fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).trim().to_owned()
}

/// A machine with a systemd of its own. Dropping it ends all that runs there.
struct Machine {
    dir: tempfile::TempDir,
    systemd: Process,
    /// Its first process, as it is called here.
    first: String,
    /// The name of its control groups.
    group: String,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.systemd.signal(Signal::KILL);
        // Its last processes take a moment to end, and hold the groups until then.
        for _ in 0..100 {
            let mut tidy = Command::new(Self::script("tests/packages/boot"));
            let tidied = tidy.args(["--tidy", &self.group]).output();
            if tidied.is_ok_and(|tidied| tidied.status.success()) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Machine {
    fn script(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    fn boot() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("machine")).expect("a folder");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(Self::script("tests/packages/boot"));
        let group = format!("aqueduct-packages-{}", std::process::id());
        command.arg(dir.path().join("machine")).arg(&group);
        let systemd = Process::start("systemd", command, &dir.path().join("systemd.log"));
        let children = format!("/proc/{0}/task/{0}/children", systemd.pid());
        let first = wait::until("the first process", PATIENCE, || {
            let children = fs::read_to_string(&children).ok()?;
            children.split_whitespace().next().map(str::to_owned)
        });
        let machine = Self { dir, systemd, first, group };
        wait::until("systemd to run", PATIENCE, || {
            let state = machine.run("systemctl is-system-running");
            ["running", "degraded"].contains(&&*text(&state)).then_some(())
        });
        machine
    }

    /// Runs a script there.
    fn run(&self, script: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.first, "-m", "-p", "-n", "-u", "-i", "-r", "-w"]);
        command.args(["env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", script]);
        command.output().expect("nsenter is installed")
    }

    /// What a script prints, which has to succeed.
    fn must(&self, script: &str) -> String {
        let output = self.run(script);
        let said = text(&output);
        assert!(output.status.success(), "{script}: {said}\n{}", tail(&self.systemd.output()));
        said
    }

    /// A property of a unit.
    fn show(&self, unit: &str, property: &str) -> String {
        self.must(&format!("systemctl show {unit} --value -p {property}"))
    }

    fn is_active(&self, unit: &str) -> bool {
        self.run(&format!("systemctl is-active -q {unit}")).status.success()
    }

    /// The files there that have our name.
    fn ours(&self) -> String {
        self.must(
            "find /etc /usr /var /run -xdev \\( -path '/usr/local' -o -path '/var/tmp' \\) -prune \
             -o -name '*aqueduct*' -print | LC_ALL=C sort",
        )
    }

    fn main_pid(&self) -> String {
        self.show("aqueduct-edge", "MainPID")
    }

    /// Writes a file there.
    fn write(&self, path: &str, content: &str) {
        let given = self.dir.path().join("given");
        fs::write(&given, content).expect("a file is written");
        // The overlay's lower side is this machine, whose later changes it need not show.
        let mut command = Command::new("sh");
        let enter = format!("nsenter -t {} -m -r -w tee {path} <\"$0\" >/dev/null", self.first);
        let done = command.args(["-c", &enter]).arg(&given).status();
        assert!(done.is_ok_and(|status| status.success()), "{path} is written");
    }

    fn stored(&self) -> Vec<String> {
        let lines = self.run("cat /var/lib/aqueduct/collector/store/*.log");
        let lines = String::from_utf8_lossy(&lines.stdout).lines().map(str::to_owned).collect();
        let mut lines: Vec<String> = lines;
        lines.sort();
        lines
    }
}

/// The packages of the programs that are built.
fn build(out: &Path, version: &str, only: &str) -> PathBuf {
    let programs = PathBuf::from(program("aqueduct").get_program());
    let mut build = Command::new(Machine::script("../deploy/debian/build"));
    build.arg(programs.parent().expect("a folder")).arg(out).arg(only);
    build.env("VERSION", version).env("DPKG_DEB_COMPRESSOR_TYPE", "none");
    let built = build.output().expect("the script is there");
    assert!(built.status.success(), "{}", text(&built));
    out.to_owned()
}

const EDGE: &str = "\
[agent]\ndata_dir = \"/var/lib/aqueduct/edge\"\n\
[sources.site]\ntype = \"tail_dir\"\npaths = [\"/var/log/site.log\"]\nchannels = [\"main\"]\n\
[channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
[sinks.collector]\ntype = \"grpc\"\naddress = \"127.0.0.1:4141\"\nchannel = \"main\"\n";

const COLLECTOR: &str = "\
[agent]\ndata_dir = \"/var/lib/aqueduct/collector\"\n\
[sources.edges]\ntype = \"grpc\"\nlisten = \"127.0.0.1:4141\"\nchannels = [\"main\"]\n\
[channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
[sinks.store]\ntype = \"hdfs\"\nurl = \"file:///var/lib/aqueduct/collector/store\"\n\
channel = \"main\"\nroll = { age_max = \"500ms\" }\n";

/// What is printed for a unit by `systemd-analyze security`: 0 is closed, 10 is open.
#[test]
#[ignore = "needs systemd: tests/run"]
fn the_units_are_closed_to_what_they_do_not_need() {
    for kind in ["edge", "collector"] {
        let unit = Machine::script(&format!("../deploy/systemd/aqueduct-{kind}.service"));
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=true", "--threshold=20"]).arg(unit);
        let judged = analyze.output().expect("systemd-analyze is installed");
        assert!(judged.status.success(), "over 2.0: {}", text(&judged));
    }
}

#[test]
#[ignore = "needs root, systemd and the optimised programs: tests/run"]
fn packages_are_installed_upgraded_removed_and_purged_without_a_loss() {
    let machine = Machine::boot();
    let before = machine.ours();
    let old = build(&machine.dir.path().join("old"), "0.1.0", "");
    let new = build(&machine.dir.path().join("new"), "0.1.1", "aqueduct-edge");
    let new = format!("{}/aqueduct-edge_0.1.1_*.deb", copied(&machine, &new, "new"));

    // Installed: nothing runs before it is configured, and nothing of a program is missing.
    let old = copied(&machine, &old, "old");
    machine.must(&format!("dpkg -i {old}/*.deb"));
    assert!(!machine.is_active("aqueduct-edge") && !machine.is_active("aqueduct-collector"));
    machine.must("aqueduct --version && aqueduct-edge --version && aqueduct-collector --version");
    for file in ["share/man/man1/aqueduct-check.1.gz", "share/bash-completion/completions/aqueduct"]
    {
        machine.must(&format!("test -s /usr/{file}"));
    }
    machine.must("aqueduct check /etc/aqueduct/edge.toml /etc/aqueduct/collector.toml");

    // Running: the start is over when the agent is ready; it reads a file of the group `adm`.
    machine.write("/var/log/site.log", &lines(0..500));
    machine.must("chown root:adm /var/log/site.log && chmod 640 /var/log/site.log");
    machine.write("/etc/aqueduct/edge.toml", EDGE);
    machine.write("/etc/aqueduct/collector.toml", COLLECTOR);
    machine.must("systemctl start aqueduct-edge");
    assert!(machine.is_active("aqueduct-edge"));
    let taken = "test $(aqueduct channel stats /var/lib/aqueduct/edge/channels/main | \
                 grep -c ' 500') -ge 1";
    wait::until("the backlog", PATIENCE, || machine.run(taken).status.success().then_some(()));
    wait::until("the status line", PATIENCE, || {
        let status = machine.show("aqueduct-edge", "StatusText");
        status.contains("sink collector fails").then_some(())
    });

    is_upgraded(&machine, &new);
    is_watched(&machine);

    // Nothing was lost: all lines arrive, each once.
    machine.must("systemctl start aqueduct-collector");
    machine.write("/tmp/more", &lines(500..600));
    machine.must("cat /tmp/more >>/var/log/site.log");
    let mut wanted: Vec<String> = lines(0..600).lines().map(str::to_owned).collect();
    wanted.sort();
    wait::until("all lines", PATIENCE, || (machine.stored().len() >= 600).then_some(()));
    machine.must("systemctl stop aqueduct-edge aqueduct-collector");
    assert_eq!(machine.stored(), wanted);
    leaves(&machine, &before);
}

/// With a backlog: another process of the same unit, and none where the configuration is refused.
fn is_upgraded(machine: &Machine, new: &str) {
    let before = machine.main_pid();
    machine.must(&format!("dpkg -i {new}"));
    let upgraded = machine.main_pid();
    assert!(before != upgraded && machine.is_active("aqueduct-edge"));
    // A configuration that is refused: the process of before goes on, and dpkg says what to do.
    machine.write("/etc/aqueduct/edge.toml", &EDGE.replace("capacity", "capacty"));
    let refused = machine.run(&format!("dpkg -i {new}"));
    assert!(!refused.status.success(), "{}", text(&refused));
    for wanted in ["capacty", "capacity", "dpkg --configure aqueduct-edge"] {
        assert!(text(&refused).contains(wanted), "{wanted}: {}", text(&refused));
    }
    assert_eq!(machine.main_pid(), upgraded, "{}", text(&refused));
    machine.write("/etc/aqueduct/edge.toml", EDGE);
    machine.must("dpkg --configure aqueduct-edge");
    assert_ne!(machine.main_pid(), upgraded);
}

/// An agent that stands still is started again.
fn is_watched(machine: &Machine) {
    machine.must("systemctl reload aqueduct-edge && systemctl is-active aqueduct-edge");
    machine.must("mkdir -p /etc/systemd/system/aqueduct-edge.service.d");
    let watched = "/etc/systemd/system/aqueduct-edge.service.d/watchdog.conf";
    machine.write(watched, "[Service]\nWatchdogSec=2\nRestartSec=0\nLimitCORE=0\n");
    machine.must("systemctl daemon-reload && systemctl restart aqueduct-edge");
    let standing = machine.main_pid();
    machine.must(&format!("kill -STOP {standing}"));
    wait::until("the watchdog", PATIENCE, || {
        let pid = machine.main_pid();
        (pid != standing && pid != "0").then_some(())
    });
    assert_eq!(machine.show("aqueduct-edge", "NRestarts"), "1");
}

/// Removed: configuration and channels stay. Purged: nothing does.
fn leaves(machine: &Machine, before: &str) {
    machine.must("systemctl start aqueduct-edge");
    machine.must("dpkg -r aqueduct-edge");
    assert!(!machine.is_active("aqueduct-edge"));
    // It would be deleted with what is not delivered.
    machine.must("test -d /var/lib/aqueduct/edge/channels && test -s /etc/aqueduct/edge.toml");
    machine.must("dpkg -P aqueduct-edge");
    machine.must("test ! -e /var/lib/aqueduct/edge && test -d /var/lib/aqueduct/collector/store");
    machine.must("getent passwd aqueduct");
    machine.must("dpkg -P aqueduct-collector aqueduct");
    assert!(!machine.run("getent passwd aqueduct").status.success(), "the user is gone");
    assert_eq!(machine.ours(), before, "nothing is left");
}

/// Copies a folder of this machine into that one, and answers its path there: what was made after
/// the boot may not be seen through the overlay.
fn copied(machine: &Machine, folder: &Path, name: &str) -> String {
    let target = format!("/tmp/{name}-packages");
    let script = format!(
        "tar -C \"$0\" -cf - . | nsenter -t {} -m -r -w sh -c \
         'mkdir -p {target} && tar -C {target} -xf -'",
        machine.first
    );
    let done = Command::new("sh").args(["-c", &script]).arg(folder).status();
    assert!(done.is_ok_and(|status| status.success()), "{target}");
    target
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| format!("line {number:05}\n")).collect()
}
