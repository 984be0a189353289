//! Access to a WebHDFS.

use std::sync::Arc;

use pipeline::Env;
use schemars::JsonSchema;
use serde::Deserialize;
use storage::hdfs::HdfsAccess;
use storage::{FileSystem, FsError, StoreUrl};
use tls::ClientTls;
use web::Connector;

use crate::calls::Calls;
use crate::files::WebHdfs;

/// How a WebHDFS is reached.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// TLS of a `swebhdfs://` URL. Default: the certificate authorities of the host.
    #[serde(default)]
    pub tls: Option<ClientTls>,
    /// States that the DataNodes sync each file when it is closed:
    /// `dfs.datanode.synconclose = true` in their `hdfs-site.xml`. The agent cannot check this. A
    /// gateway (HttpFS) needs it, because it cannot request a sync. If the statement is false, a
    /// power cut loses events that count as delivered. A NameNode is asked for the sync in any
    /// case.
    #[serde(default)]
    pub synconclose: bool,
}

/// The owner of files, unless set: as with the client of `hdfs://`, the value of this variable, or
/// the user of this process.
const USER_VARIABLE: &str = "HADOOP_USER_NAME";

/// The WebHDFS of a `webhdfs://` or `swebhdfs://` URL. It is reached with the first call only. Of
/// `hdfs` the user and the modes count.
///
/// # Errors
/// There is no name of a user, or settings do not go together.
pub fn open(
    url: &StoreUrl,
    hdfs: &HdfsAccess,
    access: &Access,
    env: &Env,
) -> Result<Arc<dyn FileSystem>, FsError> {
    let unusable = |problem: String| FsError::Unusable { url: url.to_string(), problem };
    let named = || env.blocking.variable(USER_VARIABLE)?.into_string().ok();
    let user = hdfs.proxy_user.clone().or_else(named).or_else(|| whoami::username().ok());
    let user = user.unwrap_or_default();
    if user.is_empty() {
        let problem = "no user name found: set `proxy_user` or HADOOP_USER_NAME";
        return Err(unusable(problem.to_owned()));
    }
    let connector = Connector::new(access.tls.clone(), env);
    let connector = connector.map_err(|error| unusable(error.to_string()))?;
    let scheme = if url.scheme() == "swebhdfs" { "https" } else { "http" };
    let calls = Calls::new(&connector, format!("{scheme}://{}", url.authority()), user);
    Ok(Arc::new(WebHdfs::new(calls, hdfs, access.synconclose, env.clone())))
}
