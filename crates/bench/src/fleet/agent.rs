//! Simulated agents, so that thousands fit into a process.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use wire::fleet_v1::{Counts, Destination, Receiver};
use wire::opamp::{
    AgentCapabilities, AgentDescription, AgentRemoteConfig, AgentToServer, AnyValue, CAPABILITY,
    COUNTS, ComponentHealth, CustomMessage, KeyValue, ServerToAgent, any_value,
};

/// Events of an agent in a second.
const EVENTS: u64 = 100;

/// Agents of a collector: itself and its edges.
const GROUP: u32 = 50;

/// Time limit of an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// All agents.
pub(super) struct Agents {
    port: u16,
    poll: u32,
    began: Instant,
    reporting: AtomicU32,
    failed: AtomicU32,
    /// Milliseconds of each answer.
    millis: Mutex<Vec<f64>>,
    /// How many texts each agent has applied.
    applied: Mutex<Vec<u32>>,
}

/// An agent.
struct Agent {
    uid: Bytes,
    name: String,
    role: &'static str,
    number: u32,
    sequence: u64,
    in_force: Bytes,
}

impl Agents {
    pub(super) fn new(port: u16, poll: u32) -> Self {
        let (reporting, failed, millis, applied) = Default::default();
        let began = Instant::now();
        Self { port, poll, began, reporting, failed, millis, applied }
    }

    /// Number of agents that have had an answer.
    pub(super) fn reporting(&self) -> u32 {
        self.reporting.load(Ordering::Relaxed)
    }

    /// Number of reports without an answer.
    pub(super) fn failed(&self) -> u32 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Returns the times of all answers since the last call.
    pub(super) fn take_millis(&self) -> Vec<f64> {
        std::mem::take(&mut *self.millis.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Number of agents that have applied exactly one text, and of the others.
    pub(super) fn applied(&self) -> (usize, usize) {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let once = applied.iter().filter(|times| **times == 1).count();
        (once, applied.len() - once)
    }

    /// Reports forever. The agents are spread over the time between two reports.
    pub(super) async fn live(self: Arc<Self>, number: u32, all: u32) {
        let role = if number.is_multiple_of(GROUP) { "collector" } else { "edge" };
        let uid = Bytes::copy_from_slice(&u128::from(number + 1).to_be_bytes());
        let name = format!("{role}-{number}.site-{}.example.com", number % 97);
        let mut agent = Agent { uid, name, role, number, sequence: 0, in_force: Bytes::new() };
        let own = {
            let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
            applied.push(0);
            applied.len() - 1
        };
        let poll = Duration::from_secs(self.poll.into());
        sleep(poll.mul_f64(f64::from(number) / f64::from(all))).await;
        let mut is_new = true;
        loop {
            let began = Instant::now();
            let report = agent.report(self.began.elapsed(), self.poll);
            let answered = timeout(ANSWER_LIMIT, self.posted(&report)).await;
            let Ok(Ok(answer)) = answered else {
                self.failed.fetch_add(1, Ordering::Relaxed);
                sleep(poll).await;
                continue;
            };
            let millis = began.elapsed().as_secs_f64() * 1e3;
            self.millis.lock().unwrap_or_else(PoisonError::into_inner).push(millis);
            if std::mem::take(&mut is_new) {
                self.reporting.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(AgentRemoteConfig { config_hash, .. }) = answer.remote_config
                && config_hash != agent.in_force
            {
                agent.in_force = config_hash;
                self.applied.lock().unwrap_or_else(PoisonError::into_inner)[own] += 1;
                continue;
            }
            sleep(poll.saturating_sub(began.elapsed())).await;
        }
    }

    /// Sends a report on a connection of its own, and returns the answer.
    async fn posted(&self, report: &AgentToServer) -> io::Result<ServerToAgent> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let body = report.encode_to_vec();
        let mut request = format!(
            "POST /v1/opamp HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n\
             content-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            self.port,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        stream.write_all(&request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let head = memchr::memmem::find(&answer, b"\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        parsed(&answer[head + 4..])
    }
}

fn parsed(bytes: &[u8]) -> io::Result<ServerToAgent> {
    let answer = ServerToAgent::decode(bytes).map_err(io::Error::other)?;
    match answer.error_response {
        None => Ok(answer),
        Some(refused) => Err(io::Error::other(refused.error_message)),
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = any_value::Value::StringValue(value.to_owned());
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

impl Agent {
    /// An edge sends to the collector of its group, which sends to a store.
    fn links(&self, delivered: u64) -> (Vec<Destination>, Vec<Receiver>) {
        let collector = u64::from(self.number / GROUP + 1);
        let (sink, kind, address, incarnation) = match self.role {
            "edge" => ("collector", "grpc", format!("collector-{collector}:4141"), collector),
            _ => ("store", "hdfs", "hdfs://namenode:8020/logs/day=%Y-%m-%d".to_owned(), 0),
        };
        let (sink, kind) = (sink.to_owned(), kind.to_owned());
        let destination = Destination { sink, kind, address, incarnation, delivered };
        let source = "edges".to_owned();
        let receiver = Receiver { source, incarnation: collector, senders: GROUP - 1 };
        (vec![destination], if self.role == "edge" { Vec::new() } else { vec![receiver] })
    }

    /// Returns the report of an agent that has run for this time.
    fn report(&mut self, lived: Duration, poll: u32) -> AgentToServer {
        self.sequence += 1;
        let accepted = EVENTS * lived.as_secs();
        let (destinations, receivers) = self.links(accepted);
        let counts = Counts {
            accepted,
            delivered: accepted,
            oldest_seconds: Some(1),
            destinations,
            receivers,
            in_force: self.in_force.clone(),
            poll_seconds: poll,
            ..Counts::default()
        };
        AgentToServer {
            instance_uid: self.uid.clone(),
            sequence_num: self.sequence,
            agent_description: Some(AgentDescription {
                identifying_attributes: vec![
                    attribute("service.name", "aqueduct"),
                    attribute("service.instance.id", &self.name),
                    attribute("service.version", "0.2.0"),
                ],
                non_identifying_attributes: vec![
                    attribute("role", self.role),
                    attribute("site", "west"),
                    attribute("rack", "12"),
                ],
            }),
            capabilities: AgentCapabilities::AcceptsRemoteConfig as u64,
            health: Some(ComponentHealth {
                healthy: true,
                start_time_unix_nano: 1,
                status: "everything that was accepted is delivered or held".to_owned(),
                ..ComponentHealth::default()
            }),
            custom_message: Some(CustomMessage {
                capability: CAPABILITY.to_owned(),
                r#type: COUNTS.to_owned(),
                data: counts.encode_to_vec().into(),
            }),
            ..AgentToServer::default()
        }
    }
}
