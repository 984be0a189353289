//! Goal: a service manager is notified when an agent is ready (not before everything is open),
//! reloads, or stops. The agent feeds the watchdog only while its work progresses.
//!
//! Method: the test plays the service manager, on a socket that `NOTIFY_SOCKET` names. The agents
//! are real processes. Those that must hang or panic are this program (`faulty_agent`): the
//! collector with additional components (`systemd/faults.rs`), as in a user's program.

mod faults;

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use faults::FAULTS;
use pipeline::{Catalogue, Group};
use program::cli::{self, CollectorArgs};
use rustix::process::{Pid, Signal, kill_process};
use support::loopback::free_address;

const PATIENCE: Duration = Duration::from_secs(60);

/// Watchdog interval in these tests.
const WATCHDOG: Duration = Duration::from_secs(1);

/// The configuration file of a faulty agent; set only in its process.
const FAULTY: &str = "AQUEDUCT_TEST_FAULTY";

/// A service manager with one agent.
struct Manager {
    dir: tempfile::TempDir,
    socket: UnixDatagram,
    /// Port of the source `edges`.
    listen: u16,
    agent: Option<Child>,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        let manager = Self { dir, socket, listen: free_address().port(), agent: None };
        fs::write(manager.path("in.log"), "first\n").unwrap();
        manager.configure("", "type = \"hdfs\"\nurl = \"file://DIR/store\"\n", "");
        manager
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the configuration: settings of the source `files`, of its sink, and more.
    fn configure(&self, source: &str, sink: &str, more: &str) {
        let text = format!(
            "[agent]\ndata_dir = \"DIR/data\"\ngrace = \"5s\"\n\
             [sources.edges]\ntype = \"grpc\"\nlisten = \"127.0.0.1:{}\"\n\
             channels = [\"main\"]\n\
             [sources.files]\ntype = \"tail_dir\"\npaths = [\"DIR/in.log\"]\n\
             channels = [\"main\"]\n{source}\
             [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
             [sinks.out]\nchannel = \"main\"\n{sink}{more}",
            self.listen
        );
        let text = text.replace("DIR", &self.dir.path().display().to_string());
        fs::write(self.path("agent.toml"), text).unwrap();
    }

    fn start(&mut self, mut command: Command, watchdog: Duration) {
        command.stdin(Stdio::null()).stdout(Stdio::null()).env_remove("RUST_LOG");
        command.stderr(fs::File::create(self.path("log")).unwrap());
        command.env("NOTIFY_SOCKET", self.path("notify"));
        command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        // A fault blocks one of several threads.
        command.env("TOKIO_WORKER_THREADS", "4");
        self.agent = Some(command.spawn().unwrap());
    }

    fn start_collector(&mut self, watchdog: Duration) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aqueduct"));
        command.args(["collector", "--config"]).arg(self.path("agent.toml"));
        self.start(command, watchdog);
    }

    fn start_faulty(&mut self) {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "systemd::faulty_agent"]).env(FAULTY, self.path("agent.toml"));
        self.start(command, WATCHDOG);
    }

    /// Returns the fields of one datagram, if it arrives within this time.
    fn hear(&self, within: Duration) -> Vec<String> {
        self.socket.set_read_timeout(Some(within.max(Duration::from_millis(1)))).unwrap();
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).unwrap_or_default();
        String::from_utf8_lossy(&bytes[..count]).lines().map(str::to_owned).collect()
    }

    /// Returns all fields that arrive within this time.
    fn hear_for(&self, time: Duration) -> Vec<String> {
        let end = Instant::now() + time;
        let mut words = Vec::new();
        while Instant::now() < end {
            words.extend(self.hear(end.saturating_duration_since(Instant::now())));
        }
        words
    }

    /// Waits until the watchdog was fed six times, which works on slow machines, too.
    fn until_fed(&self) {
        let (began, mut fed) = (Instant::now(), Vec::new());
        while fed.len() < 6 {
            assert!(
                began.elapsed() < PATIENCE,
                "fed {} times; the log:\n{}",
                fed.len(),
                self.log()
            );
            let words = self.hear(Duration::from_millis(100));
            fed.extend((0..count(&words, "WATCHDOG=1")).map(|_| Instant::now()));
        }
        // On a busy machine datagrams arrive late; the shortest interval is the agent's own.
        let pause = fed.windows(2).map(|two| two[1] - two[0]).min().unwrap();
        assert!(pause <= WATCHDOG / 2, "at least twice in its time: {pause:?}");
    }

    /// Waits until the watchdog is not fed for twice its interval.
    fn until_starved(&self) {
        let began = Instant::now();
        while count(&self.hear_for(WATCHDOG * 2), "WATCHDOG=1") > 0 {
            assert!(began.elapsed() < PATIENCE, "it is fed still; the log:\n{}", self.log());
        }
    }

    /// Returns the fields up to the first one with this prefix.
    fn until(&self, wanted: &str) -> Vec<String> {
        let end = Instant::now() + PATIENCE;
        let mut words = Vec::new();
        while Instant::now() < end {
            words.extend(self.hear(Duration::from_millis(100)));
            if words.iter().any(|word| word.starts_with(wanted)) {
                return words;
            }
        }
        panic!("no {wanted} among {words:?}; the log:\n{}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Waits for a log line, which may follow the notification.
    fn until_logged(&self, what: &str) {
        let began = Instant::now();
        while !self.log().contains(what) {
            assert!(began.elapsed() < PATIENCE, "{what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn append(&self, line: &str) {
        let mut file = fs::OpenOptions::new().append(true).open(self.path("in.log")).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.agent.as_ref().unwrap().id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.agent.as_mut().unwrap().wait().unwrap().code()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            // The process has already exited, unless the test failed or the agent must hang.
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

fn count(words: &[String], wanted: &str) -> usize {
    words.iter().filter(|word| *word == wanted).count()
}

#[test]
fn agent_is_ready_when_its_last_source_is_open_and_otherwise_explains() {
    let mut manager = Manager::new();
    let other = TcpListener::bind(("127.0.0.1", manager.listen)).unwrap();
    manager.start_collector(Duration::from_secs(4));
    let mut words = manager.until("STATUS=Something is wrong: source edges fails: ");
    words.extend(manager.hear_for(Duration::from_secs(1)));
    assert_eq!(count(&words, "READY=1"), 0, "the port is taken: {words:?}");
    drop(other);
    let words = manager.until("READY=1");
    assert_eq!(count(&words, "STOPPING=1") + count(&words, "RELOADING=1"), 0, "{words:?}");
    manager.until("STATUS=All is well");
    manager.signal(Signal::TERM);
    let words = manager.until("STOPPING=1");
    assert_eq!(count(&words, "READY=1"), 0, "it is said once: {words:?}");
    assert_eq!(manager.exit_code(), Some(0));
}

#[test]
fn a_reload_is_announced_and_its_end_too_whatever_became_of_it() {
    let mut manager = Manager::new();
    manager.start_collector(Duration::from_secs(4));
    manager.until("READY=1");
    let right = fs::read_to_string(manager.path("agent.toml")).unwrap();
    for (text, outcome) in [
        (right.replace("64MiB", "65MiB"), "the new configuration is running"),
        (right.replace("capacity", "capacty"), "rejected the new configuration"),
    ] {
        fs::write(manager.path("agent.toml"), text).unwrap();
        manager.signal(Signal::HUP);
        let mut words = manager.until("READY=1");
        words.retain(|word| !word.starts_with("STATUS=") && word != "WATCHDOG=1");
        let stamp = words.get(1).and_then(|word| word.strip_prefix("MONOTONIC_USEC="));
        let stamp: Option<u64> = stamp.and_then(|stamp| stamp.parse().ok());
        assert!(stamp.is_some_and(|stamp| stamp > 0), "{words:?}");
        assert_eq!((&*words[0], &*words[2], words.len()), ("RELOADING=1", "READY=1", 3));
        manager.until_logged(outcome);
    }
}

#[test]
fn a_configuration_that_is_wrong_ends_with_78_and_no_word_of_readiness() {
    let mut manager = Manager::new();
    fs::write(manager.path("agent.toml"), "[agent]\nnme = \"a\"\n").unwrap();
    manager.start_collector(WATCHDOG);
    assert_eq!(manager.exit_code(), Some(78), "{}", manager.log());
    assert_eq!(manager.hear_for(Duration::from_millis(100)), Vec::<String>::new());
}

#[test]
fn progress_feeds_the_watchdog_even_without_a_store() {
    let mut manager = Manager::new();
    let store = free_address();
    manager.configure("", &format!("type = \"hdfs\"\nurl = \"hdfs://{store}/logs\"\n"), "");
    manager.start_collector(WATCHDOG);
    manager.until("READY=1");
    manager.append("one");
    manager.until("STATUS=Something is wrong: sink out fails: ");
    manager.until_fed();
    // The watchdog watches another process.
    let mut manager = Manager::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aqueduct"));
    command.args(["collector", "--config"]).arg(manager.path("agent.toml"));
    command.env("WATCHDOG_PID", "1");
    manager.start(command, WATCHDOG);
    let mut words = manager.until("READY=1");
    words.extend(manager.hear_for(WATCHDOG));
    assert_eq!(count(&words, "WATCHDOG=1"), 0, "{words:?}");
}

/// Asserts that the agent feeds the watchdog until the component sees the second line, and never
/// again. The last status has this prefix, if there can be one.
fn dies(source: &str, sink: &str, status: Option<&str>) {
    let mut manager = Manager::new();
    manager.configure(source, sink, "");
    manager.start_faulty();
    manager.until("READY=1");
    manager.until_fed();
    manager.append("fault");
    match status {
        Some(status) => {
            manager.until(&format!("STATUS=dead: {status}"));
            manager.until_logged("parts are dead or stuck; ");
        }
        None => manager.until_starved(),
    }
    let words = manager.hear_for(WATCHDOG * 2);
    assert_eq!(count(&words, "WATCHDOG=1"), 0, "{words:?}\n{}", manager.log());
}

const DISCARD: &str = "type = \"discard\"\n";
const INTERCEPTOR: &str = "[[sources.files.interceptors]]\ntype = \"fault\"\nfault = ";

#[test]
fn an_intake_that_hangs_starves_the_watchdog() {
    let status = "source `files` is stuck: no batch was stored";
    dies(&format!("{INTERCEPTOR}\"hang\"\n"), DISCARD, Some(status));
    dies(&format!("{INTERCEPTOR}\"hold the thread\"\n"), DISCARD, None);
}

#[test]
fn a_source_that_panics_starves_the_watchdog() {
    let status = "source `files`: its task panicked";
    dies(&format!("{INTERCEPTOR}\"panic\"\n"), DISCARD, Some(status));
}

#[test]
fn a_sink_that_panics_starves_the_watchdog() {
    dies("", "type = \"faulty\"\n", Some("sink `out`: its task panicked"));
}

#[test]
fn a_group_that_hangs_starves_the_watchdog() {
    let group = "[groups.all]\ntype = \"hanging\"\nchannel = \"main\"\nsinks = [\"out\"]\n";
    let mut manager = Manager::new();
    manager.configure("", DISCARD, group);
    let text = fs::read_to_string(manager.path("agent.toml")).unwrap();
    let text = text.replace("[sinks.out]\nchannel = \"main\"\n", "[sinks.out]\n");
    fs::write(manager.path("agent.toml"), text).unwrap();
    manager.start_faulty();
    manager.until("STATUS=dead: group `all` is stuck: no response for ");
    let words = manager.hear_for(WATCHDOG * 2);
    assert_eq!(count(&words, "WATCHDOG=1"), 0, "{words:?}\n{}", manager.log());
}

/// Runs the collector with faults. The tests above call it in a child process; otherwise it does
/// nothing.
#[test]
fn faulty_agent() {
    let Some(config) = env::var_os(FAULTY) else { return };
    let arguments = ["faulty".into(), "--config".into(), config];
    let groups: Vec<&'static Group> =
        catalogue::FULL.groups.iter().copied().chain([&FAULTS]).collect();
    let faulty = Catalogue { groups: groups.leak(), ..catalogue::FULL };
    let ended = cli::main::<CollectorArgs>("faulty", "0", arguments, faulty);
    panic!("it was to be killed: {ended:?}");
}
