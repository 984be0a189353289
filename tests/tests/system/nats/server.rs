//! A NATS server with JetStream on disk, and a separate client that shares no code with the
//! connector.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::certificates;
use aqueduct_tests::http::free_address;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::wait;
use serde_json::{Value, json};

/// Timeout of the start.
const START: Duration = Duration::from_secs(60);

/// Maximum message size.
pub(crate) const PAYLOAD_MAX: usize = 16 << 10;

/// Size limit of all streams.
pub(crate) const ROOM: usize = 1 << 30;

/// Returns a test client's fields for `CONNECT`, given the nonce of the server.
pub(crate) type Login = Box<dyn Fn(&str) -> Value + Send + Sync>;

/// Logs in as user `u` with the password `p`.
pub(crate) fn password() -> Login {
    Box::new(|_nonce| json!({ "user": "u", "pass": "p" }))
}

/// A server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    dir: PathBuf,
    /// Login of the test's clients.
    login: Login,
    process: Option<Process>,
}

impl Server {
    /// Starts a server with the user `u` and the password `p`. Its certificate is signed by
    /// `ca.pem` in the folder; clients without TLS are accepted, too.
    pub(crate) fn start(dir: &Path) -> Self {
        certificates::make(dir);
        let at = dir.display();
        let config = format!(
            "allow_non_tls: true\nauthorization {{ user: u, password: p }}\n\
             tls {{ cert_file: \"{at}/server.pem\", key_file: \"{at}/server.key\" }}\n"
        );
        Self::configured(dir, &config, password())
    }

    /// Starts a server with its files in this folder; `config` contains the accepted logins.
    pub(crate) fn configured(dir: &Path, config: &str, login: Login) -> Self {
        let (address, at) = (free_address(), dir.display());
        let config = format!(
            "listen: \"{address}\"\nmax_payload: {PAYLOAD_MAX}\n\
             jetstream {{ include \"room.conf\"\nstore_dir: \"{at}/jetstream\" }}\n{config}"
        );
        fs::write(dir.join("nats.conf"), config).expect("the test's own folder");
        let mut server = Self { address, dir: dir.to_owned(), login, process: None };
        server.set_room(ROOM);
        server.revive();
        server
    }

    /// Restarts it after [`Server::kill`], with the same files at the same address.
    pub(crate) fn revive(&mut self) {
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(self.dir.join("nats.conf"));
        let mut process = Process::start("nats-server", command, &self.dir.join("nats.out"));
        wait::until("the server to have its streams", START, || {
            assert!(process.is_alive(), "NATS ended:\n{}", tail(&process.output()));
            Client::connect(self.address, &self.login)?.ask("$JS.API.INFO", &Value::Null)
        });
        self.process = Some(process);
    }

    /// Sets the size limit of all streams, from the next [`Server::revive`] on.
    pub(crate) fn set_room(&self, bytes: usize) {
        let text = format!("max_file_store: {bytes}\n");
        fs::write(self.dir.join("room.conf"), text).expect("the test's own folder");
    }

    /// Kills it with -9.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("a running server").kill();
    }

    /// Connects a client.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address, &self.login).expect("the server runs")
    }
}

/// A client that waits for each response.
pub(crate) struct Client {
    read: BufReader<TcpStream>,
    write: TcpStream,
}

impl Client {
    fn connect(address: SocketAddr, login: &Login) -> Option<Self> {
        let write = TcpStream::connect(address).ok()?;
        write.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let mut client = Self { read: BufReader::new(write.try_clone().ok()?), write };
        let mut connect = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "lang": "test", "version": "1", "protocol": 1,
        });
        let info = client.line()?;
        let info: Value = serde_json::from_str(info.strip_prefix("INFO ")?).ok()?;
        for (name, value) in login(info["nonce"].as_str().unwrap_or_default()).as_object()? {
            connect[name] = value.clone();
        }
        client.say(format!("CONNECT {connect}\r\nSUB answers 1\r\nPING\r\n").as_bytes())?;
        (client.line()? == "PONG").then_some(client)
    }

    fn say(&mut self, bytes: &[u8]) -> Option<()> {
        self.write.write_all(bytes).ok()
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.read.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(line.trim_end().to_owned())
    }

    /// Reads the next message: its protocol line, its headers, its body.
    fn message(&mut self) -> Option<(String, String, String)> {
        loop {
            let line = self.line()?;
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let number = |behind: usize| words[words.len() - 1 - behind].parse::<usize>().ok();
            let headers = match words[0] {
                "PING" => {
                    self.say(b"PONG\r\n")?;
                    continue;
                }
                "MSG" => 0,
                "HMSG" => number(1)?,
                _ => panic!("{line}"),
            };
            let mut bytes = vec![0; number(0)? + 2];
            self.read.read_exact(&mut bytes).ok()?;
            bytes.truncate(bytes.len() - 2);
            let body = String::from_utf8(bytes.split_off(headers)).expect("text");
            return Some((line, String::from_utf8(bytes).expect("text"), body));
        }
    }

    /// Sends a request and returns the response.
    fn ask(&mut self, subject: &str, request: &Value) -> Option<Value> {
        let body = if request.is_null() { String::new() } else { request.to_string() };
        self.say(format!("PUB {subject} answers {}\r\n{body}\r\n", body.len()).as_bytes())?;
        serde_json::from_str(&self.message()?.2).ok()
    }

    /// Sends a request to JetStream.
    pub(crate) fn api(&mut self, subject: &str, request: &Value) -> Value {
        let answer = self.ask(&format!("$JS.API.{subject}"), request).expect("an answer");
        assert!(answer["error"].is_null(), "{subject}: {answer}");
        answer
    }

    /// Creates a stream of the subjects below a word.
    pub(crate) fn make(&mut self, name: &str, word: &str, more: &Value) {
        let mut config = json!({
            "name": name, "subjects": [format!("{word}.>")], "storage": "file",
            "retention": "limits", "num_replicas": 1,
        });
        for (setting, value) in more.as_object().into_iter().flatten() {
            config[setting] = value.clone();
        }
        self.api(&format!("STREAM.CREATE.{name}"), &config);
    }

    /// Returns the number of the last message of a stream, which equals the number of accepted
    /// messages.
    pub(crate) fn last(&mut self, name: &str) -> usize {
        let info = self.api(&format!("STREAM.INFO.{name}"), &Value::Null);
        info["state"]["last_seq"].as_u64().expect("a number") as usize
    }

    /// Sends `NAME-0`, `NAME-1` and so on, each after the previous one was accepted.
    pub(crate) fn send(&mut self, subject: &str, name: &str, count: usize) {
        for number in 0..count {
            self.send_one(subject, "site: Zürich\r\n", &format!("{name}-{number}"));
        }
    }

    /// Sends a message with these header lines.
    pub(crate) fn send_one(&mut self, subject: &str, headers: &str, body: &str) {
        let block = format!("NATS/1.0\r\n{headers}\r\n");
        let (head, all) = (block.len(), block.len() + body.len());
        let text = format!("HPUB {subject} answers {head} {all}\r\n{block}{body}\r\n");
        self.say(text.as_bytes()).expect("the server reads");
        let (_, _, answer) = self.message().expect("an acknowledgement");
        assert!(answer.contains("\"seq\""), "{answer}");
    }

    /// Returns all messages of a stream: subject and body.
    pub(crate) fn all(&mut self, stream: &str) -> Vec<(String, String)> {
        let count = self.last(stream);
        let config = json!({
            "deliver_policy": "all", "ack_policy": "none", "replay_policy": "instant",
            "max_deliver": -1, "inactive_threshold": 60_000_000_000_u64,
        });
        let request = json!({ "stream_name": stream, "config": config });
        let made = self.api(&format!("CONSUMER.CREATE.{stream}"), &request);
        let next = format!(
            "$JS.API.CONSUMER.MSG.NEXT.{stream}.{}",
            made["name"].as_str().expect("a name")
        );
        let body = json!({ "batch": count }).to_string();
        let text = format!("PUB {next} answers {}\r\n{body}\r\n", body.len());
        self.say(text.as_bytes()).expect("the server reads");
        let mut found = Vec::new();
        while found.len() < count {
            let (line, _, body) = self.message().expect("a message");
            let subject = line.split(' ').nth(1).expect("a subject");
            found.push((subject.to_owned(), body));
        }
        found
    }
}
