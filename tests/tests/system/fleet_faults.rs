//! Goal: of many planted bad configurations, at least 95 % stop in the first wave of a roll-out and
//! none after the second; good ones reach all agents.
//!
//! Method: three fleets, each with a server and eight agents, whose waves are one agent, half and
//! all. Agents follow logs that grow all the time, and send them to a collector over TLS. A table
//! has configurations that drop events, stall, leak, have a wrong path, wrong TLS, or that an agent
//! refuses; the fleets roll them out one after the other, without pauses. In between are good ones.
//! After each bad one, all agents must have the accepted configuration again. A good one that is
//! stopped, because the machine was too busy for a moment, must pass when it is rolled out again.
//!
//! Lane: core
//! Weight: 2
//! Limit: 10m
//! Paths: @core crates/fleet

mod faults;

use std::fs;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::fleet::{Fleet, LIMIT};
use aqueduct_tests::{certificates, http, wait};

use faults::{Around, PLANTED, Planted};

const FLEETS: usize = 3;
const AGENTS: usize = 8;

/// Seconds that each agent is observed.
const SOAK: &str = "5";

/// Time for an answer of the slow server.
const SLOW: Duration = Duration::from_millis(300);

/// The result of a roll-out.
struct Outcome {
    planted: Planted,
    /// The last wave, from 1; 0 if the server refused it. `None` if it reached all agents.
    stopped: Option<u64>,
    reason: String,
}

/// The collector that agents send to.
fn store(dir: &Path, listen: SocketAddr) -> Agent {
    let tls = |file: &str| dir.join(file).display().to_string();
    let text = format!(
        "[agent]\ndata_dir = \"{}\"\n\
         [sources.edges]\ntype = \"grpc\"\nlisten = \"{listen}\"\norigins = \"off\"\n\
         tls = {{ certificate = \"{}\", key = \"{}\", client_ca = \"{}\" }}\n\
         channels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"256MiB\"\n\
         [sinks.void]\ntype = \"discard\"\nchannel = \"main\"\n",
        dir.join("data").display(),
        tls("server.pem"),
        tls("server.key"),
        tls("ca.pem"),
    );
    let file = dir.join("store.toml");
    fs::write(&file, text).expect("the test's own folder");
    let arguments = ["collector", "--config", &file.display().to_string()];
    let mut store = Agent::new("aqueduct", &arguments, &dir.join("store.out"));
    store.start();
    store
}

/// Accepts connections, and never answers. The kernel accepts them.
fn black_hole() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

/// Answers each request after a while, until the test ends.
fn slow() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

/// Answers the requests of a connection; `None` at its end.
fn answer(mut stream: TcpStream) -> Option<()> {
    let (mut read, mut buffer) = (Vec::new(), [0; 4 << 10]);
    loop {
        let head = read.windows(4).position(|it| it == b"\r\n\r\n").map(|it| it + 4);
        let whole = head.map(|head| {
            let text = String::from_utf8_lossy(&read[..head]).to_lowercase();
            let length =
                text.lines().find_map(|it| it.strip_prefix("content-length: ")?.parse().ok());
            head + length.unwrap_or(0_usize)
        });
        if let Some(end) = whole.filter(|end| *end <= read.len()) {
            read.drain(..end);
            thread::sleep(SLOW);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
            continue;
        }
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            len => read.extend_from_slice(&buffer[..len]),
        }
    }
}

/// Rolls out the good configuration.
fn start(around: &Around) -> (Fleet, String) {
    let fleet = Fleet::start(AGENTS, SOAK);
    let good = around.good(&fleet.path("${AGENT}").display().to_string());
    fleet.write_fragment(&good);
    fleet.roll_out().expect("it starts");
    let ended = fleet.ended();
    assert_eq!((&ended["phase"], &ended["waves"]), (&"completed".into(), &3.into()), "{ended}");
    (fleet, good)
}

/// Returns the hash that all agents have, when they have the same.
fn hash(fleet: &Fleet) -> String {
    wait::until("one configuration", LIMIT, || {
        let view = fleet.view()?;
        let mut hashes = view["agents"].as_array()?.iter().map(|it| it["in_force"].as_str());
        let first = hashes.next()??.to_owned();
        hashes.all(|it| it == Some(&first)).then_some(first)
    })
}

fn roll_out(fleet: &Fleet, text: &str, planted: Planted) -> Outcome {
    let before = hash(fleet);
    fleet.write_fragment(text);
    if let Err(reason) = fleet.roll_out() {
        return Outcome { planted, stopped: Some(0), reason };
    }
    let ended = fleet.ended();
    let stopped = (ended["phase"] == "rolled_back").then(|| ended["wave"].as_u64());
    let stopped = stopped.map(|it| it.expect("a wave"));
    let is_back = hash(fleet) == before;
    assert_eq!(is_back, stopped.is_some(), "{}: {ended}", planted.name);
    Outcome { planted, stopped, reason: ended["reason"].as_str().unwrap_or_default().to_owned() }
}

/// Rolls out planted configurations until there are no more.
fn live(around: &Around, planted: &Mutex<impl Iterator<Item = Planted>>) -> Vec<Outcome> {
    let (fleet, good) = start(around);
    let mut outcomes = Vec::new();
    loop {
        let Some(planted) = planted.lock().expect("no fleet panicked").next() else { break };
        let text = (planted.change)(&good, around);
        assert_ne!(text, good, "{}: nothing is planted", planted.name);
        let mut outcome = roll_out(&fleet, &text, planted);
        if planted.kind == "good" && outcome.stopped.is_some() {
            eprintln!("good: {}: stopped once: {}", planted.name, outcome.reason);
            outcome = roll_out(&fleet, &text, planted);
        }
        if planted.kind != "good" && outcome.stopped.is_none() {
            // A missed one: back to a good one for the others.
            fleet.write_fragment(&good);
            fleet.roll_out().expect("it starts");
            let ended = fleet.ended();
            assert_eq!(ended["phase"], "completed", "after {}: {ended}", planted.name);
        }
        outcomes.push(outcome);
    }
    outcomes
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn planted_configurations_stop_in_the_first_wave_and_good_ones_pass() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    certificates::make(dir.path());
    let black_hole = black_hole();
    let around = Around {
        certificates: dir.path().to_owned(),
        store: http::free_address(),
        black_hole: black_hole.local_addr().expect("its address"),
        slow: slow(),
        dead: http::free_address(),
    };
    let _store = store(dir.path(), around.store);
    let planted = Mutex::new(PLANTED.into_iter());
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let fleets: Vec<_> = (0..FLEETS).map(|_| scope.spawn(|| live(&around, &planted))).collect();
        fleets.into_iter().flat_map(|it| it.join().expect("a fleet")).collect()
    });
    let (good, bad): (Vec<_>, Vec<_>) = outcomes.iter().partition(|it| it.planted.kind == "good");
    for Outcome { planted: Planted { kind, name, .. }, stopped, reason } in &outcomes {
        let stopped = stopped.map_or("accepted".to_owned(), |it| format!("wave {it}"));
        eprintln!("{kind}: {name}: {stopped}: {}", reason.trim_end());
    }
    assert!(bad.len() >= 20 && good.len() >= 4, "{} bad, {} good", bad.len(), good.len());
    let first = bad.iter().filter(|it| it.stopped.is_some_and(|it| it <= 1)).count();
    let later = bad.iter().filter(|it| it.stopped.is_none_or(|it| it > 2)).count();
    eprintln!("{first} of {} bad ones stopped in the first wave", bad.len());
    assert!(100 * first >= 95 * bad.len(), "only {first} of {} stopped in wave 1", bad.len());
    assert_eq!(later, 0, "bad configurations passed the second wave");
    let stopped = good.iter().filter(|it| it.stopped.is_some()).count();
    assert_eq!(stopped, 0, "good configurations were stopped");
}
