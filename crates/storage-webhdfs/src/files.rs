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
use storage::{CreateOptions, FileSystem, FileWriter, FsError, Listed, Stat, split};
use tokio::sync::OnceCell;

use crate::calls::{Asked, Calls, DATA_LIMIT};
use crate::upload::Upload;

/// What helps where a server passes over `renameoptions`.
const NO_OPTIONS: &str = "the server ignores `renameoptions`, as HttpFS does, and could move a \
     directory into one that another collector has made; name the web server of the NameNode \
     itself, port 9870 unless set, or write an hdfs:// `url`";

/// The files of one NameNode, by HTTP.
pub(crate) struct WebHdfs {
    calls: Arc<Calls>,
    env: Env,
    file_mode: String,
    directory_mode: String,
    /// Whether the server was seen to heed the options of a rename.
    heeds: OnceCell<()>,
}

/// What a call that can say no answers.
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

/// What an answer says.
fn understood<T: DeserializeOwned>(asked: Asked<'_>, answer: &[u8]) -> Result<T, FsError> {
    serde_json::from_slice(answer)
        .map_err(|error| asked.failed(&format!("the answer is not one of WebHDFS: {error}")))
}

impl WebHdfs {
    pub(crate) fn new(calls: Calls, access: &HdfsAccess, env: Env) -> Self {
        let octal = |mode: u32| format!("{mode:o}");
        let (file_mode, directory_mode) = (octal(access.file_mode), octal(access.directory_mode));
        let (calls, heeds) = (Arc::new(calls), OnceCell::new());
        Self { calls, env, file_mode, directory_mode, heeds }
    }

    async fn status(&self, asked: Asked<'_>) -> Result<Status, FsError> {
        let answer = self.calls.ask(asked, Method::GET, &[("op", "GETFILESTATUS")]).await?;
        understood(asked, &answer).map(|OfOne { status }| status)
    }

    async fn move_new(&self, from: &str, to: &str) -> Result<(), FsError> {
        let query = [("op", "RENAME"), ("destination", to), ("renameoptions", "NONE")];
        let asked = Asked::of("rename", from).naming(to);
        let answer = self.calls.ask(asked, Method::PUT, &query).await?;
        // The answer of the old operation, which was done in place of the one that was asked for.
        if answer.is_empty() { Ok(()) } else { Err(asked.unfit(NO_OPTIONS)) }
    }

    /// Looks once whether the server heeds the options of a rename that every commit rests on. A
    /// NameNode refuses to rename what is not there; a server that passes over them says `false`.
    async fn heeds_options(&self, directory: &str) -> Result<(), FsError> {
        let look = async {
            let directory = directory.trim_end_matches('/');
            let name = format!("{directory}/_option-{:016x}", self.env.entropy.next_u64());
            match self.move_new(&name, &format!("{name}-moved")).await {
                Err(FsError::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
                Ok(()) => Err(Asked::of("rename", &name).unfit(NO_OPTIONS)),
            }
        };
        self.heeds.get_or_try_init(|| look).await.copied()
    }

    /// The names of a directory behind `after`, and whether more follow.
    async fn page(&self, directory: &str, after: &str) -> Result<(Vec<Status>, bool), FsError> {
        let asked = Asked::of("list", directory);
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

    /// The DataNode creates the file with the first bytes of the request, and answers when it is
    /// closed. So what stands in the way is looked for first; what comes between is refused all
    /// the same, and heard of later.
    async fn create(
        &self,
        path: &str,
        options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError> {
        let directory = split(path).0;
        self.heeds_options(directory).await?;
        let asked = Asked::of("create", path);
        let (there, _directory) = tokio::try_join!(
            async {
                match self.status(asked).await {
                    Ok(_) => Ok(true),
                    Err(FsError::NotFound { .. }) => Ok(false),
                    Err(error) => Err(error),
                }
            },
            self.status(Asked::of("create", directory)),
        )?;
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
        let to = self.calls.redirected(asked, Method::PUT, &query).await?;
        Ok(Box::new(Upload::begin(self.calls.clone(), to, path)))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.heeds_options(split(from).0).await?;
        self.move_new(from, to).await
    }

    async fn read(&self, path: &str) -> Result<Bytes, FsError> {
        let asked = Asked::of("read", path);
        let at = self.calls.redirected(asked, Method::GET, &[("op", "OPEN")]).await?;
        self.calls.fetch(asked, at).await
    }

    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError> {
        let asked = Asked::of("read", path);
        let (at, bytes) = (at.to_string(), bytes.to_string());
        let query = [("op", "OPEN"), ("offset", &*at), ("length", &*bytes)];
        let at = self.calls.redirected(asked, Method::GET, &query).await?;
        self.calls.fetch(asked, at).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, FsError> {
        Ok(self.status(Asked::of("stat", path)).await?.stat())
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
        Asked::of("list", directory).within(DATA_LIMIT, pages).await
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        let asked = Asked::of("delete", path);
        let query = [("op", "DELETE"), ("recursive", "true")];
        let answer = self.calls.ask(asked, Method::DELETE, &query).await?;
        understood(asked, &answer).map(|Done { boolean }| boolean)
    }

    async fn mkdirs(&self, directory: &str) -> Result<(), FsError> {
        let asked = Asked::of("mkdirs", directory);
        let mode = self.directory_mode.as_str();
        let query = [("op", "MKDIRS"), ("permission", mode), ("unmaskedpermission", mode)];
        let answer = self.calls.ask(asked, Method::PUT, &query).await?;
        match understood(asked, &answer)? {
            Done { boolean: true } => Ok(()),
            Done { boolean: false } => Err(asked.failed("the NameNode makes no directory")),
        }
    }
}
