//! A collector as its users start it, in a process of its own, and senders that say what they like.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::print_stderr, reason = "figures for a run by hand")]

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use pipeline::{Batch, Epoch, Identity, Origin, Sequence};
use support::loopback::free_address;
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Endpoint, Uri};
use tonic::{Status, Streaming};
use wire::v1::{FromReceiver, FromSender, Hello, from_receiver, from_sender};
use wire::{Packing, pack};

/// Longer than anything that is waited for takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(400);
/// What a collector takes by itself, built without optimisation.
const BASE_KIB: u64 = 48 << 10;

/// A running collector.
pub(crate) struct Collector {
    process: Child,
    pub(crate) folder: TempDir,
    pub(crate) listen: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Collector {
    pub(crate) async fn start(source: &str) -> Self {
        let roll = "{ age_max = \"2s\", idle_max = \"500ms\" }";
        Self::start_with(source, "", roll).await
    }

    /// With these settings of the source and of the channel, and this table `roll`.
    pub(crate) async fn start_with(source: &str, channel: &str, roll: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (listen, admin) = (free_address(), free_address());
        let at = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "[agent]\nname = \"c\"\ndata_dir = \"{}\"\nadmin = \"{admin}\"\n\
             [sources.in]\ntype = \"grpc\"\nlisten = \"{listen}\"\nchannels = \
             [\"main\"]\n{source}\n\
             [channels.main]\ntype = \"durable\"\n{channel}\n\
             [sinks.store]\ntype = \"hdfs\"\nchannel = \"main\"\n\
             url = \"file://{}/%{{h}}\"\nroll = {roll}\n",
            at("data"),
            at("store"),
        );
        fs::write(folder.path().join("c.toml"), text).unwrap();
        let process = launch(folder.path());
        let collector = Self { process, folder, listen, admin };
        collector.ready().await;
        collector
    }

    /// Killed with -9, and started again.
    pub(crate) async fn kill_and_start(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = launch(self.folder.path());
        self.ready().await;
    }

    async fn ready(&self) {
        let began = Instant::now();
        while TcpStream::connect(self.listen).await.is_err() {
            assert!(began.elapsed() < LIMIT, "{}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// `VmRSS` or `VmHWM`, in KiB.
    fn memory(&self, row: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let row = status.lines().find_map(|line| line.strip_prefix(row)).unwrap();
        row.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// That it needed no more than this on top of its base, at any time, and what it needed.
    pub(crate) fn assert_peak(&self, case: &str, mib: u64) {
        let (peak, now) = (self.memory("VmHWM") >> 10, self.memory("VmRSS") >> 10);
        eprintln!("{case}: peak {peak} MiB, at the end {now} MiB, allowed {mib} MiB and the base");
        assert!(peak <= mib + (BASE_KIB >> 10), "{case}: {peak} MiB");
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// The value of a gauge of its source.
    pub(crate) fn gauge(&self, name: &str) -> f64 {
        let mut stream = std::net::TcpStream::connect(self.admin).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let row = page.lines().find(|line| line.starts_with(name));
        let value = row.and_then(|row| row.rsplit(' ').next()?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {page}"))
    }

    /// An edge is welcome, and its line is stored and committed.
    pub(crate) async fn serve_an_edge(&self, number: u64) {
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
pub(crate) struct Peer {
    say: mpsc::Sender<FromSender>,
    hear: Streaming<FromReceiver>,
}

impl Peer {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::connect_from([127, 0, 0, 1], to).await
    }

    /// From this address of the loopback network.
    pub(crate) async fn connect_from(from: [u8; 4], to: SocketAddr) -> Self {
        let connector = tower::service_fn(move |_: Uri| async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind((from, 0).into())?;
            socket.connect(to).await.map(TokioIo::new)
        });
        let endpoint = Endpoint::from_shared(format!("http://{to}")).unwrap();
        let channel = endpoint.connect_with_connector(connector).await;
        let (say, said) = mpsc::channel(4);
        let stream = ReceiverStream::new(said);
        let hear = timeout(LIMIT, wire::exchange(channel.unwrap(), None, stream)).await.unwrap();
        Self { say, hear: hear.unwrap() }
    }

    pub(crate) async fn say(&self, message: from_sender::Message) {
        let _ = self.say.send(FromSender { message: Some(message) }).await;
    }

    pub(crate) async fn hear(&mut self) -> Result<from_receiver::Message, Status> {
        loop {
            use from_receiver::Message::{Busy, Ledgers};
            let heard = self.hear_all().await?;
            if !matches!(heard, Busy(_) | Ledgers(_)) {
                return Ok(heard);
            }
        }
    }

    /// The next message, whatever it is.
    pub(crate) async fn hear_all(&mut self) -> Result<from_receiver::Message, Status> {
        let heard = timeout(LIMIT, self.hear.message()).await.expect("an answer in time")?;
        Ok(heard.expect("a stream ends with a status").message.unwrap())
    }
}

pub(crate) fn identity(origin: [u8; 16], sequence: u64) -> Identity {
    Identity { origin: Origin(origin), epoch: Epoch(1), sequence: Sequence(sequence) }
}

/// The program, with the configuration in this folder.
fn launch(folder: &Path) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_aqueduct-collector"))
        .args(["--config", &folder.join("c.toml").display().to_string()])
        // As the container sets it: large blocks go back to the system when they are free.
        .env("MALLOC_MMAP_THRESHOLD_", "4194304")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Lines in files that a reader sees.
pub(crate) fn lines_below(directory: &Path) -> u64 {
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
