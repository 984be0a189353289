//! The registry of a table in the metastore: finds or creates the table, and adds partitions.

use async_trait::async_trait;
use formats::thrift::write::Writer;
use pipeline::Env;

use super::Registry;
use super::connection::{Connection, Connections, Places, Work};
use super::error::MetastoreError;
use super::messages::{
    ADD_PARTITIONS, ALTER_PARTITION, CREATE_DATABASE, CREATE_TABLE, GET_PARTITION, GET_TABLE,
    Table, add_partitions, create_database, create_table, get_table,
};
use super::partition::Partition;
use super::properties::{Described, alter_partition, get_partition};
use super::table::TableSpec;

/// The metastores of one database, for one table.
pub(crate) struct Metastore {
    connections: Connections,
    spec: TableSpec,
}

/// A request of a caller.
#[derive(Clone, Copy)]
enum Request<'a> {
    Add(&'a [Partition]),
    Describe(&'a Partition, &'a [(String, String)]),
}

/// A request, and the table.
struct Registering<'a> {
    metastore: &'a Metastore,
    request: Request<'a>,
}

#[async_trait]
impl Work for Registering<'_> {
    type Answer = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), MetastoreError> {
        self.metastore.do_by(connection, self.request).await
    }
}

impl Metastore {
    /// Creates a client for this table. The first call connects.
    #[must_use]
    pub(crate) fn new(env: Env, places: Places, spec: TableSpec) -> Self {
        Self { connections: Connections::new(env, places), spec }
    }

    async fn execute(&self, request: Request<'_>) -> Result<(), MetastoreError> {
        self.connections.execute(&Registering { metastore: self, request }).await
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
        let (spec, user) = (&self.spec, self.connections.places.user.as_deref());
        let database = connection
            .call(CREATE_DATABASE, |writer| create_database(writer, &spec.database))
            .await;
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
        request: Request<'_>,
    ) -> Result<(), MetastoreError> {
        let (partition, properties) = match request {
            Request::Add(partitions) => return self.add_by(connection, partitions).await,
            Request::Describe(partition, properties) => (partition, properties),
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
pub(super) fn there<T>(made: Result<T, MetastoreError>) -> Result<(), MetastoreError> {
    match made {
        Ok(_) | Err(MetastoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Registry for Metastore {
    async fn add(&self, partitions: &[Partition]) -> Result<(), MetastoreError> {
        self.execute(Request::Add(partitions)).await
    }

    async fn describe(
        &self,
        partition: &Partition,
        properties: &[(String, String)],
    ) -> Result<(), MetastoreError> {
        self.execute(Request::Describe(partition, properties)).await
    }
}

impl Connection {
    async fn table(&mut self, spec: &TableSpec) -> Result<Table, MetastoreError> {
        let put = |writer: &mut Writer| get_table(writer, &spec.database, &spec.table);
        let answer = self.call(GET_TABLE, put).await?;
        Table::read(&answer).map_err(|source| self.malformed(source))
    }

    async fn partition(
        &mut self,
        spec: &TableSpec,
        partition: &Partition,
    ) -> Result<Described, MetastoreError> {
        let put = |writer: &mut Writer| get_partition(writer, spec, partition);
        let answer = self.call(GET_PARTITION, put).await?;
        Described::read(&answer).map_err(|source| self.malformed(source))
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
}

#[cfg(test)]
mod tests;
