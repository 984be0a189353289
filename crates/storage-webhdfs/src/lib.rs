//! HDFS by HTTP: the WebHDFS of a NameNode and its DataNodes, as a store. Its URLs are
//! `webhdfs://host:port/path` and, over TLS, `swebhdfs://`.
//!
//! | promise | what keeps it |
//! |---|---|
//! | a name is never replaced | `CREATE` with `overwrite=false`, `RENAME` with `renameoptions=NONE` |
//! | no directory is made on the way | `CREATE` with `createparent=false` |
//! | a rename is one step | the NameNode does it, as for `hdfs://` |
//! | a closed file is durable | `CREATE` with `createflag=create,sync_block`: each block is synced |
//! | every call ends | each has a limit, and none is repeated here: the caller looks first |
//!
//! A server passes over parameters that it does not know. HttpFS does so with `renameoptions` and
//! `createflag`. It is found before the first file and the first rename: what it takes to store
//! through it is in `gateway`.
//!
//! | module | what it holds |
//! |---|---|
//! | `access` | how it is reached: settings, environment |
//! | `files` | the calls of a store |
//! | `gateway` | what a gateway does otherwise, and what is done about it |
//! | `upload` | a file on its way |
//! | `calls` | requests and redirections |
//! | `answer` | what an answer, or its absence, says of what was done |

mod access;
mod answer;
mod calls;
mod files;
mod gateway;
mod upload;

pub use access::{Access, open};
