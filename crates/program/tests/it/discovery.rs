//! Collectors join and leave while events flow, and each event is in the store once.
//!
//! Method: whole agents over loopback, and a DNS server of this test. Two edges, one with each kind
//! of group, follow its answers: two collectors, then no answer at all, then one of them and a
//! third, then only that one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use catalogue::FULL;
use support::loopback::free_address;
use tokio::runtime::Runtime;

/// Time limit of any condition.
const PATIENCE: Duration = Duration::from_secs(60);

/// Events of each edge.
const EVENTS: usize = 12_000;

/// Answers each question by the SRV records of `localhost` at these ports; `None`: by a failure.
#[derive(Clone, Default)]
struct NameServer(Arc<Mutex<Option<Vec<u16>>>>);

impl NameServer {
    fn start(&self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (address, ports) = (socket.local_addr().unwrap(), self.0.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            loop {
                let (len, peer) = socket.recv_from(&mut buffer).unwrap();
                let answer = answer(&buffer[..len], ports.lock().unwrap().as_deref());
                socket.send_to(&answer, peer).unwrap();
            }
        });
        address
    }

    fn say(&self, ports: Option<&[u16]>) {
        *self.0.lock().unwrap() = ports.map(<[u16]>::to_vec);
    }
}

/// RFC 1035, 4.1: header, the received question, and a record for each port.
fn answer(query: &[u8], ports: Option<&[u16]>) -> Vec<u8> {
    const SERVFAIL: u8 = 2;
    let name = query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question = &query[12..12 + name + 4];
    let count = u8::try_from(ports.unwrap_or_default().len()).unwrap();
    let code = if ports.is_none() { SERVFAIL } else { 0 };
    let mut answer = vec![query[0], query[1], 0x85, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    answer.extend_from_slice(question);
    for port in ports.unwrap_or_default() {
        // The name of the question, SRV, IN, for a second; 17 bytes: priority, weight, port,
        // target.
        answer.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 1, 0, 17, 0, 0, 0, 1]);
        answer.extend_from_slice(&port.to_be_bytes());
        answer.extend_from_slice(b"\x09localhost\x00");
    }
    answer
}

struct World {
    directory: tempfile::TempDir,
    names: NameServer,
    server: SocketAddr,
}

impl World {
    fn new() -> Self {
        let names = NameServer::default();
        let server = names.start();
        Self { directory: tempfile::tempdir().unwrap(), names, server }
    }

    fn live(&self, name: &str, admin: u16, rest: &str) -> Runtime {
        let data = self.directory.path().join(name);
        let text = format!(
            "[agent]\nname = \"{name}\"\ndata_dir = \"{}\"\ngrace = \"5s\"\n\
             admin = \"127.0.0.1:{admin}\"\n[channels.main]\n\
             type = \"durable\"\ncapacity = \"64MiB\"\nsegment_bytes = \"1MiB\"\n{rest}",
            data.display()
        );
        let plan = config::load(Path::new("test.toml"), &text, name).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        runtime.spawn(async move { program::run(plan, FULL, env::real(), None).await.unwrap() });
        runtime
    }

    fn collector(&self, port: u16) -> Runtime {
        let store = self.directory.path().join("store");
        let rest = format!(
            "[sources.in]\ntype = \"grpc\"\nlisten = \"127.0.0.1:{port}\"\nchannels = [\"main\"]\n\
             [sinks.store]\ntype = \"hdfs\"\nchannel = \"main\"\nurl = \"file://{}\"\n\
             roll = {{ idle_max = \"100ms\", age_max = \"500ms\" }}\n",
            store.display()
        );
        self.live(&format!("collector-{port}"), free_address().port(), &rest)
    }

    /// An edge, and the port of its metrics.
    fn edge(&self, processor: &str) -> (Runtime, u16) {
        let (admin, server) = (free_address().port(), self.server);
        let rest = format!(
            "[sources.numbers]\ntype = \"sequence\"\ncount = {EVENTS}\nrate = 1500\n\
             batch_events = 10\nchannels = [\"main\"]\n[groups.out]\ntype = \"{processor}\"\n\
             sticky = false\nchannel = \"main\"\nsinks = [\"out\"]\nbackoff_max = \"1s\"\n\
             [sinks.out]\ntype = \"grpc\"\ndiscover = \"srv:_aqueduct._tcp.test\"\n\
             discover_server = \"{server}\"\ndiscover_every = \"1s\"\ndiscover_max = 4\n\
             insecure = true\n"
        );
        (self.live(processor, admin, &rest), admin)
    }

    /// Returns how often each event is visible in the store.
    fn stored(&self) -> BTreeMap<String, usize> {
        let mut seen = BTreeMap::new();
        let Ok(entries) = fs::read_dir(self.directory.path().join("store")) else { return seen };
        let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        for file in files.collect::<Vec<PathBuf>>() {
            for line in fs::read_to_string(file).unwrap().lines() {
                *seen.entry(line.to_owned()).or_default() += 1;
            }
        }
        seen
    }
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns an agent's metric; 0 while it does not answer.
fn metric(admin: u16, name: &str) -> u64 {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", admin)) else { return 0 };
    stream.write_all(b"GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit_once(' ')).map_or(0, |(_, value)| value.parse().unwrap())
}

fn members(admin: u16, state: &str) -> u64 {
    metric(admin, &format!("aqueduct_discovery_addresses{{sink=\"out\",state=\"{state}\"}}"))
}

fn events(admin: u16, member: usize) -> u64 {
    metric(admin, &format!("aqueduct_sink_stored_events_total{{sink=\"out-{member}\"}}"))
}

#[test]
fn members_are_drained_and_added_without_loss() {
    let world = World::new();
    let mut ports = [free_address().port(), free_address().port(), free_address().port()];
    // Seats are taken in the order of the addresses.
    ports.sort_by_key(|port| port.to_string());
    let first = world.collector(ports[0]);
    let second = world.collector(ports[1]);
    world.names.say(Some(&ports[..2]));
    let edges = ["load_balance", "failover"].map(|processor| world.edge(processor));
    let each = |is_so: &dyn Fn(u16) -> bool| edges.iter().all(|(_, admin)| is_so(*admin));
    wait_for("both collectors", || each(&|edge| events(edge, 0) > 0 && events(edge, 1) > 0));

    world.names.say(None);
    let failed = "aqueduct_discovery_lookups_total{sink=\"out\",state=\"failed\"}";
    wait_for("a failed lookup", || each(&|edge| metric(edge, failed) > 0));
    assert!(each(&|edge| members(edge, "present") == 2), "no member is removed by a failure");

    let third = world.collector(ports[2]);
    world.names.say(Some(&ports[1..]));
    wait_for("the third", || each(&|edge| events(edge, 2) > 0));
    wait_for("the first is drained", || each(&|edge| members(edge, "leaving") == 0));
    assert!(each(&|edge| members(edge, "present") == 2));
    // Whatever it has is not waited for.
    first.shutdown_background();

    world.names.say(Some(&ports[2..]));
    wait_for("one alone", || {
        each(&|edge| members(edge, "present") == 1 && members(edge, "leaving") == 0)
    });
    second.shutdown_background();
    let all = EVENTS * edges.len();
    wait_for("all events", || world.stored().values().sum::<usize>() >= all);
    let stored = world.stored();
    assert_eq!(stored.len(), EVENTS);
    let wrong: Vec<_> = stored.iter().filter(|(_, count)| **count != edges.len()).collect();
    assert!(wrong.is_empty(), "not once from each edge: {:?}", &wrong[..wrong.len().min(10)]);
    for (edge, _) in edges {
        edge.shutdown_background();
    }
    third.shutdown_background();
}
