//! Connections to the metastores of one database: opened on demand, closed after an error. With
//! several metastores, tries the next one.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use formats::thrift::write::Writer;
use formats::thrift::{Extent, Malformed};
use pipeline::Env;
use pipeline::env::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::error::{MetastoreError, SettingNames};
use super::messages::{Call, SET_UGI, set_ugi};

/// Maximum response size: a table with some thousand columns.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Bytes per read.
const READ_BYTES: usize = 64 << 10;
/// First bytes of a SASL response: the mechanism or the login is rejected.
const SASL_REFUSALS: [u8; 2] = [3, 4];

/// Addresses and protocol of the metastores.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// `host:port`, in the order of attempts.
    pub(crate) addresses: Vec<String>,
    /// Whether messages are framed.
    pub(crate) framed: bool,
    /// The user for the metastore; `None` for the metastore's own user.
    pub(crate) user: Option<String>,
    /// Timeout of a connection, and of a call.
    pub(crate) timeout: Duration,
    /// The settings that messages name.
    pub(crate) names: SettingNames,
}

/// Calls that belong together, on one connection.
#[async_trait]
pub(super) trait Work: Sync {
    /// Their result.
    type Answer: Send;

    /// Makes the calls.
    ///
    /// # Errors
    /// The connection failed, or the metastore rejects a call.
    async fn run(&self, connection: &mut Connection) -> Result<Self::Answer, MetastoreError>;
}

/// The metastores of one database.
pub(super) struct Connections {
    env: Env,
    pub(super) places: Places,
    current: Mutex<Current>,
}

/// The current metastore, and the connection to it.
#[derive(Default)]
struct Current {
    /// Index of the address.
    at: usize,
    open: Option<Connection>,
}

/// A connection to a metastore.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    address: String,
    framed: bool,
    limit: Duration,
    names: SettingNames,
    /// Sequence number of its last call.
    sequence: i32,
}

impl Connections {
    /// Creates them. The first call connects.
    pub(super) fn new(env: Env, places: Places) -> Self {
        Self { env, places, current: Mutex::default() }
    }

    /// Does work that can be repeated by the current metastore, or by the next one if that fails.
    pub(super) async fn execute<W: Work>(&self, work: &W) -> Result<W::Answer, MetastoreError> {
        let mut current = self.current.lock().await;
        let mut tries = self.places.addresses.len();
        // The connection may have ended while idle, which is not a failure of the metastore.
        if current.open.is_some() {
            tries += 1;
        }
        loop {
            tries -= 1;
            let error = match self.try_once(&mut current, work).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if tries == 0 || !error.is_of_one() {
                return Err(error);
            }
            tracing::debug!(%error, "metastore call failed; trying the next metastore");
        }
    }

    /// Does work that must not be repeated, because an attempt without an answer may have had its
    /// effect.
    pub(super) async fn attempt<W: Work>(&self, work: &W) -> Result<W::Answer, MetastoreError> {
        self.try_once(&mut *self.current.lock().await, work).await
    }

    async fn try_once<W: Work>(
        &self,
        current: &mut Current,
        work: &W,
    ) -> Result<W::Answer, MetastoreError> {
        let open = current.open.take();
        let was_open = open.is_some();
        let connected = match open {
            Some(connection) => Ok(connection),
            None => self.connect(&self.places.addresses[current.at]).await,
        };
        let error = match connected {
            Ok(mut connection) => match work.run(&mut connection).await {
                Ok(answer) => {
                    current.open = Some(connection);
                    return Ok(answer);
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        if error.is_of_one() && !was_open {
            current.at = (current.at + 1) % self.places.addresses.len();
        }
        Err(error)
    }

    async fn connect(&self, address: &str) -> Result<Connection, MetastoreError> {
        let Places { framed, user, timeout: limit, names, .. } = &self.places;
        let failed = |source| {
            let (address, names) = (address.to_owned(), *names);
            MetastoreError::Connect { address, names, source }
        };
        let stream = match timeout(*limit, self.env.net.connect(address)).await {
            Ok(connected) => connected.map_err(failed)?,
            Err(_) => return Err(failed(late("no connection", *limit, *names))),
        };
        let mut connection = Connection {
            stream,
            address: address.to_owned(),
            framed: *framed,
            limit: *limit,
            names: *names,
            sequence: 0,
        };
        if let Some(user) = user {
            connection.call(SET_UGI, |writer| set_ugi(writer, user)).await?;
        }
        Ok(connection)
    }
}

impl Connection {
    /// Returns the bytes of a call's result.
    pub(super) async fn call(
        &mut self,
        call: Call,
        arguments: impl FnOnce(&mut Writer),
    ) -> Result<Vec<u8>, MetastoreError> {
        self.sequence = self.sequence.wrapping_add(1);
        let (sequence, limit) = (self.sequence, self.limit);
        let message = call.message(sequence, arguments);
        let answer = match timeout(limit, self.exchange(&message)).await {
            Ok(answer) => answer?,
            Err(_) => {
                let text = format!("no response to `{}`", call.name);
                return Err(self.broken(late(&text, limit, self.names)));
            }
        };
        match call.read(sequence, &answer).map_err(|source| self.malformed(source))? {
            Ok(value) => Ok(value.to_vec()),
            Err(failure) => Err(failure.into_error(call, &self.address, self.names)),
        }
    }

    /// Returns the error of a response that cannot be decoded.
    pub(super) fn malformed(&self, source: Malformed) -> MetastoreError {
        let (address, names) = (self.address.clone(), self.names);
        MetastoreError::Malformed { address, names, source }
    }

    fn broken(&self, source: io::Error) -> MetastoreError {
        MetastoreError::Broken { address: self.address.clone(), source }
    }

    async fn exchange(&mut self, message: &[u8]) -> Result<Vec<u8>, MetastoreError> {
        let sent = self.send(message).await;
        sent.map_err(|source| self.broken(source))?;
        self.receive().await
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if self.framed {
            let size = u32::try_from(message.len()).map_err(io::Error::other)?;
            self.stream.write_all(&size.to_be_bytes()).await?;
        }
        self.stream.write_all(message).await?;
        self.stream.flush().await
    }

    /// Reads a response, with memory proportional to the received bytes.
    async fn receive(&mut self) -> Result<Vec<u8>, MetastoreError> {
        let sasl = |it: &Self| {
            let (address, names) = (it.address.clone(), it.names);
            MetastoreError::Sasl { address, names }
        };
        let (mut come, mut extent) = (Vec::new(), Extent::new(ANSWER_BYTES_MAX));
        let mut frame = [0; 4];
        if self.framed {
            let read = self.stream.read_exact(&mut frame).await;
            read.map_err(|source| self.broken(source))?;
            if SASL_REFUSALS.contains(&frame[0]) {
                return Err(sasl(self));
            }
        }
        let mut room = vec![0; READ_BYTES];
        loop {
            let read = self.stream.read(&mut room).await;
            let read = match read.map_err(|source| self.broken(source))? {
                0 => return Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
                read => read,
            };
            come.extend_from_slice(&room[..read]);
            if come.first().is_some_and(|first| SASL_REFUSALS.contains(first)) {
                return Err(sasl(self));
            }
            if let Some(bytes) = extent.of(&come).map_err(|source| self.malformed(source))? {
                // No request follows before this response, so no more data may follow.
                if come.len() > bytes {
                    return Err(self.malformed(Malformed::Long { bytes: come.len() - bytes }));
                }
                return Ok(come);
            }
        }
    }
}

fn late(what: &str, limit: Duration, names: SettingNames) -> io::Error {
    let text = format!("{what} within {limit:?} (`{}.timeout`)", names.section());
    io::Error::new(io::ErrorKind::TimedOut, text)
}
