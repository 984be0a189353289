//! The entry of one table in the metastore, and its locks.

use async_trait::async_trait;
use formats::thrift::Malformed;
use formats::thrift::write::Writer;
use pipeline::Env;

use super::client::there;
use super::connection::{Connection, Connections, Places, Work};
use super::entry::{ALTER_TABLE, Entry, alter_table};
use super::error::MetastoreError;
use super::locks::{
    CHECK_LOCK, HEARTBEAT, Holder, LOCK, Lock, SHOW_LOCKS, ShownLock, UNLOCK, lock, of_lock,
    read_lock, read_locks, show_locks,
};
use super::messages::{
    CREATE_DATABASE, CREATE_TABLE, Call, GET_TABLE, create_database, create_table, get_table,
};
use super::table::TableSpec;

/// The user in the list of locks, unless the settings name one.
const USER: &str = "aqueduct";

/// The entry of one table, in the metastores of one database.
pub(crate) struct TableEntry {
    connections: Connections,
    host: String,
    database: String,
    table: String,
}

/// One call.
struct OneCall<T> {
    call: Call,
    /// Its encoded arguments.
    arguments: Vec<u8>,
    /// Decodes its result.
    read: fn(&[u8]) -> Result<T, Malformed>,
}

impl<T> OneCall<T> {
    fn new(
        call: Call,
        read: fn(&[u8]) -> Result<T, Malformed>,
        arguments: impl FnOnce(&mut Writer),
    ) -> Self {
        let mut writer = Writer::new(super::messages::BINARY);
        arguments(&mut writer);
        Self { call, arguments: writer.out, read }
    }
}

#[async_trait]
impl<T: Send> Work for OneCall<T> {
    type Answer = T;

    async fn run(&self, connection: &mut Connection) -> Result<T, MetastoreError> {
        let put = |writer: &mut Writer| writer.out.extend_from_slice(&self.arguments);
        let answer = connection.call(self.call, put).await?;
        (self.read)(&answer).map_err(|source| connection.malformed(source))
    }
}

fn nothing(_: &[u8]) -> Result<(), Malformed> {
    Ok(())
}

impl TableEntry {
    /// Creates a client for this table. The first call connects.
    pub(crate) fn new(env: Env, places: Places, database: &str, table: &str) -> Self {
        let host = env.host.to_string();
        let connections = Connections::new(env, places);
        Self { connections, host, database: database.to_owned(), table: table.to_owned() }
    }

    /// Returns database and table.
    pub(crate) fn names(&self) -> (&str, &str) {
        (&self.database, &self.table)
    }

    /// Returns the entry; `None` if the table does not exist.
    ///
    /// # Errors
    /// The metastore is unreachable, or rejects the call.
    pub(crate) async fn get(&self) -> Result<Option<Entry>, MetastoreError> {
        let put = |writer: &mut Writer| get_table(writer, &self.database, &self.table);
        match self.connections.execute(&OneCall::new(GET_TABLE, Entry::read, put)).await {
            Ok(entry) => Ok(Some(entry)),
            Err(MetastoreError::NoSuchObject { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates the entry and its database, unless they exist.
    ///
    /// # Errors
    /// The metastore is unreachable, or rejects the call. The entry may exist.
    pub(crate) async fn create(&self, spec: &TableSpec) -> Result<(), MetastoreError> {
        let user = self.connections.places.user.as_deref();
        let database = OneCall::new(CREATE_DATABASE, nothing, |writer| {
            create_database(writer, &self.database);
        });
        there(self.connections.execute(&database).await)?;
        let table = OneCall::new(CREATE_TABLE, nothing, |writer| create_table(writer, spec, user));
        there(self.connections.execute(&table).await)
    }

    /// Replaces the entry, if the parameter has the expected value. Metastores without HIVE-26882
    /// do not check the value.
    ///
    /// # Errors
    /// The metastore is unreachable, or rejects the call. Only [`MetastoreError::is_settled`]
    /// excludes that the call is still executed.
    pub(crate) async fn alter(
        &self,
        entry: &Entry,
        expected: Option<(&str, &str)>,
    ) -> Result<(), MetastoreError> {
        let put = |writer: &mut Writer| alter_table(writer, self.names(), entry, expected);
        self.connections.attempt(&OneCall::new(ALTER_TABLE, nothing, put)).await
    }

    /// Requests an exclusive lock. `agent` identifies the request in [`TableEntry::locks`].
    ///
    /// # Errors
    /// The metastore is unreachable, or rejects the call. The lock may exist.
    pub(crate) async fn lock(&self, agent: &str) -> Result<Lock, MetastoreError> {
        let user = self.connections.places.user.as_deref().unwrap_or(USER);
        let holder = Holder { user, host: &self.host, agent };
        let put = |writer: &mut Writer| lock(writer, &self.database, &self.table, holder);
        self.connections.attempt(&OneCall::new(LOCK, read_lock, put)).await
    }

    /// Returns the state of a lock, and keeps it alive.
    ///
    /// # Errors
    /// The metastore is unreachable, or has removed the lock.
    pub(crate) async fn check_lock(&self, id: i64) -> Result<Lock, MetastoreError> {
        let put = |writer: &mut Writer| of_lock(writer, id);
        self.connections.execute(&OneCall::new(CHECK_LOCK, read_lock, put)).await
    }

    /// Keeps a lock alive.
    ///
    /// # Errors
    /// The metastore is unreachable, or has removed the lock.
    pub(crate) async fn heartbeat(&self, id: i64) -> Result<(), MetastoreError> {
        let put = |writer: &mut Writer| of_lock(writer, id);
        self.connections.execute(&OneCall::new(HEARTBEAT, nothing, put)).await
    }

    /// Releases a lock.
    ///
    /// # Errors
    /// The metastore is unreachable, or has removed the lock.
    pub(crate) async fn unlock(&self, id: i64) -> Result<(), MetastoreError> {
        let put = |writer: &mut Writer| of_lock(writer, id);
        self.connections.execute(&OneCall::new(UNLOCK, nothing, put)).await
    }

    /// Lists the locks of the table.
    ///
    /// # Errors
    /// The metastore is unreachable, or rejects the call.
    pub(crate) async fn locks(&self) -> Result<Vec<ShownLock>, MetastoreError> {
        let put = |writer: &mut Writer| show_locks(writer, &self.database, &self.table);
        self.connections.execute(&OneCall::new(SHOW_LOCKS, read_locks, put)).await
    }
}
