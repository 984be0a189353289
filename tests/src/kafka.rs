//! A real broker of Apache Kafka, from its published jars, with a producer and a reader.
//!
//! One node without ZooKeeper (KRaft) in a Java process, or three nodes. Maven downloads the jars
//! once to the user's cache. Topics are created at the first write, with four partitions.
//! to, with four partitions.

mod behind;
mod cluster;
mod measured;
pub mod rights;
mod tickets;

pub use cluster::Cluster;

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

use crate::flume::jars_of;
use crate::http;
use crate::process::{Process, tail};
use crate::wait;

/// The jars to download.
const POM: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kafka/pom.xml"));

/// Partitions of each topic.
pub const PARTITIONS: i32 = 4;

const LIMIT: Duration = Duration::from_secs(60);

/// A running or killed broker. Killed on drop.
#[derive(Debug)]
pub struct Kafka {
    address: SocketAddr,
    dir: PathBuf,
    /// Java options.
    options: Vec<String>,
    process: Option<Process>,
}

impl Kafka {
    /// Starts a broker with all of its files in `dir`, and waits until it answers.
    ///
    /// # Panics
    /// When the jars cannot be downloaded, or it does not answer in time.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, "")
    }

    /// Same with another listener for SASL SCRAM-SHA-512 over TLS; returns its address. A client
    /// needs a certificate, and is the user `agent` with the password `secret`. `certificates`
    /// contains the files of [`crate::certificates::make`].
    ///
    /// # Panics
    /// Same as [`Kafka::start`].
    pub fn start_secured(dir: &Path, certificates: &Path) -> (Self, String) {
        Self::start_secured_with(dir, certificates, "")
    }

    /// Same with additional properties, one per line.
    ///
    /// # Panics
    /// Same as [`Kafka::start`].
    pub fn start_secured_with(dir: &Path, certificates: &Path, more: &str) -> (Self, String) {
        let (open, secured) = (http::free_address(), http::free_address());
        let (controller, at) = (http::free_address(), certificates.display());
        // One file for both.
        let both = ["server.key", "server.pem"].map(|name| {
            fs::read_to_string(certificates.join(name)).expect("a certificate and its key")
        });
        fs::write(certificates.join("broker.pem"), both.concat()).expect("the test's own folder");
        let more = format!(
            "listeners=PLAINTEXT://{open},SECURED://{secured},CONTROLLER://{controller}\n\
             advertised.listeners=PLAINTEXT://{open},SECURED://{secured}\n\
             listener.security.protocol.map=\
             PLAINTEXT:PLAINTEXT,SECURED:SASL_SSL,CONTROLLER:PLAINTEXT\n\
             listener.name.secured.sasl.enabled.mechanisms=SCRAM-SHA-512\n\
             listener.name.secured.scram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.secured.ssl.client.auth=required\n\
             listener.name.secured.ssl.keystore.type=PEM\n\
             listener.name.secured.ssl.keystore.location={at}/broker.pem\n\
             listener.name.secured.ssl.truststore.type=PEM\n\
             listener.name.secured.ssl.truststore.location={at}/ca.pem\n{more}"
        );
        (Self::start_at(dir, open, controller, &more, &[]), secured.to_string())
    }

    /// Same with another listener for SASL OAUTHBEARER; returns its address. A client presents an
    /// unsigned token, as accepted by a test broker. Its connection ends with the token, unless it
    /// presents another one.
    ///
    /// # Panics
    /// Same as [`Kafka::start`].
    pub fn start_with_tokens(dir: &Path) -> (Self, String) {
        let (open, tokens) = (http::free_address(), http::free_address());
        let controller = http::free_address();
        let more = format!(
            "listeners=PLAINTEXT://{open},TOKENS://{tokens},CONTROLLER://{controller}\n\
             advertised.listeners=PLAINTEXT://{open},TOKENS://{tokens}\n\
             listener.security.protocol.map=\
             PLAINTEXT:PLAINTEXT,TOKENS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             listener.name.tokens.sasl.enabled.mechanisms=OAUTHBEARER\n\
             listener.name.tokens.oauthbearer.connections.max.reauth.ms=3600000\n\
             listener.name.tokens.oauthbearer.sasl.jaas.config=\
             org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
             unsecuredLoginStringClaim_sub=\"broker\";\n"
        );
        (Self::start_at(dir, open, controller, &more, &[]), tokens.to_string())
    }

    /// Same with additional properties, one per line.
    ///
    /// # Panics
    /// Same as [`Kafka::start`].
    pub fn start_with(dir: &Path, more: &str) -> Self {
        Self::start_at(dir, http::free_address(), http::free_address(), more, &[])
    }

    fn start_at(
        dir: &Path,
        address: SocketAddr,
        controller: SocketAddr,
        more: &str,
        options: &[String],
    ) -> Self {
        let dir = dir.join("kafka");
        let more = format!("controller.quorum.bootstrap.servers={controller}\n{more}");
        Self::made(dir, (address, controller), &more, &["--standalone"], options)
    }

    /// Starts it in its folder.
    fn made(
        dir: PathBuf,
        (address, controller): (SocketAddr, SocketAddr),
        more: &str,
        quorum: &[&str],
        options: &[String],
    ) -> Self {
        fs::create_dir(&dir).expect("the test's own folder");
        let properties = properties(&dir, address, controller) + more;
        fs::write(dir.join("properties"), properties).expect("the test's own folder");
        let mut kafka = Self { address, dir, options: options.to_vec(), process: None };
        let mut java = kafka.java(&["kafka.tools.StorageTool", "format"]);
        // Any 16-byte identifier.
        java.args(quorum).args(["-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c"]);
        java.arg(kafka.dir.join("properties"));
        java.args(["--add-scram", "SCRAM-SHA-512=[name=agent,password=secret]"]);
        let output = java.output().expect("java runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "format: {said}");
        kafka.revive();
        kafka
    }

    fn java(&self, arguments: &[&str]) -> std::process::Command {
        let mut java = std::process::Command::new("java");
        java.args(["-Xmx384m", "-XX:TieredStopAtLevel=1"]).args(&self.options).arg("-cp");
        java.arg(format!("{}/*", jars_of("kafka-4.4.0", POM).display())).args(arguments);
        java
    }

    /// Restarts it after [`Kafka::kill`], with the same files at the same address.
    ///
    /// # Panics
    ///
    /// When it is running, or does not answer in time.
    pub fn revive(&mut self) {
        assert!(self.process.is_none(), "the broker runs already");
        let mut java = self.java(&["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
        java.arg("kafka.Kafka").arg(self.dir.join("properties"));
        let mut process = Process::start("kafka", java, &self.dir.join("out"));
        wait::until("the broker to answer", LIMIT, || {
            assert!(process.is_alive(), "Kafka ended:\n{}", tail(&process.output()));
            TcpStream::connect(self.address).ok()
        });
        self.process = Some(process);
    }

    /// Kills it with -9.
    ///
    /// # Panics
    /// When it is not running.
    pub fn kill(&mut self) {
        self.process.take().expect("a running broker").kill();
    }

    /// Waits until it exits by itself.
    ///
    /// # Panics
    /// After a timeout.
    pub fn until_ended(&mut self) {
        self.process.take().expect("a running broker").wait(LIMIT);
    }

    /// Returns `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns a producer that waits for a killed broker, and gets each message acknowledged once.
    ///
    /// # Panics
    ///
    /// When the client cannot be created.
    pub fn producer(&self, compression: &str) -> Producer {
        let mut config = self.client();
        config.set("enable.idempotence", "true").set("compression.type", compression);
        let client = config.create_with_context(Acknowledged::default());
        Producer { client: client.expect("a producer"), handed: AtomicUsize::new(0) }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        // Retry a killed broker soon.
        config.set("reconnect.backoff.max.ms", "500");
        config
    }

    /// Creates a topic with this number of partitions and these settings.
    ///
    /// # Panics
    ///
    /// When the broker rejects it.
    pub fn make_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let made = block_on(self.admin().create_topics([&new], &AdminOptions::new()));
        assert!(matches!(made.as_deref(), Ok([Ok(_)])), "{topic}: {made:?}");
    }

    /// Deletes topics.
    ///
    /// # Panics
    ///
    /// When the broker rejects it.
    pub fn delete_topics(&self, topics: &[&str]) {
        let deleted = block_on(self.admin().delete_topics(topics, &AdminOptions::new()));
        let deleted = deleted.expect("the broker answers");
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("a client")
    }

    /// Returns all committed messages of a topic, in the order of each partition.
    ///
    /// # Panics
    ///
    /// When the broker does not answer in time.
    pub fn read(&self, topic: &str) -> Vec<Found> {
        let mut config = self.client();
        config.set("group.id", "reader").set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&all).expect("partitions");
        let (mut found, mut open) = (Vec::new(), PARTITIONS);
        wait::until("the end of a topic", LIMIT, || {
            // Read available messages without a pause.
            loop {
                match consumer.poll(Duration::from_millis(50))? {
                    Ok(message) => found.push(Found::of(&message)),
                    Err(KafkaError::PartitionEOF(_)) => open -= 1,
                    Err(_) => {}
                }
                if open == 0 {
                    return Some(());
                }
            }
        });
        found
    }
}

fn properties(dir: &Path, address: SocketAddr, controller: SocketAddr) -> String {
    let data = dir.join("data");
    format!(
        "process.roles=broker,controller\nnode.id=1\n\
         listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{address}\n\
         controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\nnum.partitions={PARTITIONS}\n\
         offsets.topic.num.partitions=1\noffsets.topic.replication.factor=1\n\
         transaction.state.log.num.partitions=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=1000\n",
        data.display()
    )
}

/// A message that was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its partition.
    pub partition: i32,
    /// Its key.
    pub key: Option<String>,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl Found {
    fn of(message: &impl Message<Headers: Headers>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = message.headers().into_iter().flat_map(|headers| {
            headers
                .iter()
                .map(|one| (one.key.to_owned(), text(one.value.unwrap_or_default())))
                .collect::<Vec<_>>()
        });
        Self {
            partition: message.partition(),
            key: message.key().map(text),
            headers: headers.collect(),
            body: message.payload().unwrap_or_default().to_vec(),
        }
    }
}

/// The text of each message, by partition and offset.
pub type Sent = BTreeMap<(i32, i64), String>;

#[derive(Default)]
struct Acknowledged {
    sent: Mutex<Sent>,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        // Messages without acknowledgement are missing in the result of `finish`.
        let Ok(message) = result else { return };
        let text = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
        let at = (message.partition(), message.offset());
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).insert(at, text);
    }
}

/// A producer of numbered texts.
pub struct Producer {
    client: ThreadedProducer<Acknowledged>,
    handed: AtomicUsize,
}

impl Producer {
    /// Hands a message to the client, with the text as its key and with a header.
    ///
    /// # Panics
    ///
    /// When the client rejects it.
    pub fn send(&self, topic: &str, text: &str) {
        let header = Header { key: "site", value: Some("Zürich") };
        let headers = OwnedHeaders::new().insert(header);
        let record = BaseRecord::to(topic).key(text).payload(text).headers(headers);
        let sent = self.client.send(record);
        sent.map_err(|(error, _)| error).expect("room in the client's queue");
        self.handed.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until all messages are acknowledged, and returns their positions.
    ///
    /// # Panics
    ///
    /// After a timeout.
    pub fn finish(self) -> Sent {
        self.client.flush(LIMIT).expect("every message is acknowledged");
        let sent = &self.client.context().sent;
        let sent = std::mem::take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner));
        assert_eq!(sent.len(), self.handed.into_inner(), "messages are lost before the broker");
        sent
    }
}
