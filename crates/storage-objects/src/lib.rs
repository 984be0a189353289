//! Buckets as a store: `s3://bucket/prefix` of S3 and servers that speak its protocol,
//! `gs://bucket/prefix` of Google, and `abfss://container@account.dfs.core.windows.net/prefix` of
//! Azure.
//!
//! | promise | what keeps it |
//! |---|---|
//! | a name is never replaced | each object is put, or its upload ended, with a condition |
//! | a file has its name when it is whole | an object appears when its upload is ended |
//! | a rename is whole at the new name | a conditional copy; then the old name is deleted |
//! | no rename is lost half done | the same rename again finds its own copy, and deletes the old name |
//! | every call ends | each has a limit, and none is repeated here: the caller looks first |
//!
//! | | S3 | Google | Azure |
//! |---|---|---|---|
//! | the condition | `If-None-Match: *` | `ifGenerationMatch=0` | `If-None-Match: *` |
//! | an upload ends by | `CompleteMultipartUpload` | the last part of a session | `Put Block List` |
//! | a copy of more than a part | inside the server | read and uploaded | read and uploaded |
//!
//! An object store has no directories ([`storage::FileSystem::is_tree`] is `false`): a directory is
//! there as long as an object lies below it, and no directory is renamed.
//!
//! | module | what it holds |
//! |---|---|
//! | `access` | how buckets are reached, whatever the provider |
//! | `s3`, `gcs`, `azure` | settings, environment and credentials of each |
//! | `provider` | what else differs between them |
//! | `bucket` | the calls of a store |
//! | `writer` | a file on its way: parts of an upload |
//! | `google`, `blobs` | requests that the library has not, or not as a commit needs them |
//! | `http` | requests over our own network and TLS |
//! | `odd_keys` | keys that are not paths, taken out of listings |
//! | `signatures` | hashes and signatures of requests |
//! | `trouble` | what an answer, or its absence, says of what was done |
//! | `testkit` (a feature) | a bucket over a server that a test makes |

mod access;
mod azure;
mod blobs;
mod bucket;
mod gcs;
mod google;
mod http;
mod odd_keys;
mod provider;
mod s3;
mod signatures;
#[cfg(feature = "testkit")]
pub mod testkit;
mod trouble;
mod writer;

pub use access::{Access, Wrong, is_bucket, open};
pub use azure::Azure;
pub use bucket::OBJECT_BYTES_MAX;
pub use gcs::Gcs;
pub use s3::S3;
pub use writer::PART_BYTES;
