//! An HBase cluster: the location of `hbase:meta`, the regions of rows, and connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tls::Dialer;
use tokio::time::timeout;

use crate::failure::{HbaseError, Means};
use crate::proto::{GetMetaRegionLocationsRequest, GetMetaRegionLocationsResponse};
use crate::regions::{self, Region, Regions};
use crate::rpc::{Connection, Service};
use crate::zookeeper;

/// A cluster to connect to.
pub(crate) struct Target {
    pub(crate) registry: Registry,
    pub(crate) user: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) dialer: Dialer,
}

/// Servers that know the location of `hbase:meta`: `host:port` of each, in order.
pub(crate) enum Registry {
    Masters(Vec<Arc<str>>),
    ZooKeeper { quorum: Vec<Arc<str>>, znode: String },
}

/// A table of a cluster, shared by all connections.
pub(crate) struct Cluster {
    pub(crate) target: Target,
    pub(crate) table: Arc<str>,
    known: Mutex<Known>,
}

/// Cached locations, which may be outdated.
#[derive(Default)]
struct Known {
    /// `host:port` of the server of `hbase:meta`.
    meta: Option<Arc<str>>,
    regions: Regions,
}

/// Connections for one batch at a time, by server address.
#[derive(Default)]
pub(crate) struct Connections(BTreeMap<Arc<str>, Connection>);

impl Connections {
    /// Removes and returns the connection to a server.
    pub(crate) fn take(&mut self, address: &str) -> Option<Connection> {
        self.0.remove(address)
    }

    pub(crate) fn keep(&mut self, address: Arc<str>, connection: Connection) {
        self.0.insert(address, connection);
    }
}

impl Cluster {
    pub(crate) fn new(target: Target, table: Arc<str>) -> Self {
        Self { target, table, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // No critical section leaves partial state.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a region that has moved.
    pub(crate) fn forget_region(&self, region: &Region) {
        self.known().regions.forget(&region.name);
    }

    /// Forgets the regions of a server that does not answer.
    pub(crate) fn forget_server(&self, address: &str) {
        let mut known = self.known();
        known.regions.forget_server(address);
        known.meta.take_if(|meta| &**meta == address);
    }

    /// Returns the region of a row, from the cache; `true` if it was looked up now.
    ///
    /// # Errors
    /// The lookup failed, or no server has the region now.
    pub(crate) async fn locate(
        &self,
        connections: &mut Connections,
        row: &[u8],
    ) -> Result<(Arc<Region>, bool), HbaseError> {
        let found = self.known().regions.find(row);
        if let Some(region) = found {
            return Ok((region, false));
        }
        let known = self.known().meta.clone();
        let meta = match known {
            Some(meta) => meta,
            None => self.meta().await?,
        };
        let looked_up = self.look_up(connections, &meta, row).await;
        match looked_up {
            Ok(region) => {
                let region = Arc::new(region);
                let mut known = self.known();
                known.meta = Some(meta);
                known.regions.put(region.clone());
                Ok((region, true))
            }
            Err(error) => {
                let is_there = match &error {
                    HbaseError::NoTable { .. } | HbaseError::Nowhere { .. } => true,
                    HbaseError::Refused { exception, .. } => exception.means() != Means::Moved,
                    _ => false,
                };
                if !is_there {
                    self.known().meta = None;
                }
                Err(error)
            }
        }
    }

    async fn look_up(
        &self,
        connections: &mut Connections,
        meta: &Arc<str>,
        row: &[u8],
    ) -> Result<Region, HbaseError> {
        let connection = match connections.take(meta) {
            Some(connection) => connection,
            None => Connection::open(&self.target, meta, Service::Client).await?,
        };
        let request = regions::scan(&self.table, row);
        let (connection, answer) = connection.call("Scan", &request).await?;
        connections.keep(meta.clone(), connection);
        regions::read(&answer, &self.table, row)
    }

    /// Asks the registry servers in turn for the location of `hbase:meta`.
    async fn meta(&self) -> Result<Arc<str>, HbaseError> {
        let (asked, znode) = match &self.target.registry {
            Registry::Masters(masters) => (masters, None),
            Registry::ZooKeeper { quorum, znode } => (quorum, Some(znode)),
        };
        let mut last = None;
        for address in asked {
            let said = match znode {
                None => self.meta_by_master(address).await,
                Some(znode) => self.meta_by_zookeeper(address, znode).await,
            };
            match said {
                Ok(meta) => return Ok(meta),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("the settings name at least one"))
    }

    async fn meta_by_master(&self, address: &Arc<str>) -> Result<Arc<str>, HbaseError> {
        let connection = Connection::open(&self.target, address, Service::Registry).await?;
        let request = GetMetaRegionLocationsRequest {};
        let (_, answer): (_, GetMetaRegionLocationsResponse) =
            connection.call("GetMetaRegionLocations", &request).await?;
        let own = answer
            .meta_locations
            .into_iter()
            .find(|location| location.region_info.replica_id.unwrap_or_default() == 0);
        match own.and_then(|location| location.server_name) {
            Some(server) => {
                Ok(format!("{}:{}", server.host_name, server.port.unwrap_or_default()).into())
            }
            None => {
                let problem =
                    "the HBase master has not assigned the table hbase:meta yet; wait for its \
                     start; if this lasts, see the log of the master"
                        .to_owned();
                Err(HbaseError::NoMeta { address: address.clone(), problem })
            }
        }
    }

    async fn meta_by_zookeeper(
        &self,
        address: &Arc<str>,
        znode: &str,
    ) -> Result<Arc<str>, HbaseError> {
        let address = address.clone();
        let limit = self.target.connect_timeout;
        let asking = async {
            let connected = self.target.dialer.connect(&address).await;
            let mut stream = connected
                .map_err(|source| HbaseError::Connect { address: address.clone(), source })?;
            let said = zookeeper::meta_server(&mut stream, znode).await;
            said.map_err(|problem| HbaseError::NoMeta { address: address.clone(), problem })
        };
        match timeout(limit, asking).await {
            Ok(said) => said.map(Into::into),
            Err(_) => Err(HbaseError::Silent { address, limit }),
        }
    }
}
