//! Goal: an agent with a Flume configuration stores what Flume stores, byte for byte: bodies,
//! headers, replies, directories, and the beginning of file names.
//!
//! Method: real Flume 1.11 and `aqueduct agent` run the same configuration, each with its own ports
//! and directories, and get the same input: lines over the limits, text of several bytes per
//! character, CR before LF, empty lines, syslog messages over `eventSize` and with dates without a
//! year.
//!
//! ```text
//!   spooldir, taildir, netcat, syslogtcp, multiport_syslogtcp, syslogudp ─► memory ─► file_roll
//!   spooldir, interceptors ─► memory ─► file_roll
//!   spooldir ─► memory ─► hdfs: `hdfs:///…`, a relative path, a directory in `hdfs.filePrefix`
//! ```
//!
//! One difference is intended, and removed before the comparison: Flume leaves `priority` and
//! `version` of an earlier message on a message that has none.
//!
//! Lane: flume
//! Needs: hdfs java mvn
//! Weight: 1
//! Limit: 10m
//! Paths: crates/flume crates/components crates/components-files crates/components-hdfs
//! Paths: crates/formats crates/kit

mod input;
mod shapes;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::flume::{Flume, jars, java};
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::http::free_address;
use aqueduct_tests::wait;

const LIMIT: Duration = Duration::from_secs(90);

/// Flows whose events are lines of a file.
const LINES: [&str; 7] = ["spool", "split", "tail", "net", "net-le", "net-16", "net-gbk"];

/// Flows whose text has another charset than UTF-8, and the charset.
const CHARSETS: [(&str, &str); 3] =
    [("net-le", "UTF-16LE"), ("net-16", "UTF-16"), ("net-gbk", "GBK")];

/// Flows whose events are lines with headers.
const SYSLOG: [&str; 5] = ["tcp", "multi", "udp", "fields", "multi-fields"];

/// Flows into HDFS.
const STORED: [&str; 3] = ["days", "plain", "home"];

/// The content of the last event of each flow.
const END: &str = "END";

/// Syslog messages with the dates of this run.
struct Syslog {
    all: Vec<String>,
    of_multiport: Vec<String>,
}

/// One of the two agents: its directories and ports.
struct Side {
    name: &'static str,
    dir: PathBuf,
    ports: BTreeMap<&'static str, SocketAddr>,
}

/// A syslog message: its headers and its body.
type Message = (BTreeMap<String, String>, String);

/// Everything that one side has stored and replied.
#[derive(Debug, PartialEq, Eq)]
struct Result {
    lines: BTreeMap<&'static str, String>,
    messages: BTreeMap<&'static str, Vec<Message>>,
    replies: Vec<String>,
    /// For each flow: the directories of its files and the beginning of their names.
    names: BTreeMap<&'static str, Vec<String>>,
}

impl Side {
    fn new(name: &'static str, dir: &Path) -> Self {
        let dir = dir.join(name);
        for below in ["in/spool", "in/split", "in/days", "in/plain", "in/home", "logs"] {
            fs::create_dir_all(dir.join(below)).expect("the test's own folder");
        }
        for shape in shapes::names() {
            fs::create_dir_all(dir.join("in").join(shape)).expect("the test's own folder");
        }
        for flow in LINES.into_iter().chain(SYSLOG).chain(shapes::names()) {
            fs::create_dir_all(dir.join("out").join(flow)).expect("the test's own folder");
        }
        let nets = LINES.into_iter().filter(|flow| flow.starts_with("net"));
        let ports = SYSLOG.into_iter().chain(nets).map(|flow| (flow, free_address()));
        Self { name, dir, ports: ports.collect() }
    }

    /// Returns the prefix of this side's files in HDFS, and below a home directory.
    fn store(&self) -> (String, String) {
        let name = format!("flume-bytes-{}-{}", std::process::id(), self.name);
        (format!("/system/{name}"), name)
    }

    fn properties(&self) -> String {
        let all: Vec<&str> =
            LINES.into_iter().chain(SYSLOG).chain(STORED).chain(shapes::names()).collect();
        let names = all.join(" ");
        let mut text = format!("a.sources = {names}\na.channels = {names}\na.sinks = {names}\n");
        let dir = self.dir.display();
        for flow in &all {
            let port = self.ports.get(flow).map_or(0, SocketAddr::port);
            let source = match *flow {
                "split" => format!(
                    "type = spooldir\nspoolDir = {dir}/in/split\n\
                     deserializer.maxLineLength = 20\ndecodeErrorPolicy = REPLACE"
                ),
                "tail" => format!(
                    "type = TAILDIR\npositionFile = {dir}/positions.json\nfilegroups = f\n\
                     filegroups.f = {dir}/logs/app.*"
                ),
                net if net.starts_with("net") => {
                    let charset = CHARSETS.iter().find(|(flow, _)| *flow == net);
                    let encoding = charset.map_or("UTF-8", |(_, charset)| charset);
                    format!("type = netcat\nbind = 127.0.0.1\nport = {port}\nencoding = {encoding}")
                }
                "tcp" => format!("type = syslogtcp\nhost = 127.0.0.1\nport = {port}"),
                "multi" => format!("type = multiport_syslogtcp\nhost = 127.0.0.1\nports = {port}"),
                "fields" => format!(
                    "type = syslogtcp\nhost = 127.0.0.1\nport = {port}\n\
                     keepFields = hostname, version timestamp"
                ),
                "multi-fields" => format!(
                    "type = multiport_syslogtcp\nhost = 127.0.0.1\nports = {port}\n\
                     keepFields = priority version timestamp hostname"
                ),
                "udp" => format!("type = syslogudp\nhost = 127.0.0.1\nport = {port}"),
                "days" => format!(
                    "type = spooldir\nspoolDir = {dir}/in/days\ninterceptors = i\n\
                     interceptors.i.type = static\ninterceptors.i.key = timestamp\n\
                     interceptors.i.value = 1791756855000"
                ),
                other => {
                    let interceptors = shapes::interceptors(other);
                    format!("type = spooldir\nspoolDir = {dir}/in/{other}{interceptors}")
                }
            };
            let sink = self.sink(flow);
            for (section, keys) in [("sources", source), ("sinks", sink)] {
                for key in keys.lines() {
                    text.push_str(&format!("a.{section}.{flow}.{key}\n"));
                }
            }
            if SYSLOG.contains(flow) || shapes::names().any(|shape| shape == *flow) {
                text.push_str(&format!("a.sinks.{flow}.sink.serializer = HEADER_AND_TEXT\n"));
            }
            text.push_str(&format!(
                "a.sources.{flow}.channels = {flow}\na.sinks.{flow}.channel = {flow}\n\
                 a.channels.{flow}.type = memory\na.channels.{flow}.capacity = 100000\n\
                 a.channels.{flow}.transactionCapacity = 1000\n"
            ));
        }
        text
    }

    /// The keys of the sink of a flow.
    fn sink(&self, flow: &str) -> String {
        let dir = self.dir.display();
        let (store, below_home) = self.store();
        let files = "hdfs.fileType = DataStream\nhdfs.rollInterval = 2\nhdfs.rollSize = 0\n\
                     hdfs.rollCount = 0";
        match flow {
            "days" => format!(
                "type = hdfs\nhdfs.path = hdfs://{store}/days\n{files}\nhdfs.timeZone = UTC\n\
                 hdfs.filePrefix = %Y/%m-%d/events"
            ),
            "plain" => format!("type = hdfs\nhdfs.path = hdfs:{store}/plain\n{files}"),
            "home" => format!("type = hdfs\nhdfs.path = {below_home}\n{files}"),
            other => format!(
                "type = file_roll\nsink.directory = {dir}/out/{other}\nsink.rollInterval = 0"
            ),
        }
    }

    /// Writes the files, sends the messages, and returns what has been stored and replied.
    fn feed(&self, syslog: &Syslog) -> Result {
        let put = |name: &str, bytes: &[u8]| {
            let part = self.dir.join("part");
            fs::write(&part, bytes).expect("the test's own folder");
            fs::rename(part, self.dir.join(name)).expect("the test's own folder");
        };
        put("in/spool/a", &input::long_lines(2_048, END.as_bytes()));
        put("in/split/0", b"");
        wait::until("the empty file to be read", LIMIT, || {
            self.dir.join("in/split/0.COMPLETED").exists().then_some(())
        });
        put("in/split/a", &input::long_lines(20, b"bad \xff\xfe bytes \xc3\nEND\n"));
        for shape in shapes::names() {
            put(&format!("in/{shape}/a"), shapes::INPUT.as_bytes());
        }
        let tail = format!("one\r\n\r\ntwo\n\nx\ry\r\r\n{}\r\nä\r\n{END}\n", "z".repeat(10_000));
        fs::write(self.dir.join("logs/app.log"), tail).expect("the test's own folder");
        for flow in STORED {
            put(&format!("in/{flow}/a"), format!("line\n{END}\n").as_bytes());
        }
        let mut replies = Vec::new();
        let lines = [
            "short\n",
            "\n",
            "cr\r\n",
            &format!("{}\n", "ä".repeat(511)),
            &format!("{}\n", "x".repeat(511)),
            &format!("{}\n", "😀".repeat(255)),
        ];
        for long in [None, Some("ä".repeat(512)), Some("😀".repeat(256)), Some("x".repeat(9_000))]
        {
            let mut text = if long.is_none() { lines.concat() } else { "ok\n".to_owned() };
            text += &long.map_or_else(String::new, |long| format!("{long}\nnever\n"));
            replies.push(self.exchange("net", text.as_bytes()));
        }
        self.exchange("net", format!("{END}\n").as_bytes());
        for (flow, _) in CHARSETS {
            for text in input::texts(flow) {
                replies.push(self.exchange(flow, &text));
            }
        }
        self.exchange("tcp", syslog.all.concat().as_bytes());
        self.exchange("fields", syslog.all.concat().as_bytes());
        for flow in ["multi", "multi-fields"] {
            self.exchange(flow, syslog.of_multiport.concat().as_bytes());
        }
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        // Flume reads 2,048 bytes of a datagram.
        let fits = |it: &&String| !it.trim().is_empty() && it.len() < 2_048;
        for message in syslog.all.iter().filter(fits) {
            socket.send_to(message.as_bytes(), self.ports["udp"]).expect("a datagram");
        }
        self.result(replies)
    }

    /// Sends bytes and returns the replies until the server closes the connection, or until no
    /// further reply arrives after the client has closed its side.
    fn exchange(&self, flow: &str, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.ports[flow]).expect("the source listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
        // A server that rejects a line may close the connection before all is sent.
        let _sent = stream.write_all(bytes);
        let _closed = stream.shutdown(std::net::Shutdown::Write);
        let mut reply = Vec::new();
        let _reset = stream.read_to_end(&mut reply);
        // Each byte is a character, so that other charsets differ, too.
        reply.into_iter().map(char::from).collect()
    }

    fn result(&self, replies: Vec<String>) -> Result {
        let content = |flow: &str| {
            wait::until(&format!("{}: the end of {flow}", self.name), LIMIT, || {
                let folder = self.dir.join("out").join(flow);
                let entries = fs::read_dir(folder).expect("the test's own folder");
                let mut files: Vec<PathBuf> =
                    entries.map(|entry| entry.expect("an entry").path()).collect();
                files.sort();
                let bytes: Vec<Vec<u8>> =
                    files.iter().map(|file| fs::read(file).unwrap_or_default()).collect();
                let text = String::from_utf8_lossy(&bytes.concat()).into_owned();
                (text.ends_with(&format!("{END}\n"))).then_some(text)
            })
        };
        let lines = LINES.map(|flow| (flow, content(flow))).into();
        let with_headers = SYSLOG.into_iter().chain(shapes::names()).map(|flow| {
            let all = content(flow).split_terminator('\n').map(with_headers).collect();
            (flow, all)
        });
        let messages = with_headers.collect();
        let (store, below_home) = self.store();
        let home = format!("/user/{}/{below_home}", user());
        let names = STORED.map(|flow| {
            let below = if flow == "home" { home.clone() } else { format!("{store}/{flow}") };
            (flow, names_in(&below))
        });
        Result { lines, messages, replies, names: names.into() }
    }
}

/// Returns the name of this process's user.
fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("the program id");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Parses a line of `header_and_text`.
fn with_headers(line: &str) -> Message {
    let (headers, body) = line.split_once("} ").expect("headers and a body");
    let pairs = headers.trim_start_matches('{').split(", ").filter(|pair| !pair.is_empty());
    let mut headers: BTreeMap<String, String> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').expect("a name and a value");
            (name.to_owned(), value.to_owned())
        })
        .collect();
    let is_understood = headers.contains_key("host") || body == "nothing known";
    if !is_understood {
        headers.remove("priority");
        headers.remove("version");
    }
    (headers, body.to_owned())
}

/// Returns the complete files below a directory of HDFS: their directory, and the name up to the
/// first character that is not a letter.
fn names_in(below: &str) -> Vec<String> {
    wait::until(&format!("files in {below}"), LIMIT, || {
        let hdfs = Hdfs::shared();
        let listed = String::from_utf8(hdfs.fs(&["-find", "/system", "/user"])).expect("text");
        let mut names: Vec<String> = listed
            .lines()
            .filter_map(|path| path.strip_prefix(below)?.strip_prefix('/'))
            .filter(|path| !path.starts_with("_aqueduct") && !path.ends_with(".tmp"))
            .filter_map(|path| {
                let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
                let is_letter = |c: char| c.is_ascii_alphabetic();
                let letters = name.find(|c| !is_letter(c)).map(|end| &name[..end])?;
                (!letters.is_empty()).then(|| format!("{directory}/{letters}"))
            })
            .collect();
        names.sort();
        names.dedup();
        (!names.is_empty()).then_some(names)
    })
}

#[test]
#[ignore = "needs the programs, HDFS, Java and Maven: tests/run"]
fn a_configuration_stores_the_same_bytes_in_flume_and_here() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let conf = Hdfs::shared().conf_dir();
    Hdfs::shared().fs(&["-mkdir", "-p", "/system", "/user"]);

    let side = Side::new("flume", dir.path());
    let mut machine = java(&side.dir);
    // The last class path counts; the directory has core-site.xml.
    machine.arg("-cp").arg(format!("{}:{}/*", conf.display(), jars().display()));
    machine.arg("-Duser.timezone=UTC");
    let flume = Flume::start_by(machine, "a", &side.properties(), &side.dir);
    let syslog = Syslog { all: input::messages(true), of_multiport: input::messages(false) };
    let expected = side.feed(&syslog);
    flume.stop();

    let side = Side::new("ours", dir.path());
    let file = side.dir.join("a.properties");
    fs::write(&file, side.properties()).expect("the test's own folder");
    let (file, data) = (file.display().to_string(), side.dir.join("data").display().to_string());
    let arguments = ["agent", "-n", "a", "-f", &file, "--data-dir", &data];
    let agent = Agent::new("aqueduct", &arguments, &side.dir.join("agent.out"));
    let mut agent = agent.with_conf_dir(conf).with_variable("USER", user());
    agent.start();
    let found = side.feed(&syslog);
    agent.stop(Duration::from_secs(25));

    for flow in LINES {
        let (found, expected) = (&found.lines[flow], &expected.lines[flow]);
        let differs = found.split('\n').zip(expected.split('\n')).find(|(a, b)| a != b);
        assert!(found == expected, "{flow}: ours and Flume's {differs:?}");
    }
    for flow in SYSLOG.into_iter().chain(shapes::names()) {
        for (found, expected) in found.messages[flow].iter().zip(&expected.messages[flow]) {
            assert_eq!(found, expected, "{flow}");
        }
        assert_eq!(found.messages[flow].len(), expected.messages[flow].len(), "{flow}");
    }
    assert_eq!(found.replies, expected.replies);
    assert!(expected.replies[1].starts_with("OK\nFAILED: Event exceeds"), "{expected:?}");
    assert_eq!(found.names, expected.names);
    assert_eq!(expected.names["days"], ["2026/10-11/events"]);
    assert_eq!(expected.names["plain"], ["/FlumeData"]);
}
