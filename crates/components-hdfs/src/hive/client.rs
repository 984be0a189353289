//! The metastore client: one connection, opened on demand and closed after an error. With several
//! metastores of one database, tries the next one.

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

use super::Registry;
use super::error::MetastoreError;
use super::messages::{
    ADD_PARTITIONS, ALTER_PARTITION, CREATE_DATABASE, CREATE_TABLE, Call, GET_PARTITION, GET_TABLE,
    SET_UGI, Table, add_partitions, create_database, create_table, get_table, set_ugi,
};
use super::partition::Partition;
use super::properties::{Described, alter_partition, get_partition};
use super::table::TableSpec;

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
}

/// The metastores of one database, for one table.
pub(crate) struct Metastore {
    env: Env,
    places: Places,
    spec: TableSpec,
    connection: Mutex<Connecting>,
}

/// A request of a caller.
#[derive(Clone, Copy)]
enum Work<'a> {
    Add(&'a [Partition]),
    Describe(&'a Partition, &'a [(String, String)]),
}

/// The connection, and its metastore.
#[derive(Default)]
struct Connecting {
    /// Index of the address.
    at: usize,
    open: Option<Connection>,
}

struct Connection {
    stream: Box<dyn Stream>,
    address: String,
    framed: bool,
    limit: Duration,
    /// Sequence number of its last call.
    sequence: i32,
}

impl Metastore {
    /// Creates a client for this table. The first call connects.
    #[must_use]
    pub(crate) fn new(env: Env, places: Places, spec: TableSpec) -> Self {
        Self { env, places, spec, connection: Mutex::default() }
    }

    async fn connect(&self, address: &str) -> Result<Connection, MetastoreError> {
        let failed = |source| MetastoreError::Connect { address: address.to_owned(), source };
        let Places { framed, user, timeout: limit, .. } = &self.places;
        let stream = match timeout(*limit, self.env.net.connect(address)).await {
            Ok(connected) => connected.map_err(failed)?,
            Err(_) => return Err(failed(late("no connection", *limit))),
        };
        let address = address.to_owned();
        let mut connection =
            Connection { stream, address, framed: *framed, limit: *limit, sequence: 0 };
        if let Some(user) = user {
            connection.call(SET_UGI, |writer| set_ugi(writer, user)).await?;
        }
        Ok(connection)
    }

    /// Returns the table. Creates it if it is missing and the settings say so.
    async fn table(&self, connection: &mut Connection) -> Result<Table, MetastoreError> {
        let (spec, table) = (&self.spec, self.spec.name());
        let mut found = connection.table(spec).await;
        if matches!(found, Err(MetastoreError::NoSuchObject { .. })) {
            if !spec.create {
                return Err(MetastoreError::NoTable { table });
            }
            self.create(connection).await?;
            found = connection.table(spec).await;
        }
        let found = found?;
        if found.transactional {
            return Err(MetastoreError::Transactional { table });
        }
        if found.keys != spec.keys.names() {
            return Err(MetastoreError::OtherKeys {
                table,
                found: found.keys.join(", "),
                wanted: spec.keys.names().join(", "),
            });
        }
        // Partitions have their own directories.
        if found.keys.is_empty() && !is_same_place(&found.location, &spec.location) {
            let (found, wanted) = (found.location, spec.location.clone());
            return Err(MetastoreError::OtherPlace { table, found, wanted });
        }
        Ok(found)
    }

    async fn create(&self, connection: &mut Connection) -> Result<(), MetastoreError> {
        let (spec, user) = (&self.spec, self.places.user.as_deref());
        let database =
            connection.call(CREATE_DATABASE, |writer| create_database(writer, spec)).await;
        there(database)?;
        // Another collector may have created it in the meantime.
        there(connection.call(CREATE_TABLE, |writer| create_table(writer, spec, user)).await)?;
        tracing::info!(
            table = spec.name(),
            location = spec.location,
            "the table exists in the metastore"
        );
        Ok(())
    }

    async fn add_by(
        &self,
        connection: &mut Connection,
        partitions: &[Partition],
    ) -> Result<(), MetastoreError> {
        let table = self.table(connection).await?;
        if partitions.is_empty() {
            return Ok(());
        }
        match connection.add(&self.spec, &table, partitions).await {
            // Another collector added one in the meantime, so this call added none.
            Err(MetastoreError::AlreadyExists { .. }) if partitions.len() > 1 => {
                for one in partitions {
                    there(connection.add(&self.spec, &table, std::slice::from_ref(one)).await)?;
                }
                Ok(())
            }
            added => there(added),
        }
    }

    async fn do_by(
        &self,
        connection: &mut Connection,
        work: Work<'_>,
    ) -> Result<(), MetastoreError> {
        let (partition, properties) = match work {
            Work::Add(partitions) => return self.add_by(connection, partitions).await,
            Work::Describe(partition, properties) => (partition, properties),
        };
        let mut found = connection.partition(&self.spec, partition).await;
        if matches!(found, Err(MetastoreError::NoSuchObject { .. })) {
            self.add_by(connection, std::slice::from_ref(partition)).await?;
            found = connection.partition(&self.spec, partition).await;
        }
        let mut found = found?;
        if found.set(properties) {
            let put = |writer: &mut Writer| alter_partition(writer, &self.spec, &found);
            connection.call(ALTER_PARTITION, put).await?;
        }
        Ok(())
    }
}

/// Compares two URLs of directories. Java writes `file:/a` for `file:///a`.
fn is_same_place(one: &str, other: &str) -> bool {
    let plain = |url: &str| match url.strip_prefix("file:") {
        Some(path) => format!("file:/{}", path.trim_matches('/')),
        None => url.trim_end_matches('/').to_owned(),
    };
    plain(one) == plain(other)
}

/// Treats an existing object as success.
fn there<T>(made: Result<T, MetastoreError>) -> Result<(), MetastoreError> {
    match made {
        Ok(_) | Err(MetastoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Registry for Metastore {
    async fn add(&self, partitions: &[Partition]) -> Result<(), MetastoreError> {
        self.execute(Work::Add(partitions)).await
    }

    async fn describe(
        &self,
        partition: &Partition,
        properties: &[(String, String)],
    ) -> Result<(), MetastoreError> {
        self.execute(Work::Describe(partition, properties)).await
    }
}

impl Metastore {
    /// Does the work by the current metastore, or by the next one if that fails.
    async fn execute(&self, work: Work<'_>) -> Result<(), MetastoreError> {
        let mut connecting = self.connection.lock().await;
        let mut tries = self.places.addresses.len();
        // The connection may have ended while idle, which is not a failure of the metastore.
        if connecting.open.is_some() {
            tries += 1;
        }
        loop {
            tries -= 1;
            let (open, at) = (connecting.open.take(), connecting.at);
            let was_open = open.is_some();
            let connected = match open {
                Some(connection) => Ok(connection),
                None => self.connect(&self.places.addresses[at]).await,
            };
            let error = match connected {
                Ok(mut connection) => match self.do_by(&mut connection, work).await {
                    Ok(()) => {
                        connecting.open = Some(connection);
                        return Ok(());
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if !error.is_of_one() {
                return Err(error);
            }
            if !was_open {
                connecting.at = (at + 1) % self.places.addresses.len();
            }
            if tries == 0 {
                return Err(error);
            }
            tracing::debug!(%error, "metastore call failed; trying the next metastore");
        }
    }
}

impl Connection {
    async fn table(&mut self, spec: &TableSpec) -> Result<Table, MetastoreError> {
        let answer = self.call(GET_TABLE, |writer| get_table(writer, spec)).await?;
        let malformed =
            |source| MetastoreError::Malformed { address: self.address.clone(), source };
        Table::read(&answer).map_err(malformed)
    }

    async fn partition(
        &mut self,
        spec: &TableSpec,
        partition: &Partition,
    ) -> Result<Described, MetastoreError> {
        let put = |writer: &mut Writer| get_partition(writer, spec, partition);
        let answer = self.call(GET_PARTITION, put).await?;
        let malformed =
            |source| MetastoreError::Malformed { address: self.address.clone(), source };
        Described::read(&answer).map_err(malformed)
    }

    async fn add(
        &mut self,
        spec: &TableSpec,
        table: &Table,
        partitions: &[Partition],
    ) -> Result<(), MetastoreError> {
        let put = |writer: &mut Writer| add_partitions(writer, spec, table, partitions);
        self.call(ADD_PARTITIONS, put).await.map(drop)
    }

    /// Returns the bytes of a call's result.
    async fn call(
        &mut self,
        call: Call,
        arguments: impl FnOnce(&mut Writer),
    ) -> Result<Vec<u8>, MetastoreError> {
        self.sequence = self.sequence.wrapping_add(1);
        let (sequence, limit) = (self.sequence, self.limit);
        let message = call.message(sequence, arguments);
        let broken =
            |address: &str, source| MetastoreError::Broken { address: address.to_owned(), source };
        let answer = match timeout(limit, self.exchange(&message)).await {
            Ok(answer) => answer?,
            Err(_) => {
                let text = format!("no response to `{}`", call.name);
                return Err(broken(&self.address, late(&text, limit)));
            }
        };
        call.answer(sequence, &answer, &self.address).map(<[u8]>::to_vec)
    }

    async fn exchange(&mut self, message: &[u8]) -> Result<Vec<u8>, MetastoreError> {
        let sent = self.send(message).await;
        sent.map_err(|source| MetastoreError::Broken { address: self.address.clone(), source })?;
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
        let broken =
            |address: &str, source| MetastoreError::Broken { address: address.to_owned(), source };
        let (mut come, mut extent) = (Vec::new(), Extent::new(ANSWER_BYTES_MAX));
        let mut frame = [0; 4];
        if self.framed {
            let read = self.stream.read_exact(&mut frame).await;
            read.map_err(|source| broken(&self.address, source))?;
            if SASL_REFUSALS.contains(&frame[0]) {
                return Err(MetastoreError::Sasl { address: self.address.clone() });
            }
        }
        let mut room = vec![0; READ_BYTES];
        loop {
            let read = self.stream.read(&mut room).await;
            let read = match read.map_err(|source| broken(&self.address, source))? {
                0 => {
                    let ended = io::ErrorKind::UnexpectedEof.into();
                    return Err(broken(&self.address, ended));
                }
                read => read,
            };
            come.extend_from_slice(&room[..read]);
            if come.first().is_some_and(|first| SASL_REFUSALS.contains(first)) {
                return Err(MetastoreError::Sasl { address: self.address.clone() });
            }
            let malformed =
                |source| MetastoreError::Malformed { address: self.address.clone(), source };
            if let Some(bytes) = extent.of(&come).map_err(malformed)? {
                // No request follows before this response, so no more data may follow.
                if come.len() > bytes {
                    return Err(malformed(Malformed::Long { bytes: come.len() - bytes }));
                }
                return Ok(come);
            }
        }
    }
}

fn late(what: &str, limit: Duration) -> io::Error {
    let text = format!("{what} within {limit:?} (`hive.timeout`)");
    io::Error::new(io::ErrorKind::TimedOut, text)
}

#[cfg(test)]
mod tests;
