//! `hdfs://`: through hdfs-native, with the time limits that it lacks.
//!
//! Its calls wait forever for a frozen NameNode, and an answer may be lost after the work was done.
//! Therefore each call here has a limit, and an error states whether the call may have been
//! applied. Only operations that the client itself considers safe are retried (a standby, a refused
//! connection): the caller resolves a lost answer, because it knows what to check.
//!
//! A close pauses briefly after each answer; see `delayed_close`.
//!
//! With a keytab the client logs in automatically: before the ticket in its cache expires, the
//! Kerberos library gets the next one whenever a connection is made.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use crypto::Outside;
use hdfs_native::client::FileStatus;
use hdfs_native::file::FileWriter as NativeWriter;
use hdfs_native::{Client, ClientBuilder, WriteOptions};
use pipeline::Env;
use storage::hdfs::HdfsAccess;
use storage::{
    CreateOptions, FileSystem, FileWriter, FsError, Listed, READ_BYTES_MAX, Stat, split,
};
use tokio::time::timeout;

use crate::access;
use crate::delayed_close::delayed_close;
use crate::explain::explain;
use crate::reachability::ReachabilityCheck;
use crate::remedy::{PROXY_REFUSED, remedy};

/// Limit of one call to the NameNode.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// Time limit of one transfer to the DataNodes, including the repair of a broken pipeline. It also
/// ends a transfer whose DataNode does not answer any more.
const DATA_LIMIT: Duration = Duration::from_secs(30);
/// Limit of closing a file, which waits until the NameNode knows of every block.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// The cause of a NameNode without an answer.
const HANGS: &str = "the NameNode hangs, is overloaded or disconnected: see its log, and get its \
                     threads with `jstack`";

/// Pause of a close after each of its two or three answers.
const CLOSE_PAUSE: Duration = Duration::from_millis(6);

/// Settings that override the site files.
const SETTINGS: [(&str, &str); 2] = [
    // If there are only as many DataNodes as copies, no DataNode can replace a failed one; then the
    // write should continue without it.
    ("dfs.client.block.write.replace-datanode-on-failure.best-effort", "true"),
    // Milliseconds for connecting to a DataNode and for joining a pipeline. A silent DataNode is
    // then replaced within the limit of a transfer.
    ("dfs.client.socket-timeout", "10000"),
];

/// Prevents the use of DIGEST-MD5, which a DataNode may request.
const NO_DIGEST: (&str, &str) = ("hdfs-native.digest.disabled", "true");

/// The files of one NameNode or name service.
pub struct Hdfs {
    client: Client,
    door: ReachabilityCheck,
    /// True if there is a `proxy_user`, and no call was answered yet.
    unproven_proxy: AtomicBool,
    file_mode: u32,
    directory_mode: u32,
}

impl Hdfs {
    /// A client for `hdfs://host:port`, or for a name service or a mount table that the
    /// configuration knows. Nothing is sent yet.
    ///
    /// # Errors
    /// The configuration cannot be read or does not know the name service, or the keytab cannot be
    /// read.
    pub fn connect(url: &str, access: &HdfsAccess, env: &Env) -> Result<Self, FsError> {
        access::examine(access, url, env)?;
        let mut builder = ClientBuilder::new().with_url(url);
        let mut settings = SETTINGS.to_vec();
        if crypto::allow(Outside::HdfsDigest).is_err() {
            settings.push(NO_DIGEST);
        }
        if let Some(dir) = &access.conf_dir {
            builder = builder.with_config_dir(dir);
        }
        if let Some(login) = &access.login {
            // Otherwise the client would not present its ticket to a cluster whose site files do
            // not mention Kerberos.
            settings.push(("hadoop.security.authentication", "kerberos"));
            let principal = access::principal_on(login, &env.host);
            builder = builder
                .with_kerberos_cache(access::cache(login, &principal))
                .with_kerberos_keytab(&login.keytab)
                .with_kerberos_principal(principal);
        }
        if let Some(user) = &access.proxy_user {
            builder = builder.with_user(user);
        }
        let client = builder.with_config(settings).build().map_err(|error| FsError::Unusable {
            url: url.into(),
            problem: remedy(&error).map_or_else(|| error.to_string(), |(_, said)| said),
        })?;
        let door = ReachabilityCheck::new(url, env.net.clone());
        let HdfsAccess { file_mode, directory_mode, .. } = *access;
        let unproven_proxy = AtomicBool::new(access.proxy_user.is_some());
        Ok(Self { client, door, unproven_proxy, file_mode, directory_mode })
    }
}

impl Hdfs {
    /// Waits for a call of the NameNode, at most for `limit`; the error for a missing answer states
    /// whether the NameNode can be reached at all.
    async fn limited<T>(
        &self,
        limit: Duration,
        call: &'static str,
        path: &str,
        work: impl Future<Output = hdfs_native::Result<T>>,
    ) -> Result<T, FsError> {
        self.door.check(call, path).await?;
        let done = limited(limit, call, path, work).await;
        match done {
            Err(FsError::Timeout { call, path, limit }) => {
                let is_unproven = self.unproven_proxy.load(Ordering::Relaxed);
                let silence = if is_unproven { PROXY_REFUSED } else { HANGS };
                Err(self.door.explain(call, path, limit, silence).await)
            }
            Ok(done) => {
                self.unproven_proxy.store(false, Ordering::Relaxed);
                Ok(done)
            }
            failed => failed,
        }
    }
}

/// Waits for a call, no longer than `limit`.
async fn limited<T>(
    limit: Duration,
    call: &'static str,
    path: &str,
    work: impl Future<Output = hdfs_native::Result<T>>,
) -> Result<T, FsError> {
    match timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(explain(error, call, path)),
        Err(_) => Err(FsError::Timeout { call, path: path.into(), limit }),
    }
}

fn stat_of(status: &FileStatus) -> Stat {
    let directory = status.isdir;
    let len = if directory { 0 } else { status.length as u64 };
    let block_size = status.blocksize.filter(|size| *size > 0);
    let modified = Duration::from_millis(status.modification_time);
    let modified = SystemTime::UNIX_EPOCH.checked_add(modified);
    Stat { len, directory, block_size, modified }
}

#[async_trait]
impl FileSystem for Hdfs {
    async fn create(
        &self,
        path: &str,
        options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError> {
        // Never create a missing directory: it was deleted for a reason.
        let mut native = WriteOptions::default()
            .overwrite(false)
            .create_parent(false)
            .permission(self.file_mode);
        native.block_size = options.block_size;
        native.replication = options.replication;
        // The library's future is 16 KB.
        let created = Box::pin(self.client.create(path, native));
        let writer = self.limited(CALL_LIMIT, "create", path, created).await?;
        Ok(Box::new(HdfsWriter { path: path.into(), writer }))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.limited(CALL_LIMIT, "rename", to, self.client.rename(from, to, false)).await
    }

    async fn can_concat(&self, _desk: &str) -> Result<(), FsError> {
        Ok(())
    }

    async fn concat(&self, target: &str, sources: &[String], _desk: &str) -> Result<(), FsError> {
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        let merged = self.client.concat(target, &sources);
        self.limited(CALL_LIMIT, "concat", target, merged).await
    }

    async fn replace(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.limited(CALL_LIMIT, "replace", to, self.client.rename(from, to, true)).await
    }

    async fn read(&self, path: &str) -> Result<Bytes, FsError> {
        let read = async {
            let reader = self.client.read(path).await?;
            let length = reader.file_length();
            if length > READ_BYTES_MAX {
                let problem = format!(
                    "the file has {length} bytes, but the limit for this file is {READ_BYTES_MAX}"
                );
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, problem).into());
            }
            reader.read_range(0, length).await
        };
        self.limited(DATA_LIMIT, "read", path, read).await
    }

    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError> {
        let read = async {
            let reader = self.client.read(path).await?;
            let at = usize::try_from(at).unwrap_or(usize::MAX).min(reader.file_length());
            reader.read_range(at, bytes.min(reader.file_length() - at)).await
        };
        self.limited(DATA_LIMIT, "read", path, read).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, FsError> {
        let status =
            self.limited(CALL_LIMIT, "stat", path, self.client.get_file_info(path)).await?;
        Ok(stat_of(&status))
    }

    async fn list(&self, directory: &str) -> Result<Vec<Listed>, FsError> {
        let listing = self.client.list_status(directory, false);
        let statuses = self.limited(DATA_LIMIT, "list", directory, listing).await?;
        let listed = |status: FileStatus| Listed {
            name: split(&status.path).1.to_owned(),
            directory: status.isdir,
        };
        let mut names: Vec<Listed> = statuses.into_iter().map(listed).collect();
        names.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        Ok(names)
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        self.limited(CALL_LIMIT, "delete", path, self.client.delete(path, true)).await
    }

    async fn mkdirs(&self, directory: &str) -> Result<(), FsError> {
        let made = self.client.mkdirs(directory, self.directory_mode, true);
        self.limited(CALL_LIMIT, "mkdirs", directory, made).await
    }
}

struct HdfsWriter {
    path: String,
    writer: NativeWriter,
}

#[async_trait]
impl FileWriter for HdfsWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        // The library's future is 34 KB; on the heap it costs one allocation a call.
        let written = Box::pin(self.writer.write_bytes(bytes));
        limited(DATA_LIMIT, "write", &self.path, written).await?;
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), FsError> {
        limited(DATA_LIMIT, "sync", &self.path, Box::pin(self.writer.hsync())).await
    }

    /// `close` leaves the last bytes in the page caches of the DataNodes, so this syncs first.
    async fn close(mut self: Box<Self>) -> Result<(), FsError> {
        self.sync().await?;
        let closed = delayed_close(CLOSE_PAUSE, Box::pin(self.writer.close()));
        limited(CLOSE_LIMIT, "close", &self.path, closed).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client treats an unknown name as a cluster without NameNodes.
    #[tokio::test]
    async fn a_store_that_the_configuration_does_not_know_is_refused_at_once() {
        for (url, helps) in [
            ("hdfs://nowhere", "dfs.ha.namenodes.NAME"),
            ("viewfs://nowhere", "fs.viewfs.mounttable.NAME.linkFallback"),
        ] {
            let connected = Hdfs::connect(url, &HdfsAccess::default(), &env::real());
            let problem = connected.err().unwrap().to_string();
            assert!(problem.contains(helps) && problem.contains("`conf_dir`"), "{problem}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_ends() {
        let silent = std::future::pending::<hdfs_native::Result<()>>();
        let error = limited(CALL_LIMIT, "rename", "/a", silent).await.unwrap_err();
        assert!(matches!(error, FsError::Timeout { .. }));
    }
}
