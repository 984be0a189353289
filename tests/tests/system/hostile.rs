//! Goal: malicious clients cost an agent at most the memory that its settings allow, and it keeps
//! responding.
//!
//! Method: one agent has every listener that decodes messages, with default settings, and the
//! variable of the allocator that its unit of systemd sets. Eight clients at a time send each of
//! them bytes that become as many events, headers or fields as possible, or that come slowly.
//! Meanwhile the system measures the memory of the agent, and `/livez` has to answer within a
//! second, with the whole machine for the agent and its clients. Afterwards each listener serves an
//! ordinary client, and the memory is free again. `AQUEDUCT_BARE=1` leaves the variable out.
//!
//! Lane: connector
//! Weight: 2
//! Limit: 10m
//! Paths: crates/components crates/formats crates/kit crates/pipeline
//! Paths: crates/components-otlp crates/components-shippers

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::http::{self, free_address};
use aqueduct_tests::process::peak_kib;
use aqueduct_tests::{is_long, wait};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

mod grpc;
mod lines;

const CLIENTS: usize = 8;

/// Duration of an attack; the memory is at its peak after the first messages.
const ATTACK: Duration = Duration::from_secs(2);
/// The same with `--long`.
const LONG_ATTACK: Duration = Duration::from_secs(20);

/// Maximum memory of an agent beyond its memory at rest.
const ALLOWED_KIB: u64 = 256 << 10;

/// What it may keep of that when its clients are gone.
const KEPT_KIB: u64 = 64 << 10;

/// Maximum time for a response of `/livez`.
const ALIVE: Duration = Duration::from_secs(1);

const MIB: usize = 1 << 20;

/// The listeners, by type.
const KINDS: [&str; 9] =
    ["http", "fluent_forward", "lumberjack", "avro", "thrift", "otlp", "grpc", "netcat", "syslog"];

/// A listener, and what clients send to it.
struct Attack {
    what: &'static str,
    port: SocketAddr,
    /// Is answered before the rest is sent, unless it is empty.
    greeting: Vec<u8>,
    bytes: Vec<u8>,
    after: After,
}

/// What a client does after it has sent all.
#[derive(Clone, Copy)]
enum After {
    /// Waits for an answer.
    Reads,
    /// Sends no more, and waits until the listener closes the connection.
    Ends,
    /// Sends a byte now and then.
    Drips,
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory takes every byte");
    encoder.finish().expect("memory takes every byte")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory takes every byte");
    encoder.finish().expect("memory takes every byte")
}

fn post(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let body = gzip(body);
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\n\
         content-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), &body].concat()
}

/// As many empty events as a body may contain.
fn empty_events() -> Vec<u8> {
    let mut body = b"[".to_vec();
    body.extend(b"{},".repeat(8 * MIB / 3 - 2));
    body.extend(b"{}]");
    body
}

/// Events with a separate map of one header each.
fn small_headers() -> Vec<u8> {
    let event = br#"{"headers":{"a":1}},"#;
    let mut body = b"[".to_vec();
    body.extend(event.repeat(8 * MIB / event.len() - 2));
    body.extend(b"{}]");
    body
}

/// Events with 999 header names each.
fn many_names() -> Vec<u8> {
    let headers: Vec<String> = (0..999).map(|n| format!(r#""{n}":"{}""#, n % 7)).collect();
    let event = format!(r#"{{"headers":{{{}}},"body":"x"}}"#, headers.join(","));
    let other = event.replacen("\"0\"", "\"z\"", 1);
    let events = 8 * MIB / (event.len() + other.len() + 4);
    format!("[{}]", vec![format!("{event},{other}"); events].join(",")).into_bytes()
}

/// Compressed entries of a forward protocol message.
fn fluent(entry: &[u8], bytes: usize) -> Vec<u8> {
    let packed = gzip(&entry.repeat(bytes / entry.len()));
    let mut message = b"\x93\xa1t\xc6".to_vec();
    message.extend((packed.len() as u32).to_be_bytes());
    message.extend(packed);
    message.extend(b"\x81\xaacompressed\xa4gzip");
    message
}

/// One record with many short fields.
fn wide_record(fields: u32) -> Vec<u8> {
    let mut entry = b"\x92\x00\xdf".to_vec();
    entry.extend(fields.to_be_bytes());
    entry.extend(b"\xa0\xc0".repeat(fields as usize));
    entry
}

/// A window, and a compressed frame of frames.
fn lumberjack(frame: &[u8], bytes: usize) -> Vec<u8> {
    let count = bytes / frame.len();
    let packed = zlib(&frame.repeat(count));
    let mut message = b"2W".to_vec();
    message.extend((count as u32).to_be_bytes());
    message.extend(b"2C");
    message.extend((packed.len() as u32).to_be_bytes());
    message.extend(packed);
    message
}

/// An event with this many empty fields.
fn empty_pairs(pairs: u32) -> Vec<u8> {
    let mut frame = b"2D\0\0\0\x01".to_vec();
    frame.extend(pairs.to_be_bytes());
    frame.extend(vec![0; 8 * pairs as usize]);
    frame
}

/// A compressed call of Flume's Avro source with this many empty events.
fn avro(events: u64) -> Vec<u8> {
    let hash = [
        0x86, 0xaa, 0xda, 0xe2, 0xc4, 0x54, 0x74, 0xc0, 0xfe, 0x93, 0xff, 0xd0, 0xf2, 0x35, 0x0a,
        0x65,
    ];
    let mut call = [&hash[..], &[0], &hash, &[2, 0, 0, 22], b"appendBatch"].concat();
    put_varint(&mut call, events << 1);
    call.extend(vec![0; 2 * events as usize + 1]);
    let length = (call.len() as u32).to_be_bytes();
    zlib(&[&[0, 0, 0, 1, 0, 0, 0, 1][..], &length, &call].concat())
}

/// A call of Flume's Thrift source with this many empty events.
fn thrift(events: u64) -> Vec<u8> {
    let mut call = b"\x82\x21\x01\x0bappendBatch\x19\xfc".to_vec();
    put_varint(&mut call, events);
    call.extend([0x1b, 0, 0x18, 0, 0].repeat(events as usize));
    call.push(0);
    [&(call.len() as u32).to_be_bytes()[..], &call].concat()
}

/// Empty log records.
fn otlp(records: usize) -> Vec<u8> {
    let mut bytes = [0x12, 0].repeat(records);
    for tag in [0x12, 0x0a] {
        let mut outer = vec![tag];
        put_varint(&mut outer, bytes.len() as u64);
        outer.extend(bytes);
        bytes = outer;
    }
    bytes
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Sends the same bytes on one connection after the other.
fn client(attack: &Attack, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        // It fails when the listener closes the connection.
        let _ = attack_once(attack, is_over);
    }
}

fn attack_once(attack: &Attack, is_over: &AtomicBool) -> io::Result<()> {
    let mut stream = TcpStream::connect(attack.port)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    if !attack.greeting.is_empty() {
        stream.write_all(&attack.greeting)?;
        stream.read_exact(&mut [0; 9])?;
    }
    stream.write_all(&attack.bytes)?;
    match attack.after {
        After::Reads => drop(stream.read(&mut [0; 256])?),
        After::Ends => {
            stream.shutdown(Shutdown::Write)?;
            while stream.read(&mut [0; 4096])? > 0 {}
        }
        After::Drips => {
            while !is_over.load(Ordering::Relaxed) {
                stream.write_all(b"x")?;
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    Ok(())
}

/// Returns the resident memory.
fn memory_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the agent runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits = line.and_then(|line| line.trim().strip_suffix(" kB"));
    digits.and_then(|digits| digits.trim().parse().ok()).expect("a size")
}

fn attacks(ports: &[SocketAddr; KINDS.len()]) -> Vec<Attack> {
    let [http, fluent_port, lumberjack_port, avro_port, thrift_port, otlp_port, rest @ ..] = *ports;
    let [grpc_port, netcat, syslog] = rest;
    let json = |body: &[u8]| post("/", "application/json", body);
    let (greeting, after) = (Vec::new, After::Reads);
    let attack = |what, port, bytes| Attack { what, port, greeting: greeting(), bytes, after };
    let slow_body = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000\r\n\r\n[".to_vec();
    let mut all = vec![
        attack("http: empty events", http, json(&empty_events())),
        attack("http: a header in each event", http, json(&small_headers())),
        attack("http: 999 names", http, json(&many_names())),
        attack("fluent: empty records", fluent_port, fluent(b"\x92\x00\x80", 16 * MIB)),
        attack("fluent: wide records", fluent_port, fluent(&wide_record(60_000), 16 * MIB)),
        attack("fluent: one wide record", fluent_port, fluent(&wide_record(8_000_000), 16 * MIB)),
        attack(
            "lumberjack: empty events",
            lumberjack_port,
            lumberjack(b"2J\0\0\0\x01\0\0\0\x02{}", 16 * MIB),
        ),
        attack(
            "lumberjack: wide events",
            lumberjack_port,
            lumberjack(&empty_pairs(65_000), 16 * MIB),
        ),
        attack(
            "lumberjack: one wide event",
            lumberjack_port,
            lumberjack(&empty_pairs(2_000_000), 16 * MIB),
        ),
        attack("avro: empty events", avro_port, avro(8_000_000)),
        attack("thrift: empty events", thrift_port, thrift(3_300_000)),
        attack(
            "otlp: empty records",
            otlp_port,
            post("/v1/logs", "application/x-protobuf", &otlp(4 * MIB - 100)),
        ),
        attack(
            "otlp: fewer empty records",
            otlp_port,
            post("/v1/logs", "application/x-protobuf", &otlp(1_100_000)),
        ),
        Attack { after: After::Drips, ..attack("http: a body that comes slowly", http, slow_body) },
    ];
    all.extend(grpc::attacks(grpc_port));
    all.extend(lines::attacks(netcat, syslog));
    all
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn hostile_clients_cost_bounded_memory_and_leave_the_agent_alive() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ports: [SocketAddr; KINDS.len()] = std::array::from_fn(|_| free_address());
    let mut text = format!(
        "[agent]\ndata_dir = \"{}/data\"\n[channels.main]\ntype = \"memory\"\n\
         [sinks.away]\ntype = \"discard\"\nchannel = \"main\"\n",
        dir.path().display()
    );
    for (kind, port) in KINDS.iter().zip(&ports) {
        let listen = match *kind {
            "otlp" => format!("[\"{port}\"]"),
            "syslog" => format!("[\"tcp://{port}\"]"),
            _ => format!("\"{port}\""),
        };
        text.push_str(&format!(
            "[sources.{kind}]\ntype = \"{kind}\"\nlisten = {listen}\nchannels = [\"main\"]\n"
        ));
    }
    let agent = Agent::configured("aqueduct-collector", dir.path(), "hostile", &text);
    let mut agent = match std::env::var_os("AQUEDUCT_BARE") {
        Some(_) => agent,
        None => agent.with_variable("MALLOC_MMAP_THRESHOLD_", "4194304"),
    };
    let mut failed = Vec::new();
    for of_listener in attacks(&ports).chunk_by(|one, other| one.port == other.port) {
        // At rest: what clients left is decoded to its end.
        agent.start();
        wait::until("the ports to be open", Duration::from_secs(60), || {
            ports.iter().all(|port| TcpStream::connect(port).is_ok()).then_some(())
        });
        let (pid, admin) = (agent.process().pid(), agent.admin());
        let idle = memory_kib(pid);
        for attack in of_listener {
            let slowest = attacked(attack, pid, admin);
            let more = peak_kib(pid).expect("the agent runs").saturating_sub(idle);
            let (what, sent) = (attack.what, attack.bytes.len());
            println!(
                "{what}: {sent} bytes each, {} MiB more, /livez within {slowest:?}",
                more >> 10
            );
            if more > ALLOWED_KIB || slowest > ALIVE {
                failed.push(format!("{what}: {} MiB, {slowest:?}", more >> 10));
            }
        }
        wait::until("the memory to be free again", Duration::from_secs(90), || {
            (memory_kib(pid) < idle + KEPT_KIB).then_some(())
        });
        is_served(of_listener[0].port, &ports);
        agent.account_for_events();
        println!("  {} MiB at rest, then {} MiB", idle >> 10, memory_kib(pid) >> 10);
        agent.stop(Duration::from_secs(25));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The slowest answer of `/livez` while all clients attack; the peak of the memory is that of this
/// time.
fn attacked(attack: &Attack, pid: u32, admin: SocketAddr) -> Duration {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the peak is measured anew");
    let (is_over, mut slowest) = (AtomicBool::new(false), Duration::ZERO);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| client(attack, &is_over));
        }
        let (began, duration) = (Instant::now(), if is_long() { LONG_ATTACK } else { ATTACK });
        while began.elapsed() < duration {
            let asked = Instant::now();
            let alive = http::get(admin, "/livez").is_some_and(|(status, _)| status == 200);
            slowest = slowest.max(if alive { asked.elapsed() } else { Duration::MAX });
            thread::sleep(Duration::from_millis(50));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    slowest
}

/// An ordinary client of this listener is answered afterwards.
fn is_served(port: SocketAddr, ports: &[SocketAddr; KINDS.len()]) {
    let post = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n[]".to_vec();
    let answers = [
        (0, post, &b"HTTP/1.1 200"[..]),
        (2, b"2W\0\0\0\x012J\0\0\0\x01\0\0\0\x02{}".to_vec(), b"2A\0\0\0\x01"),
        (4, thrift(1), b"\0\0\0"),
        (6, grpc::hello(), b"\0\0"),
        (7, b"a\n".to_vec(), b"OK\n"),
    ];
    for (_, bytes, expected) in answers.into_iter().filter(|(kind, ..)| ports[*kind] == port) {
        let mut stream = TcpStream::connect(port).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream.write_all(&bytes).expect("it reads");
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).expect("it answers");
        assert_eq!(answer, expected);
    }
}
