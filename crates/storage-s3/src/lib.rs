//! Buckets of S3, and of servers that speak its protocol, as a store: `s3://bucket/prefix`.
//!
//! | promise | what keeps it |
//! |---|---|
//! | a name is never replaced | each object is put, or its upload completed, with `If-None-Match: *` |
//! | a file has its name when it is whole | an object appears when its upload is completed |
//! | a rename is whole at the new name | a conditional copy; then the old name is deleted |
//! | no rename is lost half done | the same rename again finds its own copy, and deletes the old name |
//! | every call ends | each has a limit, and none is repeated here: the caller looks first |
//!
//! An object store has no directories ([`storage::FileSystem::is_tree`] is `false`): a directory is
//! there as long as an object lies below it, and no directory is renamed.
//!
//! | module | what it holds |
//! |---|---|
//! | `access` | how a bucket is reached: settings, environment |
//! | `bucket` | the calls of a store |
//! | `writer` | a file on its way: parts of an upload |
//! | `http` | requests over our own network and TLS |
//! | `crypto` | hashes and signatures by `ring` |
//! | `trouble` | what an answer, or its absence, says of what was done |

mod access;
mod bucket;
mod crypto;
mod http;
mod trouble;
mod writer;

pub use access::{Access, open};
pub use bucket::OBJECT_BYTES_MAX;
pub use writer::PART_BYTES;
