//! The calls of a store, as operations of WebHDFS.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use hyper::Method;
use pipeline::Env;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use storage::hdfs::HdfsAccess;
use storage::{
    CreateOptions, FileSystem, FileWriter, FsError, Listed, READ_BYTES_MAX, Stat, split,
};
use tokio::sync::OnceCell;
use tokio::try_join;

use crate::calls::{Call, Calls, DATA_LIMIT};
use crate::gateway;
use crate::upload::Upload;

/// The files of one NameNode, by HTTP.
pub(crate) struct WebHdfs {
    calls: Arc<Calls>,
    env: Env,
    file_mode: String,
    directory_mode: String,
    /// True if the configuration states that the DataNodes sync files on close.
    synconclose: bool,
    /// The detected kind of server.
    server: OnceCell<Server>,
}

/// Kinds of servers, by their renames.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    /// A NameNode.
    NameNode,
    /// A gateway that ignores options: see [`gateway`].
    Gateway,
}

/// The answer of a call that can return `false`.
#[derive(Deserialize)]
struct Done {
    boolean: bool,
}

#[derive(Deserialize)]
struct OfOne {
    #[serde(rename = "FileStatus")]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    path_suffix: String,
    #[serde(rename = "type")]
    kind: String,
    length: u64,
    block_size: u64,
    modification_time: u64,
}

/// One page of a directory.
#[derive(Deserialize)]
struct Page {
    #[serde(rename = "DirectoryListing")]
    listing: Listing,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    partial_listing: Partial,
    remaining_entries: u64,
}

#[derive(Deserialize)]
struct Partial {
    #[serde(rename = "FileStatuses")]
    statuses: Statuses,
}

#[derive(Deserialize)]
struct Statuses {
    #[serde(rename = "FileStatus")]
    all: Vec<Status>,
}

impl Status {
    fn is_directory(&self) -> bool {
        self.kind == "DIRECTORY"
    }

    fn stat(&self) -> Stat {
        let directory = self.is_directory();
        let len = if directory { 0 } else { self.length };
        let block_size = Some(self.block_size).filter(|size| *size > 0);
        let modified = Duration::from_millis(self.modification_time);
        let modified = SystemTime::UNIX_EPOCH.checked_add(modified);
        Stat { len, directory, block_size, modified }
    }
}

/// Parses an answer.
fn understood<T: DeserializeOwned>(asked: Call<'_>, answer: &[u8]) -> Result<T, FsError> {
    serde_json::from_slice(answer).map_err(|error| {
        asked.failed(&format!(
            "the response is not valid WebHDFS ({error}): check `url`, and a proxy in between"
        ))
    })
}

/// A rename, whose errors name the new name.
fn renaming<'a>(from: &'a str, to: &'a str) -> Call<'a> {
    Call::new("rename", from).naming(to)
}

impl WebHdfs {
    pub(crate) fn new(calls: Calls, hdfs: &HdfsAccess, synconclose: bool, env: Env) -> Self {
        let octal = |mode: u32| format!("{mode:o}");
        let (file_mode, directory_mode) = (octal(hdfs.file_mode), octal(hdfs.directory_mode));
        let (calls, server) = (Arc::new(calls), OnceCell::new());
        Self { calls, env, file_mode, directory_mode, synconclose, server }
    }

    async fn status(&self, asked: Call<'_>) -> Result<Status, FsError> {
        let answer = self.calls.ask(asked, Method::GET, &[("op", "GETFILESTATUS")]).await?;
        understood(asked, &answer).map(|OfOne { status }| status)
    }

    /// Requests the rename that every commit depends on. `None`: it is done. Otherwise, the answer
    /// of a server that ignores `renameoptions` and has used the old operation.
    async fn move_new(&self, from: &str, to: &str) -> Result<Option<bool>, FsError> {
        let query = [("op", "RENAME"), ("destination", to), ("renameoptions", "NONE")];
        let asked = renaming(from, to);
        let answer = self.calls.ask(asked, Method::PUT, &query).await?;
        if answer.is_empty() {
            return Ok(None);
        }
        understood(asked, &answer).map(|Done { boolean }| Some(boolean))
    }

    /// Detects the kind of server once. A NameNode refuses to rename a missing file; a gateway that
    /// ignores the options returns `false`.
    async fn server(&self, directory: &str) -> Result<Server, FsError> {
        let look = async {
            let directory = directory.trim_end_matches('/');
            let name = format!("{directory}/_option-{:016x}", self.env.entropy.next_u64());
            match self.move_new(&name, &format!("{name}-moved")).await {
                Err(FsError::NotFound { .. }) => Ok(Server::NameNode),
                Err(error) => Err(error),
                Ok(_) => {
                    gateway::accept(&self.calls, &name, self.synconclose).await?;
                    Ok(Server::Gateway)
                }
            }
        };
        self.server.get_or_try_init(|| look).await.copied()
    }

    /// Returns whether the name exists.
    async fn is_there(&self, asked: Call<'_>) -> Result<bool, FsError> {
        match self.status(asked).await {
            Ok(_) => Ok(true),
            Err(FsError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Renames through a gateway, which reports neither the reason of a refusal nor the actual
    /// target: so the names are checked before, and after a refusal.
    async fn move_by_gateway(&self, from: &str, to: &str) -> Result<(), FsError> {
        let (source, target) = (Call::new("rename", from), Call::new("rename", to));
        let seen = try_join!(self.is_there(source), self.is_there(target))?;
        gateway::fit(from, to, seen)?;
        match self.move_new(from, to).await? {
            // A server of another kind than the detected one, which has done the rename.
            None | Some(true) => Ok(()),
            Some(false) => {
                let parent = Call::new("rename", split(to).0);
                let (source, target) = try_join!(self.is_there(source), self.is_there(target))?;
                gateway::fit(from, to, (source, target))?;
                // Detects a missing directory.
                self.status(parent).await?;
                Err(renaming(from, to)
                    .failed("the gateway rejected the rename without a reason; see its log"))
            }
        }
    }

    /// Returns the names of a directory after `after`, and whether more follow.
    async fn page(&self, directory: &str, after: &str) -> Result<(Vec<Status>, bool), FsError> {
        let asked = Call::new("list", directory);
        let query = [("op", "LISTSTATUS_BATCH"), ("startAfter", after)];
        let query = if after.is_empty() { &query[..1] } else { &query };
        let answer = self.calls.ask(asked, Method::GET, query).await?;
        let Page { listing } = understood(asked, &answer)?;
        Ok((listing.partial_listing.statuses.all, listing.remaining_entries > 0))
    }
}

#[async_trait]
impl FileSystem for WebHdfs {
    fn syncs_open_files(&self) -> bool {
        false
    }

    /// The DataNode, or the gateway, creates the file with the first bytes of the request, and
    /// answers when it is closed. Therefore obstacles are checked first; those that appear in
    /// between are refused too, but reported later.
    async fn create(
        &self,
        path: &str,
        options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError> {
        let directory = split(path).0;
        let server = self.server(directory).await?;
        let asked = Call::new("create", path);
        let (there, _directory) =
            try_join!(self.is_there(asked), self.status(Call::new("create", directory)))?;
        if there {
            return Err(FsError::AlreadyExists { path: path.into() });
        }
        let block_size = options.block_size.map(|size| size.to_string());
        let replication = options.replication.map(|copies| copies.to_string());
        let mut query = vec![
            ("op", "CREATE"),
            ("overwrite", "false"),
            ("createparent", "false"),
            // Without `sync_block` the last bytes stay in the page caches of the DataNodes.
            ("createflag", "create,sync_block"),
            ("permission", &self.file_mode),
            // Without this the DataNode's own umask counts.
            ("unmaskedpermission", &self.file_mode),
        ];
        query.extend(block_size.as_deref().map(|size| ("blocksize", size)));
        query.extend(replication.as_deref().map(|copies| ("replication", copies)));
        let to = match server {
            Server::NameNode => self.calls.redirected(asked, Method::PUT, &query).await?,
            Server::Gateway => {
                query.push(("data", "true"));
                self.calls.direct(asked, &query)?
            }
        };
        Ok(Box::new(Upload::begin(self.calls.clone(), to, path)))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        if self.server(split(from).0).await? == Server::Gateway {
            return self.move_by_gateway(from, to).await;
        }
        match self.move_new(from, to).await? {
            None => Ok(()),
            // A gateway has taken over its address.
            Some(_) => Err(renaming(from, to).failed(
                "the server ignores `renameoptions`, so it is a gateway now and not a NameNode; \
                 start the agent again to detect it",
            )),
        }
    }

    async fn read(&self, path: &str) -> Result<Bytes, FsError> {
        let asked = Call::new("read", path);
        self.calls.fetch(asked, &[("op", "OPEN")], READ_BYTES_MAX).await
    }

    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError> {
        let asked = Call::new("read", path);
        let (at, length) = (at.to_string(), bytes.to_string());
        let query = [("op", "OPEN"), ("offset", &*at), ("length", &*length)];
        self.calls.fetch(asked, &query, bytes).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, FsError> {
        Ok(self.status(Call::new("stat", path)).await?.stat())
    }

    async fn list(&self, directory: &str) -> Result<Vec<Listed>, FsError> {
        let pages = async {
            let (mut names, mut after) = (Vec::new(), String::new());
            loop {
                let (page, has_more) = self.page(directory, &after).await?;
                let last = page.last().map(|status| status.path_suffix.clone());
                names.extend(page.into_iter().map(|status| Listed {
                    directory: status.is_directory(),
                    name: status.path_suffix,
                }));
                match last {
                    Some(last) if has_more => after = last,
                    _ => break,
                }
            }
            names.sort_unstable_by(|left, right| left.name.cmp(&right.name));
            Ok(names)
        };
        Call::new("list", directory).within(DATA_LIMIT, pages).await
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        let asked = Call::new("delete", path);
        let query = [("op", "DELETE"), ("recursive", "true")];
        let answer = self.calls.ask(asked, Method::DELETE, &query).await?;
        understood(asked, &answer).map(|Done { boolean }| boolean)
    }

    async fn mkdirs(&self, directory: &str) -> Result<(), FsError> {
        let asked = Call::new("mkdirs", directory);
        let mode = self.directory_mode.as_str();
        let query = [("op", "MKDIRS"), ("permission", mode), ("unmaskedpermission", mode)];
        let answer = self.calls.ask(asked, Method::PUT, &query).await?;
        match understood(asked, &answer)? {
            Done { boolean: true } => Ok(()),
            Done { boolean: false } => {
                Err(asked.failed("the NameNode did not create the directory; see its log"))
            }
        }
    }
}
