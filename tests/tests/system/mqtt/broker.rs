//! A real mosquitto.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aqueduct_tests::http::free_address;
use aqueduct_tests::process::Process;
use aqueduct_tests::wait;
use rustix::process::Signal;

/// A mosquitto that keeps its sessions on disk.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    config: PathBuf,
    log: PathBuf,
    /// File of its saved state.
    database: PathBuf,
    process: Option<Process>,
}

impl Broker {
    /// Starts a broker with these additional settings.
    pub(crate) fn new(dir: &Path, name: &str, settings: &str) -> Self {
        let address = free_address();
        let data = dir.join(name);
        fs::create_dir(&data).expect("the test's own folder");
        let config = dir.join(format!("{name}.conf"));
        // On a restart, mosquitto forgets acknowledgements of messages beyond this limit, which it
        // exceeds for restored sessions.
        let text = format!(
            "listener {} 127.0.0.1\nuser root\npersistence true\n\
             persistence_location {}/\nmax_inflight_messages 10000\n\
             max_queued_messages 0\n{settings}",
            address.port(),
            data.display()
        );
        fs::write(&config, text).expect("a configuration is written");
        let log = dir.join(format!("{name}.out"));
        let database = data.join("mosquitto.db");
        let mut broker = Self { address, config, log, database, process: None };
        broker.start();
        broker
    }

    pub(crate) fn start(&mut self) {
        let mut command = Command::new("mosquitto");
        command.arg("-v").arg("-c").arg(&self.config);
        self.process = Some(Process::start("mosquitto", command, &self.log));
        wait::until("the broker to listen", Duration::from_secs(60), || {
            TcpStream::connect(self.address).ok()
        });
    }

    pub(crate) fn kill(&mut self) {
        self.process.take().expect("a running broker").kill();
    }

    /// Shuts it down, so that its sessions are on disk.
    pub(crate) fn stop(&mut self) {
        self.process.take().expect("a running broker").stop(Duration::from_secs(10));
    }

    /// Returns its log.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("its log")).into_owned()
    }

    /// Returns how many messages of QoS 2 it has sent to this client after the client had received
    /// them, according to its log. The protocol forbids that; mosquitto does it when two
    /// connections end before it has written its releases to them.
    pub(crate) fn sent_behind_the_release(&self, client: &str) -> usize {
        let received = format!("Received PUBREC from {client} (Mid: ");
        let sent = format!("Sending PUBLISH to {client} (");
        let id = |text: &str| -> u16 {
            let digits = text.split(|it: char| !it.is_ascii_digit()).next();
            digits.and_then(|digits| digits.parse().ok()).expect("an id is a number")
        };
        let (mut known, mut again) = (BTreeSet::new(), 0);
        for line in self.output().lines() {
            if let Some((_, rest)) = line.split_once(&received) {
                known.insert(id(rest));
            } else if let Some((_, rest)) = line.split_once(&sent) {
                let (_, named) = rest.split_once(", m").expect("the id of the message");
                let was_known = known.remove(&id(named));
                again += usize::from(was_known && rest.starts_with("d1"));
            }
        }
        again
    }

    /// Saves its state, which it normally does on shutdown.
    pub(crate) fn save(&self) {
        // It writes another file, and renames it when it is complete.
        let file = || fs::metadata(&self.database).ok().map(|it| (it.ino(), it.mtime_nsec()));
        let before = file();
        self.process.as_ref().expect("a running broker").signal(Signal::USR1);
        wait::until("the broker to save", Duration::from_secs(60), || {
            file().filter(|_| file() != before)
        });
    }

    /// Calls [`publish`] for this broker.
    pub(crate) fn publish(&self, topic: &str, qos: usize, lines: &str) {
        publish(self.address, topic, qos, lines);
    }

    /// Starts `mosquitto_sub` with these arguments, and waits for its subscriptions.
    pub(crate) fn subscriber(&self, dir: &Path, arguments: &[&str]) -> Process {
        let granted = || self.output().matches("Sending SUBACK to").count();
        let before = granted();
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &self.address.port().to_string()]).args(arguments);
        let process = Process::start("mosquitto_sub", command, &dir.join("subscriber.out"));
        wait::until("the broker to grant the filters", Duration::from_secs(60), || {
            (granted() > before).then_some(())
        });
        process
    }
}

/// Publishes lines, each as a message, and waits until the broker has accepted them.
pub(crate) fn publish(broker: SocketAddr, topic: &str, qos: usize, lines: &str) {
    let mut child = publishing(broker, topic, qos, lines);
    assert!(child.wait().expect("it ends").success(), "mosquitto_pub failed");
}

/// Same, without waiting.
pub(crate) fn publishing(broker: SocketAddr, topic: &str, qos: usize, lines: &str) -> Child {
    let (port, qos) = (broker.port().to_string(), qos.to_string());
    let mut child = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port, "-q", &qos, "-t", topic, "-l"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("mosquitto_pub starts");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(lines.as_bytes()).expect("mosquitto_pub reads");
    child
}
