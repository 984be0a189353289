//! Goal: whatever comes from the network, the memory of a collector stays within what its settings
//! allow, is given back, and edges are served all the while.
//!
//! Method: the real program in a process of its own, hostile senders on loopback, and the kernel's word
//! for its memory. `AQUEDUCT_HOSTILE_SECONDS` says how long each case goes on; a few seconds unless set.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![allow(clippy::disallowed_methods, reason = "a system test looks at the machine as it is")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pipeline::{Batch, BatchBuilder, Epoch, Floors, Identity, KeySet, Origin, Sequence};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as Relay, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Code, Status, Streaming};
use wire::v1::{FromReceiver, FromSender, Hello, from_receiver, from_sender};
use wire::{Packing, keys, pack};

/// Longer than anything that is waited for takes.
const LIMIT: Duration = Duration::from_secs(60);
/// What a collector takes by itself, built without optimisation.
const BASE_KIB: u64 = 48 << 10;

/// A running collector.
struct Collector {
    process: Child,
    folder: TempDir,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Collector {
    async fn start(source: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (listen, admin) = (free(), free());
        let at = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "[agent]\nname = \"c\"\ndata_dir = \"{}\"\nadmin = \"{admin}\"\n\
             [sources.in]\ntype = \"grpc\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n{source}\n\
             [channels.main]\ntype = \"durable\"\n\
             [sinks.store]\ntype = \"hdfs\"\nchannel = \"main\"\n\
             url = \"file://{}/%{{h}}\"\nroll = {{ age_max = \"2s\", idle_max = \"500ms\" }}\n",
            at("data"),
            at("store"),
        );
        fs::write(folder.path().join("c.toml"), text).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_aqueduct-collector"))
            .args(["--config", &at("c.toml")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let collector = Self { process, folder, listen, admin };
        let began = Instant::now();
        while TcpStream::connect(listen).await.is_err() {
            assert!(began.elapsed() < LIMIT, "{}", collector.log());
            sleep(Duration::from_millis(50)).await;
        }
        collector
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// `VmRSS` or `VmHWM`, in KiB.
    fn memory(&self, row: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let row = status.lines().find_map(|line| line.strip_prefix(row)).unwrap();
        row.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// That it needed no more than this beside its base, at any time, and what it needed.
    fn assert_peak(&self, case: &str, mib: u64) {
        let (peak, now) = (self.memory("VmHWM") >> 10, self.memory("VmRSS") >> 10);
        eprintln!("{case}: peak {peak} MiB, at the end {now} MiB, allowed {mib} MiB and the base");
        assert!(peak <= mib + (BASE_KIB >> 10), "{case}: {peak} MiB");
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// The value of a gauge of its source.
    fn gauge(&self, name: &str) -> f64 {
        let mut stream = std::net::TcpStream::connect(self.admin).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let row = page.lines().find(|line| line.starts_with(name));
        let value = row.and_then(|row| row.rsplit(' ').next()?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {page}"))
    }

    /// An edge is welcome, and its line is stored and committed.
    async fn serve_an_edge(&self, number: u64) {
        let began = Instant::now();
        let mut edge = Peer::connect(self.listen).await;
        edge.say(from_sender::Message::Hello(Hello::default())).await;
        let put = pack(identity([0xed; 16], number), &Batch::of(["a line"]), Packing::Plain);
        assert!(matches!(edge.hear().await, Ok(from_receiver::Message::Welcome(_))));
        edge.say(from_sender::Message::Put(put)).await;
        assert!(matches!(edge.hear().await, Ok(from_receiver::Message::Stored(_))));
        assert!(matches!(edge.hear().await, Ok(from_receiver::Message::Committed(_))));
        assert!(began.elapsed() < LIMIT);
    }
}

/// A sender that says what it likes.
struct Peer {
    say: mpsc::Sender<FromSender>,
    hear: Streaming<FromReceiver>,
}

impl Peer {
    async fn connect(to: SocketAddr) -> Self {
        let channel = Endpoint::from_shared(format!("http://{to}")).unwrap().connect().await;
        let (say, said) = mpsc::channel(4);
        let stream = ReceiverStream::new(said);
        let hear = timeout(LIMIT, wire::exchange(channel.unwrap(), stream)).await.unwrap();
        Self { say, hear: hear.unwrap() }
    }

    async fn say(&self, message: from_sender::Message) {
        let _ = self.say.send(FromSender { message: Some(message) }).await;
    }

    async fn hear(&mut self) -> Result<from_receiver::Message, Status> {
        loop {
            let heard = timeout(LIMIT, self.hear.message()).await.expect("an answer in time")?;
            let heard = heard.expect("a stream ends with a status").message.unwrap();
            if !matches!(heard, from_receiver::Message::Busy(_)) {
                return Ok(heard);
            }
        }
    }
}

fn identity(origin: [u8; 16], sequence: u64) -> Identity {
    Identity { origin: Origin(origin), epoch: Epoch(1), sequence: Sequence(sequence) }
}

/// As many origins as no two senders share.
fn origins(sender: u8, count: u32) -> impl Iterator<Item = [u8; 16]> {
    (0..count).map(move |n| {
        let mut origin = [sender; 16];
        origin[..4].copy_from_slice(&n.to_be_bytes());
        origin
    })
}

fn hello(sender: u8, lives: u32) -> from_sender::Message {
    let keys: KeySet = origins(sender, lives).map(|origin| identity(origin, 0)).collect();
    from_sender::Message::Hello(Hello { keys: keys::encode(&keys), ..Hello::default() })
}

/// How long a case goes on.
fn duration() -> Duration {
    let seconds = std::env::var("AQUEDUCT_HOSTILE_SECONDS").ok();
    Duration::from_secs(seconds.map_or(3, |seconds| seconds.parse().unwrap()))
}

/// Hellos of 800,000 origins, and as many of 25,000 as are taken, with their connections kept open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_senders_say_they_hold() {
    let collector = Collector::start("").await;
    let (huge, large) = (hello(0, 800_000), hello(1, 25_000));
    let began = Instant::now();
    let (mut kept, mut refused, mut rounds) = (Vec::new(), 0, 0);
    while rounds < 2 || began.elapsed() < duration() {
        let mut peers = Vec::new();
        for _ in 0..6 {
            let (one, other) =
                (Peer::connect(collector.listen).await, Peer::connect(collector.listen).await);
            one.say(huge.clone()).await;
            other.say(large.clone()).await;
            peers.extend([one, other]);
        }
        for mut peer in peers {
            match peer.hear().await {
                Ok(_) => kept.push(peer),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                    refused += 1;
                }
            }
        }
        collector.serve_an_edge(rounds).await;
        rounds += 1;
    }
    assert!((3..=6).contains(&kept.len()), "{} are welcome", kept.len());
    assert!(refused > kept.len(), "{refused}");
    let most = collector.gauge("aqueduct_source_remembered_max_bytes");
    let remembered = collector.gauge("aqueduct_source_remembered_bytes");
    assert!(remembered > most / 2.0 && remembered <= most + f64::from(1 << 20), "{remembered}");
    collector.assert_peak("hellos", 128 + 64);
    drop(kept);
    while collector.gauge("aqueduct_source_remembered_bytes") > 0.0 {
        assert!(began.elapsed() < LIMIT + duration());
        sleep(Duration::from_millis(100)).await;
    }
}

/// Floors of a million origins that are nowhere, while an edge commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floors_of_origins_that_are_not_there() {
    let collector = Collector::start("").await;
    let began = Instant::now();
    let mut rounds = 0;
    while rounds < 10 || began.elapsed() < duration() {
        let mut floors = Floors::default();
        origins(rounds as u8, 100_000).for_each(|it| floors.raise(Origin(it), Epoch(7)));
        let floors = keys::encode_floors(&floors);
        let mut peer = Peer::connect(collector.listen).await;
        peer.say(from_sender::Message::Hello(Hello { floors, ..Hello::default() })).await;
        assert!(matches!(peer.hear().await, Ok(from_receiver::Message::Welcome(_))));
        if rounds % 5 == 0 {
            collector.serve_an_edge(rounds).await;
        }
        rounds += 1;
    }
    collector.assert_peak("floors", 64);
}

/// Many messages of 15 MiB of which the last bytes never come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_never_end() {
    let collector = Collector::start("").await;
    let relay = Relay::bind("127.0.0.1:0").await.unwrap();
    let stalling = relay.local_addr().unwrap();
    let to = collector.listen;
    tokio::spawn(async move {
        while let Ok((client, _)) = relay.accept().await {
            tokio::spawn(stall(client, to));
        }
    });
    let batch = Batch::of(["x".repeat(15 << 20)]);
    let put = pack(identity([7; 16], 0), &batch, Packing::Plain);
    let mut peers = Vec::new();
    for _ in 0..30 {
        let mut peer = Peer::connect(stalling).await;
        peer.say(from_sender::Message::Hello(Hello::default())).await;
        assert!(matches!(peer.hear().await, Ok(from_receiver::Message::Welcome(_))));
        peer.say(from_sender::Message::Put(put.clone())).await;
        peers.push(peer);
    }
    let began = Instant::now();
    let mut number = 0;
    let most = collector.gauge("aqueduct_source_gathered_max_bytes");
    while number < 3 || began.elapsed() < duration() {
        // A small batch needs none of that memory.
        collector.serve_an_edge(number).await;
        assert!(collector.gauge("aqueduct_source_gathered_bytes") <= most);
        number += 1;
    }
    // The transport's own windows, and what they may hold unread.
    collector.assert_peak("unfinished", 128 + 64);
}

/// Forwards 10 MiB of what a client says, and then nothing more.
async fn stall(client: TcpStream, to: SocketAddr) {
    let server = TcpStream::connect(to).await.unwrap();
    let ((from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let back = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    };
    let forth = async {
        let _ = tokio::io::copy(&mut from_client.take(10 << 20), &mut to_server).await;
        let _ = to_server.flush().await;
        std::future::pending::<()>().await;
    };
    tokio::join!(back, forth);
}

/// Batches of 1.1 million events, 15 MB of them, each with a directory of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_a_million_paths() {
    const EVENTS: u32 = 1_100_000;
    let collector = Collector::start("").await;
    let mut builder = BatchBuilder::default();
    for n in 0..EVENTS {
        builder.push(b"x", &[("h", &format!("{n:07}"))]);
    }
    let batch = builder.finish();
    let began = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..6 {
        let (batch, to) = (batch.clone(), collector.listen);
        senders.spawn(async move {
            let mut peer = Peer::connect(to).await;
            peer.say(from_sender::Message::Hello(Hello::default())).await;
            assert!(matches!(peer.hear().await, Ok(from_receiver::Message::Welcome(_))));
            let mut number = 0;
            while number < 1 || began.elapsed() < duration() {
                let put = pack(identity([sender; 16], number), &batch, Packing::Plain);
                peer.say(from_sender::Message::Put(put)).await;
                number += 1;
                loop {
                    match peer.hear().await.unwrap() {
                        from_receiver::Message::Stored(_) => break,
                        from_receiver::Message::Committed(_) => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
            number
        });
    }
    let number: u64 = senders.join_all().await.into_iter().sum();
    collector.serve_an_edge(0).await;
    let lines = u64::from(EVENTS) * number + 1;
    while lines_below(&collector.folder.path().join("store")) < lines {
        assert!(began.elapsed() < 3 * LIMIT + duration());
        sleep(Duration::from_millis(200)).await;
    }
    collector.assert_peak("paths", 320);
}

/// Lines in files that a reader sees.
fn lines_below(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let lines = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() && entry.file_name() != "_aqueduct" => lines_below(&entry.path()),
        Ok(kind) if kind.is_file() => {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            bytes.iter().filter(|byte| **byte == b'\n').count() as u64
        }
        _ => 0,
    });
    lines.sum()
}
