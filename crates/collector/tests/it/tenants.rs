//! Goal: one noisy edge in a hundred does not starve the others when the channel has no room, and
//! what one sender may take is bounded.
//!
//! Method: the real program with a channel that is emptied slowly. One tenant puts as much as it is
//! let by many connections, 99 others a few lines each; each has an address of its own. How long
//! the quiet ones wait until their line is stored is compared between fair shares and first come,
//! first served, at a `grpc` source and at an `http` source. Where the store is away, a limit of
//! what one sender has in the channels leaves room for the others.

#![allow(clippy::print_stderr, reason = "figures for a run by hand")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Collector, LIMIT, Peer, identity};
use pipeline::Batch;
use support::loopback::free_address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tonic::Code;
use wire::v1::{Hello, from_receiver, from_sender};
use wire::{Packing, pack};

/// Tenants with a line now and then.
const QUIET: u8 = 99;
/// Connections of the noisy tenant, with so many batches each.
const NOISY: u8 = 40;
const BATCHES: u8 = 3;
/// Bytes of a batch of the noisy tenant.
const NOISY_BYTES: usize = 256 << 10;
/// Between two batches of a quiet tenant.
const PAUSE: Duration = Duration::from_millis(500);
/// The channel is full by then.
const FILLING: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(4);
/// How often it is measured at most.
const ATTEMPTS: usize = 3;

/// A sender that is welcome.
async fn welcome(from: [u8; 4], collector: &Collector) -> Peer {
    let mut peer = Peer::connect_from(from, collector.listen).await;
    peer.say(from_sender::Message::Hello(Hello::default())).await;
    assert!(matches!(peer.hear().await, Ok(from_receiver::Message::Welcome(_))));
    peer
}

fn put(sender: u8, number: u64, bytes: usize) -> from_sender::Message {
    let batch = Batch::of(["x".repeat(bytes)]);
    from_sender::Message::Put(pack(identity([sender; 16], number), &batch, Packing::Plain))
}

/// A client of the `http` source.
struct Client(TcpStream);

impl Client {
    async fn connect(from: [u8; 4], to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        Self(socket.connect(to).await.unwrap())
    }

    /// Posts an event of so many bytes, and waits until it is stored; `None`: the connection ends.
    async fn post(&mut self, bytes: usize) -> Option<()> {
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {bytes}\r\n\r\n");
        self.0.write_all(&[head.as_bytes(), &vec![b'x'; bytes]].concat()).await.ok()?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            self.0.read_buf(&mut answer).await.ok().filter(|read| *read > 0)?;
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        Some(())
    }
}

/// A quiet tenant, of either source.
enum Quiet {
    Grpc(Peer),
    Http(Client),
}

impl Quiet {
    /// Puts a line, and waits until it is stored.
    async fn line(&mut self, sender: u8, number: u64) {
        match self {
            Self::Grpc(peer) => {
                peer.say(put(sender, number, 100)).await;
                while !matches!(peer.hear().await, Ok(from_receiver::Message::Stored(_))) {}
            }
            Self::Http(client) => client.post(100).await.expect("an answer"),
        }
    }
}

/// Puts one batch after the other, three of them without an answer at a time.
async fn be_noisy(mut peer: Peer, sender: u8, stored: Arc<AtomicU64>) {
    let (mut sent, mut answered) = (0, 0);
    loop {
        while sent < answered + u64::from(BATCHES) {
            peer.say(put(sender, sent, NOISY_BYTES)).await;
            sent += 1;
        }
        match peer.hear().await {
            Ok(from_receiver::Message::Stored(it)) => {
                let keys = wire::keys::decode(it.keys).unwrap();
                let count: u64 = keys.iter().map(|(_, _, set)| set.count()).sum();
                answered += count;
                stored.fetch_add(count, Ordering::Relaxed);
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// Puts a line from time to time; how long each waited for its answer, with those that still do.
async fn be_quiet(mut quiet: Quiet, sender: u8, until: Instant) -> Vec<Duration> {
    let mut waited = Vec::new();
    // Not all at once.
    sleep(PAUSE * u32::from(sender) / u32::from(QUIET)).await;
    for number in 0.. {
        let began = Instant::now();
        if began >= until {
            break;
        }
        let is_answered = timeout(until - began, quiet.line(sender, number)).await.is_ok();
        if is_answered || began.elapsed() > Duration::from_secs(1) {
            waited.push(began.elapsed());
        }
        sleep(PAUSE).await;
    }
    waited
}

/// Milliseconds that the quiet ones waited: the median, the 99th of a hundred, and the longest.
async fn waits(kind: &str, fair: bool) -> [u128; 3] {
    let web = free_address();
    let source = format!(
        "[sources.in.tenants]\nfair = {fair}\n[sources.web]\ntype = \"http\"\n\
         listen = \"{web}\"\ndecoder = \"blob\"\nwait_max = \"60s\"\nchannels = [\"main\"]\n\
         [sources.web.tenants]\nfair = {fair}"
    );
    let roll = "{ age_max = \"250ms\", idle_max = \"250ms\" }";
    let collector = Collector::start_with(&source, "capacity = \"16MiB\"", roll).await;
    let stored = Arc::new(AtomicU64::new(0));
    let is_http = kind == "http";
    let mut noisy = Vec::new();
    for n in 0..NOISY * if is_http { BATCHES } else { 1 } {
        let stored = stored.clone();
        noisy.push(if is_http {
            let mut client = Client::connect([127, 0, 0, 1], web).await;
            tokio::spawn(async move {
                while client.post(NOISY_BYTES).await.is_some() {
                    stored.fetch_add(1, Ordering::Relaxed);
                }
            })
        } else {
            let peer = welcome([127, 0, 0, 1], &collector).await;
            tokio::spawn(be_noisy(peer, 100 + n, stored))
        });
    }
    sleep(FILLING).await;
    let mut quiet = Vec::new();
    for n in 0..QUIET {
        let from = [127, 0, 1, n + 1];
        quiet.push(match is_http {
            true => Quiet::Http(Client::connect(from, web).await),
            false => Quiet::Grpc(welcome(from, &collector).await),
        });
    }
    let (before, began) = (stored.load(Ordering::Relaxed), Instant::now());
    let quiet = (0..).zip(quiet).map(|(n, peer)| tokio::spawn(be_quiet(peer, n, began + MEASURED)));
    let mut all = Vec::new();
    for task in quiet.collect::<Vec<_>>() {
        all.extend(task.await.unwrap());
    }
    let noisy_bytes = (stored.load(Ordering::Relaxed) - before) * NOISY_BYTES as u64;
    noisy.iter().for_each(tokio::task::JoinHandle::abort);
    all.sort();
    let at = |part: f64| all[((all.len() - 1) as f64 * part) as usize].as_millis();
    let found = [at(0.5), at(0.99), at(1.0)];
    eprintln!(
        "{kind}, fair = {fair}: {} batches of quiet tenants waited {found:?} ms; the noisy one: \
         {} MiB/s",
        all.len(),
        (noisy_bytes >> 20) as f64 / began.elapsed().as_secs_f64()
    );
    found
}

/// The median is `times` shorter with fair shares; most of what is left is the wait for room.
async fn the_quiet_ones_are_not_starved(kind: &str, times: u128) {
    let mut found = Vec::new();
    // What else the machine does makes waits longer, never shorter.
    for _ in 0..ATTEMPTS {
        let [first_come, fair] = [waits(kind, false).await, waits(kind, true).await];
        if fair[0] * times < first_come[0] && fair[1] * 3 < first_come[1] * 2 {
            return;
        }
        found.push((fair, first_come));
    }
    panic!("{kind}: milliseconds with fair shares, and without: {found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_noisy_edge_does_not_starve_the_others() {
    the_quiet_ones_are_not_starved("grpc", 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_noisy_client_of_http_does_not_starve_the_others() {
    the_quiet_ones_are_not_starved("http", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_takes_what_it_may_and_the_others_do_not_wait_for_it() {
    let source = "[sources.in.tenants]\nbytes_per_second = \"1MiB\"\nconnections_max = 2\n\
                  names.\"127.0.1.1\" = { connections_max = 3 }";
    let collector = Collector::start_with(source, "", "{ age_max = \"250ms\" }").await;
    let stored = Arc::new(AtomicU64::new(0));
    for n in 0..2 {
        let peer = welcome([127, 0, 0, 1], &collector).await;
        tokio::spawn(be_noisy(peer, 100 + n, stored.clone()));
    }
    let mut third = Peer::connect(collector.listen).await;
    third.say(from_sender::Message::Hello(Hello::default())).await;
    let status = third.hear().await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("`tenants.connections_max`"), "{status}");
    let mut named = Vec::new();
    for _ in 0..3 {
        named.push(welcome([127, 0, 1, 1], &collector).await);
    }
    let mut found = Vec::new();
    // As above: each has a connection of its own.
    for peer in named {
        let (before, began) = (stored.load(Ordering::Relaxed), Instant::now());
        let waited = be_quiet(Quiet::Grpc(peer), 1, began + Duration::from_secs(3)).await;
        let bytes = (stored.load(Ordering::Relaxed) - before) * NOISY_BYTES as u64;
        let rate = bytes as f64 / began.elapsed().as_secs_f64() / f64::from(1 << 20);
        assert!(rate < 1.5, "{rate} MiB/s");
        found.push((rate, waited));
    }
    let is_right = |(rate, waited): &(f64, Vec<Duration>)| {
        *rate > 0.6 && waited.len() >= 4 && waited.iter().all(|it| it.as_millis() < 1_000)
    };
    assert!(found.iter().any(is_right), "MiB/s of the noisy one, and waits: {found:?}");
    for line in ["tenant_connections", "tenant_rate"] {
        let name = format!("aqueduct_source_anomalies_total{{source=\"in\",reason=\"{line}\"}}");
        assert!(collector.gauge(&name) >= 1.0, "{line}");
    }
}

/// The store is away: nothing leaves the channel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sender_fills_only_its_share_of_the_channels_in_an_outage() {
    let source = "[sources.in.backlog]\nmax = \"2MiB\"\nnames.\"127.0.1.1\" = \"1KiB\"";
    let no_roll = "{ age_max = \"1h\", idle_max = \"1h\" }";
    let collector = Collector::start_with(source, "capacity = \"64MiB\"", no_roll).await;
    let stored = Arc::new(AtomicU64::new(0));
    let mut busy = welcome([127, 0, 0, 1], &collector).await;
    for n in 0..4 {
        let peer = welcome([127, 0, 0, 1], &collector).await;
        tokio::spawn(be_noisy(peer, 100 + n, stored.clone()));
    }
    // Each batch has some bytes besides its body, so that one less than eight has room.
    let most = (2 << 20) / NOISY_BYTES as u64 - 1;
    let filled = async {
        while stored.load(Ordering::Relaxed) < most {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, filled).await.expect("its part is filled");
    busy.say(put(200, 0, NOISY_BYTES)).await;
    loop {
        match busy.hear_all().await.expect("the stream goes on") {
            from_receiver::Message::Busy(_) => break,
            from_receiver::Message::Stored(_) => panic!("its part was full"),
            _ => {}
        }
    }
    for number in 0..100 {
        let mut quiet = Quiet::Grpc(welcome([127, 0, 2, number], &collector).await);
        quiet.line(number, 0).await;
    }
    let mut named = Quiet::Grpc(welcome([127, 0, 1, 1], &collector).await);
    named.line(201, 0).await;
    let second = timeout(Duration::from_secs(2), named.line(201, 1)).await;
    assert!(second.is_err(), "it has one batch there, which is more than it may");
    assert_eq!(stored.load(Ordering::Relaxed), most);
    let name = "aqueduct_source_anomalies_total{source=\"in\",reason=\"tenant_backlog\"}";
    assert!(collector.gauge(name) >= 2.0);
}
