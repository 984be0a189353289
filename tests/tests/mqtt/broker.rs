//! A real mosquitto, and a wire to it that can be cut.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
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
    /// Where it saves what it knows.
    database: PathBuf,
    process: Option<Process>,
}

impl Broker {
    /// One that runs, with these settings in addition to what all have.
    pub(crate) fn new(dir: &Path, name: &str, settings: &str) -> Self {
        let address = free_address();
        let data = dir.join(name);
        fs::create_dir(&data).expect("the test's own folder");
        let config = dir.join(format!("{name}.conf"));
        // When it starts again, mosquitto forgets what was answered to messages over this number,
        // which it does not keep to when a session comes back.
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
        wait::until("the broker to listen", Duration::from_secs(10), || {
            TcpStream::connect(self.address).ok()
        });
    }

    pub(crate) fn kill(&mut self) {
        self.process.take().expect("a running broker").kill();
    }

    /// Ends in order: its sessions are on disk.
    pub(crate) fn stop(&mut self) {
        self.process.take().expect("a running broker").stop(Duration::from_secs(10));
    }

    /// What it has logged.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("its log")).into_owned()
    }

    /// Saves what it knows, which else it does when it ends.
    pub(crate) fn save(&self) {
        // It writes another file, and renames it when it is whole.
        let file = || fs::metadata(&self.database).ok().map(|it| (it.ino(), it.mtime_nsec()));
        let before = file();
        self.process.as_ref().expect("a running broker").signal(Signal::USR1);
        wait::until("the broker to save", Duration::from_secs(10), || {
            file().filter(|_| file() != before)
        });
    }

    /// Publishes lines, each as a message, and waits until the broker has taken them.
    pub(crate) fn publish(&self, topic: &str, qos: usize, lines: &str) {
        let mut child = self.publishing(topic, qos, lines);
        assert!(child.wait().expect("it ends").success(), "mosquitto_pub failed");
    }

    /// The same, without waiting.
    pub(crate) fn publishing(&self, topic: &str, qos: usize, lines: &str) -> Child {
        let (port, qos) = (self.address.port().to_string(), qos.to_string());
        let mut child = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &port, "-q", &qos, "-t", topic, "-l"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("mosquitto_pub starts");
        let mut input = child.stdin.take().expect("it is piped");
        input.write_all(lines.as_bytes()).expect("mosquitto_pub reads");
        child
    }

    /// `mosquitto_sub` with these arguments.
    pub(crate) fn subscriber(&self, dir: &Path, arguments: &[&str]) -> Process {
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &self.address.port().to_string()]).args(arguments);
        Process::start("mosquitto_sub", command, &dir.join("subscriber.out"))
    }
}

/// Forwards bytes to the broker, and cuts all connections when it is asked to.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self::after_greetings(to, 0)
    }

    /// One that cuts the first connections, so many, behind the greeting of the broker.
    pub(crate) fn after_greetings(to: SocketAddr, mut cuts: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let connections = open.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                if cuts > 0 {
                    cuts -= 1;
                    forward(&client, &server);
                    forward(&server, &client);
                    continue;
                }
                for (from, into) in [(&client, &server), (&server, &client)] {
                    let from = from.try_clone().expect("a file descriptor to spare");
                    let into = into.try_clone().expect("a file descriptor to spare");
                    thread::spawn(move || copy(&from, &into));
                }
                connections.lock().expect("no holder panics").extend([client, server]);
            }
        });
        Self { address, open }
    }

    pub(crate) fn cut(&self) {
        for stream in self.open.lock().expect("no holder panics").drain(..) {
            let _ended_already = stream.shutdown(Shutdown::Both);
        }
    }
}

fn copy(from: &TcpStream, into: &TcpStream) {
    while forward(from, into) {}
    let _ended_already = into.shutdown(Shutdown::Both);
}

fn forward(mut from: &TcpStream, mut into: &TcpStream) -> bool {
    let mut bytes = [0; 4096];
    matches!(from.read(&mut bytes), Ok(read @ 1..) if into.write_all(&bytes[..read]).is_ok())
}
