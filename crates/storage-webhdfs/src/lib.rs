//! HDFS by HTTP: the WebHDFS of a NameNode and its DataNodes, as a store. Its URLs are
//! `webhdfs://host:port/path` and, over TLS, `swebhdfs://`.
//!
//! | guarantee | mechanism |
//! |---|---|
//! | a name is never replaced | `CREATE` with `overwrite=false`, `RENAME` with `renameoptions=NONE` |
//! | no directory is created implicitly | `CREATE` with `createparent=false` |
//! | a rename is one step | the NameNode does it, as for `hdfs://` |
//! | a closed file is durable | `CREATE` with `createflag=create,sync_block`: each block is synced |
//! | every call ends | each has a limit, and none is retried here: the caller checks first |
//!
//! A server ignores parameters that it does not know. HttpFS ignores `renameoptions` and
//! `createflag`. The store detects that before the first file and the first rename; `gateway` has
//! the requirements for storing through it.
//!
//! | module | contents |
//! |---|---|
//! | `access` | settings, environment |
//! | `files` | the calls of a store |
//! | `gateway` | differences of a gateway, and their handling |
//! | `upload` | a file being written |
//! | `calls` | requests and redirections |
//! | `answer` | maps answers, or their absence, to the possible effects of a call |

mod access;
mod answer;
mod calls;
mod files;
mod gateway;
mod upload;

pub use access::{Access, open};
